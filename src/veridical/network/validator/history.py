"""Every challenge a validator has sent, every answer, and what came of it: one SQLite file.

Scores are moved in the transaction that stores the answers, so that a kill loses both or neither. A challenge
that was sent but not closed counts for nobody. What a validator is about to set on the chain is written down
first (`Intent`), and marked once it is there.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from veridical.network.chain import WeightVector
from veridical.network.client import Answer
from veridical.network.sqlite import open_store, transaction
from veridical.network.validator.challenges import Challenge
from veridical.network.validator.scoring import LabelledAnswer, Scoring
from veridical.network.validator.settlement import ClosedChallenge, Standing

_APPLICATION = 0x76686973  # "vhis"

_TABLES = """
CREATE TABLE challenges (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    modality TEXT NOT NULL,
    label INTEGER NOT NULL,
    generator TEXT NOT NULL,
    source TEXT NOT NULL,
    origin TEXT NOT NULL,
    pool TEXT NOT NULL,
    seed TEXT NOT NULL,
    has_variants INTEGER NOT NULL,
    opened REAL NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',
    closed REAL,
    epoch INTEGER
) STRICT;
CREATE INDEX by_origin ON challenges (origin);
CREATE TABLE answers (
    challenge INTEGER NOT NULL REFERENCES challenges (number),
    hotkey TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    perturbation TEXT NOT NULL,
    score REAL,
    model TEXT,
    latency_ms REAL,
    error TEXT,
    reward REAL,
    PRIMARY KEY (challenge, hotkey)
) STRICT;
CREATE INDEX by_hotkey ON answers (hotkey, challenge);
CREATE TABLE scores (
    hotkey TEXT PRIMARY KEY,
    score REAL NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE intents (
    id INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL UNIQUE,
    block INTEGER NOT NULL,
    weights TEXT NOT NULL,
    salt TEXT,
    commitment TEXT,
    reveal_epoch INTEGER,
    state TEXT NOT NULL DEFAULT 'intended',
    written REAL NOT NULL
) STRICT;
CREATE TABLE starts (
    moment REAL NOT NULL,
    closed INTEGER NOT NULL
) STRICT;
"""


class IntentState(StrEnum):
    """Stages of weights on their way to the chain.

    `intended`: perhaps on the chain, perhaps not. `committed`: their hash is; they are to be revealed. `set`:
    in force, or with a chain that reveals by itself. `abandoned`: their epoch passed before the chain took
    them. `expired`: committed, but not revealed in time.
    """

    INTENDED = "intended"
    COMMITTED = "committed"
    SET = "set"
    ABANDONED = "abandoned"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Intent:
    """Weights for an epoch, written down before the chain hears of them; at most one for each epoch.

    `block` is that at which they were written down: what the chain has from then on is this. `salt` and
    `commitment` are of weights that are committed by hash, and None for others.
    """

    epoch: int
    block: int
    weights: WeightVector
    salt: tuple[int, ...] | None = None
    commitment: bytes | None = None
    reveal_epoch: int | None = None
    state: IntentState = IntentState.INTENDED


class History(AbstractContextManager["History"]):
    """The file. Threads may share one. Raises `NetworkError` (`store_corrupt`) for a damaged one."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._connection = open_store(path, application=_APPLICATION, tables=_TABLES)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *, stale_after: float) -> int:
        """Note that a validator starts; gives how many challenges it leaves behind that were never closed.

        They are void: whether a miner answered is not known. `rounds_since_start` counts anew when there is no
        history, or none younger than `stale_after` seconds.
        """
        now = self._clock()
        with self._lock, transaction(self._connection, self.path):
            void = self._connection.execute(
                "UPDATE challenges SET state = 'void' WHERE state = 'open'"
            ).rowcount
            (newest,) = self._one("SELECT max(closed) FROM challenges")
            if newest is None or now - newest > stale_after:
                self._connection.execute("DELETE FROM starts")
                self._connection.execute("INSERT INTO starts VALUES (?, ?)", [now, self._closed()])
        return void

    def rounds_since_start(self) -> int:
        """Number of challenges closed since the last start without, or with a stale, history."""
        with self._lock:
            (before,) = self._one("SELECT coalesce(max(closed), 0) FROM starts")
            return self._closed() - int(before)

    def asked(self, origin: str) -> frozenset[str]:
        """The hotkeys that were sent a version of that picture before."""
        with self._lock:
            rows = self._connection.execute(
                "SELECT hotkey FROM answers JOIN challenges ON number = challenge WHERE origin = ?", [origin]
            )
            return frozenset(row[0] for row in rows)

    def open_challenge(self, challenge: Challenge, hotkeys: Sequence[str]) -> None:
        """Write down what is about to be sent, and to whom."""
        bodies = {hotkey: challenge.body(hotkey) for hotkey in hotkeys}
        with self._lock, transaction(self._connection, self.path):
            number = self._connection.execute(
                "INSERT INTO challenges (id, modality, label, generator, source, origin, pool, seed, "
                "has_variants, opened) VALUES (:id, :modality, :label, :generator, :source, :origin, :pool, "
                ":seed, :has_variants, :opened)",
                {
                    **vars(challenge),
                    "label": int(challenge.label),
                    "seed": f"{challenge.seed:032x}",
                    "opened": self._clock(),
                },
            ).lastrowid
            self._connection.executemany(
                "INSERT INTO answers (challenge, hotkey, sha256, perturbation) VALUES (?, ?, ?, ?)",
                [(number, hotkey, body.sha256, body.perturbation) for hotkey, body in bodies.items()],
            )

    def close_challenge(
        self, challenge: str, answers: Sequence[Answer], *, epoch: int, settings: Scoring
    ) -> dict[str, float]:
        """Store the answers and move the scores, all or nothing; gives the rewards by hotkey.

        Whoever was asked and is not among the answers gave none.
        """
        given = {answer.hotkey: answer for answer in answers}
        with self._lock, transaction(self._connection, self.path):
            number, modality, label, has_variants = self._one(
                "SELECT number, modality, label, has_variants FROM challenges WHERE id = ? AND state = 'open'",
                [challenge],
            )
            hotkeys = [
                row[0]
                for row in self._connection.execute(
                    "SELECT hotkey FROM answers WHERE challenge = ? ORDER BY hotkey", [number]
                )
            ]
            outcomes = {hotkey: self._outcomes(hotkey, settings) for hotkey in hotkeys}
            standing = Standing(settings, self.scores(), self._since(), number - 1, outcomes)
            scores = {hotkey: given[hotkey].score if hotkey in given else None for hotkey in hotkeys}
            rewards = standing.add(ClosedChallenge(label, scores, epoch, modality, not has_variants))
            self._connection.execute(
                "UPDATE challenges SET state = 'closed', closed = ?, epoch = ? WHERE number = ?",
                [self._clock(), epoch, number],
            )
            for hotkey, reward in rewards.items():
                answer = given.get(hotkey) or Answer(hotkey, error="no_answer")
                self._store_answer(number, answer, reward)
            self._connection.executemany(
                "INSERT INTO scores VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET score = excluded.score",
                [(hotkey, standing.scores[hotkey], standing.since[hotkey]) for hotkey in rewards],
            )
        return rewards

    def scores(self) -> dict[str, float]:
        """The moving scores, by hotkey; also of those that are not registered any more."""
        with self._lock:
            return dict(tuple(row) for row in self._connection.execute("SELECT hotkey, score FROM scores"))

    def standing(self, settings: Scoring) -> Standing:
        """The fold over all closed challenges, to be read: it lacks the outcomes to go on from."""
        with self._lock:
            return Standing(
                settings,
                self.scores(),
                self._since(),
                alike=self._newest(settings.window, has_variants=False),
                variants=self._newest(settings.window, has_variants=True),
            )

    def closed(self) -> Iterator[ClosedChallenge]:
        """Every challenge that was closed, the oldest first: what `settle` takes, by this rule or another."""
        with self._lock:
            challenges = self._connection.execute(
                "SELECT * FROM challenges WHERE state = 'closed' ORDER BY number"
            ).fetchall()
        for row in challenges:
            with self._lock:
                answers = self._connection.execute(
                    "SELECT hotkey, score FROM answers WHERE challenge = ? ORDER BY hotkey", [row["number"]]
                ).fetchall()
            yield ClosedChallenge(
                label=row["label"],
                answers=dict(tuple(answer) for answer in answers),
                epoch=row["epoch"],
                modality=row["modality"],
                is_same_for_all=not row["has_variants"],
            )

    def intend(self, intent: Intent) -> None:
        """Write down weights before the chain hears of them; once for each epoch."""
        with self._lock, transaction(self._connection, self.path):
            self._connection.execute(
                "INSERT INTO intents (epoch, block, weights, salt, commitment, reveal_epoch, state, written) "
                "VALUES (:epoch, :block, :weights, :salt, :commitment, :reveal_epoch, :state, :written)",
                {
                    **vars(intent),
                    "weights": json.dumps(dataclasses.astuple(intent.weights)),
                    "salt": intent.salt and json.dumps(intent.salt),
                    "commitment": intent.commitment and intent.commitment.hex(),
                    "written": self._clock(),
                },
            )

    def mark(self, intent: Intent, state: IntentState, *, reveal_epoch: int | None = None) -> None:
        """Note how far the weights of that epoch have come."""
        with self._lock, transaction(self._connection, self.path):
            self._connection.execute(
                "UPDATE intents SET state = ?, reveal_epoch = coalesce(?, reveal_epoch) WHERE epoch = ?",
                [state, reveal_epoch, intent.epoch],
            )

    def intents(self, *states: IntentState) -> list[Intent]:
        """Intents, the oldest first; of all states, or of those."""
        wanted = states or tuple(IntentState)
        with self._lock:
            rows = self._connection.execute(
                f"SELECT * FROM intents WHERE state IN ({', '.join('?' * len(wanted))}) ORDER BY epoch",
                wanted,
            ).fetchall()
        return [_intent(row) for row in rows]

    def _one(self, sql: str, parameters: Sequence[str | int] = ()) -> sqlite3.Row:
        row = self._connection.execute(sql, parameters).fetchone()
        assert isinstance(row, sqlite3.Row), sql
        return row

    def _closed(self) -> int:
        (count,) = self._one("SELECT count(*) FROM challenges WHERE state = 'closed'")
        return int(count)

    def _store_answer(self, number: int, answer: Answer, reward: float) -> None:
        self._connection.execute(
            "UPDATE answers SET score = ?, model = ?, latency_ms = ?, error = ?, reward = ? "
            "WHERE challenge = ? AND hotkey = ?",
            [
                answer.score,
                answer.model.sha256 if answer.model else None,
                answer.latency_ms,
                answer.error or None,
                reward,
                number,
                answer.hotkey,
            ],
        )

    def _since(self) -> dict[str, int]:
        return dict(tuple(row) for row in self._connection.execute("SELECT hotkey, since FROM scores"))

    def _outcomes(self, hotkey: str, settings: Scoring) -> dict[str, list[LabelledAnswer]]:
        """The newest outcomes of a hotkey in each modality, as many as can count."""
        modalities = self._connection.execute(
            "SELECT DISTINCT modality FROM challenges JOIN answers ON number = challenge "
            "WHERE hotkey = ? AND state = 'closed'",
            [hotkey],
        ).fetchall()
        return {
            modality: [
                LabelledAnswer(row["label"], row["score"])
                for row in self._connection.execute(
                    "SELECT label, score FROM answers JOIN challenges ON number = challenge "
                    "WHERE hotkey = ? AND modality = ? AND state = 'closed' ORDER BY number DESC LIMIT ?",
                    [hotkey, modality, settings.depth],
                )
            ][::-1]
            for (modality,) in modalities
        }

    def _newest(self, window: int, *, has_variants: bool) -> list[dict[str, float | None]]:
        """The answers to the newest closed challenges of a kind, the oldest first."""
        rounds: dict[int, dict[str, float | None]] = {}
        for number, hotkey, score in self._connection.execute(
            "SELECT challenge, hotkey, score FROM answers WHERE challenge IN (SELECT number FROM challenges "
            "WHERE state = 'closed' AND has_variants = ? ORDER BY number DESC LIMIT ?) ORDER BY challenge",
            [has_variants, window],
        ):
            rounds.setdefault(number, {})[hotkey] = score
        return list(rounds.values())


def _intent(row: sqlite3.Row) -> Intent:
    uids, values, version_key = json.loads(row["weights"])
    return Intent(
        epoch=row["epoch"],
        block=row["block"],
        weights=WeightVector(tuple(uids), tuple(values), version_key),
        salt=None if row["salt"] is None else tuple(json.loads(row["salt"])),
        commitment=None if row["commitment"] is None else bytes.fromhex(row["commitment"]),
        reveal_epoch=row["reveal_epoch"],
        state=IntentState(row["state"]),
    )
