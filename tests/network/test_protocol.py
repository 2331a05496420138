"""What is signed cannot be changed, replayed, or sent elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from bittensor.http_auth import HEADER_NONCE, HEADER_SIGNATURE, sign
from hypothesis import given
from hypothesis import strategies as st

from veridical.errors import MediaError, MissingExtraError, NetworkError
from veridical.network.identity import DevelopmentWallet, development_wallet
from veridical.network.protocol import (
    ChallengeMessage,
    MinerReply,
    NonceStore,
    nonces_path,
    sign_reply,
    sign_request,
    verify_reply,
    verify_request,
)
from veridical.results import Modality, ModelInfo, Verdict
from veridical.web.refusals import STATUS_OF, Refusal

VALIDATOR, MINER, OTHER = (development_wallet(f"//{name}") for name in ("validator", "miner", "other"))
MESSAGE = ChallengeMessage("0123456789abcdef" * 2)
BODY = b"the bytes of a picture"
SHA256 = "d0c7e7b7e9" + "0" * 54


@pytest.fixture
def nonces(tmp_path: Path) -> Iterator[NonceStore]:
    store = NonceStore(tmp_path / "nonces.sqlite")
    yield store
    store.close()


def accepted(
    nonces: NonceStore, headers: dict[str, str], body: bytes = BODY, target: str = MESSAGE.target
) -> str:
    caller = verify_request(headers, body, target=target, receiver=MINER.hotkey.ss58_address, nonces=nonces)
    return str(caller.hotkey_ss58)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.status == STATUS_OF[caught.value.code]
    return caught.value.code


def signed(*, by: DevelopmentWallet = VALIDATOR, to: DevelopmentWallet = MINER) -> dict[str, str]:
    return sign_request(by.hotkey, MESSAGE, BODY, receiver=to.hotkey.ss58_address)


def aged(seconds: float) -> dict[str, str]:
    headers: dict[str, str] = sign(
        VALIDATOR.hotkey,
        method="POST",
        path=MESSAGE.target,
        body=BODY,
        receiver_ss58=MINER.hotkey.ss58_address,
        nonce_ns=time.time_ns() - round(seconds * 1e9),
    )
    return headers


def test_a_signed_request_names_its_sender_and_is_accepted_once(nonces: NonceStore) -> None:
    headers = signed()
    assert accepted(nonces, headers) == VALIDATOR.hotkey.ss58_address
    assert code_of(lambda: accepted(nonces, headers)) == "replayed_request"
    assert accepted(nonces, signed()) == VALIDATOR.hotkey.ss58_address


def test_a_replay_is_known_after_a_restart_and_in_another_process(tmp_path: Path) -> None:
    headers = signed()
    first, sharing = NonceStore(tmp_path / "nonces.sqlite"), NonceStore(tmp_path / "nonces.sqlite")
    accepted(first, headers)
    assert code_of(lambda: accepted(sharing, headers)) == "replayed_request"
    first.close()
    sharing.close()
    again = NonceStore(tmp_path / "nonces.sqlite")
    assert code_of(lambda: accepted(again, headers)) == "replayed_request"
    again.close()


def test_what_was_signed_cannot_be_changed(nonces: NonceStore) -> None:
    headers = signed()
    assert code_of(lambda: accepted(nonces, headers, body=BODY + b".")) == "bad_signature"
    longer = MESSAGE.target.replace("10000", "9999")
    assert code_of(lambda: accepted(nonces, headers, target=longer)) == "bad_signature"
    assert code_of(lambda: accepted(nonces, headers | {HEADER_NONCE: str(time.time_ns())})) == "bad_signature"
    assert code_of(lambda: accepted(nonces, signed(to=OTHER))) == "wrong_receiver"
    assert code_of(lambda: accepted(nonces, {})) == "malformed_auth"
    assert code_of(lambda: accepted(nonces, headers | {HEADER_SIGNATURE: "0xzz"})) == "malformed_auth"
    assert code_of(lambda: accepted(nonces, headers | {HEADER_SIGNATURE: "0x00"})) == "malformed_auth"
    # None of that used up the request.
    assert accepted(nonces, headers) == VALIDATOR.hotkey.ss58_address


@given(st.integers(0, len(MESSAGE.target) - 1), st.integers(0, 6))
def test_no_bit_of_the_target_can_be_flipped(place: int, bit: int) -> None:
    letters = bytearray(MESSAGE.target.encode())
    letters[place] ^= 1 << bit
    store = NoNonces()
    headers = signed()
    with pytest.raises(Refusal) as caught:
        verify_request(headers, BODY, target=letters.decode(), receiver=MINER.hotkey.ss58_address, nonces=store)
    assert caught.value.code == "bad_signature"


class NoNonces:
    def check_and_store(self, hotkey_ss58: str, nonce_ns: int) -> bool:
        raise AssertionError("asked before the signature was found right")


def test_a_request_is_good_for_ten_seconds_and_two_ahead(nonces: NonceStore) -> None:
    assert accepted(nonces, aged(8.0))
    assert accepted(nonces, aged(-1.5))
    assert code_of(lambda: accepted(nonces, aged(10.5))) == "stale_request"
    assert code_of(lambda: accepted(nonces, aged(-60))) == "stale_request"
    assert code_of(lambda: accepted(nonces, {**signed(), HEADER_NONCE: "9" * 5000})) == "malformed_auth"


def test_nonces_are_forgotten_after_twice_their_time(nonces: NonceStore) -> None:
    now = time.time_ns()
    assert nonces.check_and_store("a", now - 23_000_000_000)
    assert nonces.check_and_store("a", now - 25_000_000_000)
    assert not nonces.check_and_store("a", now - 23_000_000_000)
    assert nonces.check_and_store("a", now - 25_000_000_000)


def test_a_file_of_nonces_that_cannot_be_used_refuses_everything(tmp_path: Path, nonces: NonceStore) -> None:
    (tmp_path / "text").write_text("This is no database." * 100)
    with pytest.raises(NetworkError) as caught:
        NonceStore(tmp_path / "text")
    assert caught.value.code == "nonces_unusable"
    nonces.close()
    assert code_of(lambda: accepted(nonces, signed())) == "no_nonces"


def test_requests_of_one_moment_have_different_nonces() -> None:
    assert len({signed()[HEADER_NONCE] for _ in range(50)}) == 50


def test_a_message_survives_its_query() -> None:
    message = ChallengeMessage("f" * 32, Modality.VIDEO, deadline_ms=30_000)
    assert message.target == f"/v1/detect?challenge={'f' * 32}&modality=video&deadline_ms=30000"
    assert ChallengeMessage.from_query(message.target.partition("?")[2]) == message


@pytest.mark.parametrize(
    "change",
    [
        ("0123456789abcdef" * 2, "short"),
        ("0123456789abcdef" * 2, "0123456789ABCDEF" * 2),
        ("10000", "10001"),
        ("10000", "0"),
        ("10000", "1e3"),
        ("10000", "9" * 30),
        ("&modality=image", ""),
        ("&modality=image", "&modality=image&modality=image"),
        ("&modality=image", "&modality=image&x=y"),
        ("&modality=image", "&modality=%ff"),
        ("&modality=image", "&;"),
    ],
)
def test_a_query_of_another_form_is_refused(change: tuple[str, str]) -> None:
    query = MESSAGE.target.partition("?")[2].replace(*change)
    assert code_of(lambda: ChallengeMessage.from_query(query)) == "malformed_request"


def test_another_modality_is_refused_as_such() -> None:
    query = MESSAGE.target.partition("?")[2].replace("image", "smell")
    assert code_of(lambda: ChallengeMessage.from_query(query)) == "unsupported_modality"


@given(st.text())
def test_any_query_is_a_message_or_a_refusal(query: str) -> None:
    with pytest.raises(Refusal):
        ChallengeMessage.from_query(query)


class TestReplies:
    request = signed()
    reply = MinerReply(
        challenge=MESSAGE.challenge,
        body_sha256=SHA256,
        request_nonce=request[HEADER_NONCE],
        p=0.25,
        verdict=Verdict.UNSURE,
        model=ModelInfo("tiny", "1", "0" * 64),
        latency_ms=12.5,
    )

    def verify(
        self,
        content: bytes,
        *,
        by: DevelopmentWallet = MINER,
        to: DevelopmentWallet = VALIDATOR,
        target: str = MESSAGE.target,
        sent: bytes | None = None,
    ) -> MinerReply:
        headers = sign_reply(by.hotkey, target, content, receiver=to.hotkey.ss58_address)
        return verify_reply(
            headers,
            content if sent is None else sent,
            request=self.request,
            message=MESSAGE,
            body_sha256=SHA256,
        )

    def changed(self, before: str, after: str) -> bytes:
        content = self.reply.encode().decode()
        assert before in content
        return content.replace(before, after).encode()

    def test_a_signed_answer_is_read(self) -> None:
        assert self.verify(self.reply.encode()) == self.reply

    def test_an_answer_of_somebody_else_or_to_something_else_is_refused(self) -> None:
        content = self.reply.encode()
        assert code_of(lambda: self.verify(content, by=OTHER)) == "wrong_receiver"
        assert code_of(lambda: self.verify(content, to=OTHER)) == "wrong_receiver"
        other = ChallengeMessage("f" * 32).target
        assert code_of(lambda: self.verify(content, target=other)) == "bad_signature"
        assert code_of(lambda: self.verify(content, sent=self.changed("0.25", "0.75"))) == "bad_signature"
        for before, after in (
            (MESSAGE.challenge, "f" * 32),
            (SHA256, "f" * 64),
            (self.request[HEADER_NONCE], "1"),
        ):
            forged = self.changed(before, after)
            assert code_of(lambda forged=forged: self.verify(forged)) == "wrong_receiver"  # type: ignore[misc]

    @pytest.mark.parametrize(
        "p",
        [
            '"0.5"',
            "null",
            "true",
            "[0.5]",
            "NaN",
            "Infinity",
            "1e309",
            "-1e-9",
            "1.0000001",
            "[" * 900,
            '"\x00"',
        ],
    )
    def test_a_score_that_is_no_probability_is_refused(self, p: str) -> None:
        assert code_of(lambda: self.verify(self.changed("0.25", p))) == "malformed_request"

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b"[]", b"null", b'{"p": ' * 400])
    def test_what_is_no_answer_is_refused(self, content: bytes) -> None:
        assert code_of(lambda: self.verify(content)) == "malformed_request"


def test_what_can_be_wrong_with_a_file_has_a_status() -> None:
    codes = re.findall(r"`(\w+)`", str(MediaError.__doc__))
    assert len(codes) == 10
    assert {STATUS_OF[code] for code in codes} == {413, 422}
    # A format whose decoder is an extra that this miner lacks.
    assert STATUS_OF[MissingExtraError.code] == 415


def test_each_hotkey_has_its_own_nonces(tmp_path: Path) -> None:
    assert nonces_path("5F", tmp_path) == tmp_path / "nonces-5F.sqlite"
