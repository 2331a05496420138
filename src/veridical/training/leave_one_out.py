"""Leave one out: how an experiment judges a generator, source or publisher that its training never saw.

A fold holds out all samples of one generator, source or group. Publishers are never divided: whoever published
something that is held out is held out whole, and what else they published and the fold does not ask for is
used for nothing. Where that leaves the fold without reals (or without fakes), a fifth of the publishers of
nothing but reals (or fakes) is held out with it, the next fifth with the next fold; in no fold has training
seen a publisher that is judged. Of what remains, whole publishers are held back for validation.

A class with fewer than three publishers cannot be divided so; its files are divided instead.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

import veridical
from veridical.data.samples import Sample, counts, data_sha256, read_samples
from veridical.errors import DataError
from veridical.evaluation.folds import FOLDS, grouped_folds
from veridical.evaluation.predictions import Prediction, read_predictions, write_predictions
from veridical.results import Label
from veridical.training.experiment import Experiment
from veridical.training.gate import Passed, pass_audit
from veridical.training.judging import predict_by
from veridical.training.loop import Run
from veridical.training.run import drawn, train_on

Key = Literal["generator", "source", "group"]

# Fewer samples than this say nothing of a generator: its fold would be noise.
LEAST_HELD_OUT = 10

_FEWEST_PUBLISHERS = 3


@dataclass(frozen=True)
class Fold:
    """One part to train on, one to choose the epoch by, one to judge; `unused` counts the rest."""

    name: str
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    unused: int


def folds(samples: Sequence[Sample], key: Key, *, seed: int = 0, least: int = LEAST_HELD_OUT) -> list[Fold]:
    """A fold for each generator, source or group with `least` samples, by name.

    Raises `DataError` (`one_class`) where a fold leaves too few publishers to train and validate on.
    """
    keys = [_key(sample, key) for sample in samples]
    units = _publishers(samples)
    shares = {label: _shares(samples, units, label) for label in Label}
    sizes = collections.Counter(name for name in keys if name)
    names = sorted(name for name, size in sizes.items() if size >= least)
    if len(names) < 2:
        raise DataError(
            f"there are not two of the kind {key} with {least} samples to leave out.", code="too_few_samples"
        )
    return [
        _fold(name, samples, keys, units, [shares[label][number % len(shares[label])] for label in Label], seed)
        for number, name in enumerate(names)
    ]


def judge_left_out(
    experiment: Experiment, run: Run, key: Key, *, split: str | None = None, least: int = LEAST_HELD_OUT
) -> dict[str, list[Prediction]]:
    """The predictions of each fold of the experiment's data (or one split of them), by what it holds out."""
    every = folds(read_samples(experiment.data, split), key, seed=experiment.seed, least=least)
    return {fold.name: rows for fold, rows in leave_one_out(experiment, every, run)}


def leave_one_out(
    experiment: Experiment, every: Sequence[Fold], run: Run
) -> Iterator[tuple[Fold, list[Prediction]]]:
    """Train on each fold and judge what it holds out; the detector's name says what that is.

    What all folds train on is audited once, before the first. Scores are calibrated by Platt's method on the
    fold's validation part, and there are no thresholds. Each fold has a folder below that of `run`, named after
    everything that its result depends on: the same call again takes finished folds from there, and goes on with
    the others. Of a finished fold its predictions and its log are kept, and no parameters: a whole network for
    each fold would fill the disk.
    """
    passed: Passed | None = None
    for fold in every:
        folder = run.folder / f"{_plain(fold.name)}-{_fingerprint(experiment, fold)[:12]}"
        stored = folder / "predictions.csv"
        if stored.exists():
            run.say(f"without {fold.name}: taken from {stored}")
            yield fold, read_predictions(stored)
            continue
        reals, fakes = counts(fold.test)
        run.say(
            f"without {fold.name}: training on {len(fold.train)}, validation {len(fold.val)}, judging {reals} "
            f"reals and {fakes} fakes; {fold.unused} of the same publishers unused"
        )
        passed = passed or pass_audit(experiment, _samples_of(every), run)
        predictions = _judge(experiment, fold, dataclasses.replace(run, folder=folder), passed)
        write_predictions(stored, predictions)
        for parameters in folder.glob("*.safetensors"):
            parameters.unlink()
        yield fold, predictions


def _samples_of(every: Sequence[Fold]) -> list[Sample]:
    """All that any fold trains on or validates with, as one set without splits: folds make their own."""
    samples = {sample: None for fold in every for sample in (*fold.train, *fold.val)}
    return [dataclasses.replace(sample, split="") for sample in samples]


def _judge(experiment: Experiment, fold: Fold, run: Run, passed: Passed) -> list[Prediction]:
    path = train_on(experiment, drawn(fold.train, experiment), fold.val, run, passed=passed)
    name = f"{experiment.name} without {fold.name}"
    return predict_by(experiment, path, fold.test, calibrate_on=fold.val, run=run, name=name)


def _fold(
    name: str,
    samples: Sequence[Sample],
    keys: Sequence[str],
    units: Sequence[str],
    shares: Sequence[frozenset[str]],
    seed: int,
) -> Fold:
    held = {place for place, key in enumerate(keys) if key == name}
    publishers = {units[place] for place in held}
    for label, share in zip(Label, shares, strict=True):
        if not any(samples[place].label is label for place in held):
            beside = {p for p, s in enumerate(samples) if s.label is label and units[p] in publishers | share}
            held |= beside
    publishers = {units[place] for place in held}
    rest = [place for place in range(len(samples)) if units[place] not in publishers]
    train, val = _divide([samples[place] for place in rest], [units[place] for place in rest], name, seed)
    test = tuple(samples[place] for place in sorted(held))
    return Fold(name, train, val, test, unused=len(samples) - len(test) - len(rest))


def _divide(
    samples: Sequence[Sample], units: Sequence[str], name: str, seed: int
) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Training and validation, by publisher: of the folds the one whose validation is nearest to balance."""
    labels = np.array([int(sample.label) for sample in samples])
    try:
        divided = grouped_folds(labels, units, seed=seed)
    except DataError as error:
        raise DataError(
            f"Without '{name}' too few publishers are left: {error.message}", code=error.code, hint=error.hint
        ) from error
    rest, held = max(divided, key=lambda places: min(counts([samples[place] for place in places[1]])))
    if len(set(labels[held])) < 2:
        raise DataError(f"Without '{name}' validation would hold one class.", code="one_class")
    return tuple(samples[place] for place in rest), tuple(samples[place] for place in held)


def _key(sample: Sample, key: Key) -> str:
    """The name that a sample is held out by; empty for the reals where generators are left out."""
    match key:
        case "generator":
            return sample.generator
        case "source":
            return sample.source
        case "group":
            return sample.group


def _publishers(samples: Sequence[Sample]) -> list[str]:
    """The publisher of each sample; its file, in a class that has too few publishers."""
    groups = {label: {s.group for s in samples if s.label is label} for label in Label}
    return [
        sample.group if len(groups[sample.label] - {""}) >= _FEWEST_PUBLISHERS else sample.name
        for sample in samples
    ]


def _shares(samples: Sequence[Sample], units: Sequence[str], label: Label) -> list[frozenset[str]]:
    """The publishers of nothing but `label`, dealt into shares of about as many samples, largest first."""
    others = {unit for unit, sample in zip(units, samples, strict=True) if sample.label is not label}
    sizes = collections.Counter(
        unit
        for unit, sample in zip(units, samples, strict=True)
        if sample.label is label and unit not in others
    )
    shares: list[set[str]] = [set() for _ in range(FOLDS)]
    filled = [0] * FOLDS
    for unit, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
        smallest = filled.index(min(filled))
        shares[smallest].add(unit)
        filled[smallest] += size
    return [frozenset(share) for share in shares if share] or [frozenset()]


def _fingerprint(experiment: Experiment, fold: Fold) -> str:
    parts = [repr(experiment), veridical.__version__]
    parts += [data_sha256(samples) for samples in (fold.train, fold.val, fold.test)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _plain(name: str) -> str:
    """A name that can be that of a folder."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)
