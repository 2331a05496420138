"""An experiment and a data set become a run: which samples, whether they may be trained on, and how.

Every way of training comes through here, and so through the audit of `training.gate`; `training.loop` and
`training.heads` below it ask nothing of their samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from veridical.architectures.probe import Probe
from veridical.data.samples import Sample, data_sets, read_samples
from veridical.data.splits import draw, hold_out, truncate
from veridical.errors import DataError, UsageError
from veridical.training import backbones, checkpoint, heads, loop
from veridical.training.cross_fit import cross_fit
from veridical.training.distributed import ALONE, Processes, device_of_process
from veridical.training.experiment import Experiment, Head, load_experiment, with_changes
from veridical.training.gate import Passed, pass_audit
from veridical.training.loop import Run

# Of a set that comes without a validation split.
HELD_OUT = 0.2


def open_run(
    name: str,
    *,
    data: str | None = None,
    changes: Sequence[str] = (),
    folder: Path | None = None,
    device: str = "cpu",
    workers: int = 1,
    threads: int = 1,
    accept_shortcuts: bool = False,
    say: Callable[[str], None] = print,
    processes: Processes = ALONE,
) -> tuple[Experiment, Run]:
    """The experiment of that name (or file) on `data`, with `changes` (`name=value`), and a run of it.

    `folder` is `runs/NAME` by default; `threads` compute, in all of this process.
    """
    torch.set_num_threads(threads)
    experiment = with_changes(load_experiment(name), changes)
    if data is not None:
        experiment = dataclasses.replace(experiment, data=data)
    return experiment, Run(
        folder=folder or Path("runs") / experiment.name,
        device=device_of_process(device),
        workers=workers,
        say=say if processes.is_first else _to_nobody,
        processes=processes,
        accept_shortcuts=accept_shortcuts,
    )


def run_experiment(experiment: Experiment, run: Run, *, start: Path | None = None) -> Path:
    """Train an experiment on its data and give the best checkpoint.

    A head alone on a frozen tower is trained on cached embeddings, everything else by the loop; `start` is a
    checkpoint of the same architecture to start from. Without `val_data`, a set without a split
    `val` gives a fifth of its training samples for validation. With `folds` there is no validation: see
    `training.cross_fit`.
    """
    if isinstance(experiment.fit, Head) and experiment.fit.folds:
        _require_what_heads_can(experiment, run, start)
        samples = [sample for part in splits_of(experiment) for sample in part]
        return cross_fit(experiment, samples, _audited(experiment, samples, run))
    return train_on(experiment, *splits_of(experiment), run, start=start)


def train_on(
    experiment: Experiment,
    train_set: Sequence[Sample],
    val_set: Sequence[Sample],
    run: Run,
    *,
    start: Path | None = None,
    passed: Passed | None = None,
) -> Path:
    """Train an experiment on samples that were divided already.

    They are audited, unless they are among those that `passed`.
    """
    if isinstance(experiment.fit, Head):
        _require_what_heads_can(experiment, run, start)
    run = _audited(experiment, [*train_set, *val_set], run, passed)
    if isinstance(experiment.fit, Head):
        return heads.train(experiment, train_set, val_set, run)

    def prepare(fresh: nn.Module) -> None:
        if start is not None:
            checkpoint.load_parameters(fresh, checkpoint.load(start)[0])
        elif isinstance(fresh, Probe):
            backbones.fill(fresh.tower, fresh.backbone)

    return loop.train(experiment, train_set, val_set, run, prepare=prepare)


def _audited(experiment: Experiment, samples: Sequence[Sample], run: Run, passed: Passed | None = None) -> Run:
    """The run with what of their audit its samples fail and are trained on nevertheless."""
    if passed is None:
        passed = pass_audit(experiment, samples, run)
    passed.require(samples, experiment)
    return dataclasses.replace(run, accepted_shortcuts=passed.failures)


def _require_what_heads_can(experiment: Experiment, run: Run, start: Path | None) -> None:
    """Refuse what `heads.train` would ignore."""
    head = experiment.head
    asked = {
        "reconstructed": bool(experiment.reconstructed) and head.solver != "logistic",
        "weigh_by": bool(head.weigh_by) and head.solver != "logistic",
        "start": start is not None,
        "torchrun": run.processes.size > 1,
        "validate_every": bool(run.validate_every),
    }
    if ignored := [name for name, is_asked in asked.items() if is_asked]:
        raise UsageError(
            f"a head on cached embeddings is trained without {', '.join(ignored)}.",
            hint="Leave that out, or train the network: --set fit=loop with tune=head, norm, last:K or lora:R.",
        )


def splits_of(experiment: Experiment) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Samples to train on and to validate with: of every set its own splits, or a part held out."""
    sets = [read_samples(data) for data in data_sets(experiment.data)]
    if experiment.val_data:
        others = [read_samples(data) for data in data_sets(experiment.val_data)]
        train_set = [_as("train", sample) for samples in sets for sample in _part(samples, "train")]
        val_set = [_as("val", sample) for samples in others for sample in _part(samples, "val")]
    else:
        divided = [_divide(samples, experiment.seed) for samples in sets]
        train_set = [sample for train, _ in divided for sample in train]
        val_set = [sample for _, val in divided for sample in val]
    _require_apart(train_set, val_set)
    return drawn(train_set, experiment), val_set


def drawn(train_set: Sequence[Sample], experiment: Experiment) -> Sequence[Sample]:
    """The training samples that an experiment uses."""
    train_set = draw(train_set, reals=experiment.num_reals, fakes=experiment.num_fakes, seed=experiment.seed)
    return truncate(train_set, seed=experiment.seed) if experiment.balance == "truncate" else train_set


def _divide(samples: Sequence[Sample], seed: int) -> tuple[Sequence[Sample], Sequence[Sample]]:
    names = {sample.split for sample in samples}
    if "val" in names:
        return _part(samples, "train"), _part(samples, "val")
    return hold_out(_part(samples, "train") if "train" in names else samples, share=HELD_OUT, seed=seed)


def _part(samples: Sequence[Sample], split: str) -> Sequence[Sample]:
    """The samples of a split; all of a set that has no splits."""
    names = {sample.split for sample in samples}
    if names == {""}:
        return samples
    if split not in names:
        raise DataError(
            f"a set has the splits {', '.join(sorted(names - {''}))}, but no '{split}'.", code="empty_split"
        )
    return [sample for sample in samples if sample.split == split]


def _as(split: str, sample: Sample) -> Sample:
    return dataclasses.replace(sample, split=split)


def _to_nobody(line: str) -> None:
    """Say nothing, as all but the first of several processes."""


def _require_apart(train_set: Sequence[Sample], val_set: Sequence[Sample]) -> None:
    both = {sample.name for sample in train_set} & {sample.name for sample in val_set}
    if both:
        raise DataError(
            f"{len(both)} files are in training and in validation, such as {min(both)}.",
            code="overlapping_splits",
        )
