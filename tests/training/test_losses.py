"""What a step minimises, and how a batch is divided."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from veridical.architectures import segmenter, ucf
from veridical.data.loader import Batch
from veridical.data.samples import Sample
from veridical.errors import UsageError
from veridical.results import Label
from veridical.training.experiment import Experiment, load_experiment, with_changes
from veridical.training.losses import loss_of, method_numbers, parts


def sample(generator: str = "") -> Sample:
    return Sample(Path("p"), Label.FAKE if generator else Label.REAL, generator, "s", "")


def batch(labels: list[int]) -> Batch:
    """Each picture's pixels are its place."""
    places = np.arange(len(labels), dtype=np.uint8)
    pixels = np.broadcast_to(places[:, None, None, None], (len(labels), 64, 64, 3))
    samples = tuple(sample("g" if label else "") for label in labels)
    return Batch(pixels.copy(), np.array(labels, np.float32), samples)


def experiment(name: str, *changes: str) -> Experiment:
    return with_changes(load_experiment(name), changes)


class Constant(nn.Module):
    """The same logit for everything."""

    def forward(self, pixels: Tensor) -> Tensor:
        return torch.full((len(pixels),), 0.5)


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_reals_weigh_in_cross_entropy_what_the_experiment_says() -> None:
    labels = torch.tensor([0.0, 1.0, 1.0])
    loss = loss_of(experiment("npr_shared", "loss_weight_real=3.0"), 1)
    value = loss(Constant(), torch.zeros(3, 8, 8, 3), labels, labels.long(), draw())
    each = F.binary_cross_entropy_with_logits(torch.full((3,), 0.5), labels, reduction="none")
    assert value.item() == pytest.approx(((3 * each[0] + each[1] + each[2]) / 3).item())


def test_a_loss_of_its_own_has_no_weight_of_reals() -> None:
    with pytest.raises(UsageError, match="loss_weight_real must be 1"):
        loss_of(experiment("ucf", "loss_weight_real=2.0"), 1)


def test_generators_are_numbered_by_name_and_a_reconstruction_is_one_of_them() -> None:
    train_set = [sample("sdxl"), sample(), sample("flux"), sample("sdxl")]
    assert method_numbers(experiment("ucf"), train_set) == {"flux": 1, "sdxl": 2}
    numbers = method_numbers(experiment("ucf", "reconstructed=0.5"), train_set)
    assert numbers == {"": 1, "flux": 2, "sdxl": 3}


def test_every_part_holds_both_classes_and_together_they_are_the_batch() -> None:
    whole = batch([0, 0, 0, 0, 1, 1, 1, 1])
    divided = parts(whole, {"g": 3}, 3)
    assert [len(part.labels) for part in divided] == [3, 3, 2]
    assert all(0 < part.labels.mean() < 1 for part in divided)
    assert sum(part.share for part in divided) == pytest.approx(1)
    places = np.concatenate([part.pixels[:, 0, 0, 0] for part in divided])
    labels = np.concatenate([part.labels for part in divided])
    methods = np.concatenate([part.methods for part in divided])
    assert sorted(places) == list(range(8))
    assert (whole.labels[places] == labels).all()
    assert (methods == 3 * labels).all()


def test_a_batch_that_is_one_part_keeps_its_order() -> None:
    (part,) = parts(batch([1, 1, 0, 1, 0]), {"g": 1}, 5)
    assert part.pixels[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert part.methods.tolist() == [1, 1, 0, 1, 0]


def test_ucf_minimises_its_five_losses() -> None:
    torch.manual_seed(0)
    model = ucf.build(methods=2, width=1 / 32).eval()
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8, generator=draw())
    labels = torch.tensor([0.0, 1.0, 1.0, 0.0])
    value = loss_of(experiment("ucf"), 2)(model, pixels, labels, labels.long(), draw(1))
    expected = model.training_loss(pixels, labels, labels.long(), draw(1))
    assert torch.equal(value, expected.total)
    value.backward()  # type: ignore[no-untyped-call] # torch's own
    assert next(model.content.parameters()).grad is not None


def test_ucf_says_how_many_generators_it_was_built_for() -> None:
    model = ucf.build(methods=2, width=1 / 32)
    labels = torch.tensor([0.0, 1.0])
    with pytest.raises(UsageError, match="methods=2 counts real and 1 generators"):
        loss_of(experiment("ucf"), 2)(model, torch.zeros(2, 64, 64, 3), labels, 2 * labels.long(), draw())


@pytest.mark.parametrize("name", ["ucf", "segmenter"])
def test_rows_of_one_class_are_learned_by_cross_entropy(name: str) -> None:
    labels = torch.ones(2)
    value = loss_of(experiment(name), 1)(Constant(), torch.zeros(2, 64, 64, 3), labels, labels.long(), draw())
    assert value.item() == pytest.approx(-np.log(1 / (1 + np.exp(-0.5))))


def test_some_reals_get_a_region_of_a_fake_and_the_mask_says_where() -> None:
    labels = torch.tensor([0.0, 1.0] * 40)
    levels = torch.where(labels == 1, 200, 100).to(torch.uint8)
    pixels = levels[:, None, None, None].repeat(1, 32, 32, 3)
    pasted, changed, masks = segmenter.with_pasted_regions(pixels, labels, draw())
    assert ((pasted == 200).all(dim=-1) == masks).all()
    assert (masks.flatten(1).any(dim=1) == (changed == 1)).all()
    assert torch.equal(pasted[labels == 1], pixels[labels == 1])
    assert 1 <= int(changed[labels == 0].sum()) <= 20
    assert (pixels[labels == 0] == 100).all()
    again = segmenter.with_pasted_regions(pixels, labels, draw())
    assert torch.equal(again[0], pasted)
