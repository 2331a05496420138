"""A miner: answers signed challenges of validators with what a detector says of them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bittensor import http_auth
from fastapi import FastAPI, Request, Response
from prometheus_client import CollectorRegistry, Counter, Gauge

from veridical import __version__
from veridical.analysis import judge
from veridical.detectors import Detector, LiveDetector
from veridical.errors import ModelError, UsageError
from veridical.media.limits import UPLOAD_LIMITS
from veridical.network.chain import Address, Chain
from veridical.network.chain.errors import HotKeyNotRegisteredInSubNet
from veridical.network.chain.metagraph_view import MetagraphView
from veridical.network.identity import Signer, Wallet
from veridical.network.protocol import (
    DETECT_PATH,
    INFO_PATH,
    MOST_BYTES,
    MOST_SECONDS,
    ChallengeMessage,
    MinerReply,
    NonceStore,
    nonces_path,
    sign_reply,
    verify_request,
)
from veridical.results import Modality, ModelInfo, Report
from veridical.web.admission import RankedQueue, TokenBuckets
from veridical.web.bodies import read_body
from veridical.web.metrics import ANSWERED, CodeCounter
from veridical.web.refusals import Refusal
from veridical.web.server import json_response, listen, new_app, serve

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MinerRules:
    """Limits of a miner: whom it serves, and how many.

    Callers must be registered with a permit and at least `minimum_stake` rao, unless `allow_unregistered`;
    those of the `blacklist` (hotkeys) never are. Each hotkey has `rate` requests a second and `burst` at once;
    `jobs` files are judged at a time, `queue` more wait, the largest stake first.
    """

    minimum_stake: int = 0
    allow_unregistered: bool = False
    blacklist: frozenset[str] = frozenset()
    rate: float = 5.0
    burst: int = 20
    jobs: int = 1
    queue: int = 16
    uploads: int = 32
    metagraph_seconds: float = 12.0


@dataclass(frozen=True)
class MinerNode:
    """Settings of a miner's server; `detector` is a name or a folder.

    `host` and `port` are published, unless there are an `external_ip` and an `external_port`. `state` is the
    folder of what must survive a restart, by default in the user's data.
    """

    rules: MinerRules
    detector: str
    host: str
    port: int
    external_ip: str | None = None
    external_port: int | None = None
    state: Path | None = None

    @property
    def published_ip(self) -> str:
        """The address that others reach; raises `UsageError` if it is not known."""
        if self.external_ip is None and self.host in ("0.0.0.0", "::"):
            raise UsageError("Which address is to be published?", hint="Say it with --external-ip.")
        return self.external_ip or self.host


class Miner:
    """Judges what validators send, and signs what it says.

    `detector` gives the one to use now, such as `LiveDetector.current`. It is made within a running event loop
    or before one, and used by one.
    """

    modalities = (Modality.IMAGE,)

    def __init__(
        self,
        detector: Callable[[], Detector],
        signer: Signer,
        chain: Chain,
        nonces: http_auth.NonceStore,
        rules: MinerRules = MinerRules(),
    ) -> None:
        self.registry = registry = CollectorRegistry()
        self.counts = CodeCounter(registry, "veridical_requests_total", "Requests by what became of them.")
        self.rules = rules
        self._detector = detector
        self._signer = signer
        self._nonces = nonces
        self._view = MetagraphView(chain, seconds=rules.metagraph_seconds)
        self._buckets = TokenBuckets(rate=rules.rate, burst=rules.burst)
        self._queue = RankedQueue(served=rules.jobs, waiting=rules.queue)
        self._uploading = 0
        self._judges = ThreadPoolExecutor(rules.jobs, thread_name_prefix="judge")
        self._judged = Counter("veridical_judged", "Files judged.", registry=registry)
        self._seconds = Counter("veridical_judging_seconds", "Time spent judging.", registry=registry)
        Gauge("veridical_waiting", "Requests that wait for a judge.", registry=registry).set_function(
            lambda: self._queue.waiting
        )
        Gauge("veridical_metagraph_age_seconds", "Since it was read.", registry=registry).set_function(
            lambda: self._view.age
        )

    async def detect(self, request: Request) -> Response:
        """The signed answer to a challenge; raises `Refusal`. What costs least is checked first."""
        received = time.monotonic()
        query = request.scope["query_string"].decode("ascii", "replace")
        challenge = ChallengeMessage.from_query(query)
        if challenge.modality not in self.modalities:
            raise Refusal("unsupported_modality", f"This miner does not judge {challenge.modality}s.")
        headers = dict(request.headers)
        stake = await self._stake_of_claimed(headers)
        body = await self._read(request, challenge)
        target = request.scope["raw_path"].decode("ascii", "replace") + "?" + query
        caller = await asyncio.to_thread(
            verify_request,
            headers,
            body,
            target=target,
            receiver=self._signer.ss58_address,
            nonces=self._nonces,
        )
        self._buckets.take(caller.hotkey_ss58)
        report = await self._judge_in_turn(body, stake, received + challenge.deadline_ms / 1e3)
        reply = _reply(challenge, body, str(caller.nonce_ns), report, (time.monotonic() - received) * 1e3)
        content = reply.encode()
        signed = sign_reply(self._signer, target, content, receiver=caller.hotkey_ss58)
        self.counts.add(ANSWERED)
        _log.info("answered %s for %s in %.0f ms", challenge.challenge, caller.hotkey_ss58, reply.latency_ms)
        return Response(content, headers=signed, media_type="application/json")

    async def info(self) -> Response:
        """The miner itself: its hotkey, its limits, and what judges now."""
        detector = await asyncio.to_thread(self._detector)
        return json_response(
            {
                "protocol": "btauth/1",
                "version": __version__,
                "hotkey": self._signer.ss58_address,
                "modalities": self.modalities,
                "limits": {
                    modality: {"bytes": MOST_BYTES[modality], "seconds": MOST_SECONDS[modality]}
                    for modality in self.modalities
                },
                "model": ModelInfo(detector.name, detector.version, detector.sha256),
            }
        )

    def close(self) -> None:
        """Let the last ones finish."""
        self._judges.shutdown()

    async def _stake_of_claimed(self, headers: Mapping[str, str]) -> int:
        """The stake of whom the request says it is from, before anything of it is read or believed."""
        hotkey = headers.get(http_auth.HEADER_HOTKEY.lower())
        if not hotkey:
            raise Refusal("malformed_auth", "The request is not signed.")
        if hotkey in self.rules.blacklist:
            raise Refusal("blacklisted", "This miner does not serve this hotkey.")
        neuron = (await self._view.current()).by_hotkey(hotkey)
        if self.rules.allow_unregistered:
            return neuron.stake if neuron else 0
        if neuron is None:
            raise Refusal("not_registered", "The hotkey is not registered on this subnet.")
        if not neuron.permit:
            raise Refusal("no_permit", "The hotkey has no validator permit.")
        if neuron.stake < self.rules.minimum_stake:
            raise Refusal("not_enough_stake", f"The stake is below {self.rules.minimum_stake} rao.")
        return neuron.stake

    async def _read(self, request: Request, challenge: ChallengeMessage) -> bytes:
        if self._uploading >= self.rules.uploads:
            raise Refusal("queue_full", "Too many files are being sent.", retry_after=1)
        self._uploading += 1
        try:
            return await read_body(
                request, most_bytes=MOST_BYTES[challenge.modality], seconds=challenge.deadline_ms / 1e3
            )
        finally:
            self._uploading -= 1

    async def _judge_in_turn(self, body: bytes, stake: int, deadline: float) -> Report:
        too_late = Refusal("deadline_passed", "It was not its turn before the deadline.")
        async with contextlib.AsyncExitStack() as place:
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await place.enter_async_context(self._queue.place(stake))
            except TimeoutError as error:
                raise too_late from error
            if time.monotonic() >= deadline:
                raise too_late
            return await asyncio.get_running_loop().run_in_executor(self._judges, self._judge, body)

    def _judge(self, body: bytes) -> Report:
        started = time.perf_counter()
        try:
            report = judge(body, path=None, detector=self._detector(), limits=UPLOAD_LIMITS).report
        except ModelError as error:
            _log.error("the detector fails: %s", error.message)
            raise Refusal("model_failed", "The detector fails.") from error
        self._judged.inc()
        self._seconds.inc(time.perf_counter() - started)
        if report.error:
            raise Refusal(report.error.code, report.error.message, hint=report.error.hint)
        return report


def miner_app(miner: Miner) -> FastAPI:
    """The miner's HTTP interface."""
    app = new_app("Veridical miner", miner.registry, miner.counts)

    @app.post(DETECT_PATH)
    async def detect(request: Request) -> Response:
        return await miner.detect(request)

    @app.get(INFO_PATH)
    async def info() -> Response:
        return await miner.info()

    return app


def run_miner(node: MinerNode, chain: Chain, wallet: Wallet, *, announce: Callable[[str], None]) -> None:
    """Publish the miner's address and answer until SIGTERM or Ctrl-C; `announce` is told when it listens.

    Raises `NetworkError` for a hotkey that is not registered, `WebError` (`cannot_listen`), `UsageError`.
    """
    live = LiveDetector(node.detector)
    hotkey = wallet.hotkey.ss58_address
    nonces = NonceStore(nonces_path(hotkey, node.state))
    with contextlib.closing(nonces), listen(node.host, node.port) as listener:
        miner = Miner(live.current, wallet.hotkey, chain, nonces, node.rules)
        address = Address(node.published_ip, node.external_port or listener.getsockname()[1])
        _publish(chain, wallet, address)
        announce(f"{hotkey} answers at {address} with {live.current().name}.")
        serve(miner_app(miner), listener)
        miner.close()


def _publish(chain: Chain, wallet: Wallet, address: Address) -> None:
    """Write the address on the chain, unless it is there."""
    hotkey = wallet.hotkey.ss58_address
    neuron = chain.metagraph().by_hotkey(hotkey)
    if neuron is None:
        raise HotKeyNotRegisteredInSubNet(
            f"The hotkey {hotkey} is not registered on subnet {chain.netuid}.",
            hint="Use 'veridical network register' with the same --network, --netuid, --wallet and "
            "--wallet-hotkey.",
        )
    if neuron.address != address:
        chain.serve(wallet, address)


def _reply(
    challenge: ChallengeMessage, body: bytes, nonce: str, report: Report, latency_ms: float
) -> MinerReply:
    assert report.probability is not None  # a report without an error has all three
    assert report.model is not None
    return MinerReply(
        challenge=challenge.challenge,
        body_sha256=hashlib.sha256(body).hexdigest(),
        request_nonce=nonce,
        p=report.probability,
        verdict=report.verdict,
        model=report.model,
        latency_ms=latency_ms,
    )
