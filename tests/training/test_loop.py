"""A run can be killed anywhere and ends the same; the best checkpoint is the best."""

import dataclasses
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
import safetensors.torch
import torch

from veridical.data.loader import Augmentation, Batch
from veridical.data.samples import Sample, read_samples
from veridical.errors import DataError, ModelError, UsageError
from veridical.models.card import Paper, PixelInput
from veridical.results import Label
from veridical.training import checkpoint, loop
from veridical.training.checkpoint import Progress
from veridical.training.experiment import Experiment, Loop, load_experiment
from veridical.training.loop import Run, _step, after_epoch, rate, train
from veridical.training.losses import BatchPart, loss_of, parts

EXPERIMENT = """
from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="tiny", architecture="npr", description="d", paper=Paper("a", "t", "v", "u"), licence="MIT",
    input=PixelInput(kind="crops", size=32), augmentation=Augmentation(crop=32), seed=7,
    fit=Loop(epochs=3, batch_size=4, lr=1e-3),
)
"""


# Dropout, shuffles, comparisons within parts of a batch; pasted regions; parameters that are not the network's.
RANDOM: dict[str, dict[str, object]] = {
    "ucf": {"architecture": "ucf", "settings": {"methods": 2, "width": 1 / 32}, "micro_batch": 2},
    "segmenter": {
        "architecture": "segmenter",
        "settings": {"widths": [8, 16, 40, 64], "depths": [1, 1, 1, 1], "decoder_width": 16},
        "schedule": "cosine",
    },
    "lora": {
        "architecture": "clip_linear",
        "settings": {"backbone": "clip-tiny"},
        "tune": "lora:2",
        "average_decay": 0.5,
    },
}


def tiny(**changes: object) -> Experiment:
    fit = {name: value for name, value in changes.items() if name in {f.name for f in dataclasses.fields(Loop)}}
    own: dict[str, object] = {
        "name": "tiny",
        "architecture": "npr",
        "description": "d",
        "paper": Paper("a", "t", "v", "u"),
        "licence": "MIT",
        "input": PixelInput(kind="crops", size=32),
        "augmentation": Augmentation(crop=32),
        "fit": Loop(**{"epochs": 2, "batch_size": 4, "lr": 1e-3} | fit),  # type: ignore[arg-type] # by name
    }
    rest = {name: value for name, value in changes.items() if name not in fit}
    return Experiment(**(own | rest))  # type: ignore[arg-type] # fields by name


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
        command += ["--validate-every", "3", "--accept-shortcuts"]
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


@pytest.mark.parametrize("name", RANDOM)
def test_a_run_that_stops_in_the_middle_ends_with_the_same_checkpoints(
    name: str, folder: Path, tmp_path: Path
) -> None:
    sets = read_samples(folder, "train"), read_samples(folder, "val")
    experiment = tiny(
        **RANDOM[name], input=PixelInput(kind="crops", size=64), augmentation=Augmentation(crop=64), lr=1e-3
    )

    def stop(line: str) -> None:
        if "step 5/" in line:
            raise KeyboardInterrupt

    stopped = dataclasses.replace(quiet(tmp_path / "stopped", log_every=1), say=stop)
    with pytest.raises(KeyboardInterrupt):
        train(experiment, *sets, stopped)
    train(experiment, *sets, dataclasses.replace(stopped, say=lambda line: None))
    train(experiment, *sets, quiet(tmp_path / "unbroken", log_every=1))
    assert digests(tmp_path / "stopped") == digests(tmp_path / "unbroken")
    curves = [(tmp_path / run / "log.jsonl").read_text() for run in ("stopped", "unbroken")]
    assert curves[0] == curves[1]


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
        progress = after_epoch(progress, value, experiment.fit)
        rates.append(progress.lr)
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5])
    assert progress.finished
    assert (progress.best_auroc, progress.best_epoch) == (0.9, 1)


def test_the_rate_falls_to_nothing_over_the_steps_of_all_epochs() -> None:
    experiment, steps = tiny(schedule="cosine", lr=1.0, epochs=1, patience=1), 4
    places = [Progress(experiment="tiny", lr=0.3, seed=0, step=step) for step in (0, 1, 2, 4)]
    assert [rate(p, experiment.loop, steps) for p in places] == pytest.approx([1, 0.5 + 0.5**1.5, 0.5, 0])
    linear = tiny(schedule="linear", lr=1.0)
    assert [rate(p, linear.loop, steps) for p in places] == [1, 0.75, 0.5, 0]
    assert [rate(p, tiny(lr=1.0).loop, steps) for p in places] == [0.3] * 4


def test_a_schedule_does_not_listen_to_validation() -> None:
    experiment = tiny(schedule="linear", patience=1, lr_floor=1.0, epochs=2)
    progress = after_epoch(Progress(experiment="tiny", lr=1e-3, seed=0, best_auroc=0.9), 0.5, experiment.fit)
    assert (progress.lr, progress.finished) == (1e-3, False)
    assert after_epoch(progress, 0.5, experiment.fit).finished


def test_validations_inside_an_epoch_are_logged_and_change_nothing(folder: Path, tmp_path: Path) -> None:
    sets = read_samples(folder, "train"), read_samples(folder, "val")
    train(tiny(), *sets, quiet(tmp_path / "without"))
    train(tiny(), *sets, quiet(tmp_path / "with", validate_every=3))
    assert digests(tmp_path / "with") == digests(tmp_path / "without")
    rows = [json.loads(line) for line in (tmp_path / "with" / "log.jsonl").read_text().splitlines()]
    inside = [row for row in rows if "samples_seen" in row]
    assert [(row["step"], row["samples_seen"]) for row in inside] == [(3, 12), (6, 24)]
    assert all(0 <= row["val_auroc"] <= 1 for row in inside)


def test_a_real_photo_and_its_reconstruction_stand_in_one_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from veridical.architectures import tiny_autoencoder

    torch.manual_seed(0)
    autoencoder = tiny_autoencoder.build()
    for name, half in (("encoder", autoencoder.encoder), ("decoder", autoencoder.decoder)):
        safetensors.torch.save_file(half.state_dict(), tmp_path / f"{name}.safetensors")
    seen: list[Batch] = []

    def watched(batch: Batch, numbers: dict[str, int], size: int) -> list[BatchPart]:
        seen.append(batch)
        return parts(batch, numbers, size)

    monkeypatch.setattr(loop, "parts", watched)
    experiment = tiny(epochs=1, batch_size=8, reconstruct=str(tmp_path), reconstructed=1.0)
    train(experiment, read_samples(folder, "train"), read_samples(folder, "val"), quiet(tmp_path / "run"))
    for batch in seen:
        assert any(batch.labels == 1)
        assert all(sample.label is Label.REAL for sample in batch.samples)


def test_reconstructions_need_an_autoencoder(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs an autoencoder"):
        train(
            tiny(reconstructed=0.5),
            read_samples(folder, "train"),
            read_samples(folder, "val"),
            quiet(tmp_path / "run"),
        )


def test_a_checkpoint_with_a_number_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"w": torch.tensor([1.0, float("nan")])}, {"experiment": "tiny"})
    with pytest.raises(ModelError, match="not finite"):
        checkpoint.load(path)


def test_an_unknown_experiment_names_the_nearest() -> None:
    with pytest.raises(Exception, match="Did you mean 'npr_shared'"):
        load_experiment("npr_shard")


def test_gradients_gathered_in_parts_are_those_of_the_whole_batch() -> None:
    class Mean(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(0.1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return self.weight * pixels.float().mean(dim=(1, 2, 3))

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    labels = np.array([0, 1, 0, 1, 1, 0], np.float32)
    samples = tuple(Sample(Path("p"), Label(int(label)), "g", "s", "") for label in labels)
    batch = Batch(pixels, labels, samples)
    results = []
    for size in (6, 4, 1):
        model = Mean()
        optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
        rows = parts(batch, {"g": 1}, size)
        value = _step(model, optimiser, loss_of(tiny(), 1), rows, [0], torch.device("cpu"))
        results.append((value, model.weight.item()))
    assert results[1] == pytest.approx(results[0], rel=1e-4)
    assert results[2] == pytest.approx(results[0], rel=1e-4)


def test_a_run_starts_from_a_checkpoint_when_asked(folder: Path, tmp_path: Path) -> None:
    from veridical.training.run import run_experiment

    experiment = dataclasses.replace(tiny(epochs=1, lr=0.0), data=str(folder))
    first = run_experiment(experiment, quiet(tmp_path / "first", accept_shortcuts=True))
    other = dataclasses.replace(experiment, seed=1)
    second = run_experiment(other, quiet(tmp_path / "second", accept_shortcuts=True), start=first)
    one, two = (checkpoint.load(path)[0]["fc1.weight"] for path in (first, second))
    assert torch.equal(one, two)


def test_a_set_without_validation_gives_a_part_of_its_training_samples(folder: Path, tmp_path: Path) -> None:
    from veridical.training.run import run_experiment

    experiment = dataclasses.replace(tiny(epochs=1), data=str(folder / "train"))
    best = run_experiment(experiment, quiet(tmp_path / "run"))
    assert 0 < float(str(checkpoint.load(best)[1]["val_auroc"])) <= 1
