"""The proxy over real miners on loopback, and the rule by which it puts their answers together."""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import io
import json
import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from veridical.detectors.base import score_of_logits
from veridical.media import Image
from veridical.network.chain import Address, CommitReveal, WeightVector
from veridical.network.chain.ledger import QUICK, LocalLedger
from veridical.network.identity import DevelopmentWallet, development_wallet
from veridical.network.miner import Miner, miner_app
from veridical.network.protocol import NonceStore
from veridical.network.proxy import Proxy, ProxyRules, best_miners, consensus, proxy_app
from veridical.results import Score, Thresholds, Verdict
from veridical.web.api_keys import ApiKeys, new_key

Serving = Callable[[FastAPI], int]

VALIDATOR, BEST, SECOND, THIRD, LAST = (
    development_wallet(f"//{name}") for name in ("validator", "best", "second", "third", "last")
)
LOOPBACK = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]


def picture() -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (64, 64), (127,) * 3).save(file, "PNG")
    return file.getvalue()


@dataclasses.dataclass(frozen=True)
class Says:
    """The same of every picture."""

    p: float
    name: str = "says"
    version: str = "1"
    sha256: str = "5" * 64
    thresholds: Thresholds = Thresholds(ai=0.9, real=0.1)
    calibrated: bool = False
    card: None = None
    minimum: int = 1

    def detect(self, medium: Image) -> Score:
        return score_of_logits([math.log(self.p / (1 - self.p))], None)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalLedger]:
    """A validator with a permit, and miners with incentives of 0.4, 0.3, 0.2 and 0.1."""
    rules = dataclasses.replace(QUICK, commit_reveal=CommitReveal.OFF)
    with LocalLedger.create(tmp_path / "subnet.ledger", hyperparameters=rules) as made:
        for wallet in (VALIDATOR, LAST, THIRD, SECOND, BEST):
            made.register(wallet)
        made.stake(VALIDATOR, 10**12)
        made.advance(20)
        made.set_weights(VALIDATOR, WeightVector.from_shares({1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}))
        made.advance(20)
        yield made


@pytest.fixture
def keys(tmp_path: Path) -> tuple[ApiKeys, str]:
    """A file of keys, and a key in it."""
    key = new_key(tmp_path / "keys", "newsroom")
    return ApiKeys(tmp_path / "keys"), key


Mine = Callable[[DevelopmentWallet, float], None]


@pytest.fixture
def mine(serving: Serving, ledger: LocalLedger, tmp_path: Path) -> Iterator[Mine]:
    """Run a miner that always says the same."""
    with contextlib.ExitStack() as stack:

        def start(wallet: DevelopmentWallet, p: float) -> None:
            nonces = NonceStore(tmp_path / f"{wallet.hotkey.ss58_address}.sqlite")
            miner = Miner(lambda: Says(p), wallet.hotkey, ledger, nonces)
            stack.callback(nonces.close)
            stack.callback(miner.close)
            ledger.serve(wallet, Address("127.0.0.1", serving(miner_app(miner))))

        yield start


Post = Callable[..., tuple[int, Any]]


@pytest.fixture
def post(serving: Serving, ledger: LocalLedger, keys: tuple[ApiKeys, str]) -> Post:
    """Ask a proxy over the four; gives status and JSON, or text."""
    port: int | None = None

    def ask(
        body: bytes | Iterator[bytes] | None = None,
        *,
        method: str = "POST",
        path: str = "/v1/detect",
        query: str = "",
        key: str | None = keys[1],
        headers: Mapping[str, str] = {},
        rules: ProxyRules = ProxyRules(rate=1000, burst=1000),
    ) -> tuple[int, Any]:
        nonlocal port
        if port is None:  # once all miners are there
            proxy = Proxy(VALIDATOR.hotkey, ledger, keys[0], rules, local=True)
            port = serving(proxy_app(proxy))
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with contextlib.closing(connection):
            authorization = {"Authorization": f"Bearer {key}"} if key else {}
            connection.request(
                method, path + query, picture() if body is None else body, {**authorization, **headers}
            )
            response = connection.getresponse()
            text = response.read().decode()
            is_json = response.headers["content-type"] == "application/json"
            return response.status, json.loads(text) if is_json else text

    return ask


class TestOverLoopback:
    pytestmark = LOOPBACK

    def test_the_best_miners_are_asked_and_agree(self, mine: Mine, post: Post) -> None:
        for wallet, p in ((BEST, 0.9), (SECOND, 0.8), (THIRD, 0.95), (LAST, 0.01)):
            mine(wallet, p)
        status, content = post(rules=ProxyRules(miners=3, rate=1000, burst=1000))
        assert status == 200
        assert content["verdict"] == "ai"
        assert content["p"] == pytest.approx(0.9)
        assert (content["asked"], content["answered"], content["missing"]) == (3, 3, [])
        assert "miners" not in content

        rich = post(query="?rich=true")[1]["miners"]
        assert [(row["uid"], row["rank"], row["hotkey"]) for row in rich] == [
            (4, 1, BEST.hotkey.ss58_address),
            (3, 2, SECOND.hotkey.ss58_address),
            (2, 3, THIRD.hotkey.ss58_address),
        ]
        assert [row["incentive"] for row in rich] == pytest.approx([0.4, 0.3, 0.2], abs=1e-3)
        assert [row["p"] for row in rich] == pytest.approx([0.9, 0.8, 0.95])
        assert rich[0]["model"] == {"name": "says", "version": "1", "sha256": "5" * 64}

    def test_miners_that_disagree_give_unsure(self, mine: Mine, post: Post) -> None:
        for wallet, p in ((BEST, 0.1), (SECOND, 0.9), (THIRD, 0.95), (LAST, 0.9)):
            mine(wallet, p)
        content = post()[1]
        assert content["verdict"] == "unsure"
        assert content["p"] == pytest.approx(0.9)
        assert content["disagreement"]["quartiles"] == pytest.approx([0.1, 0.9])
        assert content["disagreement"]["mad"] == pytest.approx(0.05)

    def test_missing_miners_are_listed_and_too_many_make_it_unsure(
        self, mine: Mine, post: Post, ledger: LocalLedger
    ) -> None:
        mine(BEST, 0.99)
        for wallet in (SECOND, THIRD):
            ledger.serve(wallet, Address("127.0.0.1", 1))
        content = post(query="?rich=1")[1]
        assert content["p"] == pytest.approx(0.99)
        assert content["verdict"] == "unsure"
        assert (content["asked"], content["answered"]) == (3, 1)
        assert content["missing"] == [{"uid": uid, "error": "unreachable"} for uid in (3, 2)]
        assert [row["error"] for row in content["miners"]] == [None, "unreachable", "unreachable"]

    def test_without_any_answer_there_is_none(self, post: Post, ledger: LocalLedger) -> None:
        ledger.serve(BEST, Address("127.0.0.1", 1))
        status, content = post()
        assert (status, content["error"]["code"]) == (502, "no_answers")
        assert "unreachable" in content["error"]["message"]
        told = post(method="GET", path="/metrics")[1]
        assert 'veridical_proxy_requests_total{code="no_answers"} 1.0' in told
        assert 'veridical_proxy_answers_total{code="unreachable"} 1.0' in told

    def test_a_form_is_as_good_as_a_body(self, mine: Mine, post: Post) -> None:
        mine(BEST, 0.9)
        plain = post()[1]
        body, content_type = form({"note": b"hello", "file": picture()})
        assert post(body, headers={"Content-Type": content_type})[1]["sha256"] == plain["sha256"]

    def test_what_cannot_be_asked_is_refused_before_any_miner(self, mine: Mine, post: Post) -> None:
        mine(BEST, 0.9)

        def code(*arguments: Any, **options: Any) -> tuple[int, str]:
            status, content = post(*arguments, **options)
            return status, content["error"]["code"]

        assert code(key=None) == (401, "bad_key")
        assert code(key="vk_" + "0" * 16 + "_" + "0" * 64) == (401, "bad_key")
        assert code(b"") == (422, "empty_file")
        assert code(b"x", headers={"Content-Length": str(2**24)}) == (413, "body_too_large")
        assert code(iter([b"x"]), headers={"Transfer-Encoding": "chunked"}) == (411, "length_required")
        assert code(query="?modality=smell") == (415, "unsupported_modality")
        assert code(query="?rich=perhaps") == (400, "malformed_request")
        assert code(b"x", headers={"Content-Type": "multipart/form-data"}) == (400, "malformed_request")

    def test_a_key_has_its_rate(self, mine: Mine, post: Post) -> None:
        mine(BEST, 0.9)
        rules = ProxyRules(rate=0.001, burst=2)
        assert [post(rules=rules)[0] for _ in range(3)] == [200, 200, 429]


def form(fields: Mapping[str, bytes]) -> tuple[bytes, str]:
    parts = [
        b'--B\r\nContent-Disposition: form-data; name="%s"; filename="x.png"\r\n\r\n%s\r\n'
        % (name.encode(), content)
        for name, content in fields.items()
    ]
    return b"".join(parts) + b"--B--\r\n", 'multipart/form-data; boundary="B"'


def test_the_median_is_that_of_as_many_equal_votes() -> None:
    votes = [0.1] * 2 + [0.4] * 4 + [0.8] * 3
    said = consensus([0.8, 0.1, 0.4], [3, 2, 4])
    assert said.p == statistics.median(votes) == 0.4
    assert said.mad == pytest.approx(statistics.median(abs(vote - 0.4) for vote in votes))
    assert (said.low, said.high) == (0.4, 0.8)


@given(
    st.lists(st.tuples(st.floats(0.6, 1), st.floats(0.1, 1)), min_size=1, max_size=6),
    st.lists(st.floats(0, 1), min_size=1, max_size=6),
)
def test_liars_with_less_than_a_quarter_of_the_weight_change_no_verdict(
    honest: list[tuple[float, float]], lies: list[float]
) -> None:
    share = 0.24 / 0.76 * sum(weight for _, weight in honest) / len(lies)
    scores = [score for score, _ in honest] + lies
    said = consensus(scores, [weight for _, weight in honest] + [share] * len(lies))
    assert said.verdict is Verdict.AI
    assert said.p >= 0.6


def test_two_halves_that_disagree_are_unsure_and_no_incentives_are_equal_ones() -> None:
    assert consensus([0.1, 0.9], [0.0, 0.0]).verdict is Verdict.UNSURE
    assert consensus([0.1, 0.1, 0.2], [0, 0, 0]).verdict is Verdict.REAL
    assert consensus([0.5], [1]).verdict is Verdict.AI


def test_whoever_has_no_address_is_not_asked(ledger: LocalLedger) -> None:
    for wallet in (VALIDATOR, LAST, THIRD):
        ledger.serve(wallet, Address("8.8.8.8", 8091))
    chosen = best_miners(ledger.metagraph(), count=5, without=VALIDATOR.hotkey.ss58_address)
    assert [neuron.uid for neuron in chosen] == [2, 1]
