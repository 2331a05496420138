"""CIFAR's batches give pictures and classes."""

from __future__ import annotations

import hashlib
import io
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


def batch(labels: list[list[int]], seed: int = 0) -> bytes:
    """Records as they are published: each picture behind its labels."""
    rows = zip(labels, pictures(len(labels), seed), strict=True)
    return b"".join(bytes(numbers) + picture.tobytes() for numbers, picture in rows)


def pictures(count: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 3072), dtype=np.uint8)


@pytest.fixture
def cifar100(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    (folder / "coarse_label_names.txt").write_text("fish\nflowers\n")
    (folder / "fine_label_names.txt").write_text("ray\nrose\nshark\n\n")
    for place, split in enumerate(("train", "test")):
        (folder / f"{split}.bin").write_bytes(batch([[0, 0], [1, 1], [0, 2]], place))
    return folder


@pytest.fixture
def cifar10(tmp_path: Path) -> Path:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("airplane\nship\n\n")
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    for place, name in enumerate(names):
        (folder / name).write_bytes(batch([[1], [0]], place))
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
    assert samples[1].name == f"{cifar100 / 'train.bin'}#1"


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


def test_a_pickle_of_the_python_edition_is_never_opened(cifar100: Path) -> None:
    (cifar100 / "train.bin").write_bytes(b"\x80\x02cos\nsystem\n(U\x04trueto.")
    with pytest.raises(DataError, match="no batch of CIFAR's binary edition") as caught:
        read_samples(f"cifar100:{cifar100}")
    assert caught.value.code == "bad_batch"


def test_a_damaged_batch_is_a_data_error_wherever_it_breaks(cifar10: Path) -> None:
    whole = batch([[0], [1]])
    for end in [0, 1, 3072, 3074, len(whole) - 1]:
        (cifar10 / "test_batch.bin").write_bytes(whole[:end])
        with pytest.raises(DataError) as caught:
            read_batch(cifar10 / "test_batch.bin") if end != 3074 else read_samples(f"cifar10:{cifar10}")
        assert caught.value.code == "bad_batch"


@pytest.mark.parametrize("member", ["3", "-1", "x", "٣"])
def test_a_place_that_is_not_in_the_batch_is_named(cifar100: Path, member: str) -> None:
    with pytest.raises(DataError, match="3 pictures"):
        read_member(cifar100 / "train.bin", member)
    sample = Sample(cifar100 / "train.bin", Label.REAL, "", "s", "g", sha256="0", member=member)
    with pytest.raises(DataError, match=r"train.bin#.* cannot be read"):
        load_pixels(sample)


def test_labels_that_do_not_fit_the_pictures_are_refused(cifar10: Path) -> None:
    (cifar10 / "test_batch.bin").write_bytes(batch([[1, 0], [1, 1]]))
    with pytest.raises(DataError, match="among its 2 classes"):
        read_samples(f"cifar10:{cifar10}")
    (cifar10 / "test_batch.bin").write_bytes(batch([[1], [2]]))
    with pytest.raises(DataError, match="among its 2 classes"):
        read_samples(f"cifar10:{cifar10}")
    (cifar10 / "batches.meta.txt").unlink()
    with pytest.raises(DataError, match="batches.meta"):
        read_samples(f"cifar10:{cifar10}")


def test_a_missing_batch_is_named(cifar10: Path) -> None:
    (cifar10 / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match="data_batch_4"):
        read_samples(f"cifar10:{cifar10}")


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_the_archive_is_checked_and_only_what_belongs_to_it_is_taken(
    cifar100: Path, server: Any, make_answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.add(cifar100, "cifar-100-binary")
        archive.addfile(tarfile.TarInfo("../outside"))
    server.answer = lambda path, headers: make_answer(body=buffer.getvalue())
    monkeypatch.setattr(_cifar, "_ARCHIVES", server.url)

    with pytest.raises(SourceError) as caught:
        download_source("cifar100", tmp_path / "mine", most_bytes=10**6, say=print)
    assert caught.value.code == "hash_mismatch"

    md5 = hashlib.md5(buffer.getvalue()).hexdigest()
    files = [f"cifar-100-binary/{path.name}" for path in cifar100.iterdir()]
    _cifar.download("a.tar.gz", md5, files, tmp_path / "mine", most_bytes=10**6, say=print)
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {path.name for path in cifar100.iterdir()}
    assert len(read_samples(f"cifar100:{tmp_path / 'mine'}")) == 6
    assert not (tmp_path / "outside").exists()
