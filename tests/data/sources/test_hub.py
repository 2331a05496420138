"""Sets of a hub are fetched within a limit, unpacked once, and read from the cache afterwards."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from veridical.data.samples import Sample, counts, load_pixels, read_samples
from veridical.data.sources import download_source, hub
from veridical.data.sources._info import SetInfo
from veridical.errors import DataError, MissingExtraError, SourceError, UsageError
from veridical.extras import install_command
from veridical.models.snapshots import cache_folder
from veridical.results import Label

COMMIT = "0123456789abcdef0123456789abcdef01234567"
AFHQ = "bitmind/AFHQ"
CIFAKE = "dragonintelligence/CIFAKE-image-dataset"


def picture(value: int, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (32, 32), (value, 0, 0)).save(buffer, format)
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def parquet_of(rows: list[dict[str, Any]], classes: list[str] | None = None) -> bytes:
    """As `datasets` writes them: pictures as (bytes, path), the names of classes in the metadata."""
    pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow, of the extra hub")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist(rows)
    if classes:
        features = {"info": {"features": {"label": {"names": classes, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))
    for name in ("VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


@pytest.fixture
def publish(
    server: Any, make_answer: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, dict[str, bytes]], dict[str, bytes]]:
    """A hub on loopback that holds one data set; its files may be changed afterwards."""
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")

    def publish(name: str, files: dict[str, bytes]) -> dict[str, bytes]:
        def answer(path: str, headers: dict[str, str]) -> Any:
            path = path.split("?")[0]
            stated = {"X-Repo-Commit": COMMIT, "Content-Type": "application/json"}
            tree = [{"type": "file", "path": n, "size": len(d), "oid": "0" * 40} for n, d in files.items()]
            if path.startswith(f"/api/datasets/{name}/tree/{COMMIT}"):
                return make_answer(body=json.dumps(tree).encode(), headers=stated)
            if path.startswith(f"/api/datasets/{name}"):
                return make_answer(body=json.dumps({"id": name, "sha": COMMIT}).encode(), headers=stated)
            place = path.removeprefix(f"/datasets/{name}/resolve/{COMMIT}/")
            if place in files:
                return make_answer(body=files[place], headers=stated | {"ETag": f'"{hash(files[place])}"'})
            return make_answer(404, headers={"X-Error-Code": "RepoNotFound"})

        server.answer = answer
        return files

    return publish


def downloads(server: Any) -> list[str]:
    """The names of the files that were asked for, in the order of their first time."""
    return list(dict.fromkeys(path.rsplit("/", 1)[1] for path, _ in server.asked if "/resolve/" in path))


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
class TestOverLoopback:
    def test_a_set_is_fetched_once_and_then_read_without_the_network(
        self, server: Any, publish: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(AFHQ, {"test/1.png": picture(1), "train/2.jpg": picture(2, "JPEG"), "README.md": b"#"})
        samples = read_samples(f"hub:{AFHQ}")
        assert [(s.split, s.label, s.source, s.generator) for s in samples] == [
            ("test", Label.REAL, AFHQ, ""),
            ("train", Label.REAL, AFHQ, ""),
        ]
        assert load_pixels(samples[0])[0, 0].tolist() == [1, 0, 0]
        assert set(downloads(server)) == {"1.png", "2.jpg"}

        monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
        asked = len(server.asked)
        assert read_samples(f"hub:{AFHQ}") == samples
        assert len(server.asked) == asked
        assert not list(cache_folder().rglob(".download"))

    def test_a_parquet_file_says_itself_which_label_is_fake(self, publish: Any) -> None:
        rows = [{"image": {"bytes": picture(i), "path": f"{i}.png"}, "label": i % 2} for i in range(5)]
        publish(CIFAKE, {
            "data/train-00000-of-00001.parquet": parquet_of(rows, ["FAKE", "REAL"]),
            "data/test-00000-of-00001.parquet": parquet_of(rows, ["real", "fake"]),
        })  # fmt: skip
        read = {split: read_samples(f"hub:{CIFAKE}", split) for split in ("train", "test")}
        assert {split: counts(samples) for split, samples in read.items()} == {"train": (2, 3), "test": (3, 2)}
        assert {s.generator for s in read["train"]} == {"", "stable-diffusion-1.4"}
        reds = {int(load_pixels(s)[0, 0, 0]) for s in read["train"] if s.label is Label.FAKE}
        assert reds == {0, 2, 4}

    def test_a_row_without_a_picture_is_a_sample_that_cannot_be_read(self, publish: Any) -> None:
        rows = [{"image": {"bytes": data, "path": "1.png"}} for data in (picture(1), None)]
        publish(AFHQ, {"data/train-0.parquet": parquet_of(rows)})
        one, two = read_samples(f"hub:{AFHQ}")
        assert load_pixels(one).shape == (32, 32, 3)
        with pytest.raises(DataError, match="empty"):
            load_pixels(two)

    @pytest.mark.parametrize(
        ("rows", "classes", "says"),
        [
            ([{"image": {"bytes": b"", "path": ""}, "label": 0}], None, "which of its labels is real"),
            ([{"image": {"bytes": b"", "path": ""}, "label": 0}], ["cat", "dog"], "neither real nor fake"),
            ([{"url": "https://example.org/1.png", "label": 0}], ["real", "fake"], "no column of pictures"),
        ],
    )
    def test_a_parquet_file_that_cannot_be_understood_is_named(
        self, publish: Any, rows: list[dict[str, Any]], classes: list[str] | None, says: str
    ) -> None:
        publish(CIFAKE, {"data/train-0.parquet": parquet_of(rows, classes)})
        with pytest.raises(DataError, match=f"train-0.parquet of hub:.*{says}"):
            read_samples(f"hub:{CIFAKE}")

    def test_a_zip_gives_its_pictures_and_videos(self, publish: Any) -> None:
        archive = zip_of({"../a/1.mp4": b"clip", "2.png": picture(2), "notes.txt": b"", "b/": b""})
        publish("shangxd/imagenet-vidvrd", {"videos/train.zip": archive})
        samples = read_samples("hub:shangxd/imagenet-vidvrd", "train")
        assert [s.path.suffix for s in samples] == [".mp4", ".png"]
        assert all(s.path.is_relative_to(cache_folder()) for s in samples)

    def test_a_limit_takes_of_every_split_and_says_what_it_leaves(
        self, server: Any, publish: Any, tmp_path: Path
    ) -> None:
        files = {f"data/{split}-{n}.png": picture(n) for n in range(3) for split in ("train", "test")}
        publish(AFHQ, files)
        said: list[str] = []
        limit = 4 * max(map(len, files.values()))
        download_source(f"hub:{AFHQ}", tmp_path / "mine", most_bytes=limit, say=said.append)
        assert downloads(server) == ["test-0.png", "train-0.png", "test-1.png", "train-1.png"]
        assert "2 of its files are beyond the limit" in said[0]
        assert counts(read_samples(tmp_path / "mine", "train")) == (2, 0)

    def test_a_first_file_beyond_the_limit_is_refused_before_it_is_fetched(
        self, server: Any, publish: Any, tmp_path: Path
    ) -> None:
        publish(AFHQ, {"data/train-0.png": picture(0)})
        with pytest.raises(SourceError) as caught:
            download_source(f"hub:{AFHQ}", tmp_path / "mine", most_bytes=10, say=print)
        assert caught.value.code == "body_too_large"
        assert downloads(server) == []

    def test_what_was_interrupted_goes_on_where_it_stopped(
        self, server: Any, publish: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        files = publish(AFHQ, {f"train/{n}.png": picture(n) for n in range(3)})
        lost = files.pop("train/1.png")
        real_list = hub._list_files
        monkeypatch.setattr(
            hub, "_list_files", lambda *args: (COMMIT, {**real_list(*args)[1], "train/1.png": len(lost)})
        )
        with pytest.raises(SourceError):
            read_samples(f"hub:{AFHQ}")
        files["train/1.png"] = lost
        server.asked.clear()
        assert len(read_samples(f"hub:{AFHQ}")) == 3
        assert set(downloads(server)) == {"1.png", "2.png"}

    def test_a_passing_failure_is_tried_again(self, server: Any, publish: Any, make_answer: Any) -> None:
        publish(AFHQ, {"train/1.png": picture(1)})
        answer, failures = server.answer, iter([True, True])

        def sometimes(path: str, headers: dict[str, str]) -> Any:
            return make_answer(500) if next(failures, False) else answer(path, headers)

        server.answer = sometimes
        assert len(read_samples(f"hub:{AFHQ}")) == 1

    def test_a_set_that_is_gone_is_not_asked_for_again(
        self, server: Any, make_answer: Any, publish: Any
    ) -> None:
        publish(AFHQ, {})
        server.answer = lambda path, headers: make_answer(404, headers={"X-Error-Code": "RepoNotFound"})
        with pytest.raises(SourceError) as caught:
            read_samples(f"hub:{AFHQ}")
        assert caught.value.code == "not_found"
        assert len(server.asked) == 1

    def test_a_set_without_pictures_is_said_to_have_none(self, publish: Any) -> None:
        publish(AFHQ, {"README.md": b"#", "data.csv": b"", "../1.png": b""})
        with pytest.raises(DataError, match="no Parquet file, ZIP or picture"):
            read_samples(f"hub:{AFHQ}")

    def test_a_folder_with_something_else_is_left_alone(self, publish: Any, tmp_path: Path) -> None:
        publish(AFHQ, {"train/1.png": picture(1)})
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letter.txt").touch()
        with pytest.raises(UsageError, match="something else"):
            download_source(f"hub:{AFHQ}", tmp_path / "mine", most_bytes=10**6, say=print)


@pytest.mark.parametrize("name", ["bitmind/AFHK", "bitmind", "../AFHQ", "bitmind/AFHQ@../..", "bitmind/AFHQ/x"])
def test_a_set_that_is_not_in_the_table_is_unknown(name: str) -> None:
    with pytest.raises(DataError) as caught:
        read_samples(f"hub:{name}")
    assert caught.value.code == "unknown_source"


def test_offline_a_set_that_is_not_in_the_cache_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError) as caught:
        read_samples(f"hub:{AFHQ}")
    assert caught.value.code == "offline"


def test_without_the_extra_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", None)
    with pytest.raises(MissingExtraError) as caught:
        read_samples(f"hub:{AFHQ}")
    assert caught.value.hint == install_command("hub")


def test_pictures_of_a_mixed_set_are_labelled_by_their_folders(tmp_path: Path) -> None:
    from veridical.data.sources._unpacking import unpack

    (tmp_path / "a.zip").write_bytes(zip_of({"train/REAL/1.png": b"1", "train/fake/2.png": b"2"}))
    mixed = SetInfo("owner/name", "mixed", "none", label=None)
    assert [label for label, _, _ in unpack(tmp_path / "a.zip", "a.zip", mixed)] == [Label.REAL, Label.FAKE]
    (tmp_path / "b.zip").write_bytes(zip_of({"train/1.png": b"1"}))
    with pytest.raises(DataError, match="below no folder named real or fake"):
        list(unpack(tmp_path / "b.zip", "b.zip", mixed))


def test_the_ten_image_sets_of_the_subnet_are_real() -> None:
    ours = [info for info in hub.INFO.sets if info.name.startswith("bitmind/")]
    assert len(ours) == 10
    assert {info.label for info in ours} == {Label.REAL}
    assert Sample(Path("a"), Label.REAL, "", AFHQ, AFHQ).stratum == AFHQ
