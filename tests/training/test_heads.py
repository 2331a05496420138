"""A head learns from cached embeddings and leaves a checkpoint that becomes a bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image
import pytest
import torch

from veridical.architectures import clip_mlp
from veridical.architectures.clip_linear import LinearHead
from veridical.data.loader import Augmentation, epoch_order
from veridical.data.samples import Sample, load_pixels, read_samples
from veridical.detectors import load_detector
from veridical.errors import DataError, UsageError
from veridical.evaluation.metrics import auroc
from veridical.media import Image
from veridical.models.card import PixelInput
from veridical.results import Label
from veridical.training import checkpoint, heads
from veridical.training.embeddings import Embeddings, Views, embed_views
from veridical.training.experiment import Experiment, load_experiment, with_values
from veridical.training.export import export, load_model
from veridical.training.heads import Embedded
from veridical.training.loop import Run

EXPERIMENT_FILE = """
import dataclasses
from veridical.training.experiments.clip_mlp import EXPERIMENT
EXPERIMENT = dataclasses.replace(EXPERIMENT, settings={"backbone": "clip-tiny", "blocks": [1, 2]})
"""


def quiet(line: str) -> None:
    """Nobody watches."""


def experiment(name: str = "clip_mlp", **settings: object) -> Experiment:
    """A published one on the tiny backbone, with a few large steps."""
    known = {"backbone": "clip-tiny", "blocks": [1, 2], "epochs": 6, "lr": 1e-2, "batch_size": 8, **settings}
    return with_values(load_experiment(name), **known)


def logistic(name: str = "clip_linear", **settings: object) -> Experiment:
    """The same, fitted without steps."""
    known = {"backbone": "clip-tiny", "blocks": [1, 2], "solver": "logistic", **settings}
    return with_values(load_experiment(name), **known)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits; fakes are brighter."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(12):
            name = ("real/a", "fake/g")[index % 2]
            path = root / split / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            level = 140 if "fake" in name else 100
            PIL.Image.fromarray(rng.integers(0, level, (80, 90, 3), dtype=np.uint8)).save(path)
    return root


def splits(folder: Path) -> tuple[list[Sample], list[Sample]]:
    return read_samples(folder, "train"), read_samples(folder, "val")


@pytest.mark.parametrize("copies", [0, 2])
@pytest.mark.parametrize(
    ("name", "solver"), [("clip_linear", "adam"), ("clip_linear", "logistic"), ("clip_mlp", "adam")]
)
def test_a_head_learns_what_the_tower_sees(
    name: str,
    solver: Literal["adam", "logistic"],
    copies: int,
    folder: Path,
    tmp_path: Path,
    tiny_backbone: str,
) -> None:
    run = Run(tmp_path / "run", say=quiet)
    chosen = logistic(copies=copies) if solver == "logistic" else experiment(name, copies=copies)
    best = heads.train(chosen, *splits(folder), run)
    tensors, facts = checkpoint.load(best)
    assert facts["experiment"] == name
    assert facts["settings"] == {"backbone": tiny_backbone, "blocks": [1, 2]}
    assert isinstance(facts["val_auroc"], float)
    assert facts["val_auroc"] > 0.9
    assert any(key.startswith("tower.") for key in tensors)
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert facts["val_auroc"] == max(row["val_auroc"] for row in rows)


def test_the_checkpoint_becomes_a_bundle_with_the_backbone_inside(
    folder: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    best = heads.train(experiment(), *splits(folder), Run(tmp_path / "run", say=quiet))
    recipe = tmp_path / "mine.py"
    recipe.write_text(EXPERIMENT_FILE)
    bundle = export(best, tmp_path / "bundle", None, experiment=str(recipe), say=quiet)
    assert bundle.card.input == PixelInput(kind="crops", size=224, minimum=64)
    detector = load_detector(str(tmp_path / "bundle"))
    model = load_model(best, str(recipe))[1]
    small, large = (load_pixels(splits(folder)[1][0]), np.zeros((301, 402, 3), np.uint8))
    for pixels in (small, large):
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels[None].copy())).item()
        assert detector.detect(Image.of(pixels)).logit == pytest.approx(expected, abs=1e-4)


def test_the_network_judges_as_the_head_was_validated(folder: Path, tmp_path: Path, tiny_backbone: str) -> None:
    said: list[str] = []
    best = heads.train(experiment(), *splits(folder), Run(tmp_path / "run", say=said.append))
    model = clip_mlp.build(tiny_backbone, blocks=[1, 2]).eval()
    checkpoint.load_parameters(model, checkpoint.load(best)[0])
    with torch.inference_mode():
        logits = [model(torch.from_numpy(load_pixels(s)[None].copy())).item() for s in splits(folder)[1]]
    labels = np.array([int(s.label) for s in splits(folder)[1]])
    found = auroc(labels, np.array(logits))
    assert found == checkpoint.load(best)[1]["val_auroc"]


def test_the_same_seed_gives_the_same_bytes_and_another_gives_others(
    folder: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    runs = {
        name: heads.train(
            dataclasses.replace(experiment(), seed=seed), *splits(folder), Run(tmp_path / name, say=quiet)
        ).read_bytes()
        for name, seed in (("one", 0), ("two", 0), ("three", 1))
    }
    assert runs["one"] == runs["two"]
    assert runs["one"] != runs["three"]


def embedded(values: list[float], labels: list[int]) -> Embedded:
    """One number for each picture."""
    samples = [Sample(Path(str(i)), Label(label), "", "s", "g") for i, label in enumerate(labels)]
    return Embedded(samples, Embeddings(np.array(values, np.float32)[:, None], np.arange(len(values))))


def test_the_epoch_with_the_highest_validation_auroc_is_kept(tmp_path: Path) -> None:
    head = LinearHead(1)
    with torch.no_grad():
        head.fc.weight.fill_(-0.05)  # a step or two below zero, which is where training pushes it
    turned = embedded([1, 1, -1, -1], [0, 0, 1, 1])
    recipe = experiment("clip_linear", average_decay=0.0)
    chosen = heads.fit_adam(
        head, recipe, embedded([-1, -1, 1, 1], [0, 0, 1, 1]), turned, Run(tmp_path, say=quiet)
    )
    assert chosen == {"epoch": 1, "val_auroc": 1.0}
    assert head.fc.weight.item() == pytest.approx(-0.04, abs=1e-3)  # one step of 0.01, of the six that it took


def test_logistic_regression_takes_the_penalty_with_the_highest_validation_auroc(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = [0, 1] * 20
    values = [label + rng.normal() for label in labels]
    head = LinearHead(1)
    part = embedded(values, labels)
    chosen = heads.fit_logistic(head, logistic(), part, np.ones(40), part, Run(tmp_path, say=quiet))
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert len(rows) == len(heads.INVERSE_PENALTIES)
    assert chosen == max(rows, key=lambda row: row["val_auroc"])
    assert head.fc.weight.item() > 0


def test_a_perceptron_cannot_be_fitted_by_logistic_regression(tmp_path: Path) -> None:
    part = embedded([0, 1], [0, 1])
    with pytest.raises(UsageError, match="no linear head"):
        heads.fit_logistic(
            clip_mlp.MLPHead(1), logistic("clip_mlp"), part, np.ones(2), part, Run(tmp_path, say=quiet)
        )


def test_reconstructions_get_their_share_of_the_fakes_weight_and_the_classes_stay_balanced() -> None:
    training = embedded([0, 1, 2, 3, 4], [0, 1, 0, 1, 1])
    forged = embedded([10, 12], [0, 0])
    before = heads.weights_of(training)
    both, weights = heads.with_forged(training, before, forged, share=0.25)
    assert both.labels.tolist() == [0, 1, 0, 1, 1, 1, 1]
    assert both.embeddings.vectors[:, 0].tolist() == [0, 1, 2, 3, 4, 10, 12]
    of_view = both.labels[both.embeddings.owners]
    assert weights[of_view == 1].sum() == pytest.approx(weights[of_view == 0].sum())
    assert weights[5:].sum() == pytest.approx(0.25 * weights[of_view == 1].sum())


def test_a_head_on_reconstructions_learns_what_the_autoencoder_leaves(
    folder: Path, tmp_path: Path, tiny_backbone: str, shared: Path
) -> None:
    recipe = logistic(
        patches=[1], inverse_penalty=0.01, reconstruct=str(shared / "models" / "taef2"), reconstructed=0.5
    )
    best = heads.train(recipe, *splits(folder), Run(tmp_path / "run", say=quiet))
    without = with_values(recipe, reconstruct="", reconstructed=0.0)
    other = heads.train(without, *splits(folder), Run(tmp_path / "other", say=quiet))
    ours, theirs = (checkpoint.load(path)[0]["head.fc.weight"] for path in (best, other))
    assert ours.shape == theirs.shape
    assert not torch.equal(ours, theirs)


def test_reconstructions_need_something_that_makes_them(folder: Path, tmp_path: Path) -> None:
    recipe = logistic(patches=[1], reconstructed=0.5)
    with pytest.raises(UsageError, match="needs an autoencoder or an upscaler"):
        heads.train(recipe, *splits(folder), Run(tmp_path / "run", say=quiet))


def test_untouched_views_have_no_reconstructions(folder: Path, tmp_path: Path) -> None:
    recipe = logistic(reconstruct="anything", reconstructed=0.5, copies=0)
    with pytest.raises(UsageError, match="only augmented copies"):
        heads.train(recipe, *splits(folder), Run(tmp_path / "run", say=quiet))


def test_pictures_weigh_as_often_as_they_are_drawn() -> None:
    sizes = {("real", "a"): 9, ("real", "b"): 1, ("fake", "g"): 4}
    samples = [
        Sample(Path(f"{name}{i}"), Label[kind.upper()], name if kind == "fake" else "", name, "")
        for (kind, name), size in sizes.items()
        for i in range(size)
    ]
    drawn = np.bincount(np.concatenate([epoch_order(samples, seed=0, epoch=e) for e in range(2000)]))
    np.testing.assert_allclose(heads._weights(samples), drawn / 2000, rtol=0.1)


def test_publishers_weigh_alike_but_small_ones_by_their_pictures() -> None:
    sizes = {("real", "a"): 80, ("real", "b"): 40, ("real", "c"): 5, ("fake", "a"): 30}
    samples = [
        Sample(Path(f"{kind}{name}{i}"), Label[kind.upper()], "g" if kind == "fake" else "", "s", name)
        for (kind, name), size in sizes.items()
        for i in range(size)
    ]
    part = Embedded(samples, Embeddings(np.zeros((155, 1), np.float32), np.arange(155)))
    found = dict.fromkeys(sizes, 0.0)
    for weight, one in zip(heads.weights_of(part, "group"), samples, strict=True):
        found[one.label.name.lower(), one.group] += weight
    assert found["real", "a"] == pytest.approx(found["real", "b"])
    assert found["real", "c"] == pytest.approx(found["real", "a"] * 5 / heads.LEAST_OF_GROUP)
    assert found["fake", "a"] == pytest.approx(155 / 2)


def test_a_head_weighs_by_publisher_when_asked(folder: Path, tmp_path: Path, tiny_backbone: str) -> None:
    train_set, val_set = splits(folder)
    uneven = [
        dataclasses.replace(s, group="one" if place < 4 else "other") for place, s in enumerate(train_set)
    ]
    found = []
    for by in ("", "group"):
        recipe = logistic(weigh_by=by, inverse_penalty=0.1)
        head, _ = heads.fit(recipe, uneven, val_set, Run(tmp_path / by, say=quiet))
        assert isinstance(head, LinearHead)
        found.append(head.fc.weight)
    assert not torch.equal(*found)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Views]:
    """The views that are embedded, in order."""
    found: list[Views] = []

    def watched(samples: list[Sample], backbone: str, views: Views, **options: object) -> Embeddings:
        found.append(views)
        return embed_views(samples, backbone, views, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(heads, "embed_views", watched)
    return found


def test_untouched_views_over_the_picture_stand_beside_the_augmented_ones(
    folder: Path, tmp_path: Path, tiny_backbone: str, asked: list[Views]
) -> None:
    heads.fit(logistic(copies=2, views=5), *splits(folder), Run(tmp_path, say=quiet))
    kinds = [
        (views.augmentation is not None, views.copies, views.input.kind, views.input.count) for views in asked
    ]
    assert kinds[:2] == [(True, 2, "crops", 1), (False, 1, "spread", 5)]
    assert kinds[2] == (False, 1, "crops", 1)  # as the bundle will judge


def test_encoded_views_are_cut_and_re_encoded_and_nothing_else(
    folder: Path, tmp_path: Path, tiny_backbone: str, asked: list[Views]
) -> None:
    heads.fit(logistic(copies=0, encoded=3), *splits(folder), Run(tmp_path, say=quiet))
    assert (asked[0].augmentation, asked[0].copies) == (
        Augmentation(crop=asked[0].input.size, downscale=0.0),
        3,
    )
    assert asked[1].augmentation is None  # as the bundle will judge
    assert len(asked) == 2


def test_standardisation_is_folded_exactly() -> None:
    torch.manual_seed(0)
    head = clip_mlp.MLPHead(6)
    mean, deviation = 30 * torch.randn(6), torch.rand(6) + 0.1
    x = mean + deviation * torch.randn(20, 6)
    with torch.no_grad():
        expected = head((x - mean) / deviation)
        heads.fold_standardisation(head, mean, deviation)
        torch.testing.assert_close(head(x), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tune", ["norm", "all", "last:1"])
def test_a_tower_that_is_trained_too_is_refused(
    tune: str, folder: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    with pytest.raises(UsageError, match="more than a head"):
        heads.train(experiment(fit="loop", tune=tune), *splits(folder), Run(tmp_path, say=quiet))


def test_another_architecture_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="more than a head"):
        heads.train(load_experiment("npr_shared"), *splits(folder), Run(tmp_path, say=quiet))
    with pytest.raises(UsageError, match="no tower"):
        heads.train(with_values(load_experiment("npr_shared"), fit="head"), *splits(folder), Run(tmp_path))


def test_crops_of_another_size_than_the_backbones_are_refused(
    folder: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    other = dataclasses.replace(experiment(), input=PixelInput(kind="crops", size=336))
    with pytest.raises(UsageError, match="wants 224"):
        heads.train(other, *splits(folder), Run(tmp_path, say=quiet))


def test_one_class_alone_is_refused(folder: Path, tmp_path: Path) -> None:
    train_set, val_set = splits(folder)
    reals = [sample for sample in val_set if not int(sample.label)]
    with pytest.raises(DataError, match="real and fake"):
        heads.train(experiment(), train_set, reals, Run(tmp_path, say=quiet))


def test_the_published_experiments_take_centre_crops_of_224_without_resizing() -> None:
    for name in ("clip_linear", "clip_mlp"):
        published = load_experiment(name)
        assert published.settings["backbone"] == "clip-vit-l14"
        assert published.input == PixelInput(kind="crops", size=224, count=1, minimum=64)
