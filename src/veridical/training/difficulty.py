"""Difficulty of a set: the validation AUROC of an experiment at every few steps of its first epoch.

An easy set, or one with a shortcut, is learned in the first hundred pictures; a hard one is not learned in an
epoch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass

from veridical.data.samples import counts
from veridical.errors import UsageError
from veridical.models.card import Estimate
from veridical.training.experiment import Experiment, Head, with_values
from veridical.training.loop import Run
from veridical.training.run import splits_of, train_on


@dataclass(frozen=True)
class CurvePoint:
    """Validation after so many steps of `batch_size` pictures."""

    step: int
    samples_seen: int
    auroc: Estimate


def learning_curve(experiment: Experiment, run: Run, *, every: int) -> list[CurvePoint]:
    """Train for one epoch with a validation every `every` steps, and at the end.

    The run goes to a folder below that of `run`, named after the experiment, its data and `every`: the same
    call again takes the curve from there. Raises `UsageError` for a head on cached embeddings, whose epoch
    takes no time.
    """
    if isinstance(experiment.fit, Head):
        raise UsageError(
            f"'{experiment.name}' trains a head on cached embeddings, which has no curve inside an epoch.",
            hint="Its log.jsonl has a row for each epoch: see 'veridical train'.",
        )
    once = with_values(experiment, epochs=1)
    train_set, val_set = splits_of(once)
    reals, fakes = counts(val_set)
    digest = hashlib.sha256(f"{once!r} {every}".encode()).hexdigest()[:12]
    folder = run.folder / f"{once.name}-{digest}"
    train_on(once, train_set, val_set, dataclasses.replace(run, folder=folder, validate_every=every))
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    # The last validation of the epoch may be that of the last of every few steps: the same number twice.
    values = {row["step"]: row["val_auroc"] for row in rows if "val_auroc" in row}
    return [
        CurvePoint(step, step * once.loop.batch_size, auroc_interval(value, reals=reals, fakes=fakes))
        for step, value in sorted(values.items())
    ]


def auroc_interval(value: float, *, reals: int, fakes: int) -> Estimate:
    """An AUROC with its 95 % interval from the numbers of samples alone, where the scores are gone.

    James Hanley, Barbara McNeil: The meaning and use of the area under a receiver operating characteristic
    (ROC) curve, Radiology 1982. It supposes exponentially distributed scores; a value of 1 has no width.

    >>> estimate = auroc_interval(0.7, reals=100, fakes=100)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.628, 0.772)
    """
    two_fakes, two_reals = value / (2 - value), 2 * value**2 / (1 + value)
    spread = value * (1 - value)
    spread += (fakes - 1) * (two_fakes - value**2) + (reals - 1) * (two_reals - value**2)
    half = 1.96 * math.sqrt(max(0.0, spread) / (reals * fakes))
    return Estimate(value, max(0.0, value - half), min(1.0, value + half), reals + fakes)
