"""What a validator remembers: answers and scores together, labels, and what it is about to set."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from veridical.errors import NetworkError
from veridical.network.chain import WeightVector
from veridical.network.validator.challenges import Challenge
from veridical.network.validator.media_cache import Pool
from veridical.results import Label

pytest.importorskip("bittensor_core", reason="needs the extra 'network'")

from veridical.network.client import Answer
from veridical.network.validator.history import History, Intent, IntentState
from veridical.network.validator.scoring import Scoring
from veridical.network.validator.settlement import settle

SETTINGS = Scoring(window=12, minimum=4, decay=0.1)
DAY = 86_400.0


@pytest.fixture
def history(tmp_path: Path) -> Iterator[History]:
    with History(tmp_path / "history.sqlite", clock=lambda: 1000.0) as made:
        yield made


def challenge(number: int, label: Label, *, has_variants: bool = False, modality: str = "image") -> Challenge:
    return Challenge(
        id=f"{number:032x}",
        modality=modality,
        origin=f"origin {number // 2}",
        label=label,
        generator="g" if label else "",
        source="s",
        pool=Pool.OPEN,
        pixels=np.zeros((64, 64, 3), np.uint8),
        seed=number,
        side=64,
        has_variants=has_variants,
    )


def play(history: History, rounds: int, *, first: int = 0, modality: str = "image") -> None:
    """Three miners: one that knows, one that guesses, one that says nothing; not all are asked each time."""
    rng = random.Random(first)
    for number in range(first, first + rounds):
        label = Label(rng.randrange(2))
        asked = rng.sample(["good", "guess", "silent"], 2)
        answers = [
            Answer("good", abs(int(label) - 0.1)),
            Answer("guess", rng.random()),
            Answer("silent", error="timeout", latency_ms=10_000),
        ]
        history.open_challenge(challenge(number, label, modality=modality), asked)
        given = [answer for answer in answers if answer.hotkey in asked]
        history.close_challenge(f"{number:032x}", given, epoch=number // 10, settings=SETTINGS)


def test_scores_are_those_of_the_pure_rule_over_the_stored_history(history: History) -> None:
    play(history, 30)
    play(history, 8, first=100, modality="video")
    settled = settle(history.closed(), SETTINGS)
    assert history.scores() == pytest.approx(settled.scores)
    assert history.scores()["good"] > 0.5 > history.scores()["guess"]
    assert history.scores()["silent"] == 0
    again = settle(history.closed(), dataclasses.replace(SETTINGS, rule="sn34"))
    assert again.scores["good"] != pytest.approx(settled.scores["good"])


def test_only_those_who_were_asked_move(history: History) -> None:
    play(history, 20)
    before = history.scores()
    history.open_challenge(challenge(50, Label.FAKE), ["good"])
    rewards = history.close_challenge(f"{50:032x}", [Answer("good", 0.9)], epoch=5, settings=SETTINGS)
    assert rewards.keys() == {"good"}
    after = history.scores()
    assert after["good"] > before["good"]
    assert {key: after[key] for key in ("guess", "silent")} == {key: before[key] for key in ("guess", "silent")}


def test_who_was_asked_and_is_not_among_the_answers_gave_none(history: History) -> None:
    history.open_challenge(challenge(1, Label.FAKE), ["a", "b"])
    history.close_challenge(f"{1:032x}", [Answer("a", 0.9)], epoch=0, settings=SETTINGS)
    (closed,) = history.closed()
    assert (closed.label, closed.answers) == (1, {"a": 0.9, "b": None})


def test_a_challenge_is_closed_once(history: History) -> None:
    history.open_challenge(challenge(1, Label.FAKE), ["a"])
    history.close_challenge(f"{1:032x}", [Answer("a", 0.9)], epoch=0, settings=SETTINGS)
    with pytest.raises(AssertionError):
        history.close_challenge(f"{1:032x}", [Answer("a", 0.1)], epoch=0, settings=SETTINGS)
    assert next(history.closed()).answers == {"a": 0.9}


def test_what_was_left_open_is_void_but_the_picture_was_seen(history: History) -> None:
    play(history, 6)
    before = history.scores()
    history.open_challenge(challenge(60, Label.FAKE), ["good"])
    assert history.start(stale_after=DAY) == 1
    assert len(list(history.closed())) == 6
    assert history.scores() == before
    assert history.asked("origin 30") == {"good"}
    assert history.asked("never") == frozenset()
    assert history.start(stale_after=DAY) == 0


def test_rounds_count_anew_without_a_history_and_after_a_long_silence(tmp_path: Path) -> None:
    now = [1000.0]
    with History(tmp_path / "history", clock=lambda: now[0]) as history:
        history.start(stale_after=DAY)
        play(history, 6)
        assert history.rounds_since_start() == 6
        now[0] += DAY / 2
        history.start(stale_after=DAY)
        assert history.rounds_since_start() == 6, "a restart with a fresh history goes on"
        now[0] += DAY
        history.start(stale_after=DAY)
        assert history.rounds_since_start() == 0
        play(history, 2, first=50)
        assert history.rounds_since_start() == 2
    with History(tmp_path / "another") as history:
        history.start(stale_after=DAY)
        assert history.rounds_since_start() == 0


def test_equal_answers_are_copies_only_where_all_saw_the_same_file(history: History) -> None:
    def answer(first: int, *, has_variants: bool) -> None:
        for number in range(first, first + 12):
            p = 0.1 + 0.01 * (number % 12)
            history.open_challenge(challenge(number, Label.FAKE, has_variants=has_variants), ["a", "b", "c"])
            answers = [Answer("a", p), Answer("b", p), Answer("c", 0.9 - p)]
            history.close_challenge(f"{number:032x}", answers, epoch=0, settings=SETTINGS)

    answer(0, has_variants=True)
    assert history.standing(Scoring()).same_model() == []
    assert history.standing(Scoring()).passed_on() == [frozenset({"a", "b"})], "who passes answers on"
    answer(12, has_variants=False)
    assert history.standing(Scoring()).same_model() == [frozenset({"a", "b"})]
    assert history.standing(Scoring(window=9)).same_model() == [], "too few to say"


def test_intents_are_kept_with_all_that_a_reveal_needs(tmp_path: Path, history: History) -> None:
    weights = WeightVector((1, 3), (65535, 7), 1)
    committed = Intent(4, 80, weights, tuple(range(16)), bytes(range(32)))
    plain = Intent(5, 99, weights)
    for intent in (committed, plain):
        history.intend(intent)
    history.mark(committed, IntentState.COMMITTED, reveal_epoch=6)
    with History(history.path) as reopened:
        assert reopened.intents(IntentState.INTENDED) == [plain]
        (kept,) = reopened.intents(IntentState.COMMITTED)
        assert kept == dataclasses.replace(committed, reveal_epoch=6, state=IntentState.COMMITTED)
        reopened.mark(kept, IntentState.SET)
    assert [intent.state for intent in history.intents()] == [IntentState.SET, IntentState.INTENDED]


def test_a_damaged_or_foreign_file_is_refused_never_replaced(tmp_path: Path, history: History) -> None:
    play(history, 30)
    history.close()
    whole = history.path.read_bytes()
    damaged, foreign = tmp_path / "damaged", tmp_path / "text"
    damaged.write_bytes(whole[:9000] + bytes(4000) + whole[13000:])
    foreign.write_text("no database" * 1000)
    for path in (damaged, foreign):
        before = path.read_bytes()
        with pytest.raises(NetworkError) as raised:
            History(path)
        assert raised.value.code == "store_corrupt"
        assert path.read_bytes() == before
