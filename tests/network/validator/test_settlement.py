"""One rule settles what a validator recorded, what is replayed and what is simulated."""

import numpy as np
import pytest

from veridical.network.validator import scoring
from veridical.network.validator.scoring import LabelledAnswer, Scoring
from veridical.network.validator.settlement import ClosedChallenge, Standing, settle, settle_epochs

SETTINGS = Scoring(minimum=5)


def history(epochs: int, skills: dict[str, float], *, seed: int = 0) -> list[ClosedChallenge]:
    """Ten challenges in each epoch; a skill is the share of right answers, each with a number of its own."""
    rng = np.random.default_rng(seed)
    closed = []
    for epoch in np.repeat(np.arange(epochs), 10).tolist():
        label = int(rng.integers(0, 2))
        answers = {}
        for name, skill in skills.items():
            sure = 0.6 + 0.4 * rng.random()
            answers[name] = sure if (rng.random() < skill) == (label == 1) else 1 - sure
        closed.append(ClosedChallenge(label, answers, epoch))
    return closed


def test_it_is_the_fold_of_the_scoring_functions() -> None:
    closed = history(6, {"a": 0.9, "b": 0.6})
    scores: dict[str, float] = {}
    outcomes: dict[str, list[LabelledAnswer]] = {"a": [], "b": []}
    for challenge in closed:
        for name, answer in challenge.answers.items():
            outcomes[name].append(LabelledAnswer(challenge.label, answer))
        rewards = {name: scoring.reward(own, SETTINGS) for name, own in outcomes.items()}
        scores = scoring.moved(scores, rewards, SETTINGS.decay)
    settled = dict(settle_epochs(closed, SETTINGS))
    assert list(settled) == list(range(6))
    assert settled[5].scores == pytest.approx(scores)
    assert settled[5].weights == pytest.approx(scoring.weights(scores, SETTINGS))
    assert settled[5] == settle(closed, SETTINGS)
    assert sum(settled[5].weights.values()) == pytest.approx(1)
    assert settled[0].scores["a"] > 0
    assert settled[0].weights == {}, "beneath the floor of chance, as for a validator"


def test_another_rule_gives_other_weights_for_the_same_history() -> None:
    closed = history(20, {"good": 0.95, "fair": 0.7})
    shares = {rule: settle(closed, Scoring(rule=rule)).weights["good"] for rule in scoring.RULES}
    assert all(share > 0.5 for share in shares.values())
    assert shares["sn34"] > shares["binary"]


def test_of_hotkeys_with_one_model_the_eldest_is_paid() -> None:
    closed = history(12, {"first": 0.9, "other": 0.9})
    copied = [
        ClosedChallenge(
            c.label, {"a_thief": c.answers["first"], **c.answers} if c.epoch >= 2 else c.answers, c.epoch
        )
        for c in closed
    ]
    honest, robbed = settle(closed, SETTINGS), settle(copied, SETTINGS)
    assert robbed.groups == [frozenset({"a_thief", "first"})]
    assert robbed.weights["a_thief"] == 0
    assert robbed.weights["first"] == pytest.approx(honest.weights["first"])


def test_equal_answers_to_variants_are_passed_on_and_join_the_groups_of_one_model() -> None:
    """Here replay and simulation differed from a validator: they took no notice of variants."""
    closed = [
        ClosedChallenge(
            c.label,
            {**c.answers, "relay": c.answers["a"]}
            if place % 2
            else {**c.answers, "twin": c.answers["a"], "relay": 0.9 * (c.answers["a"] or 0.0)},
            c.epoch,
            is_same_for_all=place % 2 == 0,
        )
        for place, c in enumerate(history(6, {"a": 0.9}))
    ]
    standing = Standing(SETTINGS)
    for each in closed:
        standing.add(each)
    assert standing.same_model() == [frozenset({"a", "twin"})]
    assert standing.passed_on() == [frozenset({"a", "relay"})]
    settled = settle(closed, SETTINGS)
    assert settled.groups == [frozenset({"a", "relay", "twin"})]
    assert settled.weights == {"a": 1.0, "relay": 0.0, "twin": 0.0}


def test_the_eldest_of_a_group_is_the_eldest_of_those_registered() -> None:
    closed = [
        ClosedChallenge(c.label, {**c.answers, "b": c.answers["a"]}, c.epoch) for c in history(6, {"a": 1.0})
    ]
    assert settle(closed, SETTINGS).weights == {"a": 1.0, "b": 0.0}
    assert settle(closed, SETTINGS, registered={"b", "new"}).weights == {"b": 1.0}
    assert settle(closed, SETTINGS, registered=()).weights == {}


def test_while_nobody_has_earned_anything_there_are_no_weights() -> None:
    silent = [ClosedChallenge(place % 2, {"a": None}, epoch=place // 10) for place in range(60)]
    assert [dict(one.weights) for _, one in settle_epochs(silent, SETTINGS)] == [{}] * 6


def test_each_kind_of_media_has_a_window_of_its_own() -> None:
    images = history(6, {"a": 1.0})
    videos = [
        ClosedChallenge(c.label, {"a": 1.0 - c.label}, c.epoch, modality="video")
        for c in history(6, {"a": 1.0})
    ]
    mixed = sorted([*images, *videos], key=lambda challenge: challenge.epoch)
    alone, both = settle(images, SETTINGS).scores["a"], settle(mixed, SETTINGS).scores["a"]
    assert both > alone  # moved twice as often, by nearly the same reward
    assert both < 1 - 0.98**120


def test_noise_hides_a_copy_which_is_a_known_limit() -> None:
    rng = np.random.default_rng(1)
    closed = [
        ClosedChallenge(c.label, {**c.answers, "noisy": (c.answers["a"] or 0.0) + 1e-4 * rng.normal()}, c.epoch)
        for c in history(4, {"a": 0.9})
    ]
    assert settle(closed, SETTINGS).groups == []
