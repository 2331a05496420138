"""A score in the market: closed challenges in; scores, groups of copies and weights out.

A pure fold of the functions of `scoring`, and the only one: the validator goes on with it from what its history
holds, `replay` applies another rule to a recorded history, and the simulator runs it over histories it made up.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from veridical.network.validator import scoring
from veridical.network.validator.scoring import LabelledAnswer, NoWeightsError, Scoring

# Hotkey to answer, None where none came in time.
Answered = Mapping[str, float | None]


@dataclass(frozen=True)
class ClosedChallenge:
    """One challenge whose label may be known, and the answers to it.

    `answers` holds every hotkey that was asked, with None where no answer came in time. `is_same_for_all`: all
    were sent the same bytes, so that equal answers mean one model; equal answers to variants of a picture mean
    that answers are passed on.
    """

    label: int
    answers: Answered
    epoch: int = 0
    modality: str = "image"
    is_same_for_all: bool = True


@dataclass(frozen=True)
class Settlement:
    """Everyone's standing: the moving `scores` and the `weights`, by hotkey; `groups` have one reward each.

    Scores are also of hotkeys that are not registered any more, weights are not, and are empty if nobody has
    earned anything.
    """

    scores: Mapping[str, float]
    groups: Sequence[frozenset[str]]
    weights: Mapping[str, float]


def settle(
    rounds: Iterable[ClosedChallenge], settings: Scoring, *, registered: Collection[str] | None = None
) -> Settlement:
    """The standing after all rounds, the oldest first, by a validator with these settings.

    `registered` hotkeys can have weights; None is all.
    """
    standing = Standing(settings)
    for closed in rounds:
        standing.add(closed)
    return standing.settled(registered)


def settle_epochs(
    rounds: Iterable[ClosedChallenge],
    settings: Scoring,
    *,
    registered: Callable[[int], Collection[str] | None] = lambda epoch: None,
) -> Iterator[tuple[int, Settlement]]:
    """Each epoch and the settlement at its end, with the hotkeys that are `registered` in it."""
    standing = Standing(settings)
    for epoch, closed in itertools.groupby(rounds, key=lambda challenge: challenge.epoch):
        for challenge in closed:
            standing.add(challenge)
        yield epoch, standing.settled(registered(epoch))


@dataclass
class Standing:
    """The state of the fold; one that is given to begin with is what a history holds.

    `since` numbers the round in which each hotkey was first asked, `rounds` is the number of the last, and
    `outcomes` are by hotkey and modality, the newest `Scoring.depth` of each. `alike` and `variants` are the
    answers to the newest rounds in which all were sent the same file, or each its own.
    """

    settings: Scoring
    scores: dict[str, float] = field(default_factory=dict)
    since: dict[str, int] = field(default_factory=dict)
    rounds: int = 0
    outcomes: dict[str, dict[str, list[LabelledAnswer]]] = field(default_factory=dict)
    alike: Sequence[Answered] = ()
    variants: Sequence[Answered] = ()

    def __post_init__(self) -> None:
        self.alike = collections.deque(self.alike, maxlen=self.settings.window)
        self.variants = collections.deque(self.variants, maxlen=self.settings.window)

    def add(self, closed: ClosedChallenge) -> dict[str, float]:
        """One more round; gives the rewards by hotkey."""
        self.rounds += 1
        for hotkey, answer in closed.answers.items():
            own = self.outcomes.setdefault(hotkey, {}).setdefault(closed.modality, [])
            own.append(LabelledAnswer(closed.label, answer))
            del own[: -self.settings.depth]
            self.since.setdefault(hotkey, self.rounds)
        rewards = {hotkey: self._worth(hotkey) for hotkey in closed.answers}
        self.scores = scoring.moved(self.scores, rewards, self.settings.decay)
        recent = self.alike if closed.is_same_for_all else self.variants
        assert isinstance(recent, collections.deque)
        recent.append(closed.answers)
        return rewards

    def same_model(self) -> list[frozenset[str]]:
        """Hotkeys with equal answers to files that were alike for all: one model."""
        return _copies(self.alike)

    def passed_on(self) -> list[frozenset[str]]:
        """Hotkeys with equal answers to variants, which no model answers equally: answers are passed on."""
        return _copies(self.variants)

    def groups(self) -> list[frozenset[str]]:
        """Both kinds of copies; groups that share a hotkey are one."""
        apart: list[frozenset[str]] = []
        for group in (*self.same_model(), *self.passed_on()):
            touching = [other for other in apart if other & group]
            apart = [other for other in apart if not other & group]
            apart.append(group.union(*touching))
        return apart

    def weights(
        self, registered: Collection[str] | None = None, groups: Sequence[frozenset[str]] | None = None
    ) -> dict[str, float]:
        """Weights by hotkey; raises `NoWeightsError` if nobody has earned anything."""
        names = self.scores if registered is None else self.scores.keys() & registered
        scores = {hotkey: score for hotkey, score in self.scores.items() if hotkey in names}
        return scoring.weights(scores, self.settings, self.groups() if groups is None else groups, self.since)

    def settled(self, registered: Collection[str] | None = None) -> Settlement:
        """The settlement as it is now."""
        groups = self.groups()
        try:
            weights = self.weights(registered, groups)
        except NoWeightsError:
            weights = {}
        return Settlement(self.scores, groups, weights)

    def _worth(self, hotkey: str) -> float:
        return scoring.mixed(
            {modality: scoring.reward(own, self.settings) for modality, own in self.outcomes[hotkey].items()},
            self.settings,
        )


def _copies(rounds: Iterable[Answered]) -> list[frozenset[str]]:
    answers: dict[str, dict[str, float | None]] = collections.defaultdict(dict)
    for place, round in enumerate(rounds):
        for hotkey, answer in round.items():
            answers[hotkey][str(place)] = answer
    return scoring.copies(answers)
