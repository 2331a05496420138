from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from veridical.errors import MissingExtraError, ModelError, UnknownModelError
from veridical.extras import install_command
from veridical.models.bundle import read_bundle, write_bundle
from veridical.models.card import Card, sha256_of
from veridical.models.snapshots import cache_folder, is_offline
from veridical.models.store import find_bundle, list_bundles


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VERIDICAL_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "cache"


def test_a_bundle_in_the_cache_is_found_by_its_folders_name(cache: Path, card: Card, graph: bytes) -> None:
    write_bundle(cache / "bundles" / "mine", card, {"model.onnx": graph})
    found = find_bundle("mine")
    assert (found.name, found.folder, found.origin) == ("mine", cache / "bundles" / "mine", "cache")
    assert found in list_bundles()


def test_a_path_is_found_as_it_is(tmp_path: Path, card: Card, graph: bytes) -> None:
    write_bundle(tmp_path / "work" / "mine", card, {"model.onnx": graph})
    for name in ("mine", "./mine", str(tmp_path / "work" / "mine")):
        assert read_bundle(find_bundle(name).folder).card.name == "tiny"
        assert find_bundle(name).origin == "path"


def test_a_folder_lying_about_cannot_pose_as_a_known_bundle(
    cache: Path, tmp_path: Path, card: Card, graph: bytes
) -> None:
    write_bundle(cache / "bundles" / "mine", card, {"model.onnx": graph})
    write_bundle(tmp_path / "work" / "mine", card, {"model.onnx": graph})
    assert find_bundle("mine").origin == "cache"
    assert find_bundle("./mine").origin == "path"


def test_an_unknown_name_is_answered_with_the_nearest(cache: Path, card: Card, graph: bytes) -> None:
    write_bundle(cache / "bundles" / "my_detector", card, {"model.onnx": graph})
    with pytest.raises(UnknownModelError) as caught:
        find_bundle("my_detektor")
    assert caught.value.code == "unknown_model"
    assert caught.value.hint is not None
    assert "Did you mean 'my_detector'?" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../bundles", "a/../b", "~", "*", "a\0b", "x" * 5000, "/absent", "-", "hf", "é"]
)
def test_no_name_escapes_the_folders_that_are_searched(
    cache: Path, card: Card, graph: bytes, name: str
) -> None:
    write_bundle(cache / "bundles" / "mine", card, {"model.onnx": graph})
    with pytest.raises(UnknownModelError):
        find_bundle(name)


def test_a_pickle_is_found_and_then_refused_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "work" / "model.pt").write_bytes(b"\x80\x02}q\0.")
    with pytest.raises(ModelError) as caught:
        read_bundle(find_bundle("model.pt").folder)
    assert caught.value.code == "unsafe_checkpoint"


def test_half_written_bundles_are_not_listed(cache: Path, card: Card, graph: bytes) -> None:
    write_bundle(cache / "bundles" / ".mine.abc", card, {"model.onnx": graph})
    write_bundle(cache / "hub" / "owner" / "name" / ".main.abc", card, {"model.onnx": graph})
    assert {bundle.origin for bundle in list_bundles()} <= {"package"}


def test_the_cache_is_the_users_unless_the_variable_says_otherwise(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == cache
    monkeypatch.delenv("VERIDICAL_CACHE")
    assert cache_folder().name == "veridical"


@pytest.mark.parametrize("variable", ["VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"])
@pytest.mark.parametrize(
    ("value", "expected"), [("1", True), ("true", True), ("ON", True), ("0", False), ("", False)]
)
def test_the_offline_switches_are_read_when_they_are_needed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: bool
) -> None:
    assert not is_offline()
    monkeypatch.setenv(variable, value)
    assert is_offline() == expected


@pytest.mark.parametrize("variable", ["VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_a_hub_bundle_is_found_in_the_cache_or_refused_but_never_fetched(
    cache: Path, card: Card, graph: bytes, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # so that reaching for it would fail
    with pytest.raises(ModelError) as caught:
        find_bundle("hf:owner/name@v1")
    assert caught.value.code == "offline"

    folder = cache / "hub" / "owner" / "name" / "v1"
    write_bundle(folder, card, {"model.onnx": graph})
    assert find_bundle("hf:owner/name@v1").folder == folder
    assert [bundle.name for bundle in list_bundles() if bundle.origin == "hub"] == ["hf:owner/name@v1"]


@pytest.mark.parametrize(
    "name", ["hf:", "hf:name", "hf:a/b/c", "hf:../b", "hf:a/..@x", "hf:a/b@../..", "hf:a/b@", "hf:a/b@x/y"]
)
def test_a_malformed_hub_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownModelError, match="hub repository"):
        find_bundle(name)


def test_without_the_extra_the_pip_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError) as caught:
        find_bundle("hf:owner/name")
    assert caught.value.hint == install_command("hub")


def test_a_hub_that_cannot_be_reached_is_a_retryable_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # sockets are forbidden in tests anyway
    with pytest.raises(ModelError) as caught:
        find_bundle("hf:owner/name")
    assert caught.value.code == "offline"
    assert caught.value.retryable


class Hub(ThreadingHTTPServer):
    """The two routes of a hub that a download needs, on loopback."""

    commit = "0123456789abcdef0123456789abcdef01234567"
    daemon_threads = True

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), HubRoutes)
        self.files = files
        self.fetched: set[str] = set()


class HubRoutes(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "/resolve/" in self.path:
            name = self.path.rsplit("/", 1)[1]
            self.server.fetched.add(name)
            self.answer(self.server.files.get(name), "application/octet-stream")
        elif self.path.startswith("/api/models/owner/name"):
            names = [{"type": "file", "path": n, "rfilename": n, "size": len(d), "oid": sha256_of(d)[:40]}
                     for n, d in self.server.files.items()]  # fmt: skip
            whole = {"id": "owner/name", "sha": Hub.commit, "siblings": names}
            self.answer(json.dumps(names if "/tree/" in self.path else whole).encode(), "application/json")
        else:
            self.answer(None, "text/plain")

    def answer(self, body: bytes | None, kind: str) -> None:
        self.send_response(404 if body is None else 200)
        if body is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        else:
            self.send_header("ETag", f'"{sha256_of(body)}"')
        self.send_header("X-Repo-Commit", Hub.commit)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, card: Card, graph: bytes) -> Iterator[Hub]:
    folder = tmp_path / "published"
    write_bundle(folder, card, {"model.onnx": graph})
    server = Hub(
        {path.name: path.read_bytes() for path in folder.iterdir()} | {"pytorch_model.bin": b"\x80\x02."}
    )
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_hub_bundle_is_downloaded_without_its_pickle_and_stays_when_offline(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = find_bundle("hf:owner/name")
    assert found.name == "hf:owner/name@main"
    assert hub.fetched == {path.name for path in found.folder.iterdir()} == {"card.json", "model.onnx"}
    assert read_bundle(found.folder).graph == hub.files["model.onnx"]

    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    assert find_bundle("hf:owner/name") == found


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_a_hub_repository_with_a_damaged_bundle_is_refused(hub: Hub, cache: Path) -> None:
    hub.files["model.onnx"] += b"\0"
    with pytest.raises(ModelError) as caught:
        find_bundle("hf:owner/name")
    assert caught.value.code == "hash_mismatch"
    assert list_bundles() == [bundle for bundle in list_bundles() if bundle.origin == "package"]


@pytest.mark.enable_socket
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_an_unknown_hub_repository_is_an_unknown_model(hub: Hub) -> None:
    with pytest.raises(UnknownModelError, match="no hub repository owner/other"):
        find_bundle("hf:owner/other")
