"""CIFAR's pickles give pictures and classes, and nothing in them is ever run."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from veridical.data.cifar import read_batch, read_member
from veridical.data.samples import Sample, data_sha256, load_pixels, read_samples
from veridical.data.sources import _cifar, download_source
from veridical.errors import DataError, SourceError
from veridical.results import Label


def python2(value: Any) -> bytes:
    """`value` as Python 2 wrote it (protocol 2), which is how the published files are."""
    return b"\x80\x02" + _python2(value) + b"."


def _python2(value: Any) -> bytes:
    match value:
        case int():
            return b"J" + struct.pack("<i", value)
        case bytes():
            return b"T" + struct.pack("<i", len(value)) + value
        case list():
            return b"](" + b"".join(map(_python2, value)) + b"e"
        case dict():
            return b"}(" + b"".join(_python2(key) + _python2(one) for key, one in value.items()) + b"u"
        case np.ndarray():
            kind = (
                b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            )
            shape = b"".join(map(_python2, value.shape))
            made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
            return made + b"(K\x01(" + shape + b"t" + kind + b"\x89" + _python2(value.tobytes()) + b"tb"
    raise TypeError(type(value))


def pictures(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    meta = {b"coarse_label_names": [b"fish", b"flowers"], b"fine_label_names": [b"ray", b"rose", b"shark"]}
    (folder / "meta").write_bytes(python2(meta))
    for place, split in enumerate(("train", "test")):
        batch = {b"data": pictures(3, place), b"fine_labels": [0, 1, 2], b"coarse_labels": [0, 1, 0]}
        (folder / split).write_bytes(python2(batch))
    return folder


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "batches.meta").write_bytes(python2({b"label_names": [b"airplane", b"ship"], b"num_vis": 3072}))
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for place, name in enumerate(names):
        (folder / name).write_bytes(python2({b"data": pictures(2, place), b"labels": [1, 0]}))
    return folder


def test_cifar_100_gives_coarse_and_fine_classes_of_real_pictures(cifar100: Path) -> None:
    samples = read_samples(f"cifar100:{cifar100}")
    assert [(s.split, s.content) for s in samples[:4]] == [
        ("train", "fish/ray"),
        ("train", "flowers/rose"),
        ("train", "fish/shark"),
        ("test", "fish/ray"),
    ]
    assert {s.label for s in samples} == {Label.REAL}
    assert samples[1].name == f"{cifar100 / 'train'}#1"


def test_cifar_10_gives_five_batches_to_train_on_and_one_to_test(cifar10: Path) -> None:
    samples = read_samples(f"cifar10:{cifar10}")
    assert [s.split for s in samples] == ["train"] * 10 + ["test"] * 2
    assert [s.content for s in samples[:2]] == ["ship", "airplane"]


def test_pixels_are_three_planes_put_together(cifar100: Path) -> None:
    _, sample, _ = read_samples(f"cifar100:{cifar100}", "train")
    stored = pictures(3)[1]
    pixels = load_pixels(sample)
    assert pixels.shape == (32, 32, 3)
    assert pixels[2, 5].tolist() == [stored[2 * 32 + 5], stored[1024 + 2 * 32 + 5], stored[2048 + 2 * 32 + 5]]
    assert sample.sha256 == hashlib.sha256(stored.tobytes()).hexdigest()


def test_pictures_of_one_file_are_told_apart_in_the_hash_of_a_set(cifar100: Path) -> None:
    one, two, _ = read_samples(f"cifar100:{cifar100}", "train")
    assert data_sha256([one, one]) != data_sha256([one, two])


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_a_batch_pickled_again_by_python_3_is_read_too(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "again").write_bytes(pickle.dumps({"data": pictures(2), "labels": [0, 1]}, protocol))
    batch = read_batch(tmp_path / "again")
    assert np.array_equal(batch["data"], pictures(2))
    assert batch["labels"] == [0, 1]


def test_what_is_read_agrees_with_unpickling(cifar100: Path) -> None:
    ours = read_batch(cifar100 / "train")
    # Our own file, so that to run it is harmless; numpy warns that its old place has moved.
    theirs = pickle.loads(
        (cifar100 / "train").read_bytes().replace(b"numpy.core.", b"numpy._core."), encoding="bytes"
    )
    assert {key.decode() for key in theirs} == set(ours)
    assert np.array_equal(theirs[b"data"], ours["data"])
    assert theirs[b"fine_labels"] == ours["fine_labels"]


class Runs:
    """A pickle of it writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_that_would_run_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "batch").write_bytes(pickle.dumps({"data": Runs(tmp_path / "ran")}, protocol))
    with pytest.raises(DataError) as caught:
        read_batch(tmp_path / "batch")
    assert caught.value.code == "unsafe_pickle"
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cos\nsystem\n(U\x04trueto.",  # INST-like call of a name
        b"(S'true'\nios\nsystem\n.",  # INST
        b"cbuiltins\neval\n(U\x011tR.",  # REDUCE
        b"\x8c\x08builtins\x8c\x04eval\x93.",  # STACK_GLOBAL
        b"cnumpy\ndtype\n)\x81.",  # NEWOBJ, of an allowed name even
        b"U\x01aQ.",  # a persistent id
        b"\x82\x01.",  # an extension
        b"}}b.",  # BUILD of what is no array
        b"cnumpy\ndtype\n(U\x01OtR.",  # an array of objects
        b"cnumpy\nndarray\n(K\x01tR.",  # an array made by a call
        b"c_codecs\nencode\n(X\x01\x00\x00\x00aU\x03hextR.",  # another codec
        b"cnumpy\nndarray.__class__\n.",  # a way round by an attribute
    ],
)
def test_whatever_is_not_needed_for_pictures_is_refused(tmp_path: Path, opcodes: bytes) -> None:
    (tmp_path / "batch").write_bytes(b"\x80\x02" + opcodes)
    with pytest.raises(DataError) as caught:
        read_batch(tmp_path / "batch")
    assert caught.value.code == "unsafe_pickle"


def test_a_damaged_batch_is_a_data_error_wherever_it_breaks(tmp_path: Path) -> None:
    whole = python2({b"data": pictures(1), b"labels": [0]})
    head = whole.index(b"cnumpy")
    for end in [*range(0, head + 200, 7), len(whole) - 1]:
        path = tmp_path / f"{end}"
        path.write_bytes(whole[:end])
        with pytest.raises(DataError) as caught:
            read_batch(path)
        assert caught.value.code == "bad_batch"


def test_a_memo_of_four_billion_places_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "batch").write_bytes(b"\x80\x02}r\xff\xff\xff\xff.")
    assert read_batch(tmp_path / "batch") == {}


@pytest.mark.parametrize("member", ["3", "-1", "x", "٣"])
def test_a_place_that_is_not_in_the_batch_is_named(cifar100: Path, member: str) -> None:
    with pytest.raises(DataError, match="3 pictures"):
        read_member(cifar100 / "train", member)
    sample = Sample(cifar100 / "train", Label.REAL, "", "s", "g", sha256="0", member=member)
    with pytest.raises(DataError, match=r"train#.* cannot be read"):
        load_pixels(sample)


def test_labels_that_do_not_fit_the_pictures_are_refused(cifar10: Path) -> None:
    (cifar10 / "test_batch").write_bytes(python2({b"data": pictures(2), b"labels": [1, 0, 1]}))
    with pytest.raises(DataError, match="2 pictures, and 3 labels"):
        read_samples(f"cifar10:{cifar10}")
    (cifar10 / "test_batch").write_bytes(python2({b"data": pictures(2), b"labels": [1, 2]}))
    with pytest.raises(DataError, match="among its 2 classes"):
        read_samples(f"cifar10:{cifar10}")


def test_a_missing_batch_is_named(cifar10: Path) -> None:
    (cifar10 / "data_batch_4").unlink()
    with pytest.raises(DataError, match="data_batch_4"):
        read_samples(f"cifar10:{cifar10}")


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_archive_is_checked_and_only_what_belongs_to_it_is_taken(
    cifar100: Path, server: Any, make_answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(cifar100, "cifar-100-python")
        archive.addfile(tarfile.TarInfo("../outside"))
    server.answer = lambda path, headers: make_answer(body=buffer.getvalue())
    monkeypatch.setattr(_cifar, "_ARCHIVES", server.url)

    with pytest.raises(SourceError) as caught:
        download_source("cifar100", tmp_path / "mine", most_bytes=10**6, say=print)
    assert caught.value.code == "hash_mismatch"

    md5 = hashlib.md5(buffer.getvalue()).hexdigest()
    files = [f"cifar-100-python/{name}" for name in ("train", "test", "meta")]
    _cifar.download("a.tar.gz", md5, files, tmp_path / "mine", most_bytes=10**6, say=print)
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"train", "test", "meta"}
    assert len(read_samples(f"cifar100:{tmp_path / 'mine'}")) == 6
    assert not (tmp_path / "outside").exists()
