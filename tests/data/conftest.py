"""A web server on loopback, and a switch that lets the tests wait no longer than they must."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import PIL.Image
import pytest

from veridical.data import download


@dataclass
class Answer:
    """One answer; a body shorter than `length` breaks off, and -1 states none."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    length: int | None = None


class Server(ThreadingHTTPServer):
    """Answers by `answer(path, headers)` and remembers what was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Routes)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.answer: Callable[[str, dict[str, str]], Answer] = lambda path, headers: Answer(404)
        self.asked: list[tuple[str, dict[str, str]]] = []


class _Routes(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.asked.append((self.path, headers))
        answer = self.server.answer(self.path, headers)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.length != -1:
            length = len(answer.body) if answer.length is None else answer.length
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "FIRST_WAIT", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in ("VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def make_answer() -> type[Answer]:
    return Answer


@pytest.fixture
def make_pictures(tmp_path: Path) -> Callable[..., Path]:
    """Small pictures at the given paths below a folder, each of another colour."""

    def make(*names: str) -> Path:
        root = tmp_path / "set"
        for place, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.new("RGB", (32, 32), (place, 100, 200)).save(path)
        return root

    return make
