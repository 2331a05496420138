"""What answers are worth: the published formulas to the digit, and their defects mended."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veridical.evaluation.formulas import matthews
from veridical.network.validator import scoring
from veridical.network.validator.scoring import (
    RULES,
    LabelledAnswer,
    NoWeightsError,
    Scoring,
    copies,
    mixed,
    moved,
    reward,
    weights,
)

LABELS = np.array([1, 0, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1])
SCORES = np.array([0.9, 0.2, 0.4, 0.8, 0.6, 0.1, 0.7, 0.3, 0.5, 0.5, 0.51, 0.49])


def test_the_formulas_give_the_published_numbers() -> None:
    assert scoring.binary(LABELS, SCORES) == pytest.approx(0.666667, abs=1e-6)
    assert matthews(LABELS, SCORES > 0.5) == pytest.approx(0.371429, abs=1e-6)
    assert scoring.binary(LABELS[-10:], SCORES[-10:]) == pytest.approx(0.6)
    assert scoring.mcc_acc(LABELS, SCORES) == pytest.approx(0.485714, abs=1e-6)
    assert scoring.mcc_acc(LABELS, np.ones(12)) == pytest.approx(0.3)
    assert scoring.sn34(LABELS, SCORES) == pytest.approx(0.2966188, abs=1e-7)
    assert scoring.auc2(LABELS, SCORES) == pytest.approx(0.8142857**2, abs=1e-6)


@pytest.mark.parametrize("answer", [None, math.nan, math.inf, -1.0, 1.01, 0.5])
def test_no_answer_is_a_wrong_answer(answer: float | None) -> None:
    for label in (0, 1):
        assert not LabelledAnswer(label, answer).is_valid
        assert LabelledAnswer(label, answer).effective == 1 - label


def outcomes(n: int, right: float, seed: int = 0) -> list[LabelledAnswer]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    truth = rng.random(n) < right
    return [
        LabelledAnswer(int(label), 0.9 if (label == 1) == good else 0.1)
        for label, good in zip(labels, truth, strict=True)
    ]


@pytest.mark.parametrize("rule", scoring.RULES)
def test_who_is_silent_when_unsure_earns_less_than_who_guesses(rule: str) -> None:
    guessing = outcomes(400, 0.8)
    labels = [o.label for o in guessing]
    silent = [o if (o.effective > 0.5) == o.label else LabelledAnswer(o.label, None) for o in guessing]
    settings = Scoring(rule=rule, window=400)
    assert labels == [o.label for o in silent]
    # The last answer of both is valid, so that only the window differs.
    assert reward([*silent, LabelledAnswer(1, 0.9)], settings) <= reward(
        [*guessing, LabelledAnswer(1, 0.9)], settings
    )


@pytest.mark.parametrize("rule", scoring.RULES)
@pytest.mark.parametrize("answer", [0.0, 1.0, 0.5, 0.7])
def test_a_constant_earns_next_to_nothing(rule: str, answer: float) -> None:
    history = [LabelledAnswer(label, answer) for label in [0, 1] * 100]
    # The share of fakes among the last ten is a half here, so the chance that is taken off is exact.
    assert reward(history, Scoring(rule=rule)) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("rule", scoring.RULES)
def test_more_skill_earns_more(rule: str) -> None:
    settings = Scoring(rule=rule, window=2000)
    earned = [
        np.mean([reward(outcomes(2000, p, seed), settings) for seed in range(5)]) for p in (0.6, 0.75, 0.9)
    ]
    assert earned == sorted(earned)
    assert len(set(earned)) == 3


def test_nobody_earns_before_enough_answers_and_then_by_a_ramp() -> None:
    perfect = outcomes(60, 1.0)
    settings = Scoring(minimum=20)
    assert [reward(perfect[:n], settings) for n in (1, 20)] == [0.0, 0.0]
    assert reward(perfect[:30], settings) == pytest.approx(0.5)
    assert reward(perfect[:40], settings) == 1.0


def test_an_invalid_last_answer_is_worth_nothing_now() -> None:
    assert reward([*outcomes(99, 1.0), LabelledAnswer(1, math.nan)], Scoring()) == 0.0


def test_whoever_was_not_asked_stays() -> None:
    assert moved({"a": 0.5, "b": 0.5}, {"a": 1.0}, 0.02) == {"a": 0.51, "b": 0.5}


def test_modalities_that_were_never_asked_do_not_dilute() -> None:
    assert mixed({"image": 0.4}, Scoring()) == pytest.approx(0.4)
    assert mixed({"image": 1.0, "video": 0.0}, Scoring()) == pytest.approx(0.95)
    assert mixed({}, Scoring()) == 0.0


def test_copies_have_one_reward_that_of_the_eldest() -> None:
    rng = np.random.default_rng(0)
    base = {str(i): float(rng.random()) for i in range(30)}
    answers: dict[str, dict[str, float | None]] = {
        "honest": {k: float(rng.random()) for k in base},
        "first": dict(base),
        "second": {k: v + 1e-9 for k, v in base.items()},
    }
    groups = copies(answers)
    assert groups == [frozenset({"first", "second"})]
    since = {"honest": 1, "first": 3, "second": 2}
    shared = weights({"honest": 0.5, "first": 0.6, "second": 0.5}, Scoring(), groups, since)
    assert shared == pytest.approx({"honest": 0.5, "first": 0.0, "second": 0.5})


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), min_size=1))
def test_weights_are_a_distribution_or_are_not_sent(scores: dict[str, float]) -> None:
    if not any(score >= RULES["mcc_acc"].floor for score in scores.values()):
        with pytest.raises(NoWeightsError):
            weights(scores, Scoring())
        return
    found = weights(scores, Scoring())
    assert math.fsum(found.values()) == pytest.approx(1)
    assert min(found.values()) >= 0


@pytest.mark.parametrize("rule", RULES)
def test_a_score_beneath_the_floor_of_chance_is_worth_nothing(rule: str) -> None:
    floor = RULES[rule].floor
    found = weights({"good": 0.6, "at": floor, "beneath": max(0.0, floor - 1e-9)}, Scoring(rule=rule))
    assert found == pytest.approx({"good": 0.6 / (0.6 + floor), "at": floor / (0.6 + floor), "beneath": 0.0})


@pytest.mark.parametrize("rule", RULES)
def test_guessing_seldom_reaches_the_floor_and_skill_always_does(rule: str) -> None:
    settings = Scoring(rule=rule)
    reached = {}
    for right in (0.5, 0.75):
        scores = []
        for seed in range(6):
            history = outcomes(400, right, seed)
            score = {"miner": 0.0}
            for place in range(1, len(history) + 1):
                score = moved(score, {"miner": reward(history[max(0, place - 100) : place], settings)}, 0.02)
                if place >= 200:
                    scores.append(score["miner"])
        reached[right] = float(np.mean(np.array(scores) >= max(RULES[rule].floor, 1e-3)))
    assert reached[0.5] < 0.3
    assert reached[0.75] == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -0.1])
def test_a_score_that_is_no_number_never_becomes_a_weight(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        weights({"a": value, "b": 0.5}, Scoring())
