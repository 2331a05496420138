"""An HTTP server: its application, its listener, its start and its end."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from types import FrameType

import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from veridical.errors import WebError
from veridical.web.metrics import CodeCounter, metrics_response
from veridical.web.refusals import Refusal

# More connections than this are turned away with a bare 503.
_MOST_CONNECTIONS = 512
# The head of a request is waited for so long, seconds; else silent connections would shut out all others.
_HEAD_SECONDS = 10.0
# A request that is being answered when the program is told to end may take so long, seconds.
_GRACE_SECONDS = 30

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

_log = logging.getLogger(__name__)


def new_app(
    title: str, registry: CollectorRegistry, counts: CodeCounter, *, while_open: Lifespan | None = None
) -> FastAPI:
    """An application with `/healthz` and `/metrics`, whose errors are ours, in JSON, and counted.

    `while_open` is entered before it answers.
    """
    app = FastAPI(title=title, docs_url=None, redoc_url=None, openapi_url=None, lifespan=while_open)

    @app.get("/healthz")
    async def healthz() -> Response:
        return json_response({"status": "ok"})

    @app.get("/metrics")
    async def metrics() -> Response:
        return metrics_response(registry)

    @app.exception_handler(Refusal)
    async def refuse(request: Request, error: Refusal) -> Response:
        counts.add(error.code)
        _log.debug("refused %s: %s", request.client and request.client.host, error.code)
        return error.response()

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        counts.add(code)
        return Refusal(code, f"There is no {request.method} of this path.").response()

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        counts.add("internal_error")  # The server logs the traceback.
        return Refusal("internal_error", "This server failed on the request.").response()

    return app


def json_response(value: object) -> Response:
    """`value`, anything that JSON can hold."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def listen(host: str, port: int) -> socket.socket:
    """A socket that already takes connections; port 0 is any that is free."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        raise WebError(
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
