"""The training loop: plain PyTorch, in the order things happen.

A run lives in one folder: `last.safetensors` (go on from here), `best.safetensors` (highest validation AUROC,
written after that validation), `log.jsonl` (one line per logged step and per epoch; the record). Start the
same command again after any interruption and it goes on where the last checkpoint was; on a CPU the end is
the same to the bit. Networks run in bfloat16 where the device has it, else in float32: float16 with its scaled
losses is not offered.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from veridical.architectures.precision import mixed_precision
from veridical.data.loader import Forge, batches, batches_per_epoch
from veridical.data.samples import Sample, counts, load_pixels
from veridical.detectors.bundle import crop_views
from veridical.errors import DataError, UsageError
from veridical.evaluation.metrics import auroc
from veridical.generation.forge import load_forge
from veridical.training import checkpoint
from veridical.training.checkpoint import Progress
from veridical.training.distributed import ALONE, Processes
from veridical.training.experiment import Experiment, Head, Loop
from veridical.training.losses import BatchPart, Loss, loss_of, method_numbers, parts
from veridical.training.tuning import merged, open_for_training, set_training_mode


@dataclasses.dataclass(frozen=True)
class Run:
    """Circumstances of an experiment, as opposed to what it is: none of this may change what is learned.

    `save_every`, `log_every` and `validate_every` count steps; the last adds validations inside an epoch to the
    log (0: none). `say` gets one line of progress for a person. Of several `processes` the first one writes.
    With `accept_shortcuts` data are trained on that fail their audit (`training.gate`); `accepted_shortcuts` is
    what they failed, as `training.run` fills it in; checkpoints and cards record it.
    """

    folder: Path
    device: str = "cpu"
    workers: int = 1
    save_every: int = 50
    log_every: int = 10
    validate_every: int = 0
    tensorboard: bool = False
    say: Callable[[str], None] = print
    processes: Processes = ALONE
    accept_shortcuts: bool = False
    accepted_shortcuts: tuple[str, ...] = ()


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
    fit = experiment.loop
    steps = _steps_per_epoch(fit, train_set, val_set)
    run.folder.mkdir(parents=True, exist_ok=True)
    last, best = run.folder / "last.safetensors", run.folder / "best.safetensors"
    is_writer = run.processes.is_first
    device = torch.device(run.device)
    torch.use_deterministic_algorithms(device.type == "cpu")
    torch.manual_seed(experiment.seed)
    model = experiment.build()
    prepare(model)
    open_for_training(model, experiment)
    model.to(device)
    moving = get_ema_multi_avg_fn(fit.average_decay)  # type: ignore[no-untyped-call] # torch's own
    average = AveragedModel(model, multi_avg_fn=moving, use_buffers=True)
    optimiser = _optimiser(model, fit)
    progress = _resume(run, experiment, model, average, optimiser) if last.exists() else _start(experiment)
    numbers = method_numbers(experiment, train_set)
    loss, forge = loss_of(experiment, len(numbers)), _forge(experiment, device)
    log = _Log(run, progress)

    while not progress.finished:
        set_training_mode(model)
        for batch in batches(
            train_set,
            augmentation=experiment.augmentation,
            batch_size=fit.batch_size,
            seed=experiment.seed,
            epoch=progress.epoch,
            start=progress.batch,
            workers=run.workers,
            forge=forge,
            forged=experiment.reconstructed,
        ):
            rows = parts(batch, numbers, _part_size(fit, run.processes))
            progress = dataclasses.replace(progress, lr=rate(progress, fit, steps * fit.epochs))
            _set_lr(optimiser, progress.lr)
            value = _step(model, optimiser, loss, rows, [experiment.seed, progress.step], device, run.processes)
            average.update_parameters(model)
            progress = dataclasses.replace(progress, batch=progress.batch + 1, step=progress.step + 1)
            if progress.step % run.log_every == 0:
                log.step(progress, value, steps * fit.epochs)
            if run.validate_every and progress.step % run.validate_every == 0:
                log.validation(progress, _validate(average, val_set, experiment, run), fit.batch_size)
            if progress.step % run.save_every == 0 and is_writer:
                checkpoint.save_run(last, model, average, optimiser, progress)
        value = _validate(average, val_set, experiment, run)
        if value > progress.best_auroc and is_writer:
            checkpoint.save(best, merged(average.module), _facts(experiment, run, progress.epoch + 1, value))
        progress = after_epoch(progress, value, fit)
        log.epoch(progress, value)
        if is_writer:
            checkpoint.save_run(last, model, average, optimiser, progress)
    log.close()
    return best


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


def after_epoch(progress: Progress, value: float, fit: Loop | Head) -> Progress:
    """The run's place after a validation AUROC of `value`: best so far, with a cut rate, or at its end."""
    epoch = progress.epoch + 1
    better = value > progress.best_auroc
    stale = 0 if better else progress.stale + 1
    lr = progress.lr
    is_cut = not isinstance(fit, Loop) or fit.schedule == "plateau"
    if is_cut and isinstance(fit, Loop) and fit.step_epochs and epoch % fit.step_epochs == 0:
        lr *= fit.step_factor
    if is_cut and stale >= fit.patience:
        lr, stale = lr * fit.lr_cut, 0
    return dataclasses.replace(
        progress,
        epoch=epoch,
        batch=0,
        lr=lr,
        stale=stale,
        best_auroc=value if better else progress.best_auroc,
        best_epoch=epoch if better else progress.best_epoch,
        finished=epoch >= fit.epochs or (is_cut and lr < fit.lr_floor),
    )


def require_forge(experiment: Experiment) -> None:
    """Raises `UsageError` if fakes are to be made of reals and nothing is named that makes them."""
    if experiment.reconstructed and not experiment.reconstruct:
        raise UsageError(
            "reconstructed needs an autoencoder or an upscaler.",
            hint="Set reconstruct to a folder, such as ../shared/models/taef2, or to realesrgan:NAME.",
        )


def rate(progress: Progress, fit: Loop, steps: int) -> float:
    """The learning rate of the next of `steps` steps."""
    done = progress.step / steps
    match fit.schedule:
        case "plateau":
            return progress.lr
        case "cosine":
            return fit.lr * (1 + math.cos(math.pi * done)) / 2
        case "linear":
            return fit.lr * (1 - done)


def _steps_per_epoch(fit: Loop, train_set: Sequence[Sample], val_set: Sequence[Sample]) -> int:
    if 0 in counts(val_set):
        raise DataError("validation needs real and fake samples.", code="one_class")
    steps = batches_per_epoch(train_set, fit.batch_size)
    if steps == 0:
        raise DataError(f"{len(train_set)} samples are fewer than one batch.", code="empty_split")
    return steps


def _start(experiment: Experiment) -> Progress:
    return Progress(
        experiment.name,
        lr=experiment.loop.lr,
        seed=experiment.seed,
        settings=experiment.settings,
        tune=experiment.loop.tune,
    )


def _forge(experiment: Experiment, device: torch.device) -> Forge | None:
    require_forge(experiment)
    return load_forge(experiment.reconstruct, str(device)) if experiment.reconstructed else None


def _part_size(fit: Loop, processes: Processes) -> int:
    """Rows that pass through the network together: every process gets at least a part, if there are enough."""
    share = -(-fit.batch_size // processes.size)
    return min(fit.micro_batch or share, share)


def _step(
    model: nn.Module,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    rows: Sequence[BatchPart],
    seed: Sequence[int],
    device: torch.device,
    processes: Processes = ALONE,
) -> float:
    """One step on a batch, whose gradients are gathered part by part, and from all processes.

    Everything random in a part follows from `seed` and the part's number, so it is the same after a
    resumption, and in whichever process.
    """
    total = torch.zeros((), dtype=torch.float64)
    optimiser.zero_grad(set_to_none=True)
    for part in rows[processes.rank :: processes.size]:
        numbers = np.random.SeedSequence([*seed, part.number]).generate_state(1, np.uint64)
        generator = torch.manual_seed(int(numbers[0]))
        pixels, labels, methods = (
            torch.from_numpy(values).to(device) for values in (part.pixels, part.labels, part.methods)
        )
        with mixed_precision(device):
            value = loss(model, pixels, labels, methods, generator) * part.share
        value.backward()  # type: ignore[no-untyped-call] # torch's own
        total += value.item()
    if not processes.sum(total).isfinite():
        raise UsageError("the training loss is not finite.", code="diverged", hint="Lower the learning rate.")
    processes.sum_gradients(model.parameters())
    optimiser.step()
    return total.item()


def _validate(average: AveragedModel, val_set: Sequence[Sample], experiment: Experiment, run: Run) -> float:
    """The AUROC of the averaged network; every process judges its share of the samples."""
    run.processes.share_buffers(average)
    share = slice(run.processes.rank, None, run.processes.size)
    _, logits = predict(average.module, val_set[share], experiment, torch.device(run.device))
    everyones = torch.zeros(len(val_set), dtype=torch.float64)
    everyones[share] = torch.from_numpy(logits)
    labels = np.array([int(sample.label) for sample in val_set])
    return auroc(labels, run.processes.sum(everyones).numpy())


def _facts(experiment: Experiment, run: Run, epoch: int, value: float) -> dict[str, object]:
    return {
        "experiment": experiment.name,
        "settings": experiment.settings,
        "seed": experiment.seed,
        "epoch": epoch,
        "val_auroc": value,
        "accepted_shortcuts": list(run.accepted_shortcuts),
    }


def _optimiser(model: nn.Module, fit: Loop) -> torch.optim.Optimizer:
    parameters = [p for p in model.parameters() if p.requires_grad]
    lr, decay = fit.lr, fit.weight_decay
    match fit.optimiser:
        case "sgd":
            return torch.optim.SGD(parameters, lr=lr, momentum=fit.momentum, weight_decay=decay)
        case "adam":
            return torch.optim.Adam(parameters, lr=lr, weight_decay=decay)
        case "adamw":
            return torch.optim.AdamW(parameters, lr=lr, weight_decay=decay)


def _resume(
    run: Run,
    experiment: Experiment,
    model: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> Progress:
    progress = checkpoint.load_run(run.folder / "last.safetensors", model, average, optimiser)
    found = (progress.experiment, progress.seed, progress.settings, progress.tune)
    if found != (experiment.name, experiment.seed, experiment.settings, experiment.loop.tune):
        raise UsageError(
            f"{run.folder} holds a run of '{progress.experiment}', seed {progress.seed}, {progress.settings}, "
            f"tune={progress.tune}.",
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
        # Only one process writes the record.
        self._path = run.folder / "log.jsonl" if run.processes.is_first else Path(os.devnull)
        self._forget_after(progress)
        self._started, self._first_step = time.monotonic(), progress.step
        self._board = _tensorboard(run.folder) if run.tensorboard and run.processes.is_first else None

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

    def validation(self, progress: Progress, value: float, batch_size: int) -> None:
        """One inside an epoch."""
        self._write({"step": progress.step, "samples_seen": progress.step * batch_size, "val_auroc": value})
        self._say(f"step {progress.step} validation AUROC {value:.4f}")

    def epoch(self, progress: Progress, value: float) -> None:
        self._write({"step": progress.step, "epoch": progress.epoch, "val_auroc": value})
        self._say(
            f"epoch {progress.epoch} validation AUROC {value:.4f} "
            f"(best {progress.best_auroc:.4f} in epoch {progress.best_epoch})"
        )
        if self._board:
            self._board.add_scalar("val_auroc", value, progress.step)

    def close(self) -> None:
        if self._board:
            self._board.close()

    def _write(self, row: dict[str, float]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

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
    if "val_auroc" in row and "epoch" in row:
        return bool(row["epoch"] <= progress.epoch)
    return bool(row["step"] <= progress.step)


def _tensorboard(folder: Path):  # type: ignore[no-untyped-def] # its package has no types
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / "tensorboard"))
