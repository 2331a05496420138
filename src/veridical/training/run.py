"""An experiment and a data set become a run: which samples, and which way of training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from veridical.architectures._probe import Probe
from veridical.data.samples import Sample, read_samples
from veridical.data.splits import hold_out
from veridical.training import backbones, checkpoint, heads, loop
from veridical.training.experiment import Experiment
from veridical.training.loop import Run

# Of a set that comes without a validation split.
HELD_OUT = 0.2


def run_experiment(experiment: Experiment, run: Run, *, start: Path | None = None) -> Path:
    """Train an experiment on its data and give the best checkpoint.

    A head on a frozen tower is trained on cached embeddings, everything else by the loop; `start` is a
    checkpoint of the same architecture to start from. A set without a split `val` gives a fifth of its
    training samples for validation.
    """
    train_set, val_set = _splits(experiment)
    model = experiment.build()
    if isinstance(model, Probe) and model.has_frozen_tower and start is None:
        return heads.train(experiment, train_set, val_set, run)

    def prepare(fresh: nn.Module) -> None:
        if start is not None:
            checkpoint.load_parameters(fresh, checkpoint.load(start)[0])
        elif isinstance(fresh, Probe):
            backbones.fill(fresh.tower, fresh.backbone)

    return loop.train(experiment, train_set, val_set, run, prepare=prepare)


def _splits(experiment: Experiment) -> tuple[Sequence[Sample], Sequence[Sample]]:
    samples = read_samples(experiment.data)
    if any(sample.split == "val" for sample in samples):
        return read_samples(experiment.data, "train"), read_samples(experiment.data, "val")
    if any(sample.split == "train" for sample in samples):
        samples = read_samples(experiment.data, "train")
    return hold_out(samples, share=HELD_OUT, seed=experiment.seed)
