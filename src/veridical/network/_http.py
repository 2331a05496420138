"""What the servers of miner and proxy share: refusals, limits before reading, counts, start and end."""

from __future__ import annotations

import asyncio
import collections
import logging
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from math import ceil
from types import FrameType

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from veridical.errors import NetworkError
from veridical.network.protocol import Refusal

ANSWERED = "answered"

# More connections than this are turned away with a bare 503.
_MOST_CONNECTIONS = 512
# The head of a request is waited for so long, seconds; else silent connections would shut out all others.
_HEAD_SECONDS = 10.0
# A request that is being answered when the program is told to end may take so long, seconds.
_GRACE_SECONDS = 30

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_log = logging.getLogger(__name__)


class Counts:
    """How often each thing happened: `answered`, or the code of a refusal."""

    def __init__(self) -> None:
        self._counter: collections.Counter[str] = collections.Counter()

    def add(self, code: str) -> None:
        """Once more."""
        self._counter[code] += 1

    def __getitem__(self, code: str) -> int:
        return self._counter[code]

    def samples(self) -> list[tuple[Mapping[str, str], float]]:
        """For `metrics_text`."""
        return [({"code": code}, number) for code, number in sorted(self._counter.items())]


def new_app(title: str, counts: Counts, *, while_open: Lifespan | None = None) -> FastAPI:
    """An application whose errors are ours, in JSON, and counted; `while_open` is entered before it answers."""
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=while_open)

    @app.exception_handler(Refusal)
    async def refuse(request: Request, error: Refusal) -> Response:
        counts.add(error.code)
        _log.debug("refused %s: %s", request.client and request.client.host, error.code)
        return _error_response(error)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        counts.add(code)
        return _error_response(Refusal(code, f"There is no {request.method} of this path."))

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        counts.add("internal_error")  # The server logs the traceback.
        return _error_response(Refusal("internal_error", "This server failed on the request."))

    return app


async def read_body(request: Request, *, most_bytes: int, seconds: float) -> bytes:
    """The body; raises `Refusal` for one of unknown or too great a length before a byte of it is read."""
    length = _content_length(request)
    if length > most_bytes:
        raise Refusal("body_too_large", f"The body has {length} bytes; at most {most_bytes} are read.")
    parts = []
    try:
        async with asyncio.timeout(seconds):
            async for part in request.stream():
                parts.append(part)  # Not more than its Content-Length: the server sees to that.
    except TimeoutError as error:
        raise Refusal("body_too_slow", f"The body did not come within {seconds:g} s.") from error
    except ClientDisconnect as error:
        raise Refusal("incomplete_body", "The connection ended before the body.") from error
    return b"".join(parts)


def json_response(value: object) -> Response:
    """`value`, anything that JSON can hold."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def metrics_text(metrics: Iterable[tuple[str, str, str, list[tuple[Mapping[str, str], float]]]]) -> Response:
    """Prometheus' text format of (name, type, help, [(labels, value), ...])."""
    lines = []
    for name, kind, what, samples in metrics:
        lines += [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]
        for labels, value in samples:
            pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
            lines.append(f"{name}{{{pairs}}} {value:g}" if pairs else f"{name} {value:g}")
    return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def listen(host: str, port: int) -> socket.socket:
    """A socket that already takes connections; port 0 is any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise NetworkError(
            f"Nobody can listen on {host} port {port}: {error.strerror or error}.", code="cannot_listen"
        ) from error


def server_of(app: FastAPI) -> uvicorn.Server:
    """The server, to be run on a socket of `listen`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=_Impatient,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )


def serve(app: FastAPI, listener: socket.socket) -> None:
    """Answer until SIGTERM or Ctrl-C; what has begun is finished first. SIGTERM is no error."""

    def ignore(number: int, frame: FrameType | None) -> None:
        """The server sends itself the signal again when it has finished; by then there is nothing to do."""

    previous = signal.signal(signal.SIGTERM, ignore)
    try:
        server_of(app).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, previous)


class _Impatient(H11Protocol):
    """Closes a connection on which the head of a request, the first or the next, does not come in time."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._wait_for_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._wait_for_head()

    def _wait_for_head(self) -> None:
        self.loop.call_later(_HEAD_SECONDS, self._close_if_silent, self.cycle)

    def _close_if_silent(self, cycle: RequestResponseCycle | None) -> None:
        if self.cycle is cycle and (cycle is None or cycle.response_complete):
            self.transport.close()


def _content_length(request: Request) -> int:
    text = request.headers.get("content-length")
    if text is None:
        raise Refusal("length_required", "The request has no Content-Length.")
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise Refusal("malformed_request", "The Content-Length is no number.")
    return int(text)


def _error_response(error: Refusal) -> Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(ceil(error.retry_after))}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer" if error.code == "bad_key" else "Bittensor"
    return Response(
        msgspec.json.encode({"error": asdict(error.info)}),
        status_code=error.status,
        headers=headers,
        media_type="application/json",
    )


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
