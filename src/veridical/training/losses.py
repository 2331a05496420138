"""Losses that a step minimises, cross-entropy or the architecture's own, and the rows it does so on.

An architecture that wants another loss defines `training_loss`, see `veridical.architectures`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from veridical.data.loader import Batch
from veridical.data.samples import Sample
from veridical.errors import UsageError
from veridical.results import Label
from veridical.training.experiment import Experiment, architecture

# Of a network, on pixels, labels and method numbers, with a generator for what is random: a scalar.
Loss = Callable[[nn.Module, Tensor, Tensor, Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class BatchPart:
    """Rows of a batch that pass through the network together; `share` is their fraction of the batch.

    `methods` int64 (rows,): 0 for a real, from 1 on for each generator of fakes. `number` counts from 0.
    """

    number: int
    pixels: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.float32]
    methods: npt.NDArray[np.int64]
    share: float


def loss_of(experiment: Experiment, generators: int) -> Loss:
    """The architecture's own loss, else binary cross-entropy with `loss_weight_real`.

    Own losses compare reals with fakes, so rows of one class alone are learned by cross-entropy. `generators`
    is how many are in `method_numbers`.
    """
    weight_real = experiment.loop.loss_weight_real

    def cross_entropy(
        model: nn.Module, pixels: Tensor, labels: Tensor, methods: Tensor, generator: torch.Generator
    ) -> Tensor:
        weight = torch.where(labels == 0, weight_real, 1.0)
        return F.binary_cross_entropy_with_logits(model(pixels).float(), labels, weight)

    own: Loss | None = getattr(architecture(experiment.architecture), "training_loss", None)
    if own is None:
        return cross_entropy
    if weight_real != 1.0:
        raise UsageError(f"'{experiment.architecture}' has its own loss, so loss_weight_real must be 1.")

    def own_loss(
        model: nn.Module, pixels: Tensor, labels: Tensor, methods: Tensor, generator: torch.Generator
    ) -> Tensor:
        loss = own if labels.min() < labels.max() else cross_entropy
        try:
            return loss(model, pixels, labels, methods, generator)
        except ValueError as error:
            raise UsageError(
                f"'{experiment.architecture}' cannot learn from this: {error}.",
                hint=f"The fakes to train on are of {generators} generators.",
            ) from error

    return own_loss


def method_numbers(experiment: Experiment, train_set: Sequence[Sample]) -> dict[str, int]:
    """The number of each generator of fakes, from 1 on, in the order of their names.

    A reconstruction counts as one more, whose name is empty (its sample is the real one).
    """
    names = {sample.generator for sample in train_set if sample.label is Label.FAKE}
    if experiment.reconstructed:
        names.add("")
    return {name: number for number, name in enumerate(sorted(names), start=1)}


def parts(batch: Batch, numbers: dict[str, int], size: int) -> list[BatchPart]:
    """The batch in parts of `size` rows (the last may be shorter), each with reals and fakes as in the whole.

    A batch that is one part keeps its order.
    """
    count = len(batch.labels)
    methods = np.array(
        [
            numbers[sample.generator] if label else 0
            for sample, label in zip(batch.samples, batch.labels, strict=True)
        ]
    )
    order = np.arange(count) if size >= count else _mixed(batch.labels)
    rows = [order[start : start + size] for start in range(0, count, size)]
    return [
        BatchPart(number, batch.pixels[part], batch.labels[part], methods[part], len(part) / count)
        for number, part in enumerate(rows)
    ]


def _mixed(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.intp]:
    """The places of the batch so ordered that every stretch holds both classes as evenly as can be.

    >>> _mixed(np.array([0, 0, 0, 0, 1, 1], np.float32)).tolist()
    [0, 4, 1, 2, 5, 3]
    """
    depth = np.empty(len(labels))
    for label in (0, 1):
        (places,) = np.nonzero(labels == label)
        depth[places] = (np.arange(len(places)) + 0.5) / max(1, len(places))
    return np.argsort(depth, kind="stable")
