"""What is downloaded is whole, bounded, and asked for by nobody who forbade it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from veridical.data.download import fetch, new_folder, unpack_zip
from veridical.errors import SourceError, UsageError

BODY = bytes(range(256)) * 40
loopback = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


def get(url: str, path: Path, **options: Any) -> list[str]:
    said: list[str] = []
    fetch(url, path, **{"most_bytes": 1_000_000, "say": said.append, **options})
    return said


class TestOverLoopback:
    pytestmark = loopback

    def test_a_file_arrives_whole(self, server: Any, make_answer: Any, tmp_path: Path) -> None:
        server.answer = lambda path, headers: make_answer(body=BODY)
        get(f"{server.url}/a", tmp_path / "a", md5=hashlib.md5(BODY).hexdigest())
        assert (tmp_path / "a").read_bytes() == BODY
        assert [path.name for path in tmp_path.iterdir()] == ["a"]

    def test_a_download_that_breaks_off_goes_on_where_it_stopped(
        self, server: Any, make_answer: Any, tmp_path: Path
    ) -> None:
        def answer(path: str, headers: dict[str, str]) -> Any:
            if "range" not in headers:
                return make_answer(body=BODY[:4000], length=len(BODY), headers={"ETag": '"v1"'})
            if len(server.asked) == 2:
                return make_answer(503)
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
            return make_answer(206, BODY[start:], {"ETag": '"v1"'})

        server.answer = answer
        said = get(f"{server.url}/a", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == BODY
        assert [headers.get("range") for _, headers in server.asked] == [None, "bytes=4000-", "bytes=4000-"]
        assert server.asked[2][1]["if-range"] == '"v1"'
        assert len(said) == 3

    def test_a_file_that_changed_meanwhile_is_taken_from_its_beginning(
        self, server: Any, make_answer: Any, tmp_path: Path
    ) -> None:
        def answer(path: str, headers: dict[str, str]) -> Any:
            if "range" in headers:
                return make_answer(body=BODY[::-1], headers={"ETag": '"v2"'})
            return make_answer(body=BODY[:4000], length=len(BODY), headers={"ETag": '"v1"'})

        server.answer = answer
        get(f"{server.url}/a", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == BODY[::-1]

    @pytest.mark.parametrize(
        ("status", "code", "attempts"),
        [(500, "download_failed", 4), (403, "no_credentials", 1), (404, "not_found", 1)],
    )
    def test_only_what_may_pass_is_tried_again(
        self, server: Any, make_answer: Any, tmp_path: Path, status: int, code: str, attempts: int
    ) -> None:
        server.answer = lambda path, headers: make_answer(status)
        with pytest.raises(SourceError) as caught:
            get(f"{server.url}/a", tmp_path / "a")
        assert (caught.value.code, len(server.asked)) == (code, attempts)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("states_its_length", [True, False])
    def test_more_than_is_allowed_is_refused(
        self, server: Any, make_answer: Any, tmp_path: Path, states_its_length: bool
    ) -> None:
        length = len(BODY) if states_its_length else -1
        server.answer = lambda path, headers: make_answer(body=BODY, length=length)
        with pytest.raises(SourceError, match="more than the 9,999") as caught:
            get(f"{server.url}/a", tmp_path / "a", most_bytes=9_999)
        assert caught.value.code == "body_too_large"
        assert list(tmp_path.iterdir()) == []

    def test_a_wrong_hash_leaves_nothing(self, server: Any, make_answer: Any, tmp_path: Path) -> None:
        server.answer = lambda path, headers: make_answer(body=BODY)
        with pytest.raises(SourceError) as caught:
            get(f"{server.url}/a", tmp_path / "a", md5="0" * 32)
        assert caught.value.code == "hash_mismatch"
        assert list(tmp_path.iterdir()) == []

    def test_a_password_stays_with_the_server_it_is_for(
        self, server: Any, make_answer: Any, tmp_path: Path
    ) -> None:
        def answer(path: str, headers: dict[str, str]) -> Any:
            if path == "/a":
                return make_answer(302, headers={"Location": f"{server.url}/storage"})
            return make_answer(body=BODY)

        server.answer = answer
        get(f"{server.url}/a", tmp_path / "a", headers={"Authorization": "Basic secret"})
        assert [headers.get("authorization") for _, headers in server.asked] == ["Basic secret", None]

    @pytest.mark.parametrize("target", ["file:///etc/hostname", "http://example.org/a", "ftp://example.org/a"])
    def test_a_redirect_to_something_weaker_is_not_followed(
        self, server: Any, make_answer: Any, tmp_path: Path, target: str
    ) -> None:
        server.answer = lambda path, headers: make_answer(302, headers={"Location": target})
        with pytest.raises(SourceError):
            get(f"{server.url}/a", tmp_path / "a")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["http://example.org/a", "file:///etc/hostname", "ftp://example.org/a"])
def test_only_https_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str) -> None:
    monkeypatch.delenv("VERIDICAL_OFFLINE", raising=False)
    with pytest.raises(SourceError) as caught:
        get(url, tmp_path / "a")
    assert caught.value.code == "url_not_supported"


@pytest.mark.parametrize("variable", ["VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(SourceError) as caught:
        get("https://example.org/a", tmp_path / "a")
    assert caught.value.code == "offline"


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "set") as scratch:
        (scratch / "a" / "b").touch()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "set") as scratch:
        (scratch / "a").touch()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["a"]
    with pytest.raises(UsageError, match="there already"), new_folder(tmp_path / "set"):
        pass


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside"])
def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(name, "x")
    (tmp_path / "set").mkdir()
    with pytest.raises(SourceError, match="outside"):
        unpack_zip(tmp_path / "a.zip", tmp_path / "set")
    assert {path.name for path in tmp_path.rglob("*")} == {"a.zip", "set"}


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(100_000))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 99_999}))
    with pytest.raises(SourceError) as caught:
        unpack_zip(tmp_path / "a.zip", tmp_path)
    assert caught.value.code == "body_too_large"
    assert not (tmp_path / "a").exists()


def test_a_damaged_archive_is_said_to_be_damaged(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(SourceError, match="damaged"):
        unpack_zip(tmp_path / "a.zip", tmp_path)
