"""Simulated miners: honest detectors of known skill, and everyone who would rather not run one.

An honest miner sees each item through noise: x = d (label - 1/2) + z with z standard normal, d = sqrt(2) times
the normal quantile of its AUROC, and answers the exact posterior, sigmoid(d x), which is calibrated. Part of z
is the item's own difficulty, the same for all. Strategies get all challenges of a validator at once, as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from veridical.network.chain import Hyperparameters

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]

HONEST = (0.55, 0.60, 0.65, 0.70, 0.75, 0.80, 0.85, 0.90, 0.95)

# What two detectors' errors have in common: items that are hard for all.
_COMMON = 0.3

# A miner that only answers when it is sure is so on about half of all items.
_SURE = 0.3

# The epoch in which those join who live on another's answers: nobody can copy who is not there yet.
_COPIES_JOIN = 5

_RULES = Hyperparameters()

# Blocks from epoch to epoch.
TEMPO = _RULES.tempo


@dataclass(frozen=True)
class Challenges:
    """All challenges of one validator; arrays are (n,).

    `difficulty` is standard normal. `is_known`: a table of known media has an item that looks the same;
    `is_canary`: it looks the same, but was made anew with the other label. `is_variant`: every miner was sent
    other bytes.
    """

    epoch: Integers
    labels: Integers
    difficulty: Floats
    is_known: Booleans
    is_canary: Booleans
    is_variant: Booleans


@dataclass(frozen=True)
class Answers:
    """One miner's answers, (n,); where `in_time` is false none came, and the score is of no account."""

    scores: Floats
    in_time: Booleans


Others = Mapping[str, Answers]
Strategy = Callable[[Challenges, Others, np.random.Generator], Answers]


@dataclass(frozen=True)
class SimulatedMiner:
    """Somebody and what it does; `kind` is `honest` or `cheat`, `joins` the epoch in which it registers.

    `auroc` is that of the detector behind an honest one, for each epoch; a strategy sees the answers of the
    miners before it. Who launders its history leaves after `stays` epochs, and comes back under a new hotkey
    when it has been `away` for so many.
    """

    name: str
    kind: str
    about: str
    strategy: Strategy
    auroc: Floats | None = None
    joins: int = 0
    stays: int | None = None
    away: int = 0

    def registered(self, epoch: int) -> int | None:
        """The epoch in which it registered the hotkey that it has in this one; None if it has none."""
        if epoch < self.joins or self.stays is None:
            return self.joins if epoch >= self.joins else None
        since = (epoch - self.joins) % (self.stays + self.away)
        return epoch - since if since < self.stays else None

    def hotkey(self, epoch: int) -> str | None:
        """Its hotkey in that epoch, if it has one."""
        registered = self.registered(epoch)
        if registered is None:
            return None
        return self.name if self.stays is None else f"{self.name}/{registered}"

    @property
    def skill(self) -> float:
        """Mean AUROC of an honest miner over all epochs."""
        assert self.auroc is not None
        return float(self.auroc.mean())


def population(epochs: int, rng: np.random.Generator) -> list[SimulatedMiner]:
    """Nine honest miners and twelve cheats."""
    honest = [_honest(auroc, epochs, rng) for auroc in HONEST]
    good = _drifting(0.80, epochs, rng)
    best = _drifting(0.95, epochs, rng)
    return [
        *honest,
        SimulatedMiner("always_real", "cheat", "answers 0", _constant(0.0)),
        SimulatedMiner("always_fake", "cheat", "answers 1", _constant(1.0)),
        SimulatedMiner("always_half", "cheat", "answers 0.5", _constant(0.5)),
        SimulatedMiner("random", "cheat", "answers a uniform number", _random),
        SimulatedMiner("silent_when_unsure", "cheat", "AUROC 0.80, answers only when sure", _silent(good)),
        SimulatedMiner(
            "nan_when_unsure", "cheat", "AUROC 0.80, answers NaN when not sure", _not_a_number(good)
        ),
        SimulatedMiner("late", "cheat", "AUROC 0.95, every other answer comes too late", _late(best)),
        SimulatedMiner("looks_up_hashes", "cheat", "knows some items, guesses the others", _look_up),
        SimulatedMiner(
            "copies_neighbour",
            "cheat",
            "answers what honest_0.95 answers",
            _copy("honest_0.95"),
            joins=_COPIES_JOIN,
        ),
        *(
            SimulatedMiner(
                f"extra_hotkey_{number}",
                "cheat",
                "another hotkey for the model of honest_0.75",
                _same_model("honest_0.75"),
                joins=_COPIES_JOIN,
            )
            for number in (1, 2)
        ),
        SimulatedMiner(
            "launders_history",
            "cheat",
            "answers a uniform number, under a new hotkey once the last is pruned",
            _random,
            stays=_RULES.immunity_period // TEMPO,
            away=-(-_RULES.coldkey_penalty_period // TEMPO),
        ),
    ]


def _honest(auroc: float, epochs: int, rng: np.random.Generator) -> SimulatedMiner:
    drifting = _drifting(auroc, epochs, rng)
    return SimulatedMiner(
        f"honest_{auroc:.2f}", "honest", f"a detector of AUROC {auroc:.2f}", _detect(drifting), drifting
    )


def _drifting(auroc: float, epochs: int, rng: np.random.Generator) -> Floats:
    """An AUROC for each epoch: its separation changes by some 15 % every ten, as models and media do."""
    shifts = np.exp(rng.normal(0.0, 0.15, -(-epochs // 10)))
    separations = math.sqrt(2) * NormalDist().inv_cdf(auroc) * np.repeat(shifts, 10)[:epochs]
    return np.array([NormalDist().cdf(d / math.sqrt(2)) for d in separations])


def _posterior(auroc: Floats, challenges: Challenges, rng: np.random.Generator) -> Floats:
    separations = np.array([math.sqrt(2) * NormalDist().inv_cdf(value) for value in auroc])[challenges.epoch]
    own = rng.normal(size=len(challenges.labels))
    noise = math.sqrt(_COMMON) * challenges.difficulty + math.sqrt(1 - _COMMON) * own
    return _sigmoid(separations * (separations * (challenges.labels - 0.5) + noise))


def _detect(auroc: Floats) -> Strategy:
    def answer(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        return _all_in_time(_posterior(auroc, challenges, rng))

    return answer


def _constant(score: float) -> Strategy:
    def answer(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        return _all_in_time(np.full(len(challenges.labels), score))

    return answer


def _random(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
    return _all_in_time(rng.random(len(challenges.labels)))


def _silent(auroc: Floats) -> Strategy:
    def answer(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        scores = _posterior(auroc, challenges, rng)
        return Answers(scores, np.abs(scores - 0.5) >= _SURE)

    return answer


def _not_a_number(auroc: Floats) -> Strategy:
    def answer(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        scores = _posterior(auroc, challenges, rng)
        return _all_in_time(np.where(np.abs(scores - 0.5) >= _SURE, scores, np.nan))

    return answer


def _late(auroc: Floats) -> Strategy:
    def answer(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        return Answers(_posterior(auroc, challenges, rng), rng.random(len(challenges.labels)) < 0.5)

    return answer


def _look_up(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
    """The label of the known item that looks the same; elsewhere a guess next to 0.5, which costs least."""
    guesses = np.where(rng.random(len(challenges.labels)) < 0.5, 0.49, 0.51)
    remembered = np.where(challenges.is_canary, 1 - challenges.labels, challenges.labels)
    return _all_in_time(np.where(challenges.is_known, remembered, guesses))


def _copy(name: str) -> Strategy:
    def answer(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        return others[name]

    return answer


def _same_model(name: str) -> Strategy:
    """Equal bytes get equal answers, other variants nearly equal ones."""

    def answer(challenges: Challenges, others: Others, rng: np.random.Generator) -> Answers:
        scores = others[name].scores
        logits = np.log(scores) - np.log1p(-scores) + 0.1 * rng.normal(size=len(scores))
        return _all_in_time(np.where(challenges.is_variant, _sigmoid(logits), scores))

    return answer


def _all_in_time(scores: Floats) -> Answers:
    return Answers(scores, np.ones(len(scores), np.bool_))


def _sigmoid(logits: Floats) -> Floats:
    values: Floats = 1 / (1 + np.exp(-logits))
    return values
