from __future__ import annotations

import dataclasses
import errno
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from veridical.errors import ModelError, UsageError
from veridical.models import bundle as bundles
from veridical.models.bundle import install_bundle, read_bundle, write_bundle
from veridical.models.card import Card, sha256_of
from veridical.models.graph import check_graph
from veridical.models.store import SHIPPED
from veridical.models.weights import PINNED


def test_a_written_bundle_reads_back_with_the_hashes_of_its_files(
    tmp_path: Path, card: Card, graph: bytes
) -> None:
    written = write_bundle(tmp_path / "tiny", card, {"model.onnx": graph, "model.safetensors": b"tensors"})

    read = read_bundle(tmp_path / "tiny")

    assert read == written
    assert read.graph == graph
    assert read.card.files == {"model.onnx": sha256_of(graph), "model.safetensors": sha256_of(b"tensors")}
    assert read.sha256 == sha256_of((tmp_path / "tiny" / "card.json").read_bytes())


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
@pytest.mark.parametrize("place", [0.0, 0.5, 0.999])
def test_one_flipped_bit_is_a_hash_mismatch_that_names_the_file(
    tmp_path: Path, card: Card, graph: bytes, name: str, place: float
) -> None:
    write_bundle(tmp_path, card, {"model.onnx": graph, "model.safetensors": b"tensors"})
    data = bytearray((tmp_path / name).read_bytes())
    data[int(place * len(data))] ^= 1
    (tmp_path / name).write_bytes(data)

    with pytest.raises(ModelError, match=name.replace(".", r"\.")) as caught:
        read_bundle(tmp_path)

    assert caught.value.code == "hash_mismatch"
    assert sha256_of(bytes(data))[:12] in caught.value.message
    assert caught.value.hint


def test_any_flipped_byte_of_the_card_is_refused_or_changes_the_hash_of_the_bundle(
    tmp_path: Path, card: Card, graph: bytes
) -> None:
    before = write_bundle(tmp_path, card, {"model.onnx": graph})
    original = (tmp_path / "card.json").read_bytes()
    for place in range(0, len(original), 7):
        changed = bytearray(original)
        changed[place] ^= 1
        (tmp_path / "card.json").write_bytes(changed)
        try:
            after = read_bundle(tmp_path)
        except ModelError as error:
            assert error.code in {"malformed_bundle", "hash_mismatch"}  # noqa: PT017 - either is right
        else:
            assert after.sha256 != before.sha256


def test_a_missing_file_is_named(tmp_path: Path, card: Card, graph: bytes) -> None:
    write_bundle(tmp_path, card, {"model.onnx": graph, "model.safetensors": b"tensors"})
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"lacks 'model\.safetensors'"):
        read_bundle(tmp_path)


def test_a_file_that_the_card_does_not_name_is_refused(tmp_path: Path, card: Card, graph: bytes) -> None:
    write_bundle(tmp_path, card, {"model.onnx": graph})
    (tmp_path / "model.onnx.data").write_bytes(b"external")
    with pytest.raises(ModelError, match=r"holds 'model\.onnx\.data'") as caught:
        read_bundle(tmp_path)
    assert caught.value.code == "malformed_bundle"


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "..", "", ".hidden", "a\\b", "a\0b", "x" * 200]
)
def test_a_card_that_names_a_file_elsewhere_is_refused(
    tmp_path: Path, card: Card, graph: bytes, name: str
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "tiny"
    write_bundle(folder, card, {"model.onnx": graph})
    files = {"model.onnx": sha256_of(graph), name: sha256_of(b"secret")}
    (folder / "card.json").write_bytes(dataclasses.replace(card, files=files).to_json())
    with pytest.raises(ModelError, match="plain names") as caught:
        read_bundle(folder)
    assert caught.value.code == "malformed_bundle"


def test_a_link_is_refused_wherever_it_points(tmp_path: Path, card: Card, graph: bytes) -> None:
    folder = tmp_path / "tiny"
    write_bundle(folder, card, {"model.onnx": graph})
    (folder / "model.onnx").rename(tmp_path / "elsewhere")
    (folder / "model.onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelError, match="not a regular file"):
        read_bundle(folder)


def test_a_pipe_in_the_folder_is_refused_and_never_waited_for(tmp_path: Path, card: Card, graph: bytes) -> None:
    write_bundle(tmp_path, card, {"model.onnx": graph})
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="not a regular file"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    "name", ["model.pt", "model.PTH", "model.pkl", "pytorch_model.bin", "last.ckpt", "a.npz"]
)
def test_a_pickle_beside_the_graph_is_refused_by_its_name_without_opening_it(
    tmp_path: Path, card: Card, graph: bytes, name: str
) -> None:
    write_bundle(tmp_path, card, {"model.onnx": graph})
    (tmp_path / name).write_bytes(b"never read")
    (tmp_path / name).chmod(0)
    with pytest.raises(ModelError, match="was not loaded") as caught:
        read_bundle(tmp_path)
    assert caught.value.code == "unsafe_checkpoint"
    assert caught.value.hint is not None
    assert "safetensors" in caught.value.hint


@pytest.mark.parametrize("head", [b"\x80\x02}q\x00.", b"\x80\x05\x95", b"PK\x03\x04", b"7z\xbc\xaf\x27\x1c"])
@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
def test_a_pickle_under_another_name_is_refused_by_its_first_bytes(
    tmp_path: Path, card: Card, graph: bytes, name: str, head: bytes
) -> None:
    with pytest.raises(ModelError) as caught:
        write_bundle(tmp_path / "tiny", card, {"model.onnx": graph, name: head + b"rest"})
    assert caught.value.code == "unsafe_checkpoint"
    assert list(tmp_path.iterdir()) == []


def test_a_safetensors_file_whose_header_length_reads_like_a_pickle_is_kept(
    tmp_path: Path, card: Card, graph: bytes
) -> None:
    tensors = (640).to_bytes(8, "little") + b"{}" + b" " * 638
    assert tensors[:2] == b"\x80\x02"
    write_bundle(tmp_path / "tiny", card, {"model.onnx": graph, "model.safetensors": tensors})
    assert (tmp_path / "tiny" / "model.safetensors").read_bytes() == tensors


def test_a_pickle_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"\x80\x02}q\x00.")
    with pytest.raises(ModelError) as caught:
        read_bundle(tmp_path / "model.pt")
    assert caught.value.code == "unsafe_checkpoint"


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_what_is_no_bundle_is_refused_with_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    with pytest.raises(ModelError, match=name) as caught:
        read_bundle(tmp_path / name)
    assert caught.value.code == "malformed_bundle"


def test_an_endless_card_is_refused_by_its_size(tmp_path: Path, card: Card, graph: bytes) -> None:
    write_bundle(tmp_path, card, {"model.onnx": graph})
    with (tmp_path / "card.json").open("wb") as file:
        file.truncate(bundles.MAX_CARD_BYTES + 1)
    with pytest.raises(ModelError, match="at most"):
        read_bundle(tmp_path)


def test_writing_replaces_a_bundle_and_leaves_nothing_else_behind(
    tmp_path: Path, card: Card, graph: bytes
) -> None:
    write_bundle(tmp_path / "tiny", card, {"model.onnx": graph, "model.safetensors": b"tensors"})
    newer = dataclasses.replace(card, version="2.0")
    write_bundle(tmp_path / "tiny", newer, {"model.onnx": graph})
    assert read_bundle(tmp_path / "tiny").card.version == "2.0"
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_a_bundle_that_would_be_refused_never_takes_the_place_of_a_good_one(
    tmp_path: Path, card: Card, graph: bytes
) -> None:
    good = write_bundle(tmp_path / "tiny", card, {"model.onnx": graph})
    with pytest.raises(ModelError):
        write_bundle(tmp_path / "tiny", card, {"model.onnx": b"no graph"})
    with pytest.raises(ModelError):
        install_bundle(tmp_path / "tiny", card.to_json(), {"../outside": b""})
    assert read_bundle(tmp_path / "tiny") == good
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize("inside", ["holiday.jpg", "card.json"])
def test_a_folder_of_other_things_is_never_replaced(
    tmp_path: Path, card: Card, graph: bytes, inside: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / inside).write_text("{}")
    with pytest.raises(UsageError, match="not replaced"):
        write_bundle(tmp_path / "mine", card, {"model.onnx": graph})
    assert (tmp_path / "mine" / inside).read_text() == "{}"


def test_notes_kept_beside_a_bundle_keep_it_from_being_replaced(
    tmp_path: Path, card: Card, graph: bytes
) -> None:
    write_bundle(tmp_path / "tiny", card, {"model.onnx": graph})
    (tmp_path / "tiny" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        write_bundle(tmp_path / "tiny", card, {"model.onnx": graph})


def test_a_place_that_cannot_be_written_is_said_plainly(tmp_path: Path, card: Card, graph: bytes) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UsageError, match="cannot be written"):
        write_bundle(tmp_path / "file" / "tiny", card, {"model.onnx": graph})


def test_a_reader_sees_the_old_bundle_or_the_new_one_while_they_are_exchanged(
    tmp_path: Path, card: Card, graph: bytes
) -> None:
    folder = tmp_path / "tiny"
    # The files differ too, so that a mixture would not match its card.
    versions = {
        version: (dataclasses.replace(card, version=version), {"model.onnx": graph, "model.safetensors": data})
        for version, data in {"1": b"one", "2": b"two"}.items()
    }
    write_bundle(folder, *versions["1"])
    done = threading.Event()
    seen: list[str] = []
    problems: list[BaseException] = []

    def read_again_and_again() -> None:
        try:
            while not done.is_set():
                seen.append(read_bundle(folder).card.version)
        except BaseException as error:  # noqa: BLE001 - handed to the test below
            problems.append(error)

    readers = [threading.Thread(target=read_again_and_again) for _ in range(2)]
    for reader in readers:
        reader.start()
    for index in range(40):
        write_bundle(folder, *versions["1" if index % 2 else "2"])
    done.set()
    for reader in readers:
        reader.join()

    assert problems == []
    assert set(seen) == {"1", "2"}


def test_several_may_write_the_first_bundle_at_once(tmp_path: Path, card: Card, graph: bytes) -> None:
    with ThreadPoolExecutor(4) as pool:
        written = list(
            pool.map(lambda _: write_bundle(tmp_path / "tiny", card, {"model.onnx": graph}), range(12))
        )
    assert {bundle.sha256 for bundle in written} == {read_bundle(tmp_path / "tiny").sha256}
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux exchanges two folders in one step")
def test_at_no_moment_is_there_no_folder_of_that_name(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    done = threading.Event()
    absent = []

    def look() -> None:
        while not done.is_set():
            absent.append(not (tmp_path / "other").is_dir())

    watcher = threading.Thread(target=look)
    watcher.start()
    exchanged = 0
    # On a busy machine the watcher may come late: go on until it has looked often enough.
    while exchanged < 3000 or len(absent) <= 100:
        bundles._exchange(tmp_path / "one", tmp_path / "other")
        exchanged += 1
    done.set()
    watcher.join()
    assert len(absent) > 100
    assert not any(absent)


def test_without_the_one_step_exchange_two_renames_give_the_same_end(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mark").write_text(name)
    bundles._exchange_in_two_steps(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "mark").read_text() == "other"
    assert (tmp_path / "other" / "mark").read_text() == "one"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_rename_puts_the_old_bundle_back(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mark").write_text("other")
    with pytest.raises(OSError, match="absent") as caught:
        bundles._exchange_in_two_steps(tmp_path / "absent", tmp_path / "other")
    assert caught.value.errno == errno.ENOENT
    assert (tmp_path / "other" / "mark").read_text() == "other"


def test_every_shipped_bundle_is_pinned_and_its_graph_passes_the_check() -> None:
    shipped = {card.parent.name: read_bundle(card.parent) for card in SHIPPED.glob("*/card.json")}
    assert {name: bundle.sha256 for name, bundle in shipped.items()} == PINNED
    for bundle in shipped.values():
        check_graph(bundle.graph)


def test_a_pinned_card_does_not_spare_its_graph_the_hash(
    tmp_path: Path, card: Card, graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_bundle(tmp_path, card, {"model.onnx": graph})
    monkeypatch.setitem(PINNED, "tiny", written.sha256)
    assert read_bundle(tmp_path) == written
    (tmp_path / "model.onnx").write_bytes(graph + b"\0")
    with pytest.raises(ModelError) as caught:
        read_bundle(tmp_path)
    assert caught.value.code == "hash_mismatch"


def test_a_card_with_a_foreign_schema_version_says_so(tmp_path: Path, card: Card, graph: bytes) -> None:
    write_bundle(tmp_path, card, {"model.onnx": graph})
    fields = json.loads((tmp_path / "card.json").read_bytes())
    (tmp_path / "card.json").write_text(json.dumps(fields | {"schema_version": 99}))
    with pytest.raises(ModelError, match="schema_version 99"):
        read_bundle(tmp_path)
