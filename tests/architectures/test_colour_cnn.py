"""Invert and saturate against the reference pixels, and both networks."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from veridical.architectures import colour_cnn
from veridical.architectures.colour_cnn import invert, saturate
from veridical.models.graph import check_graph
from veridical.training.export import to_onnx

BLUE = (0.2, 0.4, 0.6)
GREY = (0.5, 0.5, 0.5)
NEARLY_GREY = (0.3, 0.31, 0.29)


def pixel(colour: tuple[float, float, float]) -> torch.Tensor:
    return torch.tensor(colour).reshape(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("network", "stem_kernel", "parameters"),
    [("small", 7, 634_305), ("large", 3, 2_389_313), ("large", 7, 2_393_153)],
)
def test_it_has_the_published_number_of_parameters(network: str, stem_kernel: int, parameters: int) -> None:
    settings: dict[str, object] = {"network": network, "stem_kernel": stem_kernel}
    model = colour_cnn.build(**settings)  # type: ignore[arg-type] # as an experiment passes them
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_inverting_takes_from_one() -> None:
    assert invert(pixel(BLUE)).flatten().tolist() == pytest.approx([0.8, 0.6, 0.4])


@pytest.mark.parametrize(
    ("colour", "factor", "expected"),
    [
        (BLUE, 0.0, (0.63692, 0.63692, 0.63692)),
        (BLUE, 8.0, (1, 0.34156, 0)),
        (BLUE, 500.0, (1, 0, 0)),
        (GREY, 8.0, (0.50035, 0.50035, 0.50035)),
        (GREY, 500.0, (0.524933, 0.524933, 0.524933)),
        (NEARLY_GREY, 8.0, (0.7336, 0.6536, 0.8136)),
        (NEARLY_GREY, 500.0, (1, 0, 1)),
    ],
)
def test_inverted_then_saturated_pixels_have_the_reference_values(
    colour: tuple[float, float, float], factor: float, expected: tuple[float, float, float]
) -> None:
    changed = saturate(invert(pixel(colour)), factor).flatten().tolist()
    assert changed == pytest.approx(expected, abs=5e-6)


def test_the_order_matters_only_through_the_sum_of_the_grey_weights() -> None:
    other_way = invert(saturate(pixel(BLUE), 8.0)).flatten().tolist()
    assert other_way == pytest.approx([1, 0.34086, 0], abs=1e-6)


def test_a_factor_of_one_changes_nothing() -> None:
    x = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(saturate(x, 1.0), x)


@pytest.mark.parametrize("network", ["small", "large"])
def test_the_layers_see_inverted_saturated_pixels(network: str) -> None:
    settings: dict[str, object] = {"network": network, "saturation": 8.0}
    model = colour_cnn.build(**settings)  # type: ignore[arg-type] # as an experiment passes them
    seen: list[torch.Tensor] = []
    model.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    colour = torch.tensor([51, 102, 153], dtype=torch.uint8)  # (.2, .4, .6)
    model(colour.expand(1, 32, 32, 3))
    expected = torch.tensor([1, 0.34156, 0]).reshape(1, 3, 1, 1).expand(1, 3, 32, 32)
    assert torch.allclose(seen[0], expected, atol=1e-5)


@pytest.mark.parametrize("size", [32, 33, 97])
def test_the_large_network_takes_any_size_from_32_pixels(size: int) -> None:
    model = colour_cnn.build(network="large", stem_kernel=3).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, size, size + 5, 3, dtype=torch.uint8)).shape == (2,)


def test_another_network_is_refused() -> None:
    with pytest.raises(ValueError, match="'small' or 'large'"):
        colour_cnn.build(network="huge")  # type: ignore[arg-type] # a user's mistake


@pytest.mark.parametrize("network", ["small", "large"])
def test_the_graph_agrees_with_torch_at_every_size(network: str) -> None:
    torch.manual_seed(0)
    settings: dict[str, object] = {"network": network, "saturation": 500.0}
    model = colour_cnn.for_export(colour_cnn.build(**settings))  # type: ignore[arg-type] # as above
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)  # fresh logits hardly differ between pictures
    graph = to_onnx(model)
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 32, 32, 3), (3, 47, 71, 3), (2, 96, 64, 3)):
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels})
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
        assert len(expected) == 1 or expected.std() > 1e-4
