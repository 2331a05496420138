"""What a validator has recorded, settled again from nothing, is exactly what it set."""

from __future__ import annotations

import dataclasses
import random
import tempfile
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from veridical.results import Label

pytest.importorskip("bittensor_core", reason="needs the extra 'network'")

from veridical.network.chain import Chain, Metagraph, Neuron
from veridical.network.client import Answer
from veridical.network.identity import development_wallet
from veridical.network.validator.challenges import Challenge
from veridical.network.validator.history import History
from veridical.network.validator.loop import Validator, ValidatorSettings
from veridical.network.validator.media_cache import Pool
from veridical.network.validator.scoring import RULES, NoWeightsError, Scoring
from veridical.network.validator.settlement import ClosedChallenge, Settlement, settle

HOTKEYS = tuple("abcdefg")
WALLET = development_wallet("//validator")
OWN = WALLET.hotkey.ss58_address

# How a hotkey comes by its answer to a challenge.
BEHAVIOURS = (
    *("right", "right", "wrong", "noisy", "first's", "first's", "first's to variants", "first's to variants"),
    *("half", "nonsense", "silent"),
)


@dataclasses.dataclass(frozen=True)
class Played:
    """One challenge; `happens` comes before it."""

    asked: tuple[str, ...]
    label: int
    modality: str
    has_variants: bool
    happens: str


@dataclasses.dataclass
class Registry:
    """A chain that knows who is registered, and nothing else."""

    registered: set[str]

    def metagraph(self) -> Metagraph:
        rows = [
            Neuron(uid, hotkey, "cold", 0, False, True, 0.0, 0.0, 0, 0, 0, None)
            for uid, hotkey in enumerate((OWN, *sorted(self.registered)))
        ]
        return Metagraph(1, 0, tuple(rows))


def drawn(rng: random.Random) -> list[Played]:
    """Sixty challenges: by a seed, since lists that hypothesis draws are too thin to fill a window."""
    joins = {hotkey: rng.choice([0, 0, rng.randrange(30)]) for hotkey in HOTKEYS}
    happenings = ["epoch", "epoch", "restart", "void", "leave", "come back"]
    return [
        Played(
            asked=tuple(hotkey for hotkey in HOTKEYS if joins[hotkey] <= number and rng.random() < 0.9),
            label=rng.randrange(2),
            modality=rng.choice(["image", "image", "image", "video"]),
            has_variants=rng.random() < 0.45,
            happens=rng.choice(happenings) if rng.random() < 0.3 else "",
        )
        for number in range(60)
    ]


scorings = st.builds(
    Scoring,
    rule=st.sampled_from(sorted(RULES)),
    window=st.integers(11, 16),
    decay=st.sampled_from([0.1, 0.5]),
    minimum=st.integers(0, 6),
    modalities=st.sampled_from([{"image": 0.95, "video": 0.05}, {"image": 0.3, "video": 0.7}, {"image": 1.0}]),
)


@settings(max_examples=8)
@given(st.integers(0, 2**32), scorings)
def test_a_recorded_history_settled_again_gives_the_validators_scores_groups_and_weights(
    seed: int, scoring: Scoring
) -> None:
    rng = random.Random(seed)
    rounds, behaviours = drawn(rng), rng.choices(BEHAVIOURS, k=len(HOTKEYS))
    chain = Registry(set(HOTKEYS))
    told: list[ClosedChallenge] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.sqlite"
        history = History(path)
        validator = started(chain, history, scoring)
        epoch = 0
        for number, each in enumerate(rounds):
            match each.happens:
                case "epoch":
                    epoch += 1
                case "restart" | "void":
                    if each.happens == "void":
                        history.open_challenge(challenge(1000 + number, each), HOTKEYS)
                    history.close()
                    history = History(path)
                    validator = started(chain, history, scoring)
                case "leave":
                    chain.registered.discard(rng.choice(HOTKEYS))
                case "come back":
                    chain.registered.update(HOTKEYS)
            answers = answered(each, behaviours, rng)
            history.open_challenge(challenge(number, each), each.asked)
            given = [Answer(hotkey, score) for hotkey, score in answers.items() if score is not None]
            history.close_challenge(f"{number:032x}", given, epoch=epoch, settings=scoring)
            told.append(ClosedChallenge(each.label, answers, epoch, each.modality, not each.has_variants))
            if number % 6 == 5 or number == len(rounds) - 1:
                expected = standing_of(validator, history, scoring)
                assert settle(history.closed(), scoring, registered=chain.registered) == expected
                assert settle(told, scoring, registered=chain.registered) == expected
        history.close()


def started(chain: Registry, history: History, scoring: Scoring) -> Validator:
    """A validator that sends nothing: its challenges are closed by the test."""
    return Validator(
        chain=cast(Chain, chain),
        wallet=WALLET,
        cache=cast(Any, None),
        history=history,
        ask=cast(Any, None),
        settings=ValidatorSettings(scoring=scoring),
        rng=random.Random(0),
    )


def standing_of(validator: Validator, history: History, scoring: Scoring) -> Settlement:
    try:
        weights = validator.weights()
    except NoWeightsError:
        weights = {}
    return Settlement(history.scores(), history.standing(scoring).settled().groups, weights)


def answered(each: Played, behaviours: list[str], rng: random.Random) -> dict[str, float | None]:
    """What each hotkey answers; `first's` is what a says, or would say."""
    first = 0.6 + 0.3 * rng.random() if each.label else 0.1 + 0.3 * rng.random()
    answers: dict[str, float | None] = {}
    for hotkey, behaviour in zip(HOTKEYS, ("first's", *behaviours[1:]), strict=True):
        own = rng.random()
        answers[hotkey] = {
            "right": 0.55 + 0.4 * own if each.label else 0.45 - 0.4 * own,
            "wrong": 1.0 - each.label,
            "noisy": own,
            "first's": first,
            "first's to variants": first if each.has_variants else own,
            "half": 0.5,
            "nonsense": float("nan") if own < 0.5 else 1e308,
            "silent": None,
        }[behaviour]
    return {hotkey: answers[hotkey] for hotkey in sorted(each.asked)}


def challenge(number: int, each: Played) -> Challenge:
    return Challenge(
        id=f"{number:032x}",
        modality=each.modality,
        origin=f"origin {number}",
        label=Label(each.label),
        generator="",
        source="s",
        pool=Pool.OPEN,
        pixels=np.zeros((64, 64, 3), np.uint8),
        seed=number,
        side=64,
        has_variants=False if number >= 1000 else each.has_variants,
    )
