"""Rewards for answers: pure functions over a stored history, one for each rule.

A rule is a formula over labels and scores, exactly as published. What a miner really sent is made fit for the
formula first, and here the known defects of the published validators are mended:

* An answer that is missing, late, not finite, out of range or exactly 0.5 counts as wrong with full confidence,
  so silence, NaN and abstention never pay. (Published: left out of the window; NaN passed every check.)
* A rule's reward by chance is taken off, and what is left is stretched back to [0, 1], so constant and random
  answers tend to nothing. (Published: a constant earned about a quarter of the best.)
* No reward before `minimum` answers, then a linear ramp up to twice as many. (Published: one lucky answer was
  an accuracy of 1.)
* Only miners that were asked move. (Published: whoever was not sampled lost 2 % of its score.)
* History belongs to the hotkey and survives a new registration. (Published: it began anew.)
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from veridical.errors import VeridicalError
from veridical.evaluation.formulas import matthews, sn34_of

Labels = npt.NDArray[np.int_]
Scores = npt.NDArray[np.float64]

# Answers that agree to this many decimals over a whole window are one model's.
EQUAL_DECIMALS = 6


class NoWeightsError(VeridicalError):
    """No miner has earned anything, so there is nothing to send."""

    code = "no_weights"


@dataclasses.dataclass(frozen=True)
class LabelledAnswer:
    """One miner's answer to one closed challenge; `score` is None if none came in time."""

    label: int
    score: float | None

    @property
    def is_valid(self) -> bool:
        """True if it says anything: a finite number in [0, 1] other than 0.5."""
        score = self.score
        return score is not None and math.isfinite(score) and 0 <= score <= 1 and score != 0.5

    @property
    def effective(self) -> float:
        """The score that counts: the miner's own, or a wrong one with full confidence."""
        return float(self.score) if self.is_valid and self.score is not None else float(1 - self.label)


@dataclasses.dataclass(frozen=True)
class Scoring:
    """Settings of scoring: all of it configuration, none of it state.

    `window` answers count (the newest), `decay` is the share of a new reward in the moving score, `minimum` the
    answers before the first reward, `modalities` the share of each kind of media.
    """

    rule: str = "mcc_acc"
    window: int = 100
    decay: float = 0.02
    minimum: int = 20
    modalities: Mapping[str, float] = dataclasses.field(default_factory=lambda: {"image": 0.95, "video": 0.05})

    @property
    def depth(self) -> int:
        """Number of newest answers that count: enough for the window, and for the ramp of a beginner."""
        return max(self.window, 2 * self.minimum)


def binary(labels: Labels, scores: Scores) -> float:
    """Share of right answers, numpy's rounding (0.5 is real): bitmind-subnet v1, June 2024."""
    return float(np.mean(np.round(scores) == labels))


def auc2(labels: Labels, scores: Scores) -> float:
    """Squared AUROC; 0 on one class: bitmind-subnet v1.2, October 2024.

    >>> round(auc2(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.35, 0.8])), 3)
    1.0
    """
    fakes = int(labels.sum())
    reals = len(labels) - fakes
    if not fakes or not reals:
        return 0.0
    wins = np.subtract.outer(scores[labels == 1], scores[labels == 0])
    return float(((wins > 0).mean() + 0.5 * (wins == 0).mean()) ** 2)


def mcc_acc(labels: Labels, scores: Scores) -> float:
    """0.5 max(0, MCC of all) + 0.5 accuracy of the last ten: bitmind-subnet v2.0, December 2024."""
    return 0.5 * max(0.0, _correlation(labels, scores)) + 0.5 * binary(labels[-10:], scores[-10:])


def sn34(labels: Labels, scores: Scores) -> float:
    """MCC and Brier score in one number, `sn34_of`: today's subnet 34."""
    return float(sn34_of(_correlation(labels, scores), np.mean((scores - labels) ** 2)))


def _correlation(labels: Labels, scores: Scores) -> float:
    """Matthews' correlation of the rounded scores (0.5 is real); 0 in a window of one label."""
    return float(np.nan_to_num(matthews(labels, scores > 0.5)))


@dataclasses.dataclass(frozen=True)
class Rule:
    """A formula over a window, and what luck makes of it.

    `chance` is its value for constant or random answers to labels from a fair coin. `floor` is a moving score
    that one who guesses seldom reaches, and hardly ever with a majority of validators: measured with a window
    of 100 and a decay of 0.02. Half as high again, it would also take all from a detector of AUROC 0.55.
    """

    formula: Callable[[Labels, Scores], float]
    chance: float
    floor: float


RULES: dict[str, Rule] = {
    "binary": Rule(binary, chance=0.5, floor=0.10),
    "auc2": Rule(auc2, chance=0.25, floor=0.08),
    "mcc_acc": Rule(mcc_acc, chance=0.25, floor=0.10),
    # Of itself it gives guesses next to nothing; but the first who has next to nothing would have all weights.
    "sn34": Rule(sn34, chance=0.0, floor=0.005),
}


def reward(outcomes: Sequence[LabelledAnswer], scoring: Scoring) -> float:
    """The reward now, in [0, 1], for the newest outcomes of one miner in one modality.

    An invalid last answer is worth nothing now, besides being wrong in the window.
    """
    recent = outcomes[-scoring.window :]
    ramp = min(1.0, (len(outcomes) - scoring.minimum) / scoring.minimum) if scoring.minimum else 1.0
    if ramp <= 0 or not recent or not recent[-1].is_valid:
        return 0.0
    rule = RULES[scoring.rule]
    value = rule.formula(
        np.array([outcome.label for outcome in recent]),
        np.array([outcome.effective for outcome in recent]),
    )
    return ramp * max(0.0, (value - rule.chance) / (1 - rule.chance))


def mixed(rewards: Mapping[str, float], scoring: Scoring) -> float:
    """One reward from those of the modalities a miner has been asked for; modalities unasked do not count."""
    shares = {name: scoring.modalities.get(name, 0.0) for name in rewards}
    total = math.fsum(shares.values())
    # Exact sums do not depend on which modality came first.
    return math.fsum(shares[name] * rewards[name] for name in rewards) / total if total else 0.0


def moved(scores: Mapping[str, float], rewards: Mapping[str, float], decay: float) -> dict[str, float]:
    """The moving scores after a challenge, by hotkey; those without a reward were not asked and stay.

    >>> scores: dict[str, float] = {"a": 0.0}
    >>> for value in (1, 0, 1, 1):
    ...     scores = moved(scores, {"a": value}, 0.02)
    >>> round(scores["a"], 8)
    0.05842384
    """
    return {**scores, **{key: (1 - decay) * scores.get(key, 0.0) + decay * r for key, r in rewards.items()}}


def copies(answers: Mapping[str, Mapping[str, float | None]], *, least: int = 10) -> list[frozenset[str]]:
    """Groups of hotkeys that are one model: equal answers to all of at least `least` challenges they share.

    `answers` maps hotkey to challenge id to score. Valid answers count, rounded to 1e-6; constant ones too,
    since whoever says nothing loses nothing by sharing it. Two real models do not agree to six decimals.
    """
    hotkeys = sorted(answers)
    parent = {hotkey: hotkey for hotkey in hotkeys}

    def root(hotkey: str) -> str:
        while parent[hotkey] != hotkey:
            hotkey = parent[hotkey]
        return hotkey

    for place, one in enumerate(hotkeys):
        for other in hotkeys[place + 1 :]:
            if root(one) != root(other) and _agree(answers[one], answers[other], least):
                parent[root(other)] = root(one)
    groups: dict[str, set[str]] = collections.defaultdict(set)
    for hotkey in hotkeys:
        groups[root(hotkey)].add(hotkey)
    return [frozenset(group) for group in groups.values() if len(group) > 1]


def weights(
    scores: Mapping[str, float],
    scoring: Scoring,
    groups: Sequence[frozenset[str]] = (),
    since: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, float]:
    """Weights by hotkey: non-negative, finite, sum 1; a group of copies has one reward.

    Whose moving score is beneath the rule's floor of chance gets nothing.

    `since` says when each hotkey of a group was first asked: the reward is that of the eldest, and the others
    get nothing. (Were it shared, a copier of a good model could live on it.)
    Raises `NoWeightsError` if nobody earned anything, `ValueError` for a score that is not finite.
    """
    wrong = {hotkey: value for hotkey, value in scores.items() if not math.isfinite(value) or value < 0}
    if wrong:
        raise ValueError(f"scores are finite and not negative: {wrong}")
    floor = RULES[scoring.rule].floor
    above = {hotkey: value if value >= floor else 0.0 for hotkey, value in scores.items()}
    shared = dict(above)
    for group in groups:
        younger = sorted(group & above.keys(), key=lambda hotkey: (since[hotkey], hotkey))[1:]
        shared |= dict.fromkeys(younger, 0.0)
    total = math.fsum(shared.values())
    if total <= 0:
        raise NoWeightsError("no miner has a score above chance yet, so no weights are sent.")
    return {hotkey: value / total for hotkey, value in shared.items()}


def _agree(one: Mapping[str, float | None], other: Mapping[str, float | None], least: int) -> bool:
    pairs = [(one[key], other[key]) for key in one.keys() & other.keys()]
    given = [(a, b) for a, b in pairs if a is not None and b is not None and math.isfinite(a + b)]
    return len(given) >= least and all(round(a - b, EQUAL_DECIMALS) == 0 for a, b in given)
