"""A trained checkpoint judges samples where it was trained: no bundle in between, embeddings from the cache."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

import veridical
from veridical.architectures.probe import Probe
from veridical.data.samples import Sample, file_sha256
from veridical.evaluation.calibration import fit_sigmoid
from veridical.evaluation.predictions import Prediction, columns_of
from veridical.training import checkpoint, heads, loop
from veridical.training.experiment import Experiment, Head
from veridical.training.loop import Run


def logits_of(
    experiment: Experiment, path: Path, samples: Sequence[Sample], run: Run
) -> npt.NDArray[np.float64]:
    """The raw logit of each sample by the checkpoint at `path`, (n,): what its exported bundle would give.

    Raises `DataError` with the path of a sample that cannot be read.
    """
    model = experiment.build()
    checkpoint.load_parameters(model, checkpoint.load(path)[0])
    model.to(torch.device(run.device)).eval()
    if isinstance(model, Probe) and isinstance(experiment.fit, Head):
        return heads.logits_of(model.head, experiment, samples, run)
    return loop.predict(model, samples, experiment, torch.device(run.device))[1]


def predict_by(
    experiment: Experiment,
    path: Path,
    samples: Sequence[Sample],
    *,
    calibrate_on: Sequence[Sample],
    run: Run,
    name: str,
) -> list[Prediction]:
    """The predictions of a checkpoint under `name`, in order.

    Scores are calibrated by Platt's method on `calibrate_on`, which training may have chosen an epoch by; there
    are no thresholds. `bundle` is the hash of the checkpoint's file.
    """
    labels = np.array([int(sample.label) for sample in calibrate_on])
    calibration = fit_sigmoid(labels, logits_of(experiment, path, calibrate_on, run))
    logits = logits_of(experiment, path, samples, run).tolist()
    return predictions_of(name, file_sha256(path), samples, logits, map(calibration.probability, logits))


def predictions_of(
    name: str, bundle: str, samples: Sequence[Sample], logits: Iterable[float], scores: Iterable[float]
) -> list[Prediction]:
    """Rows by a detector of that name, without thresholds; an empty `bundle` says that none gave them."""
    return [
        Prediction(
            detector=name,
            bundle=bundle,
            **columns_of(sample, sample.sha256 or file_sha256(sample.path)),
            score=score,
            logit=logit,
            threshold_ai=np.nan,
            threshold_real=np.nan,
            code=veridical.__version__,
            content=sample.content,
        )
        for sample, logit, score in zip(samples, logits, scores, strict=True)
    ]
