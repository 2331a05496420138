"""Messages of validators and miners, and signatures by which each knows that the other sent them.

A challenge is `POST /v1/detect?challenge=HEX&modality=image&deadline_ms=10000` with the file itself as body.
It is signed by the rules of Bittensor's `btauth/1`: over method, path with query, hash of the body, a nonce
that is the time in nanoseconds, sender and receiver. The answer, a `MinerReply` in JSON, is signed in the same
way with the method `RESPONSE`; it names the challenge, the hash of the file and the nonce of the request, so
that it can stand for no other. A request that is refused is answered with a `Refusal`, unsigned.

Needs the extra `network`.
"""

from __future__ import annotations

import contextlib
import re
import sqlite3
import threading
import time
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import msgspec
import platformdirs
from bittensor import http_auth

from veridical.errors import NetworkError
from veridical.media.limits import MIB
from veridical.network.identity import Signer
from veridical.results import Modality, ModelInfo, Verdict
from veridical.web.refusals import Refusal

DETECT_PATH = "/v1/detect"
INFO_PATH = "/v1/info"

# How old a request or an answer may be, and how far ahead its clock, seconds.
MOST_AGE = http_auth.DEFAULT_MAX_AGE
MOST_SKEW = http_auth.DEFAULT_ALLOWED_SKEW

MOST_REPLY_BYTES = 4096


# The largest file of a modality that is sent, and the longest that an answer to it is waited for, seconds.
MOST_BYTES = {Modality.IMAGE: 8 * MIB, Modality.VIDEO: 32 * MIB}
MOST_SECONDS = {Modality.IMAGE: 10.0, Modality.VIDEO: 30.0}

_OF_AUTH: Mapping[type[http_auth.AuthError], str] = {
    http_auth.MalformedAuth: "malformed_auth",
    http_auth.WrongReceiver: "wrong_receiver",
    http_auth.StaleRequest: "stale_request",
    http_auth.BadSignature: "bad_signature",
    http_auth.ReplayedRequest: "replayed_request",
}

_CHALLENGE = re.compile(r"[0-9a-f]{32}")
_MILLISECONDS = re.compile(r"[1-9][0-9]{0,5}")


@dataclass(frozen=True)
class ChallengeMessage:
    """A question beside its file: a name of 128 random bits in hex, what the file is, and until when."""

    challenge: str
    modality: Modality = Modality.IMAGE
    deadline_ms: int = 10_000

    @property
    def target(self) -> str:
        """Path and query, as they are sent and signed."""
        return f"{DETECT_PATH}?{urllib.parse.urlencode(asdict(self))}"

    @classmethod
    def from_query(cls, query: str) -> ChallengeMessage:
        """The message of a query; raises `Refusal` (`malformed_request`, `unsupported_modality`)."""
        fields = _fields(query)
        if not _CHALLENGE.fullmatch(fields["challenge"]):
            raise Refusal("malformed_request", "The challenge is not 32 lower-case hex digits.")
        if fields["modality"] not in set(Modality):
            raise Refusal("unsupported_modality", "The modality is neither image nor video.")
        modality = Modality(fields["modality"])
        most = round(MOST_SECONDS[modality] * 1000)
        if not _MILLISECONDS.fullmatch(fields["deadline_ms"]) or int(fields["deadline_ms"]) > most:
            raise Refusal("malformed_request", f"The deadline_ms is no whole number from 1 to {most}.")
        return cls(fields["challenge"], modality, int(fields["deadline_ms"]))


@dataclass(frozen=True)
class MinerReply:
    """A miner's answer: `p` is its probability of fake, in [0, 1]; `request_nonce` is decimal."""

    challenge: str
    body_sha256: str
    request_nonce: str
    p: float
    verdict: Verdict
    model: ModelInfo
    latency_ms: float

    def encode(self) -> bytes:
        """The answer in JSON."""
        return msgspec.json.encode(self)


class NonceStore:
    """The nonces that were accepted, in an SQLite file: kept over a restart, shared by processes that open it.

    Each is kept for twice the time in which it would be accepted again, so that a clock that is set back does
    not open the door. Raises `NetworkError` (`nonces_unusable`) if the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._told_as_ours():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=5, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode=WAL")
            # A power failure may lose the last ones; the machine starts again after they are stale.
            self._connection.execute("PRAGMA synchronous=NORMAL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS nonces (nonce INTEGER, hotkey TEXT, PRIMARY KEY (nonce, hotkey)) "
                "STRICT, WITHOUT ROWID"
            )

    def check_and_store(self, hotkey_ss58: str, nonce_ns: int) -> bool:
        """True the first time; `http_auth.verify` asks once everything else is right."""
        forgotten = time.time_ns() - round(2 * (MOST_AGE + MOST_SKEW) * 1e9)
        with self._lock, self._told_as_ours():
            self._connection.execute("DELETE FROM nonces WHERE nonce < ?", [forgotten])
            added = self._connection.execute(
                "INSERT OR IGNORE INTO nonces VALUES (?, ?)", [nonce_ns, hotkey_ss58]
            )
            return added.rowcount == 1

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _told_as_ours(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise NetworkError(
                f"The seen nonces cannot be kept in {self.path}: {error}.",
                code="nonces_unusable",
                hint="Without them replayed requests could not be told; give a folder that can be written.",
            ) from error


def nonces_path(hotkey: str, state: Path | None = None) -> Path:
    """Path of a hotkey's seen nonces: in the folder `state`, or in the user's data."""
    return (state or Path(platformdirs.user_data_dir("veridical"))) / f"nonces-{hotkey}.sqlite"


def sign_request(signer: Signer, message: ChallengeMessage, body: bytes, *, receiver: str) -> dict[str, str]:
    """The headers that sign a challenge to `receiver`; every attempt needs new ones."""
    return _sign(signer, "POST", message.target, body, receiver)


def verify_request(
    headers: Mapping[str, str], body: bytes, *, target: str, receiver: str, nonces: http_auth.NonceStore
) -> http_auth.Caller:
    """The caller who signed this request to us; raises `Refusal` (401, or 503 when nonces cannot be kept)."""
    try:
        return _verify(headers, body, method="POST", target=target, receiver=receiver, nonces=nonces)
    except NetworkError as error:
        raise Refusal("no_nonces", "Replays cannot be told at present.", retry_after=5) from error


def sign_reply(signer: Signer, target: str, body: bytes, *, receiver: str) -> dict[str, str]:
    """The headers that sign an answer to the request for `target`."""
    return _sign(signer, "RESPONSE", target, body, receiver)


def verify_reply(
    headers: Mapping[str, str],
    content: bytes,
    *,
    request: Mapping[str, str],
    message: ChallengeMessage,
    body_sha256: str,
) -> MinerReply:
    """The answer to the request with these headers; raises `Refusal`.

    `malformed_request` is an answer that is not of the right form, `wrong_receiver` one to another request or
    by another hotkey, the others of 401 are as for requests.
    """
    caller = _verify(
        headers,
        content,
        method="RESPONSE",
        target=message.target,
        receiver=request[http_auth.HEADER_HOTKEY],
        nonces=_ANY_NONCE,
    )
    if caller.hotkey_ss58 != request[http_auth.HEADER_RECEIVER]:
        raise Refusal("wrong_receiver", "The answer is signed by another hotkey than was asked.")
    reply = _decode_reply(content)
    expected = (message.challenge, body_sha256, request[http_auth.HEADER_NONCE])
    if (reply.challenge, reply.body_sha256, reply.request_nonce) != expected:
        raise Refusal("wrong_receiver", "The answer is to another request.")
    return reply


class _AnyNonce:
    """A store for answers, which name the nonce of the one request they answer."""

    def check_and_store(self, hotkey_ss58: str, nonce_ns: int) -> bool:
        return True


class _Clock:
    """Nonces that only grow, also when the machine's clock stands still or is set back a little."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def nonce(self) -> int:
        with self._lock:
            self._last = max(self._last + 1, time.time_ns())
            return self._last


_ANY_NONCE = _AnyNonce()
_CLOCK = _Clock()


def _sign(signer: Signer, method: str, target: str, body: bytes, receiver: str) -> dict[str, str]:
    headers: dict[str, str] = http_auth.sign(
        cast(http_auth.WalletLike, signer),  # it asks for more than it uses
        method=method,
        path=target,
        body=body,
        receiver_ss58=receiver,
        nonce_ns=_CLOCK.nonce(),
    )
    return headers


def _verify(
    headers: Mapping[str, str],
    body: bytes,
    *,
    method: str,
    target: str,
    receiver: str,
    nonces: http_auth.NonceStore,
) -> http_auth.Caller:
    try:
        return http_auth.verify(
            headers,
            body,
            method=method,
            path=target,
            self_hotkey_ss58=receiver,
            max_age=MOST_AGE,
            allowed_skew=MOST_SKEW,
            nonce_store=nonces,
        )
    except http_auth.AuthError as error:
        is_stale = isinstance(error, http_auth.StaleRequest)
        hint = f"Clocks must agree within {MOST_AGE:g} s; the header Date is ours." if is_stale else None
        raise Refusal(_OF_AUTH[type(error)], f"Not accepted: {error}.", hint=hint) from error


def _fields(query: str) -> dict[str, str]:
    try:
        pairs = urllib.parse.parse_qsl(query, strict_parsing=True, max_num_fields=3, errors="strict")
    except ValueError as error:
        raise Refusal("malformed_request", "The query cannot be read.") from error
    if sorted(name for name, _ in pairs) != ["challenge", "deadline_ms", "modality"]:
        raise Refusal("malformed_request", "The query is not challenge, modality and deadline_ms, each once.")
    return dict(pairs)


def _decode_reply(content: bytes) -> MinerReply:
    try:
        reply = msgspec.json.decode(content, type=MinerReply)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal("malformed_request", f"The answer cannot be read: {error}.") from error
    if not 0.0 <= reply.p <= 1.0:  # also false for NaN
        raise Refusal("malformed_request", "The answer's p is not in [0, 1].")
    return reply
