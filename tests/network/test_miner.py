"""A real miner on loopback: whom it answers, what it refuses, and what a client makes of bad miners."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import io
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import PIL.Image
import pytest

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from bittensor.http_auth import HEADER_HOTKEY, sign
from fastapi import FastAPI
from onnx import TensorProto, helper

from veridical.detectors import LiveDetector
from veridical.detectors.base import score_of_logits
from veridical.media import Image
from veridical.models.bundle import Bundle, write_bundle
from veridical.models.card import Card, Paper, PixelInput
from veridical.network.chain import Address, Neuron
from veridical.network.chain.ledger import LocalLedger
from veridical.network.client import Answer, ask, open_client
from veridical.network.identity import DevelopmentWallet, development_wallet
from veridical.network.miner import Miner, MinerRules, miner_app
from veridical.network.protocol import ChallengeMessage, NonceStore, sign_reply, sign_request
from veridical.results import Modality, Score, Thresholds
from veridical.web import server

pytestmark = [pytest.mark.enable_socket, pytest.mark.allow_hosts(["127.0.0.1"])]

Serving = Callable[[FastAPI], int]

VALIDATOR, RICH, MINER, OTHER = (
    development_wallet(f"//{name}") for name in ("validator", "rich", "miner", "other")
)
MESSAGE = ChallengeMessage("0123456789abcdef" * 2)
RAO = 1_000_000_000


def picture(brightness: int, *, side: int = 64) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (side, side), (brightness,) * 3).save(file, "PNG")
    return file.getvalue()


GREY = picture(127)


class Brightness:
    """The share of white; while `gate` is closed it does not come to an end."""

    name = "brightness"
    version = "1"
    sha256 = "b" * 64
    thresholds = Thresholds(ai=0.9, real=0.1)
    calibrated = False
    card = None
    minimum = 1

    def __init__(self) -> None:
        self.calls = 0
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()

    def detect(self, medium: Image) -> Score:
        self.calls += 1
        self.begun.release()
        assert self.gate.wait(30)
        share = _white(medium.pixels)
        return score_of_logits([math.log(share / (1 - share))], None)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalLedger]:
    """Two validators with a permit, a miner with none."""
    with LocalLedger.create(tmp_path / "subnet.ledger") as made:
        for wallet, stake in ((VALIDATOR, 100 * RAO), (RICH, 1000 * RAO), (MINER, 0)):
            made.register(wallet)
            if stake:
                made.stake(wallet, stake)
        made.advance(20)
        yield made


def _white(image: Any) -> float:
    return float(np.clip(image.mean() / 255, 0.01, 0.99))


class Running:
    """A miner that runs, and the ways to ask it."""

    def __init__(self, miner: Miner, port: int, detector: Brightness) -> None:
        self.miner = miner
        self.port = port
        self.detector = detector

    def post(
        self, body: bytes = GREY, *, target: str = MESSAGE.target, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any, Mapping[str, str]]:
        """Status, JSON, headers. Any: JSON."""
        return self.request("POST", target, body, headers=request_headers(body) if headers is None else headers)

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[int, Any, Mapping[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, target, body, dict(headers))
            response = connection.getresponse()
            return response.status, json.loads(response.read()), dict(response.getheaders())

    def refused(self, *arguments: Any, **options: Any) -> tuple[int, str]:
        """Status and code of a request that is refused, counted, and has cost no model time."""
        before = self.detector.calls
        status, content, _ = self.post(*arguments, **options)
        code = content["error"]["code"]
        assert self.miner.counts[code] >= 1
        assert self.detector.calls == before
        return status, code

    def ask(self, body: bytes = GREY, *, by: DevelopmentWallet = VALIDATOR, **options: Any) -> Answer:
        return ask_port(self.port, body, by=by, **options)


def request_headers(
    body: bytes = GREY,
    *,
    by: DevelopmentWallet = VALIDATOR,
    to: DevelopmentWallet = MINER,
    message: ChallengeMessage = MESSAGE,
) -> dict[str, str]:
    return sign_request(by.hotkey, message, body, receiver=to.hotkey.ss58_address)


def ask_port(
    port: int,
    body: bytes = GREY,
    *,
    by: DevelopmentWallet = VALIDATOR,
    timeout: float = 20,
    ip: str = "127.0.0.1",
    local: bool = True,
    message: ChallengeMessage = MESSAGE,
) -> Answer:
    async def asked() -> Answer:
        async with open_client(local=local) as client:
            return await ask(client, by.hotkey, neuron_at(Address(ip, port)), message, body, timeout=timeout)

    return asyncio.run(asked())


def neuron_at(address: Address | None) -> Neuron:
    return Neuron(
        uid=2,
        hotkey=MINER.hotkey.ss58_address,
        coldkey=MINER.coldkey.ss58_address,
        stake=0,
        permit=False,
        active=True,
        incentive=1.0,
        dividends=0.0,
        emission=0,
        last_update=1,
        registered=1,
        address=address,
    )


@pytest.fixture
def run(serving: Serving, ledger: LocalLedger, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Run a miner; with the same `tmp_path` it is the same miner again."""
    detector = Brightness()
    with contextlib.ExitStack() as stack:

        def start(**rules: Any) -> Running:
            nonces = NonceStore(tmp_path / "nonces.sqlite")
            miner = Miner(lambda: detector, MINER.hotkey, ledger, nonces, MinerRules(**rules))
            stack.callback(nonces.close)
            stack.callback(miner.close)
            return Running(miner, serving(miner_app(miner)), detector)

        yield start
        detector.gate.set()


def test_a_validator_gets_a_signed_answer(run: Callable[..., Running]) -> None:
    running = run()
    answer = running.ask(picture(51))
    assert answer.error == ""
    assert answer.score == pytest.approx(0.2)
    assert answer.model
    assert answer.model.sha256 == "b" * 64
    assert answer.hotkey == MINER.hotkey.ss58_address
    assert answer.latency_ms > 0
    status, reply, headers = running.post(GREY)
    assert status == 200
    assert reply["verdict"] == "unsure"
    assert headers["x-bittensor-receiver"] == VALIDATOR.hotkey.ss58_address
    assert running.miner.counts["answered"] == 2


def test_what_is_not_signed_for_this_miner_now_is_refused_and_counted(run: Callable[..., Running]) -> None:
    running = run()
    assert running.refused(headers={}) == (401, "malformed_auth")
    headers = request_headers()
    assert running.refused(picture(128), headers=headers) == (401, "bad_signature")
    target = MESSAGE.target.replace("10000", "9000")
    assert running.refused(target=target, headers=headers) == (401, "bad_signature")
    forged = headers | {HEADER_HOTKEY: RICH.hotkey.ss58_address}
    assert running.refused(headers=forged) == (401, "bad_signature")
    assert running.refused(headers=request_headers(to=OTHER)) == (401, "wrong_receiver")
    for seconds in (-30, 30):
        stale = sign(
            VALIDATOR.hotkey,
            method="POST",
            path=MESSAGE.target,
            body=GREY,
            receiver_ss58=MINER.hotkey.ss58_address,
            nonce_ns=time.time_ns() + seconds * 10**9,
        )
        assert running.refused(headers=stale) == (401, "stale_request")
    assert running.post(headers=headers)[0] == 200
    assert running.refused(headers=headers) == (401, "replayed_request")
    assert running.miner.counts["bad_signature"] == 3
    assert running.miner.counts["stale_request"] == 2
    assert running.miner.counts["answered"] == 1

    again = run()  # The same miner after a restart: another process could be no different.
    assert again.refused(headers=headers) == (401, "replayed_request")


def test_who_says_to_be_two_is_neither(run: Callable[..., Running]) -> None:
    """A header that is there twice must not be one hotkey for the permit and another for the signature."""
    running = run()
    lines = [f"{name}: {value}" for name, value in request_headers(by=OTHER).items()]
    claimed = f"{HEADER_HOTKEY}: {VALIDATOR.hotkey.ss58_address}"
    for order in ([claimed, *lines], [*lines, claimed]):
        head = [f"POST {MESSAGE.target} HTTP/1.1", "Host: x", f"Content-Length: {len(GREY)}", *order, "", ""]
        with socket.create_connection(("127.0.0.1", running.port)) as connection:
            connection.sendall("\r\n".join(head).encode() + GREY)
            assert connection.recv(100).split()[1] in (b"401", b"403")
    assert running.detector.calls == 0


def test_only_validators_with_permit_and_stake_are_answered(
    run: Callable[..., Running], ledger: LocalLedger, tmp_path: Path
) -> None:
    running = run(minimum_stake=500 * RAO)
    assert running.refused(headers=request_headers(by=OTHER)) == (403, "not_registered")
    assert running.refused(headers=request_headers(by=MINER)) == (403, "no_permit")
    assert running.refused(headers=request_headers(by=VALIDATOR)) == (403, "not_enough_stake")
    assert running.post(headers=request_headers(by=RICH))[0] == 200

    banned = run(blacklist=frozenset({RICH.hotkey.ss58_address}), allow_unregistered=True)
    assert banned.refused(headers=request_headers(by=RICH)) == (403, "blacklisted")
    assert banned.post(headers=request_headers(by=OTHER))[0] == 200


def test_the_metagraph_is_read_again(run: Callable[..., Running], ledger: LocalLedger) -> None:
    running = run(metagraph_seconds=0.0)
    assert running.ask(by=OTHER).error == "refused:not_registered"
    ledger.register(OTHER)
    ledger.stake(OTHER, 5 * RAO)
    assert running.ask(by=OTHER).error == "refused:no_permit"
    ledger.advance(20)
    assert running.ask(by=OTHER).error == ""


def test_limits_are_checked_before_the_body_is_read(run: Callable[..., Running]) -> None:
    running = run()
    headers = request_headers()

    def answer_to(*lines: str) -> bytes:
        """What comes when only the head has been sent."""
        head = [f"POST {MESSAGE.target} HTTP/1.1", "Host: x", *lines]
        head += [f"{name}: {value}" for name, value in headers.items()]
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
            connection.sendall("\r\n".join([*head, "", ""]).encode())
            return connection.recv(4096)

    assert b" 413 " in answer_to(f"Content-Length: {8 * 2**20 + 1}")
    assert b" 411 " in answer_to("Transfer-Encoding: chunked")
    assert b" 400 " in answer_to("Content-Length: many")
    assert running.miner.counts["body_too_large"] == running.miner.counts["length_required"] == 1


def test_a_body_that_trickles_is_not_waited_for(run: Callable[..., Running]) -> None:
    running = run()
    message = ChallengeMessage("a" * 32, deadline_ms=200)
    head = [f"POST {message.target} HTTP/1.1", "Host: x", "Content-Length: 100"]
    head += [f"{name}: {value}" for name, value in request_headers(message=message).items()]
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
        connection.sendall("\r\n".join([*head, "", "few"]).encode())
        assert b" 408 " in connection.recv(4096)


def test_silent_connections_are_closed_and_slow_answers_are_not(
    run: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_HEAD_SECONDS", 0.2)
    running = run()
    health = b"GET /healthz HTTP/1.1\r\nHost: m\r\n\r\n"
    for begun in (b"", health[:-2], health, health + health[:9]):
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
            connection.sendall(begun)
            told = b"".join(iter(lambda: connection.recv(4096), b""))  # Until it is closed.
            assert told.endswith(b'{"status":"ok"}') == (health in begun)
    running.detector.gate.clear()
    threading.Timer(0.6, running.detector.gate.set).start()
    assert running.ask().score is not None


def test_each_hotkey_has_its_own_rate(run: Callable[..., Running]) -> None:
    running = run(rate=0.01, burst=2)
    assert [running.ask().error for _ in range(3)] == ["", "", "refused:rate_limited"]
    assert running.ask(by=RICH).error == ""
    status, _, headers = running.post()
    assert status == 429
    assert 1 <= int(headers["retry-after"]) <= 100


def test_when_the_queue_is_full_the_smallest_stake_has_to_go(run: Callable[..., Running]) -> None:
    running = run(jobs=1, queue=1)
    running.detector.gate.clear()
    outcomes: dict[str, tuple[int, Any, Mapping[str, str]]] = {}

    def send(name: str, wallet: DevelopmentWallet) -> threading.Thread:
        def post() -> None:
            outcomes[name] = running.post(headers=request_headers(by=wallet))

        thread = threading.Thread(target=post)
        thread.start()
        return thread

    served = send("served", VALIDATOR)
    assert running.detector.begun.acquire(timeout=30)
    waiting = send("waiting", VALIDATOR)
    until(lambda: waits(running) == 1)
    status, content, headers = running.post()
    assert (status, content["error"]["code"]) == (503, "queue_full")
    assert content["error"]["retryable"] is True
    assert headers["retry-after"] == "1"

    richer = send("richer", RICH)
    waiting.join()
    assert outcomes["waiting"][1]["error"]["code"] == "queue_full"
    running.detector.gate.set()
    served.join()
    richer.join()
    assert [outcomes[name][0] for name in ("served", "richer")] == [200, 200]
    assert running.miner.counts["queue_full"] == 2


def test_whose_turn_does_not_come_in_time_costs_nothing(run: Callable[..., Running]) -> None:
    running = run(jobs=1, queue=5)
    running.detector.gate.clear()
    first = threading.Thread(target=running.post)
    first.start()
    assert running.detector.begun.acquire(timeout=30)
    message = ChallengeMessage("c" * 32, deadline_ms=300)
    assert running.ask(message=message).error == "refused:deadline_passed"
    running.detector.gate.set()
    first.join()
    assert running.detector.calls == 1
    assert running.ask().error == ""  # Its place in the queue is free again.


def waits(running: Running) -> int:
    text = metrics(running)
    return int(float(text["veridical_waiting"]))


def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("It did not happen.")


def metrics(running: Running) -> dict[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def test_files_that_cannot_be_judged_are_refused_with_their_own_code(run: Callable[..., Running]) -> None:
    running = run()
    assert running.ask(b"").error == "refused:empty_file"
    assert running.ask(b"This is no picture.").error == "refused:unsupported_format"
    assert running.ask(picture(0, side=300)[:100]).error == "refused:truncated"
    assert running.ask().error == ""


def test_video_has_its_place_but_no_judge_yet(run: Callable[..., Running]) -> None:
    message = ChallengeMessage("d" * 32, Modality.VIDEO, deadline_ms=30_000)
    running = run()
    assert running.ask(message=message).error == "refused:unsupported_modality"
    status, _, _ = running.post(target=message.target, headers=request_headers(message=message))
    assert status == 415


def test_it_tells_who_it_is_and_what_it_has_done(run: Callable[..., Running]) -> None:
    running = run()
    running.ask()
    running.post(headers={})
    info = running.request("GET", "/v1/info")[1]
    assert info["hotkey"] == MINER.hotkey.ss58_address
    assert info["modalities"] == ["image"]
    assert info["limits"]["image"] == {"bytes": 8 * 2**20, "seconds": 10.0}
    assert info["model"] == {"name": "brightness", "version": "1", "sha256": "b" * 64}
    assert running.request("GET", "/healthz")[:2] == (200, {"status": "ok"})
    told = metrics(running)
    assert told['veridical_requests_total{code="answered"}'] == "1.0"
    assert told['veridical_requests_total{code="malformed_auth"}'] == "1.0"
    assert told["veridical_judged_total"] == "1.0"
    assert running.request("GET", "/")[:1] == (404,)
    assert running.request("GET", "/v1/detect")[1]["error"]["code"] == "method_not_allowed"


def test_the_next_request_uses_the_new_bundle(serving: Serving, ledger: LocalLedger, tmp_path: Path) -> None:
    before = mean_bundle(tmp_path / "bundle", scale=0.01)
    live = LiveDetector(str(tmp_path / "bundle"))
    nonces = NonceStore(tmp_path / "nonces.sqlite")
    miner = Miner(live.current, MINER.hotkey, ledger, nonces)
    port = serving(miner_app(miner))
    answers = [ask_port(port)]
    after = mean_bundle(tmp_path / "bundle", scale=-0.01)
    answers.append(ask_port(port))
    assert [answer.model and answer.model.sha256 for answer in answers] == [before.sha256, after.sha256]
    assert answers[0].score == pytest.approx(1 / (1 + np.exp(-1.27)), abs=1e-5)
    assert answers[1].score == pytest.approx(1 / (1 + np.exp(1.27)), abs=1e-5)
    miner.close()
    nonces.close()


def mean_bundle(folder: Path, *, scale: float) -> Bundle:
    """Logit = scale * mean of all pixels."""
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "scale"], ["logits"]),
    ]
    parameters = [
        onnx.numpy_helper.from_array(np.array([1, 2, 3]), "axes"),
        onnx.numpy_helper.from_array(np.array(scale, np.float32), "scale"),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["b", "h", "w", 3])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b"])
    graph = helper.make_graph(nodes, "mean", [pixels], [logits], parameters)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    card = Card(
        name="tiny",
        version="1.0",
        architecture="mean",
        description="The mean of all pixels.",
        licence="MIT",
        paper=Paper(authors="Us", title="On means", venue="Here", url="https://example.org"),
        input=PixelInput(kind="crops", size=64),
        parameters=1,
        files={},
    )
    return write_bundle(folder, card, {"model.onnx": bytes(model.SerializeToString())})


class TestBadMiners:
    """Whatever a peer sends, asking gives an `Answer`."""

    def answer_to(self, respond: Callable[[bytes], bytes], **options: Any) -> Answer:
        """The answer when a server sends what `respond` makes of the request's head."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def once() -> None:
                connection, _ = server.accept()
                with connection:
                    head = b""
                    while b"\r\n\r\n" not in head:
                        head += connection.recv(65536)
                    # The client may have heard enough before everything is sent.
                    with contextlib.suppress(ConnectionError):
                        connection.sendall(respond(head))
                        connection.shutdown(socket.SHUT_WR)
                        while connection.recv(65536):
                            pass

            thread = threading.Thread(target=once)
            thread.start()
            try:
                return ask_port(server.getsockname()[1], **options)
            finally:
                thread.join()

    def test_silence_is_a_timeout(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            assert ask_port(server.getsockname()[1], timeout=0.3).error == "timeout"

    def test_nobody_there(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        assert ask_port(port).error == "unreachable"

    @pytest.mark.parametrize(
        "response",
        [b"", b"no HTTP", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r"],
    )
    def test_broken_http_is_no_answer(self, response: bytes) -> None:
        assert self.answer_to(lambda head: response).error == "unreachable"

    def test_an_endless_answer_is_not_read(self) -> None:
        content = b"{" * 10_000_000
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        assert self.answer_to(lambda _: head + content).error == "reply_too_large"

    def test_an_unsigned_answer_is_malformed_and_one_of_another_forged(self) -> None:
        content = b'{"p": 0.5}'

        def signed_by(wallet: DevelopmentWallet | None) -> Callable[[bytes], bytes]:
            headers = {}
            if wallet:
                receiver = VALIDATOR.hotkey.ss58_address
                headers = sign_reply(wallet.hotkey, MESSAGE.target, content, receiver=receiver)
            return lambda _: http_response(200, content, headers)

        assert self.answer_to(signed_by(None)).error == "malformed_reply"
        assert self.answer_to(signed_by(OTHER)).error == "forged_reply"
        assert self.answer_to(signed_by(MINER)).error == "malformed_reply"  # Its own, but not an answer.

    def test_an_answer_to_an_earlier_request_is_forged(self, run: Callable[..., Running]) -> None:
        """A stranger in the middle keeps an answer, and gives it again to the same question."""
        recorded = run().post()
        content = json.dumps(recorded[1], separators=(",", ":")).encode()
        assert self.answer_to(lambda _: http_response(200, content, recorded[2])).error == "forged_reply"

    def test_a_redirect_is_not_followed(self) -> None:
        where = {"Location": "http://127.0.0.1:1/"}
        assert self.answer_to(lambda _: http_response(307, b"", where)).error == "refused:307"

    def test_what_a_stranger_writes_is_not_repeated(self) -> None:
        for content in (b'{"error": {"code": "\\u001b[31m"}}', b"[" * 3000, b"\xff", b'{"error": 1}'):
            assert self.answer_to(sending(http_response(500, content, {}))).error == "refused:500"

    def test_only_public_addresses_are_asked_unless_the_network_is_local(self) -> None:
        for ip in (
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "::1",
            "::ffff:192.168.0.1",
            "2002:a00:1::",
            "x",
        ):
            assert ask_port(80, ip=ip, local=False).error == "private_address"

    def test_a_miner_without_address(self) -> None:
        async def asked() -> Answer:
            async with open_client() as client:
                return await ask(client, VALIDATOR.hotkey, neuron_at(None), MESSAGE, GREY, timeout=1)

        assert asyncio.run(asked()).error == "no_address"


def sending(response: bytes) -> Callable[[bytes], bytes]:
    return lambda head: response


def http_response(status: int, content: bytes, headers: Mapping[str, str]) -> bytes:
    kept = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "date")}
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in kept.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content
