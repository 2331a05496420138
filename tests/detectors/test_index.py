from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridical.detectors.retrieval.index import (
    EMBEDDING_LENGTH,
    KnownPicture,
    index_path,
    list_indexes,
    read_hash_list,
    read_index,
    write_index,
)
from veridical.errors import DataError, ModelError, UsageError
from veridical.results import Label

ENTRIES = [
    KnownPicture(0x0123_4567_89AB_CDEF, Label.REAL, "lfw", "anna.jpg"),
    KnownPicture(0xFFFF_0000_FFFF_0000, Label.FAKE, "sd1.5", "böse.png", pdq=bytes(range(32))),
    KnownPicture(0x0000_0000_0000_0000, Label.REAL, "lfw", "caf\udce9.jpg", pdq=b"\xff" * 32),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "known.index"
    write_index(path, ENTRIES)
    return path


def code_of(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_index(path)
    return caught.value.code


def test_what_was_written_is_read_also_names_that_are_not_utf_8(path: Path) -> None:
    index = read_index(path)
    assert list(index.entries()) == ENTRIES
    assert len(index) == 3
    assert index.has_pdq
    assert index.counts() == {(Label.REAL, "lfw"): 2, (Label.FAKE, "sd1.5"): 1}


def test_an_entry_is_kept_once(path: Path) -> None:
    assert write_index(path, [*ENTRIES, *ENTRIES]) == 3
    assert len(read_index(path)) == 3


def test_the_hash_of_an_index_is_that_of_its_content(path: Path, tmp_path: Path) -> None:
    write_index(tmp_path / "same.index", ENTRIES)
    write_index(tmp_path / "other.index", ENTRIES[:2])
    hashes = [read_index(p).sha256 for p in (path, tmp_path / "same.index", tmp_path / "other.index")]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_index_of_nothing_finds_nothing(tmp_path: Path) -> None:
    write_index(tmp_path / "none.index", [])
    index = read_index(tmp_path / "none.index")
    assert index.find(dhash=0, dhash_radius=64, pdq=b"\0" * 32, pdq_radius=256) == []
    assert index.counts() == {}


def test_matches_lie_within_the_radius_of_either_hash_the_nearest_first(path: Path) -> None:
    index = read_index(path)
    found = index.find(dhash=0b111, dhash_radius=3, pdq=bytes(range(31)) + b"\x1e", pdq_radius=1)
    assert [(m.entry.name, m.dhash_distance, m.pdq_distance) for m in found] == [
        ("böse.png", None, 1),
        ("caf\udce9.jpg", 3, None),
    ]
    assert index.find(dhash=0b111, dhash_radius=2) == []
    both = index.find(dhash=0, dhash_radius=0, pdq=b"\xff" * 32, pdq_radius=0)
    assert [(m.dhash_distance, m.pdq_distance) for m in both] == [(0, 0)]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=30), st.integers(0, 2**64 - 1), st.integers(0, 64))
def test_a_query_finds_exactly_what_counting_bits_one_by_one_finds(
    tmp_path_factory: pytest.TempPathFactory, hashes: list[int], wanted: int, radius: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "counted.index"
    write_index(path, [KnownPicture(h, Label.REAL, "s", "n") for h in hashes])
    found = {m.entry.dhash for m in read_index(path).find(dhash=wanted, dhash_radius=radius)}
    assert found == {h for h in hashes if bin(h ^ wanted).count("1") <= radius}


def test_a_list_of_hashes_gives_an_entry_a_line(tmp_path: Path) -> None:
    (tmp_path / "lfw.dhash.txt").write_text("f0ce13836b43c666\n\n4F9793939B163723\n")
    entries = list(read_hash_list(tmp_path / "lfw.dhash.txt", Label.REAL))
    assert entries == [
        KnownPicture(0xF0CE13836B43C666, Label.REAL, "lfw", "line 1"),
        KnownPicture(0x4F9793939B163723, Label.REAL, "lfw", "line 3"),
    ]


@pytest.mark.parametrize(
    "line", ["f0ce13836b43c66", "f0ce13836b43c6666", "0xce13836b43c666", "+0ce13836b43c66f"]
)
def test_a_line_that_is_no_hash_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"f0ce13836b43c666\n{line}\n")
    with pytest.raises(DataError, match="line 2"):
        list(read_hash_list(tmp_path / "list.txt", Label.REAL))


def test_the_shared_lists_hold_326123_hashes_and_each_is_found(shared: Path, tmp_path: Path) -> None:
    lists = sorted((shared / "data" / "hashes").glob("*.dhash.txt"))
    count = write_index(tmp_path / "real.index", (e for p in lists for e in read_hash_list(p, Label.REAL)))
    assert count == 326_123
    index = read_index(tmp_path / "real.index")
    last = lists[-1].read_text().split()[-1]
    assert str(index.find(dhash=int(last, 16))[-1].entry.source) in lists[-1].name


def test_a_missing_index_is_answered_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        read_index(tmp_path / "none.index")
    assert caught.value.code == "missing_index"
    assert "veridical index build" in (caught.value.hint or "")


def test_one_flipped_bit_anywhere_is_noticed(path: Path) -> None:
    whole = path.read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1
        path.write_bytes(damaged)
        assert code_of(path) in {"malformed_index", "hash_mismatch"}


def test_an_index_cut_off_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        assert code_of(path) in {"malformed_index", "hash_mismatch"}


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """What an index holds, by anyone who has NumPy."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def forged(path: Path, arrays: dict[str, Any], *, compressed: bool = False) -> None:
    """Write other arrays with a hash that fits."""
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())


def test_arrays_that_are_no_index_are_refused(path: Path) -> None:
    arrays = arrays_of(path)
    forged(path, arrays)
    assert list(read_index(path).entries()) == ENTRIES
    for changes in (
        {"sources": np.array(["lfw"])},
        {"sources": np.array(3)},
        {"more": np.zeros(1)},
        {"dhash": arrays["dhash"][:2]},
        {"dhash": arrays["dhash"].astype(np.int64)},
        {"dhash": arrays["dhash"][None]},
        {"names": np.array([{"a": 1}], dtype=object)},
        {"pdq_row": arrays["pdq_row"] + 9},
        {"name_end": arrays["name_end"][::-1]},
    ):
        forged(path, arrays | changes)
        assert code_of(path) == "malformed_index"
    forged(path, {name: array for name, array in arrays.items() if name != "label"})
    assert code_of(path) == "malformed_index"
    forged(path, arrays, compressed=True)
    assert code_of(path) == "malformed_index"


def test_a_shape_beyond_memory_is_refused(path: Path) -> None:
    whole = path.read_bytes()[:-32]
    assert whole.count(b"(3,)") >= 3
    claimed = whole.replace(b"'shape': (3,), }                ", b"'shape': (4611686018427387904,)}", 1)
    for data in (claimed, whole.replace(b"(3,)", b"(9,)", 1)):
        assert len(data) == len(whole)
        path.write_bytes(data + hashlib.sha256(data).digest())
        assert code_of(path) == "malformed_index"


def direction(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=EMBEDDING_LENGTH)
    return vector / np.linalg.norm(vector)


def embedded(seed: int) -> KnownPicture:
    return KnownPicture(seed, Label.REAL, "s", f"{seed}.jpg", embedding=direction(seed).astype("<f2").tobytes())


def test_embeddings_are_found_by_their_cosine_after_what_a_hash_finds(tmp_path: Path) -> None:
    path = tmp_path / "embedded.index"
    entries = [*ENTRIES, *(embedded(seed) for seed in range(1, 9))]
    write_index(path, entries)
    index = read_index(path)
    assert list(index.entries()) == entries
    assert index.has_embeddings
    mixed = 0.8 * direction(3) + 0.6 * direction(5)
    wanted = mixed / np.linalg.norm(mixed)
    found = index.find(dhash=5, embedding=wanted.astype("<f2").tobytes(), least_cosine=0.5)
    assert [(m.entry.name, m.is_copy) for m in found] == [("5.jpg", True), ("3.jpg", False)]
    for match in found:
        assert match.cosine == pytest.approx(wanted @ direction(match.entry.dhash), abs=2e-3)
    assert index.find(embedding=direction(99).astype("<f2").tobytes(), least_cosine=0.5) == []


def test_an_index_without_embeddings_is_written_as_before_there_were_any(path: Path) -> None:
    names = list(arrays_of(path))
    assert names == ["sources", "dhash", "label", "source", "name_end", "names", "pdq", "pdq_row"]
    assert not read_index(path).has_embeddings
    assert read_index(path).find(embedding=direction(0).astype("<f2").tobytes(), least_cosine=-1) == []


@pytest.mark.parametrize("factor", [2.0, float("nan"), 0.0])
def test_embeddings_that_are_no_directions_are_refused(tmp_path: Path, factor: float) -> None:
    path = tmp_path / "long.index"
    vector = (factor * direction(1)).astype("<f2").tobytes()
    write_index(path, [KnownPicture(1, Label.REAL, "s", "n", embedding=vector)])
    assert code_of(path) == "malformed_index"


def test_another_file_is_no_index(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    assert code_of(tmp_path / "array.npy") == "malformed_index"


def test_an_index_is_found_by_name_by_path_and_by_the_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path))
    monkeypatch.delenv("VERIDICAL_INDEX", raising=False)
    assert index_path(None) == tmp_path / "indexes" / "default.index"
    assert index_path("press") == tmp_path / "indexes" / "press.index"
    assert index_path("./press") == Path("press")
    assert index_path("press.index") == Path("press.index")
    with pytest.raises(UsageError):
        index_path("..")
    monkeypatch.setenv("VERIDICAL_INDEX", "press")
    assert index_path(None) == tmp_path / "indexes" / "press.index"
    write_index(index_path(None), ENTRIES)
    assert list_indexes() == ["press"]


def test_a_place_where_nothing_can_be_written_is_an_error_of_usage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        write_index(tmp_path / "file" / "known.index", ENTRIES)


def test_a_failed_write_leaves_the_old_index_and_nothing_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(UsageError, match="No space left"):
        write_index(path, ENTRIES[:1])
    assert len(read_index(path)) == 3
    assert [p.name for p in path.parent.iterdir()] == [path.name]
