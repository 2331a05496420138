"""Two processes take the steps that one would take."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from veridical.data.samples import read_samples
from veridical.training import checkpoint
from veridical.training.distributed import ALONE, device_of_process, joined
from veridical.training.experiment import load_experiment
from veridical.training.loop import Run, train

# A loss of its own, dropout, and parameters that get a gradient in no process.
EXPERIMENT = """
import dataclasses
from veridical.data.loader import Augmentation
from veridical.models.card import PixelInput
from veridical.training.experiment import Loop
from veridical.training.experiments.ucf import EXPERIMENT as PUBLISHED

EXPERIMENT = dataclasses.replace(
    PUBLISHED, name="tiny", settings={"methods": 2, "width": 1 / 32}, input=PixelInput(kind="crops", size=64),
    augmentation=Augmentation(crop=64), fit=Loop(epochs=2, batch_size=8, micro_batch=MICRO_BATCH, lr=1e-3),
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Reals are smooth, fakes are noise; an odd number validates."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("val", 5)):
        for index in range(count):
            fake = index % 2 == 1
            path = root / split / ("fake/g" if fake else "real/s") / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            low = rng.integers(0, 256, (48, 48, 3) if fake else (3, 3, 3), dtype=np.uint8)
            PIL.Image.fromarray(low).resize((64, 64), PIL.Image.Resampling.BICUBIC).save(path)
    return root


def test_two_processes_take_the_steps_of_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(EXPERIMENT.replace("MICRO_BATCH", "0"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "veridical", "train", str(tmp_path / "two.py"), "--data", str(folder)]
    command += ["--accept-shortcuts"]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    two = tmp_path / "two"
    done = subprocess.run([*command, "-o", str(two)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(two / "best.safetensors")]
    assert done.stderr.count("epoch 1 validation") == 1

    (tmp_path / "one.py").write_text(EXPERIMENT.replace("MICRO_BATCH", "4"))
    one = tmp_path / "one"
    sets = read_samples(folder, "train"), read_samples(folder, "val")
    train(load_experiment(str(tmp_path / "one.py")), *sets, Run(one, say=lambda line: None))
    tensors, expected = (checkpoint.load(run / "last.safetensors")[0] for run in (two, one))
    assert tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        # Each process has statistics of its own, of which the first's are kept.
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(tensors[name], tensor, atol=1e-5, rtol=1e-3)
    rows = [json.loads(line) for line in (two / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2]


def test_without_torchrun_one_process_is_alone() -> None:
    with joined() as processes:
        assert processes == ALONE
    tensor = torch.ones(2)
    assert processes.sum(tensor) is tensor
    assert tensor.tolist() == [1, 1]


def test_every_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of_process("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert device_of_process("cuda") == "cuda:3"
    assert (device_of_process("cpu"), device_of_process("cuda:1")) == ("cpu", "cuda:1")
