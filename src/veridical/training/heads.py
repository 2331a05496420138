"""A head is trained on cached embeddings: seconds, where training through the backbone takes days.

For experiments with a `Head` on a tower. What is written is a whole network,
backbone and head, in the same form as `training.loop` writes it, so that `training.export` can make a bundle
of it.

We differ from UFD and UFD-T in these ways: embeddings are standardised by the training set's mean and
deviation, which are folded into the head's first layer when it is written; a training picture is one or more
augmented views, re-encoded like every picture in `training.loop`, and not its centre crop alone; classes and
strata are balanced as there; validation chooses by AUROC and not by accuracy; a linear head can be fitted by
logistic regression, and then reconstructions of the reals can stand among the fakes.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from veridical.architectures.clip_linear import LinearHead
from veridical.architectures.probe import Probe
from veridical.data.loader import Augmentation, epoch_order
from veridical.data.samples import Sample, counts
from veridical.errors import DataError, UsageError
from veridical.evaluation.metrics import auroc
from veridical.results import Label
from veridical.training import checkpoint
from veridical.training.backbones import fill
from veridical.training.checkpoint import Progress
from veridical.training.embeddings import Embeddings, Views, embed_views
from veridical.training.experiment import Experiment
from veridical.training.loop import Run, after_epoch, require_forge

# Inverse strengths of the L2 penalty among which validation chooses: from close to the
# difference of the class means, which suits a few hundred pictures, to nearly none.
INVERSE_PENALTIES = tuple(10.0**power for power in range(-4, 2))

# A publisher of fewer pictures weighs less than the others: three pictures would else be as much as three
# hundred.
LEAST_OF_GROUP = 20


@dataclasses.dataclass(frozen=True)
class Embedded:
    """Samples with the embeddings of their views."""

    samples: Sequence[Sample]
    embeddings: Embeddings

    @property
    def labels(self) -> npt.NDArray[np.int_]:
        """0 or 1 for each sample."""
        return np.array([int(sample.label) for sample in self.samples])

    def auroc(self, logits: npt.NDArray[np.float64]) -> float:
        """The AUROC of the logits of all views, averaged over the views of each sample."""
        return auroc(self.labels, self.embeddings.per_sample(logits))


def train(
    experiment: Experiment,
    train_set: Sequence[Sample],
    val_set: Sequence[Sample],
    run: Run,
) -> Path:
    """Train the head of an experiment and write the whole network; gives the checkpoint's path.

    The head is that of `fit`, trained anew at every call, the same to the bit on a CPU.
    """
    head, chosen = fit(experiment, train_set, val_set, run)
    model = experiment.build()
    assert isinstance(model, Probe)
    model.head.load_state_dict(head.state_dict())
    fill(model.tower, model.backbone)
    path = run.folder / "best.safetensors"
    known = {
        "experiment": experiment.name,
        "settings": experiment.settings,
        "seed": experiment.seed,
        "folds": experiment.head.folds,
    }
    facts = {**known, **chosen, "accepted_shortcuts": list(run.accepted_shortcuts)}
    checkpoint.save(path, model.state_dict(), facts)
    return path


def fit(
    experiment: Experiment,
    train_set: Sequence[Sample],
    val_set: Sequence[Sample],
    run: Run,
) -> tuple[nn.Module, dict[str, float]]:
    """The trained head, from the tower's embeddings to logits, and what validation chose.

    Embeddings come from the cache or go there. Where nothing is chosen by validation, `val_set` may be empty.
    """
    settings = experiment.head
    needs_validation = settings.solver != "logistic" or not settings.inverse_penalty
    if 0 in counts(train_set) or (0 in counts(val_set) and (val_set or needs_validation)):
        raise DataError("training and validation need real and fake samples.", code="one_class")
    require_forge(experiment)
    if experiment.reconstructed and not settings.copies:
        raise UsageError("only augmented copies have reconstructions.", hint="Set copies=1, or more.")
    outline = _outline(experiment)
    torch.manual_seed(experiment.seed)
    head = type(outline.head)(outline.tower.features)
    augmented = Views(experiment.input, experiment.augmentation, settings.copies, experiment.seed)
    training = _training_views(outline, experiment, train_set, augmented, run)
    validation = _embedded(outline, val_set, Views(experiment.input), run) if val_set else None
    weights = weights_of(training, settings.weigh_by)
    if experiment.reconstructed:
        reals = [sample for sample in train_set if not sample.label]
        views = dataclasses.replace(augmented, reconstruct=experiment.reconstruct)
        forged = _embedded(outline, reals, views, run)
        training, weights = with_forged(training, weights, forged, share=experiment.reconstructed)
    mean = training.embeddings.vectors.mean(axis=0, dtype=np.float64)
    # An entry that never changes says nothing; without the floor it would be divided by zero.
    deviation = np.maximum(training.embeddings.vectors.std(axis=0, dtype=np.float64), 1e-6)
    training = _standardised(training, mean, deviation)
    if validation:
        validation = _standardised(validation, mean, deviation)

    run.folder.mkdir(parents=True, exist_ok=True)
    if settings.solver == "logistic":
        chosen = fit_logistic(head, experiment, training, weights, validation, run)
    else:
        assert validation is not None
        chosen = fit_adam(head, experiment, training, validation, run)
    fold_standardisation(head, torch.from_numpy(mean), torch.from_numpy(deviation))
    return head, chosen


@torch.inference_mode()
def logits_of(
    head: nn.Module, experiment: Experiment, samples: Sequence[Sample], run: Run
) -> npt.NDArray[np.float64]:
    """The raw logit of each sample, (n,): the mean over the views that the bundle will take."""
    embeddings = _embedded(_outline(experiment), samples, Views(experiment.input), run).embeddings
    vectors = torch.from_numpy(embeddings.vectors).to(torch.device(run.device))
    return embeddings.per_sample(head.to(torch.device(run.device))(vectors).double().cpu().numpy())


def fit_adam(
    head: nn.Module, experiment: Experiment, training: Embedded, validation: Embedded, run: Run
) -> dict[str, float]:
    """Leave in `head` the parameters of the epoch with the highest validation AUROC, and say which it was.

    AdamW and binary cross-entropy; rate, patience and the average over steps as in `Steps`. Each epoch
    shows one view of each sample that `epoch_order` draws. Writes `log.jsonl`, a row for each epoch.
    """
    x, val_x = (torch.from_numpy(part.embeddings.vectors) for part in (training, validation))
    labels = torch.from_numpy(training.labels.astype(np.float32))
    views = [np.flatnonzero(training.embeddings.owners == index) for index in range(len(labels))]
    steps = experiment.head
    moving = get_ema_multi_avg_fn(steps.average_decay)  # type: ignore[no-untyped-call] # torch's own
    average = AveragedModel(head, multi_avg_fn=moving)
    optimiser = torch.optim.AdamW(head.parameters(), lr=steps.lr, weight_decay=steps.weight_decay)
    progress = Progress(experiment=experiment.name, lr=steps.lr, seed=experiment.seed)
    best = copy.deepcopy(head.state_dict())
    with (run.folder / "log.jsonl").open("w", encoding="utf-8") as log:
        while not progress.finished:
            optimiser.param_groups[0]["lr"] = progress.lr
            order = epoch_order(training.samples, seed=experiment.seed, epoch=progress.epoch)
            rng = np.random.default_rng([experiment.seed, progress.epoch])
            losses = []
            for start in range(0, len(order), steps.batch_size):
                batch = order[start : start + steps.batch_size]
                chosen = [int(rng.choice(views[index])) for index in batch]
                losses.append(_step(head, optimiser, x[chosen], labels[batch]))
                average.update_parameters(head)
            with torch.inference_mode():
                value = validation.auroc(average.module(val_x).double().numpy())
            if value > progress.best_auroc:
                best = copy.deepcopy(average.module.state_dict())
            progress = after_epoch(progress, value, steps)
            row = {"epoch": progress.epoch, "loss": float(np.mean(losses)), "val_auroc": value}
            log.write(json.dumps(row) + "\n")
            run.say(f"epoch {progress.epoch} loss {row['loss']:.4f} validation AUROC {value:.4f}")
    head.load_state_dict(best)
    return {"epoch": progress.best_epoch, "val_auroc": progress.best_auroc}


@torch.no_grad()
def fit_logistic(
    head: nn.Module,
    experiment: Experiment,
    training: Embedded,
    weights: npt.NDArray[np.float64],
    validation: Embedded | None,
    run: Run,
) -> dict[str, float]:
    """Leave in a linear head the parameters of a logistic regression with an L2 penalty.

    `weights` are those of the views. Validation chooses the strength; an experiment that names one needs none.
    Nothing is random. Writes `log.jsonl`, a row for each strength. Raises `UsageError` for another head.
    """
    if not isinstance(head, LinearHead):
        raise UsageError(f"'{experiment.name}' has no linear head.", hint="Set solver=adam.")
    owners = training.embeddings.owners
    best: dict[str, float] = {}
    penalty = experiment.head.inverse_penalty
    penalties = (penalty,) if penalty else INVERSE_PENALTIES
    with (run.folder / "log.jsonl").open("w", encoding="utf-8") as log:
        for inverse_penalty in penalties:
            model = LogisticRegression(C=inverse_penalty, max_iter=1000)
            model.fit(training.embeddings.vectors, training.labels[owners], weights)
            row = {"inverse_penalty": inverse_penalty}
            if validation:
                row["val_auroc"] = validation.auroc(model.decision_function(validation.embeddings.vectors))
                run.say(f"inverse penalty {inverse_penalty:g} validation AUROC {row['val_auroc']:.4f}")
            log.write(json.dumps(row) + "\n")
            if not best or row["val_auroc"] > best["val_auroc"]:
                best = row
                head.fc.weight.copy_(torch.from_numpy(model.coef_))
                head.fc.bias.copy_(torch.from_numpy(model.intercept_))
    return best


@torch.no_grad()
def fold_standardisation(head: nn.Module, mean: Tensor, deviation: Tensor) -> None:
    """Make a head that wants (x - mean) / deviation want x: the same function, inside its first layer.

    >>> head = nn.Linear(2, 1)
    >>> wanted = head(torch.tensor([[1.0, -1.0]]))
    >>> fold_standardisation(head, torch.tensor([5.0, 7.0]), torch.tensor([2.0, 3.0]))
    >>> torch.allclose(head(torch.tensor([[7.0, 4.0]])), wanted, atol=1e-5)
    True
    """
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    weight = first.weight.double() / deviation  # in double precision: a mean may be far from its spread
    first.bias.copy_(first.bias - weight @ mean.double())
    first.weight.copy_(weight)


def weights_of(training: Embedded, weigh_by: Literal["", "group"] = "") -> npt.NDArray[np.float64]:
    """For each view the weight of its sample, shared among the sample's views; both classes weigh alike.

    A sample weighs as often as `epoch_order` draws it; or with `group` so that each publisher of a class weighs
    alike, if it has at least LEAST_OF_GROUP pictures: of fewer, each picture weighs as of so many.
    """
    owners = training.embeddings.owners
    shared: npt.NDArray[np.float64] = _weights(training.samples, weigh_by)[owners] / np.bincount(owners)[owners]
    return shared


def with_forged(
    training: Embedded, weights: npt.NDArray[np.float64], forged: Embedded, *, share: float
) -> tuple[Embedded, npt.NDArray[np.float64]]:
    """Training with reconstructions of its reals among its fakes, of whose weight they get `share`.

    `forged` holds all the reals of `training`, in order, with as many views of each. A reconstruction weighs in
    proportion to its real, and the classes stay balanced.
    """
    owners, is_real = training.embeddings.owners, training.labels == 0
    twins = [dataclasses.replace(sample, label=Label.FAKE) for sample in forged.samples]
    both = Embedded(
        [*training.samples, *twins],
        Embeddings(
            np.concatenate([training.embeddings.vectors, forged.embeddings.vectors]),
            np.concatenate([owners, forged.embeddings.owners + len(training.samples)]),
        ),
    )
    of_fake = ~is_real[owners]
    of_forged = np.bincount(owners, weights)[is_real][forged.embeddings.owners]
    of_forged *= share * weights[of_fake].sum() / of_forged.sum()
    return both, np.concatenate([np.where(of_fake, (1 - share) * weights, weights), of_forged])


def _outline(experiment: Experiment) -> Probe:
    """The network without memory for its parameters: which tower, what is taken of it, and what head."""
    with torch.device("meta"):
        model = experiment.build()
    if not isinstance(model, Probe):
        raise UsageError(
            f"'{experiment.name}' has no tower for a head to stand on: more than a head is trained.",
            hint="Set fit=loop.",
        )
    if experiment.input.size != model.tower.settings.size:
        raise UsageError(
            f"'{experiment.name}' takes views of {experiment.input.size} pixels and {model.backbone} wants "
            f"{model.tower.settings.size}.",
            hint="Give the experiment the input size of its backbone.",
        )
    return model


def _training_views(
    outline: Probe, experiment: Experiment, samples: Sequence[Sample], augmented: Views, run: Run
) -> Embedded:
    """The augmented copies of each sample, and beside them its encoded and its untouched views."""
    settings, input = experiment.head, experiment.input
    if settings.views and input.kind != "resize":
        input = dataclasses.replace(input, kind="spread", count=settings.views)
    untouched = Views(input)
    kinds = [augmented] if settings.copies else []
    if settings.encoded:
        cut = Augmentation(crop=input.size, downscale=0.0)
        kinds.append(Views(experiment.input, cut, settings.encoded, experiment.seed))
    kinds += [untouched] if settings.views or not kinds else []
    found = [_embedded(outline, samples, views, run).embeddings for views in kinds]
    vectors, owners = ([getattr(one, name) for one in found] for name in ("vectors", "owners"))
    return Embedded(samples, Embeddings(np.concatenate(vectors), np.concatenate(owners)))


def _embedded(outline: Probe, samples: Sequence[Sample], views: Views, run: Run) -> Embedded:
    found = embed_views(
        samples,
        outline.backbone,
        views,
        blocks=outline.tower.taken,
        patches=outline.tower.averaged,
        device=run.device,
        workers=run.workers,
        say=run.say,
    )
    return Embedded(samples, found)


def _standardised(
    part: Embedded, mean: npt.NDArray[np.float64], deviation: npt.NDArray[np.float64]
) -> Embedded:
    vectors = ((part.embeddings.vectors - mean) / deviation).astype(np.float32)
    return Embedded(part.samples, dataclasses.replace(part.embeddings, vectors=vectors))


def _weights(samples: Sequence[Sample], weigh_by: Literal["", "group"] = "") -> npt.NDArray[np.float64]:
    """The weight of each sample, half of their number for each class."""
    if weigh_by:
        groups = [(sample.label, sample.group or sample.stratum) for sample in samples]
        sizes = collections.Counter(groups)
        weights = np.array([1 / max(sizes[group], LEAST_OF_GROUP) for group in groups])
    else:
        strata = [(sample.label, sample.stratum, sample.group) for sample in samples]
        drawn = collections.Counter(strata)
        weights = np.array([drawn[stratum] ** -0.5 for stratum in strata])
    is_fake = np.array([bool(sample.label) for sample in samples])
    for of_class in (is_fake, ~is_fake):
        weights[of_class] *= 0.5 * len(samples) / weights[of_class].sum()
    return weights


def _step(head: nn.Module, optimiser: torch.optim.Optimizer, x: Tensor, labels: Tensor) -> float:
    loss = F.binary_cross_entropy_with_logits(head(x), labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call] # torch's own
    optimiser.step()
    return loss.item()
