"""Part of a network is trained, the rest stays to the bit; what is written is a plain network."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

from veridical.architectures import clip_linear
from veridical.errors import UsageError
from veridical.training import checkpoint
from veridical.training.distributed import Processes
from veridical.training.experiment import Experiment, load_experiment, with_changes, with_values
from veridical.training.export import load_model
from veridical.training.loop import Run
from veridical.training.run import run_experiment
from veridical.training.tuning import merged, open_for_training, set_training_mode

SMALL_SEGMENTER = ("widths=[8,16,40,64]", "depths=[1,1,1,1]", "decoder_width=16")


def clip(*changes: str) -> Experiment:
    start = dataclasses.replace(load_experiment("clip_linear"), settings={"backbone": "clip-tiny"})
    return with_changes(start, ["fit=loop", *changes, "epochs=2", "batch_size=4", "lr=1e-2", "average_decay=0"])


def opened(experiment: Experiment) -> nn.Module:
    torch.manual_seed(0)
    model = experiment.build()
    open_for_training(model, experiment)
    return model


def trained_names(experiment: Experiment) -> set[str]:
    return {name for name, p in opened(experiment).named_parameters() if p.requires_grad}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits; fakes are brighter."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        for index in range(8):
            path = root / split / ("real/a", "fake/g")[index % 2] / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(rng.integers(0, 100 + 40 * (index % 2), (80, 90, 3), dtype=np.uint8)).save(path)
    return root


def test_the_head_is_always_trained_and_alone_when_asked() -> None:
    head = {"head.fc.weight", "head.fc.bias"}
    assert trained_names(clip("tune=head")) == head
    for tune in ("norm", "last:1", "lora:2"):
        assert head < trained_names(clip(f"tune={tune}"))


def test_all_is_the_whole_network() -> None:
    assert trained_names(clip()) == {name for name, _ in clip().build().named_parameters()}


def test_norm_opens_scales_and_shifts_alone() -> None:
    names = trained_names(clip("tune=norm")) - {"head.fc.weight", "head.fc.bias"}
    assert names == {n for n, _ in clip().build().named_parameters() if "norm" in n}


def test_the_last_blocks_are_the_last() -> None:
    names = trained_names(clip("tune=last:2")) - {"head.fc.weight", "head.fc.bias"}
    assert {name.split(".")[2] for name in names} == {"1", "2"}
    assert all(name.startswith("tower.blocks.") for name in names)


def test_the_segmenters_blocks_are_counted_through_its_stages() -> None:
    experiment = with_changes(load_experiment("segmenter"), [*SMALL_SEGMENTER, "tune=last:1"])
    assert {name.split(".")[1] for name in trained_names(experiment) if name.startswith("stages")} == {"3"}


def test_low_rank_changes_are_of_queries_and_values_and_nothing_at_first() -> None:
    plain, changed = opened(clip("tune=head")).eval(), opened(clip("tune=lora:2")).eval()
    names = trained_names(clip("tune=lora:2")) - {"head.fc.weight", "head.fc.bias"}
    assert {name.split(".")[3] for name in names} == {"query", "value"}
    assert len(names) == 3 * 2 * 2
    assert sum(dict(changed.named_parameters())[name].numel() for name in names) == 3 * 2 * 2 * (32 + 32)
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    assert torch.equal(plain(pixels), changed(pixels))


def test_merged_low_rank_changes_are_a_plain_network_with_the_same_logits() -> None:
    changed = opened(clip("tune=lora:2")).eval()
    with torch.no_grad():
        for name, parameter in changed.named_parameters():
            if name.endswith(".up"):
                parameter.normal_()
    plain = clip_linear.build("clip-tiny").eval()
    plain.load_state_dict(merged(changed))
    pixels = torch.randint(0, 256, (2, 224, 224, 3), dtype=torch.uint8)
    torch.testing.assert_close(plain(pixels), changed(pixels))


@pytest.mark.parametrize("name", ["norm", "last:1", "lora:2"])
def test_a_partly_tuned_tower_is_written_as_a_network_that_can_be_opened_and_started_from(
    name: str, folder: Path, tmp_path: Path, tiny_backbone: str
) -> None:
    experiment = dataclasses.replace(clip(f"tune={name}"), data=str(folder))
    best = run_experiment(experiment, Run(tmp_path / "run", say=lambda line: None))
    load_model(best)
    frozen = with_values(experiment, tune="head", lr=0.0, seed=1, epochs=1)
    again = run_experiment(frozen, Run(tmp_path / "again", say=lambda line: None), start=best)
    tensors, found = checkpoint.load(best)[0], checkpoint.load(again)[0]
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


def test_frozen_statistics_of_batch_normalisation_stay() -> None:
    experiment = with_changes(load_experiment("segmenter"), [*SMALL_SEGMENTER, "tune=head"])
    model = opened(experiment)
    set_training_mode(model)
    assert model.get_submodule("decoder.norm").training
    ucf = opened(with_changes(load_experiment("ucf"), ["width=0.03125", "tune=head"]))
    before = {name: buffer.clone() for name, buffer in ucf.named_buffers()}
    set_training_mode(ucf)
    ucf(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8))
    assert before
    assert all(torch.equal(before[name], buffer) for name, buffer in ucf.named_buffers())


@pytest.mark.parametrize(
    ("name", "tune", "said"),
    [
        ("clip_linear", "half", "no way 'half'"),
        ("clip_linear", "norm:2", "no way 'norm:2'"),
        ("clip_linear", "last:0", "a number from 1"),
        ("clip_linear", "last:4", "3 transformer blocks"),
        ("clip_linear", "lora:", "a number from 1"),
        ("ucf", "last:1", "no transformer blocks"),
        ("cifake_cnn", "norm", "does not say what its head is"),
    ],
)
def test_what_a_network_does_not_have_cannot_be_tuned(name: str, tune: str, said: str) -> None:
    changes = {"clip_linear": ["backbone=clip-tiny", "fit=loop"], "ucf": ["width=0.03125"]}.get(name, [])
    with pytest.raises(UsageError, match=said):
        opened(with_changes(load_experiment(name), [*changes, f"tune={tune}"]))


@pytest.mark.parametrize("change", ["schedule=cosine", "loss_weight_real=2.0"])
def test_what_belongs_to_the_loop_cannot_be_set_of_a_head(change: str) -> None:
    with pytest.raises(UsageError, match=f"no '{change.split('=')[0]}' to set"):
        with_changes(load_experiment("clip_linear"), [change])


@pytest.mark.parametrize(
    ("values", "options", "said"),
    [
        ({"reconstructed": 0.5}, {}, "reconstructed"),
        ({}, {"validate_every": 3}, "validate_every"),
        ({}, {"processes": Processes(0, 2)}, "torchrun"),
    ],
)
def test_what_a_head_on_cached_embeddings_would_ignore_is_refused(
    values: dict[str, object], options: dict[str, Any], said: str, folder: Path, tmp_path: Path
) -> None:
    experiment = with_values(load_experiment("clip_linear"), backbone="clip-tiny", data=str(folder), **values)
    with pytest.raises(UsageError, match=f"without {said}"):
        run_experiment(experiment, Run(tmp_path, say=lambda line: None, **options))
    with pytest.raises(UsageError, match="start"):
        run_experiment(experiment, Run(tmp_path, say=lambda line: None), start=tmp_path / "best.safetensors")
