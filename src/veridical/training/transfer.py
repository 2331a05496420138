"""An experiment is trained on one set and judges others."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import veridical
from veridical.data.samples import Sample, data_sha256, file_sha256
from veridical.errors import DataError
from veridical.evaluation.predictions import Prediction, read_predictions, write_predictions
from veridical.training.experiment import Experiment
from veridical.training.judging import predict_by
from veridical.training.loop import Run
from veridical.training.run import splits_of, train_on


def train_and_judge(
    experiment: Experiment, tests: Mapping[str, Sequence[Sample]], run: Run
) -> dict[str, list[Prediction]]:
    """Train on the experiment's own data and predict each test set.

    The run goes to a folder below that of `run`, named after what it depends on: the same call again goes on
    from there. Raises `DataError` (`overlapping_splits`) for a test set with a file that training sees.
    """
    train_set, val_set = splits_of(experiment)
    _require_new(train_set, val_set, tests)
    parts = [repr(experiment), veridical.__version__, data_sha256(train_set), data_sha256(val_set)]
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    own = dataclasses.replace(run, folder=run.folder / f"{experiment.name}-{digest}")
    best = train_on(experiment, train_set, val_set, own)
    found = {}
    for name, samples in tests.items():
        stored = own.folder / f"{data_sha256(samples)[:12]}.csv"
        if not stored.exists():
            run.say(f"judging {len(samples)} of {name}")
            rows = predict_by(experiment, best, samples, calibrate_on=val_set, run=own, name=experiment.name)
            write_predictions(stored, rows)
        found[name] = read_predictions(stored)
    return found


def _require_new(
    train_set: Sequence[Sample], val_set: Sequence[Sample], tests: Mapping[str, Sequence[Sample]]
) -> None:
    seen = {_content(sample) for sample in (*train_set, *val_set)}
    for name, samples in tests.items():
        if both := [sample.name for sample in samples if _content(sample) in seen]:
            raise DataError(
                f"{len(both)} samples of {name} are in training or validation too, such as {both[0]}.",
                code="overlapping_splits",
                hint="Test on another set, or on a split that training does not read.",
            )


def _content(sample: Sample) -> str:
    return sample.sha256 or file_sha256(sample.path)
