"""The training loop: plain PyTorch, in the order things happen.

A run lives in one folder: `last.safetensors` (go on from here), `best.safetensors` (highest validation AUROC,
written after that validation), `log.jsonl` (one line per logged step and per epoch; the record). Start the
same command again after any interruption and it goes on where the last checkpoint was; on a CPU the end is
the same to the bit.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from veridical.data.loader import Batch, batches, batches_per_epoch
from veridical.data.samples import Sample, counts, load_pixels
from veridical.detectors.bundle import crop_views
from veridical.errors import DataError, UsageError
from veridical.evaluation.metrics import auroc
from veridical.training import checkpoint
from veridical.training.checkpoint import Progress
from veridical.training.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Run:
    """How to run an experiment, as opposed to what it is: none of this may change what is learned.

    `save_every` and `log_every` count steps. `say` gets one line of progress for a person.
    """

    folder: Path
    device: str = "cpu"
    workers: int = 1
    save_every: int = 50
    log_every: int = 10
    tensorboard: bool = False
    say: Callable[[str], None] = print


def train(
    experiment: Experiment,
    train_set: Sequence[Sample],
    val_set: Sequence[Sample],
    run: Run,
    *,
    prepare: Callable[[nn.Module], None] = lambda model: None,
) -> Path:
    """Train to the end, from the start or from where the run's folder stands; gives the best checkpoint.

    `prepare` gets the fresh network once, to fill in parameters that it starts from.
    """
    if 0 in counts(val_set):
        raise DataError("validation needs real and fake samples.", code="one_class")
    run.folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(run.device)
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.manual_seed(experiment.seed)
    model = experiment.build()
    prepare(model)
    model.to(device)
    moving = get_ema_multi_avg_fn(experiment.average_decay)  # type: ignore[no-untyped-call] # torch's own
    average = AveragedModel(model, multi_avg_fn=moving, use_buffers=True)
    optimiser = _optimiser(model, experiment)
    progress = Progress(experiment.name, lr=experiment.lr, seed=experiment.seed, settings=experiment.settings)
    if (run.folder / "last.safetensors").exists():
        progress = _resume(run, experiment, model, average, optimiser)
    log = _Log(run, progress)
    steps = batches_per_epoch(train_set, experiment.batch_size)
    if steps == 0:
        raise DataError(f"{len(train_set)} samples are fewer than one batch.", code="empty_split")

    while not progress.finished:
        _set_lr(optimiser, progress.lr)
        model.train()
        for batch in batches(
            train_set,
            augmentation=experiment.augmentation,
            batch_size=experiment.batch_size,
            seed=experiment.seed,
            epoch=progress.epoch,
            start=progress.batch,
            workers=run.workers,
        ):
            loss = _step(model, optimiser, batch, experiment.micro_batch, device)
            average.update_parameters(model)
            progress = dataclasses.replace(progress, batch=progress.batch + 1, step=progress.step + 1)
            if progress.step % run.log_every == 0:
                log.step(progress, loss, steps * experiment.epochs)
            if progress.step % run.save_every == 0:
                checkpoint.save_run(run.folder / "last.safetensors", model, average, optimiser, progress)
        value = auroc(*predict(average.module, val_set, experiment, device))
        if value > progress.best_auroc:
            checkpoint.save(
                run.folder / "best.safetensors",
                average.module.state_dict(),
                {
                    "experiment": experiment.name,
                    "settings": experiment.settings,
                    "epoch": progress.epoch + 1,
                    "val_auroc": value,
                },
            )
        progress = after_epoch(progress, value, experiment)
        log.epoch(progress, value)
        checkpoint.save_run(run.folder / "last.safetensors", model, average, optimiser, progress)
    log.close()
    return run.folder / "best.safetensors"


@torch.no_grad()
def predict(
    model: nn.Module, samples: Sequence[Sample], experiment: Experiment, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n,) and logits (n,): the mean over the views that the exported bundle will take."""
    model.eval()
    logits = []
    for sample in samples:
        views = crop_views(load_pixels(sample), experiment.input)
        out = [model(torch.from_numpy(view[None].copy()).to(device)).item() for view in views]
        logits.append(float(np.mean(out)))
    return np.array([int(sample.label) for sample in samples]), np.array(logits)


def after_epoch(progress: Progress, value: float, experiment: Experiment) -> Progress:
    """What a validation AUROC of `value` means for the run: best so far, a cut of the rate, or the end."""
    epoch = progress.epoch + 1
    stepped = experiment.step_epochs > 0 and epoch % experiment.step_epochs == 0
    better = value > progress.best_auroc
    stale = 0 if better else progress.stale + 1
    lr = progress.lr * (experiment.step_factor if stepped else 1.0)
    if stale >= experiment.patience:
        lr, stale = lr * experiment.lr_cut, 0
    return dataclasses.replace(
        progress,
        epoch=epoch,
        batch=0,
        lr=lr,
        stale=stale,
        best_auroc=value if better else progress.best_auroc,
        best_epoch=epoch if better else progress.best_epoch,
        finished=epoch >= experiment.epochs or lr < experiment.lr_floor,
    )


def _step(
    model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch, micro_batch: int, device: torch.device
) -> float:
    """One step on a batch, whose gradients are gathered in parts of `micro_batch` pictures (0: all at once)."""
    count = len(batch.labels)
    value = 0.0
    optimiser.zero_grad(set_to_none=True)
    for start in range(0, count, micro_batch or count):
        part = slice(start, start + (micro_batch or count))
        pixels = torch.from_numpy(batch.pixels[part]).to(device)
        labels = torch.from_numpy(batch.labels[part]).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=_has_bfloat16(device)):
            logits = model(pixels)
        loss = F.binary_cross_entropy_with_logits(logits.float(), labels) * (len(labels) / count)
        loss.backward()  # type: ignore[no-untyped-call] # torch's own
        value += loss.item()
    if not np.isfinite(value):
        raise UsageError("the training loss is not finite.", code="diverged", hint="Lower the learning rate.")
    optimiser.step()
    return value


def _optimiser(model: nn.Module, experiment: Experiment) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    lr, decay = experiment.lr, experiment.weight_decay
    match experiment.optimiser:
        case "sgd":
            return torch.optim.SGD(parameters, lr=lr, momentum=experiment.momentum, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(parameters, lr=lr, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _resume(
    run: Run,
    experiment: Experiment,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Progress:
    progress = checkpoint.load_run(run.folder / "last.safetensors", model, average, optimiser)
    found = (progress.experiment, progress.seed, progress.settings)
    if found != (experiment.name, experiment.seed, experiment.settings):
        raise UsageError(
            f"{run.folder} holds a run of '{progress.experiment}', seed {progress.seed}, {progress.settings}.",
            hint="Choose another folder for this run.",
        )
    run.say(f"resuming at epoch {progress.epoch + 1}, step {progress.step}")
    return progress


def _set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


class _Log:
    """The run's JSONL, a line for the person who watches, and TensorBoard when asked for."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self._say = run.say
        self._path = run.folder / "log.jsonl"
        self._forget_after(progress)
        self._file = self._path.open("a", encoding="utf-8")
        self._started, self._first_step = time.monotonic(), progress.step
        self._board = _tensorboard(run.folder) if run.tensorboard else None

    def step(self, progress: Progress, loss: float, total: int) -> None:
        self._write({"step": progress.step, "epoch": progress.epoch + 1, "loss": loss, "lr": progress.lr})
        pace = (time.monotonic() - self._started) / (progress.step - self._first_step)
        minutes = pace * (total - progress.step) / 60
        self._say(
            f"epoch {progress.epoch + 1} step {progress.step}/{total} loss {loss:.4f} "
            f"at most {minutes:.0f} min left"
        )
        if self._board:
            self._board.add_scalar("loss", loss, progress.step)

    def epoch(self, progress: Progress, value: float) -> None:
        self._write({"step": progress.step, "epoch": progress.epoch, "val_auroc": value})
        self._say(
            f"epoch {progress.epoch} validation AUROC {value:.4f} "
            f"(best {progress.best_auroc:.4f} in epoch {progress.best_epoch})"
        )
        if self._board:
            self._board.add_scalar("val_auroc", value, progress.step)

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()

    def _write(self, row: dict[str, float]) -> None:
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def _forget_after(self, progress: Progress) -> None:
        """Drop lines of steps that the checkpoint does not know: they will be made again, the same."""
        if not self._path.exists():
            return
        lines = self._path.read_text(encoding="utf-8").splitlines()
        done = [line for line in lines if _is_done(line, progress)]
        self._path.write_text("".join(f"{line}\n" for line in done), encoding="utf-8")


def _is_done(line: str, progress: Progress) -> bool:
    try:
        row = json.loads(line)
    except ValueError:  # the line that was being written when the run was killed
        return False
    if "val_auroc" in row:
        return bool(row["epoch"] <= progress.epoch)
    return bool(row["step"] <= progress.step)


def _tensorboard(folder: Path):  # type: ignore[no-untyped-def] # its package has no types
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
