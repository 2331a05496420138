"""A run can be killed anywhere and ends the same; the best checkpoint is the best."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from veridical.data.loader import Augmentation
from veridical.data.samples import read_samples
from veridical.errors import DataError, ModelError, UsageError
from veridical.models.card import Paper, PixelInput
from veridical.training import checkpoint
from veridical.training.checkpoint import Progress
from veridical.training.experiment import Experiment, load_experiment
from veridical.training.loop import Run, after_epoch, train

EXPERIMENT = """
from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment

EXPERIMENT = Experiment(
    name="tiny", architecture="npr", description="d", paper=Paper("a", "t", "v", "u"), licence="MIT",
    input=PixelInput(kind="crops", size=32), augmentation=Augmentation(crop=32), epochs=3, batch_size=4,
    lr=1e-3, seed=7,
)
"""


def tiny(**changes: object) -> Experiment:
    settings: dict[str, object] = {
        "name": "tiny",
        "architecture": "npr",
        "description": "d",
        "paper": Paper("a", "t", "v", "u"),
        "licence": "MIT",
        "input": PixelInput(kind="crops", size=32),
        "augmentation": Augmentation(crop=32),
        "epochs": 2,
        "batch_size": 4,
        "lr": 1e-3,
    }
    return Experiment(**(settings | changes))  # type: ignore[arg-type] # fields by name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reals are smooth, fakes are noise: something that can be learned in a few steps."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(16):
            fake = index % 2 == 1
            path = root / split / ("fake/g" if fake else "real/s") / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            low = rng.integers(0, 256, (48, 48, 3) if fake else (3, 3, 3), dtype=np.uint8)
            PIL.Image.fromarray(low).resize((48, 48), PIL.Image.Resampling.BICUBIC).save(path)
    return root


def digests(run: Path) -> list[str]:
    return [
        hashlib.sha256((run / n).read_bytes()).hexdigest() for n in ("best.safetensors", "last.safetensors")
    ]


def quiet(folder: Path, **changes: object) -> Run:
    return Run(folder=folder, say=lambda line: None, save_every=3, **changes)  # type: ignore[arg-type]


def test_a_killed_run_goes_on_and_ends_with_the_same_checkpoints(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(EXPERIMENT)

    def start(run: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "veridical", "train", str(tmp_path / "tiny.py")]
        command += ["--data", str(folder), "-o", str(tmp_path / run), "--save-every", "2"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    unbroken = start("unbroken")
    assert unbroken.wait() == 0, unbroken.communicate()[1]
    killed = start("killed")
    log = tmp_path / "killed" / "last.safetensors"
    random.seed(os.environ.get("PYTEST_XDIST_WORKER", "kill"))
    writes = random.randint(1, 4)
    seen: set[int] = set()
    while killed.poll() is None and len(seen) < writes:
        if log.exists():
            seen.add(log.stat().st_mtime_ns)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    resumed = start("killed")
    _, said = resumed.communicate()
    assert resumed.returncode == 0, said
    assert "resuming" in said
    assert digests(tmp_path / "killed") == digests(tmp_path / "unbroken")
    curves = [(tmp_path / run / "log.jsonl").read_text() for run in ("killed", "unbroken")]
    assert curves[0] == curves[1]
    unbroken.communicate()


def test_the_best_checkpoint_is_that_of_the_best_validation(folder: Path, tmp_path: Path) -> None:
    best = train(
        tiny(epochs=3), read_samples(folder, "train"), read_samples(folder, "val"), quiet(tmp_path / "run")
    )
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    values = [row["val_auroc"] for row in rows if "val_auroc" in row]
    _, facts = checkpoint.load(best)
    assert len(values) == 3
    assert facts["val_auroc"] == max(values)
    assert facts["epoch"] == values.index(max(values)) + 1


def test_another_experiment_does_not_continue_a_run(folder: Path, tmp_path: Path) -> None:
    sets = read_samples(folder, "train"), read_samples(folder, "val")
    train(tiny(epochs=1), *sets, quiet(tmp_path / "run"))
    with pytest.raises(UsageError, match="holds a run of 'tiny'"):
        train(tiny(name="other"), *sets, quiet(tmp_path / "run"))


def test_validation_of_one_class_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    reals = [s for s in read_samples(folder, "val") if not s.label]
    with pytest.raises(DataError, match="real and fake"):
        train(tiny(), read_samples(folder, "train"), reals, quiet(tmp_path / "run"))


def test_tensorboard_events_are_written_when_asked(folder: Path, tmp_path: Path) -> None:
    sets = read_samples(folder, "train"), read_samples(folder, "val")
    train(tiny(epochs=1), *sets, quiet(tmp_path / "run", tensorboard=True))
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


def test_the_rate_is_cut_after_patience_and_the_run_ends_at_the_floor() -> None:
    experiment = tiny(patience=2, lr=1e-3, lr_cut=0.1, lr_floor=5e-5, epochs=100)
    progress = Progress(experiment="tiny", lr=1e-3, seed=0)
    rates = []
    for value in (0.9, 0.8, 0.8, 0.8, 0.8):
        progress = after_epoch(progress, value, experiment)
        rates.append(progress.lr)
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])
    assert progress.finished
    assert (progress.best_auroc, progress.best_epoch) == (0.9, 1)


def test_a_checkpoint_with_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"w": torch.tensor([1.0, float("nan")])}, {"experiment": "tiny"})
    with pytest.raises(ModelError, match="not finite"):
        checkpoint.load(path)


def test_an_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(Exception, match="Did you mean 'npr_shared'"):
        load_experiment("npr_shard")


def test_gradients_gathered_in_parts_are_those_of_the_whole_batch() -> None:
    from veridical.data.loader import Batch
    from veridical.training.loop import _step

    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(0.1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.weight * pixels.float().mean(dim=(1, 2, 3))

    rng = np.random.default_rng(0)
    batch = Batch(rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8), np.array([0, 1, 0, 1, 1, 0], np.float32))
    results = []
    for micro_batch in (0, 4, 1):
        model = Mean()
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
        loss = _step(model, optimiser, batch, micro_batch, torch.device("cpu"))
        results.append((loss, model.weight.item()))
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    assert results[2] == pytest.approx(results[0], rel=1e-4)


def test_a_run_starts_from_a_checkpoint_when_asked(folder: Path, tmp_path: Path) -> None:
    import dataclasses

    from veridical.training.run import run_experiment

    experiment = dataclasses.replace(tiny(epochs=1, lr=0.0), data=str(folder))
    first = run_experiment(experiment, quiet(tmp_path / "first"))
    other = dataclasses.replace(experiment, seed=1)
    second = run_experiment(other, quiet(tmp_path / "second"), start=first)
    one, two = (checkpoint.load(path)[0]["fc1.weight"] for path in (first, second))
    assert torch.equal(one, two)


def test_a_set_without_validation_gives_a_part_of_its_training_samples(folder: Path, tmp_path: Path) -> None:
    import dataclasses

    from veridical.training.run import run_experiment

    experiment = dataclasses.replace(tiny(epochs=1), data=str(folder / "train"))
    best = run_experiment(experiment, quiet(tmp_path / "run"))
    assert 0 < float(str(checkpoint.load(best)[1]["val_auroc"])) <= 1
