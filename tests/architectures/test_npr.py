"""NPR against the reference values of its definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from veridical.architectures import npr


def network(seed: int = 0) -> npr.NPR:
    """A network whose batch norms are not the identity, so that folding them is a real test."""
    torch.manual_seed(seed)
    model = npr.build().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.05)
            module.running_var.uniform_(0.5, 2.0)
    return model


def test_it_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in npr.build().parameters()) == 1_437_761


def test_the_residual_of_the_reference_picture() -> None:
    residual = npr.npr_residual((torch.arange(36.0) % 7).reshape(1, 1, 6, 6))[0, 0].int().tolist()
    assert residual[0] == residual[2] == residual[4] == [0, 1, 0, 1, 0, 1]
    assert residual[1] == [6, 0, -1, 0, -1, 0]
    assert residual[3] == [-1, 0, 6, 0, -1, 0]
    assert residual[5] == [-1, 0, -1, 0, 6, 0]


def test_nearest_upsampling_leaves_no_residual() -> None:
    small = torch.rand(1, 3, 5, 7)
    upsampled = torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")
    assert npr.npr_residual(upsampled).abs().max() == 0


def test_a_shift_by_one_pixel_brings_the_residual_back() -> None:
    small = torch.rand(1, 3, 5, 7)
    upsampled = torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")
    assert npr.npr_residual(upsampled[..., 1:]).abs().max() > 0


def test_an_odd_last_row_and_column_are_dropped() -> None:
    x = torch.rand(1, 3, 9, 13)
    assert torch.equal(npr.npr_residual(x), npr.npr_residual(x[..., :8, :12]))


@settings(max_examples=15, deadline=None)
@given(height=st.integers(32, 71), width=st.integers(32, 71), seed=st.integers(0, 99))
def test_the_folded_network_gives_the_same_logits_at_every_size(height: int, width: int, seed: int) -> None:
    model = network(seed)
    pixels = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert (model(pixels) - npr.for_export(model)(pixels)).abs().max() < 1e-4


def test_logits_differ_between_pictures() -> None:
    pixels = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert network()(pixels).std() > 1e-3


def test_without_normalisation_all_channels_weigh_alike() -> None:
    scale = npr.build(normalise=False).scale.flatten()
    assert scale.tolist() == pytest.approx([2 / 3 / 255] * 3)
