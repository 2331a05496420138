"""Simulated validators: some make their own challenges, one copies what it can see of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from veridical.network.simulate.miners import Answers, Challenges, Floats, SimulatedMiner
from veridical.network.validator.settlement import ClosedChallenge


@dataclass(frozen=True)
class SimulatedValidator:
    """A hotkey with stake (share of all) that closes so many challenges in an epoch; a copier closes none."""

    name: str
    kind: str
    about: str
    stake: float
    challenges_per_epoch: int


VALIDATORS = (
    SimulatedValidator("honest_1", "honest", "20 challenges in an epoch", 0.28, 20),
    SimulatedValidator("honest_2", "honest", "20 challenges in an epoch", 0.22, 20),
    SimulatedValidator("honest_3", "honest", "20 challenges in an epoch", 0.18, 20),
    SimulatedValidator("honest_4", "honest", "20 challenges in an epoch, the copier's stake", 0.10, 20),
    SimulatedValidator("lazy", "cheat", "4 challenges in an epoch", 0.12, 4),
    SimulatedValidator("weight_copier", "cheat", "sets the mean of all weights that it can see", 0.10, 0),
)


@dataclass(frozen=True)
class Media:
    """Kinds of challenges: shares of all, but `canaries`, which is the share of known items.

    `asked`: miners asked, `known`: items that a table of known media would recognise, `variants`: challenges
    in which every miner gets a variant of its own.
    """

    asked: float = 0.5
    known: float = 0.1
    canaries: float = 0.5
    variants: float = 0.1


def record_history(
    validator: SimulatedValidator,
    miners: Sequence[SimulatedMiner],
    epochs: int,
    media: Media,
    rng: np.random.Generator,
) -> list[ClosedChallenge]:
    """All challenges that a validator closes, in order."""
    challenges = _draw(validator, epochs, media, rng)
    answers: dict[str, Answers] = {}
    for miner in miners:
        answers[miner.name] = miner.strategy(challenges, answers, rng)
    n = len(challenges.labels)
    asked = rng.random((len(miners), n)) < media.asked
    told = [_as_told(answers[miner.name]) for miner in miners]
    return [
        ClosedChallenge(
            label=int(challenges.labels[place]),
            answers={
                hotkey: own[place]
                for miner, own, is_asked in zip(miners, told, asked[:, place], strict=True)
                if is_asked and (hotkey := miner.hotkey(int(challenges.epoch[place])))
            },
            epoch=int(challenges.epoch[place]),
            is_same_for_all=not challenges.is_variant[place],
        )
        for place in range(n)
    ]


def copied(visible: Floats, stake: Floats) -> Floats:
    """The weights of a copier, (miners,): the mean by stake of the rows that it sees, (validators, miners)."""
    has_set = visible.sum(axis=1) > 0
    if not has_set.any():
        return np.zeros(visible.shape[1])
    mean: Floats = np.average(visible[has_set], axis=0, weights=stake[has_set])
    return mean


def _draw(validator: SimulatedValidator, epochs: int, media: Media, rng: np.random.Generator) -> Challenges:
    n = epochs * validator.challenges_per_epoch
    is_known = rng.random(n) < media.known
    return Challenges(
        epoch=np.repeat(np.arange(epochs), validator.challenges_per_epoch),
        labels=rng.integers(0, 2, n),
        difficulty=rng.normal(size=n),
        is_known=is_known,
        is_canary=is_known & (rng.random(n) < media.canaries),
        is_variant=rng.random(n) < media.variants,
    )


def _as_told(answers: Answers) -> list[float | None]:
    return [
        score if came else None
        for score, came in zip(answers.scores.tolist(), answers.in_time.tolist(), strict=True)
    ]
