"""A checkpoint judges without a bundle as its whole network does."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from veridical.data.samples import Sample, load_pixels, read_samples
from veridical.detectors.bundle import crop_views
from veridical.training.experiment import Experiment, load_experiment, with_values
from veridical.training.export import load_model
from veridical.training.judging import logits_of, predict_by
from veridical.training.loop import Run
from veridical.training.run import train_on


def quiet(line: str) -> None:
    """Nobody watches."""


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    rng = np.random.default_rng(0)
    for index in range(16):
        path = tmp_path / "set" / ("real/a", "fake/g")[index % 2] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        level = (100, 200)[index % 2]
        PIL.Image.fromarray(rng.integers(0, level, (70, 80, 3), dtype=np.uint8)).save(path)
    return read_samples(tmp_path / "set")


def head() -> Experiment:
    tiny: dict[str, object] = {"backbone": "clip-tiny", "blocks": [1]}
    return with_values(load_experiment("clip_linear"), **tiny, epochs=2, batch_size=8)


def network() -> Experiment:
    return with_values(load_experiment("cifake_cnn"), epochs=1, batch_size=8)


@pytest.mark.parametrize("experiment", [head(), network()], ids=lambda experiment: experiment.name)
def test_logits_are_those_of_the_network_in_the_checkpoint(
    experiment: Experiment, samples: list[Sample], tmp_path: Path, tiny_backbone: str
) -> None:
    run = Run(tmp_path / "run", say=quiet)
    path = train_on(experiment, samples, samples, run)
    model = load_model(path)[1]
    with torch.inference_mode():
        expected = [
            np.mean([model(torch.from_numpy(view[None].copy())).item() for view in views])
            for views in (crop_views(load_pixels(sample), experiment.input) for sample in samples)
        ]
    assert logits_of(experiment, path, samples, run) == pytest.approx(expected, abs=5e-3)


def test_predictions_name_their_samples_and_the_checkpoint(samples: list[Sample], tmp_path: Path) -> None:
    run = Run(tmp_path / "run", say=quiet)
    path = train_on(network(), samples, samples, run)
    rows = predict_by(network(), path, samples[:3], calibrate_on=samples, run=run, name="mine")
    assert [row.path for row in rows] == [sample.name for sample in samples[:3]]
    assert {row.detector for row in rows} == {"mine"}
    assert all(len(row.sha256) == len(row.bundle) == 64 for row in rows)
    assert np.isnan([row.threshold_ai for row in rows]).all()
    order = np.argsort([row.logit for row in rows])
    assert (np.diff(np.array([row.score for row in rows])[order]) >= 0).all()
