"""Cross-fitting: all is trained on, and all is judged by a network that has not seen its publisher.

The network that is kept is trained on the splits train and val together. For each of `folds` folds, which never
divide a publisher, another one is trained without it and judges it. From these logits `training.export` takes
calibration and thresholds: they rest on all publishers instead of a few, and on nothing that training saw.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from veridical.data.samples import Sample
from veridical.errors import UsageError
from veridical.evaluation.folds import grouped_folds
from veridical.evaluation.metrics import auroc
from veridical.evaluation.predictions import write_predictions
from veridical.training import heads
from veridical.training.experiment import Experiment
from veridical.training.judging import predictions_of
from veridical.training.loop import Run

# Beside the checkpoint; the name that `training.export` looks for.
OUT_OF_FOLD = "out_of_fold.csv"


def cross_fit(experiment: Experiment, samples: Sequence[Sample], run: Run) -> Path:
    """Train a head in the folds of its experiment and on everything; gives the last one's checkpoint.

    Only for a head whose penalty is named: where validation chooses something, a fold would choose it on the
    pictures that it judges. Raises `UsageError` for others, `DataError` for samples that have no such folds.
    """
    head = experiment.head
    if head.solver != "logistic" or not head.inverse_penalty:
        raise UsageError(
            "folds need a head that is fitted without validation.",
            hint="Set solver=logistic and an inverse_penalty.",
        )
    labels = np.array([int(sample.label) for sample in samples])
    groups = [sample.group or sample.stratum for sample in samples]
    every = grouped_folds(labels, groups, most=head.folds, seed=experiment.seed)
    logits = np.full(len(samples), np.nan)
    for number, (rest, held) in enumerate(every, start=1):
        part = dataclasses.replace(run, folder=run.folder / f"fold{number}")
        seen, judged = ([samples[place] for place in places] for places in (rest, held))
        fitted, _ = heads.fit(experiment, seen, judged, part)
        logits[held] = heads.logits_of(fitted, experiment, judged, part)
        run.say(f"fold {number} of {len(every)}: {len(held)} judged")
    run.say(f"AUROC out of fold {auroc(labels, logits):.4f} on {len(samples)}")
    path = heads.train(experiment, samples, (), run)
    # No bundle gave these, and nothing calibrated them.
    scores = [1 / (1 + math.exp(-logit)) for logit in logits.tolist()]
    rows = predictions_of(experiment.name, "", samples, logits.tolist(), scores)
    write_predictions(run.folder / OUT_OF_FOLD, rows)
    return path
