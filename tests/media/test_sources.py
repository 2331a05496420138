"""What a user may write on the command line, and which items it becomes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from veridical.errors import MediaError, SourceError
from veridical.media import DEFAULT_LIMITS, Item, Limits, find_items

FILES = ["b.jpg", "a.PNG", "notes.txt", "deep/c.webp", "deep/er/d.heic"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in FILES:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "pictures"


def names(*arguments: str, recursive: bool = False) -> list[str]:
    return [item.name for item in find_items(arguments, recursive=recursive, stdin=None)]


def code_of(item: Item) -> str:
    with pytest.raises(SourceError) as caught:
        item.read(DEFAULT_LIMITS)
    return caught.value.code


def only(argument: str, *, recursive: bool = False) -> Item:
    (item,) = find_items([argument], recursive=recursive, stdin=None)
    return item


def test_a_folder_gives_its_own_pictures_sorted(folder: Path) -> None:
    assert names("pictures") == ["pictures/a.PNG", "pictures/b.jpg"]


def test_a_recursive_folder_gives_all_below(folder: Path) -> None:
    expected = ["pictures/a.PNG", "pictures/b.jpg", "pictures/deep/c.webp", "pictures/deep/er/d.heic"]
    assert names("pictures", recursive=True) == expected


def test_a_named_file_is_taken_whatever_its_name(folder: Path) -> None:
    item = only("pictures/notes.txt")
    assert item.read(DEFAULT_LIMITS) == b"notes.txt"
    assert item.path == Path("pictures/notes.txt")


def test_arguments_keep_their_order(folder: Path) -> None:
    assert names("pictures/b.jpg", "pictures/a.PNG") == ["pictures/b.jpg", "pictures/a.PNG"]


def test_a_quoted_glob_is_expanded(folder: Path) -> None:
    assert names("pictures/*.jpg") == ["pictures/b.jpg"]
    assert names("pictures/**/*.webp") == ["pictures/deep/c.webp"]
    assert names(str(folder / "?.jpg")) == [str(folder / "b.jpg")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder: Path) -> None:
    (folder / "a[1].jpg").write_bytes(b"")
    assert names("pictures/a[1].jpg") == ["pictures/a[1].jpg"]


def test_what_leads_nowhere_is_an_item_that_says_so(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert code_of(only("pictures/missing.jpg")) == "not_found"
    assert code_of(only("pictures/*.gif")) == "no_matches"
    assert code_of(only("pictures/empty")) == "no_matches"
    assert code_of(only("@missing.txt")) == "not_found"
    assert code_of(only("pictures/b.jpg/inside")) == "not_found"
    assert code_of(only("a\x00b")) == "unreadable"


@pytest.mark.parametrize(
    "url", ["http://a.b/c.jpg", "https://a.b/c.jpg", "FTP://a.b/c", "file:///etc/passwd", "s3://x/*"]
)
def test_a_url_is_refused_with_the_way_out(url: str) -> None:
    item = only(url)
    assert code_of(item) == "url_not_supported"
    assert item.error is not None
    assert "Download the file" in str(item.error.hint)


def test_a_list_names_paths_relative_to_the_current_directory(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(
        b"\xef\xbb\xbfpictures/b.jpg\r\n\n   \npictures/deep\nhttp://a.b/c.jpg\n"
    )
    assert names("@list.txt") == ["pictures/b.jpg", "pictures/deep/c.webp", "http://a.b/c.jpg"]
    (tmp_path / "list.txt").write_text("\n\n")
    assert code_of(only("@list.txt")) == "no_matches"


def test_names_that_are_not_utf_8_survive_in_folders_globs_and_lists(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    Path(os.fsdecode(raw)).write_bytes(b"bytes")
    (tmp_path / "list.txt").write_bytes(raw + b"\n")
    for argument in (str(tmp_path), str(tmp_path / "*.jpg"), f"@{tmp_path / 'list.txt'}"):
        item = only(argument)
        assert os.fsencode(item.name) == raw
        assert item.read(DEFAULT_LIMITS) == b"bytes"


def test_standard_input_is_one_picture() -> None:
    (item,) = find_items(["-"], recursive=False, stdin=io.BytesIO(b"bytes"))
    assert (item.name, item.path) == ("-", None)
    assert item.read(DEFAULT_LIMITS) == b"bytes"
    assert code_of(only("-")) == "not_found"


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as stream:
        stream.truncate(10**12)
    (piped,) = find_items(["-"], recursive=False, stdin=io.BytesIO(bytes(101)))
    for item in (only(str(path)), piped):
        with pytest.raises(MediaError) as caught:
            item.read(Limits(max_file_bytes=100))
        assert caught.value.code == "body_too_large"


def test_a_pipe_or_a_folder_is_no_file_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert code_of(only(str(tmp_path / "pipe.jpg"))) == "unreadable"
    assert code_of(Item("x", tmp_path)) == "is_a_directory"


def test_a_link_to_a_folder_is_not_followed_so_that_loops_end(folder: Path) -> None:
    (folder / "deep" / "loop").symlink_to(folder)
    (folder / "self.jpg").symlink_to(folder / "self.jpg")
    assert len(names("pictures", recursive=True)) == 4


def test_a_link_to_a_file_is_followed_within_the_root_only(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "outside.jpg").write_bytes(b"")
    (folder / "deep" / "in.jpg").symlink_to(folder / "b.jpg")
    (folder / "deep" / "out.jpg").symlink_to(tmp_path / "outside.jpg")
    found = names("pictures", recursive=True)
    assert "pictures/deep/in.jpg" in found
    assert "pictures/deep/out.jpg" not in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said_and_the_rest_goes_on(folder: Path) -> None:
    (folder / "b.jpg").chmod(0)
    (folder / "deep").chmod(0)
    codes = {}
    for item in find_items(["pictures"], recursive=True, stdin=None):
        try:
            item.read(DEFAULT_LIMITS)
        except SourceError as error:
            codes[item.name] = error.code
    (folder / "deep").chmod(0o755)
    assert codes == {"pictures/b.jpg": "permission_denied", "pictures": "permission_denied"}


@pytest.mark.shared
def test_every_picture_of_the_test_split_is_listed(shared: Path) -> None:
    root = shared / "data" / "images" / "test"
    items = list(find_items([str(root)], recursive=True, stdin=None))
    assert len(items) == 488
    assert {item.path for item in items} == {path for path in root.rglob("*") if path.is_file()}
    assert [item.name for item in items] == names(str(root), recursive=True)
