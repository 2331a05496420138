"""Asks miners, and believes only what they signed; whatever a peer does, the outcome is an `Answer`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx2
import msgspec

from veridical.network.chain import Address, Neuron
from veridical.network.identity import Signer
from veridical.network.protocol import (
    MOST_REPLY_BYTES,
    ChallengeMessage,
    MinerReply,
    sign_request,
    verify_reply,
)
from veridical.results import ModelInfo
from veridical.web.refusals import STATUS_OF, Refusal

_CONNECT_SECONDS = 2.0


@dataclass(frozen=True)
class Answer:
    """The outcome of asking one miner.

    `score` is its probability of fake, finite and in [0, 1]; None if it gave none, and then `error` says why:
    `no_address`, `private_address`, `unreachable`, `timeout`, `reply_too_large`, `malformed_reply`,
    `forged_reply` (signed wrongly, by somebody else, too old, or an answer to something else), or
    `refused:CODE` with the miner's own code. `latency_ms` is our measure, to the end of the answer or attempt.
    """

    hotkey: str
    score: float | None = None
    model: ModelInfo | None = None
    latency_ms: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Client:
    """Connections to miners. `local`: also to addresses of this machine and of private networks."""

    http: httpx2.AsyncClient
    local: bool


@contextlib.asynccontextmanager
async def open_client(*, local: bool = False) -> AsyncIterator[Client]:
    """A client, for as many questions at a time as one likes; closed at the end."""
    async with httpx2.AsyncClient(
        trust_env=False,  # A proxy of the environment would see the challenges.
        follow_redirects=False,
        timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=256),
        headers={"Accept-Encoding": "identity"},
    ) as http:
        yield Client(http, local)


async def ask(
    client: Client, signer: Signer, neuron: Neuron, challenge: ChallengeMessage, body: bytes, *, timeout: float
) -> Answer:
    """The miner's answer within `timeout` seconds; a peer that does not behave is an `error`, never raised."""
    started = time.perf_counter()
    try:
        async with asyncio.timeout(timeout):
            reply = await _exchange(client, signer, neuron, challenge, body)
    except _NoAnswerError as error:
        return Answer(neuron.hotkey, latency_ms=_ms_since(started), error=error.code)
    except TimeoutError:
        return Answer(neuron.hotkey, latency_ms=_ms_since(started), error="timeout")
    return Answer(neuron.hotkey, reply.p, reply.model, _ms_since(started))


class _NoAnswerError(Exception):
    """A miner gave no answer; the code says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def _exchange(
    client: Client, signer: Signer, neuron: Neuron, challenge: ChallengeMessage, body: bytes
) -> MinerReply:
    address = _reachable(neuron.address, local=client.local)
    signed = sign_request(signer, challenge, body, receiver=neuron.hotkey)
    status, headers, content = await _post(client, f"http://{address}{challenge.target}", signed, body)
    if status != 200:
        raise _NoAnswerError(_refused(status, content))
    try:
        return verify_reply(
            headers,
            content,
            request=signed,
            message=challenge,
            body_sha256=hashlib.sha256(body).hexdigest(),
        )
    except Refusal as error:
        is_form = error.code in ("malformed_request", "malformed_auth")
        raise _NoAnswerError("malformed_reply" if is_form else "forged_reply") from error


def _reachable(address: Address | None, *, local: bool) -> Address:
    if address is None:
        raise _NoAnswerError("no_address")
    # Whoever registers may publish any address; it must not be a way into this machine's network.
    if not local and not _is_public(address.ip):
        raise _NoAnswerError("private_address")
    return address


def _is_public(ip: str) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        # An IPv4 address in another coat goes where that address goes.
        inner = address.ipv4_mapped or address.sixtofour
        return address.is_global and (inner is None or inner.is_global)
    return address.is_global


async def _post(
    client: Client, url: str, headers: dict[str, str], body: bytes
) -> tuple[int, dict[str, str], bytes]:
    try:
        async with client.http.stream("POST", url, content=body, headers=headers) as response:
            content = b""
            # Raw: what a miner compresses is not unpacked.
            async for chunk in response.aiter_raw():
                content += chunk
                if len(content) > MOST_REPLY_BYTES:
                    raise _NoAnswerError("reply_too_large")
            return response.status_code, dict(response.headers), content
    except httpx2.ConnectTimeout as error:
        raise _NoAnswerError("timeout") from error
    except httpx2.HTTPError as error:
        raise _NoAnswerError("unreachable") from error


def _refused(status: int, content: bytes) -> str:
    """The miner's own code, if it is one that we know: what a stranger writes is not repeated in our logs."""
    try:
        code = msgspec.json.decode(content, type=dict[str, dict[str, Any]])["error"]["code"]
        return f"refused:{code if code in STATUS_OF else status}"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return f"refused:{status}"


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
