"""A recorded history scored again, by whatever rule: what a validator would have set, epoch by epoch.

Pure: closed challenges in, weights out. The simulator's histories and a validator's database both come as
`ClosedChallenge`, so that one rule can be tried on what another was paid for.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from veridical.network import scoring
from veridical.network.scoring import NoWeightsError, Outcome, Scoring


@dataclass(frozen=True)
class ClosedChallenge:
    """One challenge whose label may be known, and the answers to it.

    `answers` holds every hotkey that was asked, with None where no answer came in time. `is_same_for_all`:
    all were sent the same bytes, so that equal answers mean one model; variants of a picture say nothing of
    that.
    """

    label: int
    answers: Mapping[str, float | None]
    epoch: int = 0
    modality: str = "image"
    is_same_for_all: bool = True


@dataclass(frozen=True)
class Settlement:
    """Where everyone stands at the end of an epoch; `weights` is empty if nobody has earned anything.

    `groups` are the hotkeys that were found to be one model, `scores` the moving scores by hotkey.
    """

    epoch: int
    scores: Mapping[str, float]
    groups: Sequence[frozenset[str]]
    weights: Mapping[str, float]


def replay(history: Iterable[ClosedChallenge], settings: Scoring) -> list[Settlement]:
    """What a validator with these settings would have set at the end of each epoch; history is in order."""
    return list(_settle(history, settings))


def _settle(history: Iterable[ClosedChallenge], settings: Scoring) -> Iterator[Settlement]:
    outcomes: dict[str, dict[str, list[Outcome]]] = collections.defaultdict(
        lambda: collections.defaultdict(list)
    )
    recent: collections.deque[ClosedChallenge] = collections.deque(maxlen=settings.window)
    scores: dict[str, float] = {}
    since: dict[str, int] = {}
    closed = itertools.count()
    for epoch, challenges in itertools.groupby(history, key=lambda challenge: challenge.epoch):
        for challenge in challenges:
            place = next(closed)
            for hotkey, answer in challenge.answers.items():
                outcomes[hotkey][challenge.modality].append(Outcome(challenge.label, answer))
                since.setdefault(hotkey, place)
            rewards = {hotkey: _worth(outcomes[hotkey], settings) for hotkey in challenge.answers}
            scores = scoring.moved(scores, rewards, settings.decay)
            if challenge.is_same_for_all:
                recent.append(challenge)
        groups = scoring.copies(_answers_by_hotkey(recent))
        try:
            weights = scoring.weights(scores, settings, groups, since)
        except NoWeightsError:
            weights = {}
        yield Settlement(epoch, scores, groups, weights)


def _worth(outcomes: Mapping[str, Sequence[Outcome]], settings: Scoring) -> float:
    rewards = {modality: scoring.reward(own, settings) for modality, own in outcomes.items()}
    return scoring.mixed(rewards, settings)


def _answers_by_hotkey(challenges: Iterable[ClosedChallenge]) -> dict[str, dict[str, float | None]]:
    answers: dict[str, dict[str, float | None]] = collections.defaultdict(dict)
    for place, challenge in enumerate(challenges):
        for hotkey, answer in challenge.answers.items():
            answers[hotkey][str(place)] = answer
    return answers
