"""A proxy for outside clients: one question to a subnet's best miners, one answer with its disagreement.

The answer is the median of the miners' probabilities, weighted by incentive, which is what the validators'
consensus thinks of them. It is `ai` or `real` only if the middle half of the weight is on one side of 0.5, and
if at least half of those who were asked have answered; else it is `unsure`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from fastapi import FastAPI, Request, Response
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from veridical.network.chain import Chain, Metagraph, Neuron
from veridical.network.chain.ledger import LocalLedger
from veridical.network.chain.metagraph_view import MetagraphView
from veridical.network.client import Answer, Client, ask, open_client
from veridical.network.identity import Signer, Wallet
from veridical.network.protocol import DETECT_PATH, MOST_BYTES, MOST_SECONDS, ChallengeMessage
from veridical.results import Modality, Verdict
from veridical.web.admission import TokenBuckets
from veridical.web.api_keys import ApiKeys
from veridical.web.bodies import read_file
from veridical.web.metrics import ANSWERED, CodeCounter
from veridical.web.refusals import Refusal
from veridical.web.server import json_response, listen, new_app, serve

Floats = NDArray[np.float64]
Announce = Callable[[str], None]

_METAGRAPH_SECONDS = 12.0


@dataclass(frozen=True)
class Consensus:
    """Weighted answers taken together.

    `p` is their median, `low` and `high` their quartiles, `mad` the median of their distances from `p`; all
    weighted, so that a quarter of the weight can move none of them beyond what the others said.
    """

    p: float
    low: float
    high: float
    mad: float

    @property
    def verdict(self) -> Verdict:
        """`ai` or `real` where the middle half agrees on the side of 0.5, else `unsure`."""
        if self.low >= 0.5:
            return Verdict.AI
        if self.high < 0.5:
            return Verdict.REAL
        return Verdict.UNSURE


def consensus(scores: Sequence[float], weights: Sequence[float]) -> Consensus:
    """Scores taken together; weights that are all zero count as equal.

    >>> consensus([0.1, 0.2, 0.9], [1, 1, 5])
    Consensus(p=0.9, low=0.2, high=0.9, mad=0.0)
    """
    values = np.asarray(scores, np.float64)
    shares = np.asarray(weights, np.float64)
    if not shares.any():
        shares = np.ones_like(shares)
    low, middle, high = _quantiles(values, shares, [0.25, 0.5, 0.75])
    (mad,) = _quantiles(np.abs(values - middle), shares, [0.5])
    return Consensus(p=middle, low=low, high=high, mad=mad)


def best_miners(graph: Metagraph, *, count: int, without: str) -> list[Neuron]:
    """Those with an address and the greatest incentives, the best first; `without` is one's own hotkey."""
    serving = [neuron for neuron in graph.neurons if neuron.address and neuron.hotkey != without]
    return sorted(serving, key=lambda neuron: (-neuron.incentive, neuron.uid))[:count]


@dataclass(frozen=True)
class ProxyRules:
    """Limits of a proxy: `miners` asked, and for each key `rate` questions a second, `burst` at once."""

    miners: int = 5
    rate: float = 1.0
    burst: int = 10


class Proxy:
    """Asks miners for clients who have a key; `local`: also miners on this machine and in private networks."""

    _client: Client

    def __init__(
        self,
        signer: Signer,
        chain: Chain,
        keys: ApiKeys,
        rules: ProxyRules = ProxyRules(),
        *,
        local: bool = False,
    ) -> None:
        self.registry = CollectorRegistry()
        self.counts = CodeCounter(
            self.registry, "veridical_proxy_requests_total", "Requests by what became of them."
        )
        self.answers = CodeCounter(
            self.registry, "veridical_proxy_answers_total", "Miners' answers, or errors."
        )
        self._signer = signer
        self._local = local
        self._keys = keys
        self._rules = rules
        self._view = MetagraphView(chain, seconds=_METAGRAPH_SECONDS)
        self._buckets = TokenBuckets(rate=rules.rate, burst=rules.burst)

    @contextlib.asynccontextmanager
    async def connected(self, app: FastAPI) -> AsyncIterator[None]:
        """Needed around all questions: the connections to miners."""
        async with open_client(local=self._local) as self._client:
            yield

    async def detect(self, request: Request) -> Response:
        """The miners' consensus on a file; raises `Refusal`."""
        self._buckets.take(await self._client_of(request))
        is_rich = _flag(request, "rich")
        modality = _modality(request)
        file = await read_file(request, most_bytes=MOST_BYTES[modality], seconds=MOST_SECONDS[modality])
        graph = await self._view.current()
        miners = best_miners(graph, count=self._rules.miners, without=self._signer.ss58_address)
        challenge = ChallengeMessage(
            secrets.token_hex(16), modality, deadline_ms=round(MOST_SECONDS[modality] * 1000)
        )
        answers = await asyncio.gather(
            *(
                ask(self._client, self._signer, miner, challenge, file, timeout=MOST_SECONDS[modality])
                for miner in miners
            )
        )
        for answer in answers:
            self.answers.add(answer.error or ANSWERED)
        asked = list(zip(miners, answers, strict=True))
        content = _content(asked, hashlib.sha256(file).hexdigest(), is_rich=is_rich)
        self.counts.add(ANSWERED)
        return json_response(content)

    async def _client_of(self, request: Request) -> str:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        name = await asyncio.to_thread(self._keys.client_of, key) if scheme.lower() == "bearer" else None
        if name is None:
            raise Refusal("bad_key", "The key is missing or wrong.", hint="Send 'Authorization: Bearer KEY'.")
        return name


def proxy_app(proxy: Proxy) -> FastAPI:
    """The proxy's HTTP interface."""
    app = new_app("Veridical proxy", proxy.registry, proxy.counts, while_open=proxy.connected)

    @app.post(DETECT_PATH)
    async def detect(request: Request) -> Response:
        return await proxy.detect(request)

    return app


def run_proxy(
    rules: ProxyRules, chain: Chain, wallet: Wallet, *, keys: Path, host: str, port: int, announce: Announce
) -> None:
    """Answer clients who have one of the `keys` until SIGTERM or Ctrl-C; `announce` is told when it listens."""
    local = isinstance(chain, LocalLedger)
    proxy = Proxy(wallet.hotkey, chain, ApiKeys(keys), rules, local=local)
    with listen(host, port) as listener:
        own_host, own_port = listener.getsockname()[:2]
        announce(f"The proxy answers at {own_host}:{own_port}.")
        serve(proxy_app(proxy), listener)


def _quantiles(values: Floats, weights: Floats, at: Sequence[float]) -> list[float]:
    # The inverted CDF is always one of the values, never a mean of two.
    found = np.quantile(values, at, weights=weights, method="inverted_cdf")
    return [float(value) for value in found]


# object: what JSON holds
def _content(asked: Sequence[tuple[Neuron, Answer]], sha256: str, *, is_rich: bool) -> dict[str, object]:
    answered = [(miner, answer, answer.score) for miner, answer in asked if answer.score is not None]
    missing = [(miner, answer) for miner, answer in asked if answer.score is None]
    if not answered:
        reasons = ", ".join(sorted({answer.error for _, answer in missing})) or "no miner has an address"
        raise Refusal("no_answers", f"No miner answered ({reasons}).", retry_after=5)
    said = consensus([score for *_, score in answered], [miner.incentive for miner, *_ in answered])
    has_quorum = 2 * len(answered) >= len(asked)
    content: dict[str, object] = {
        "sha256": sha256,
        "verdict": said.verdict if has_quorum else Verdict.UNSURE,
        "p": said.p,
        "disagreement": {"quartiles": [said.low, said.high], "mad": said.mad},
        "asked": len(asked),
        "answered": len(answered),
        "missing": [{"uid": miner.uid, "error": answer.error} for miner, answer in missing],
    }
    if is_rich:
        ranks = {miner.uid: rank for rank, (miner, _) in enumerate(asked, start=1)}
        content["miners"] = [
            {
                "uid": miner.uid,
                "hotkey": miner.hotkey,
                "rank": ranks[miner.uid],
                "incentive": miner.incentive,
                "p": answer.score,
                "error": answer.error or None,
                "model": answer.model,
                "latency_ms": answer.latency_ms,
            }
            for miner, answer in asked
        ]
    return content


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false").lower()
    if text not in ("true", "false", "1", "0"):
        raise Refusal("malformed_request", f"{name} is true or false.")
    return text in ("true", "1")


def _modality(request: Request) -> Modality:
    text = request.query_params.get("modality", Modality.IMAGE)
    if text not in set(Modality):
        raise Refusal("unsupported_modality", "The modality is neither image nor video.")
    return Modality(text)
