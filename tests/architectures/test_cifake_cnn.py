"""The CIFAKE CNN against the values of its definition."""

from __future__ import annotations

import numpy as np
import onnxruntime
import PIL.Image
import pytest
import torch

from veridical.architectures import cifake_cnn
from veridical.models.graph import check_graph
from veridical.training.export import to_onnx


def recalibration_of_the_reference() -> cifake_cnn.StyleRecalibration:
    module = cifake_cnn.StyleRecalibration(2).eval()
    with torch.no_grad():
        module.cfc.weight.copy_(torch.tensor([[1.0, 0.5], [-1.0, 2.0]])[:, None])
    return module


@pytest.mark.parametrize(("style_attention", "parameters"), [(False, 61_241), (True, 61_265)])
def test_it_has_the_published_number_of_parameters(style_attention: bool, parameters: int) -> None:
    model = cifake_cnn.build(style_attention=style_attention)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_style_recalibration_gives_the_reference_values() -> None:
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    with torch.inference_mode():
        y = recalibration_of_the_reference()(x)
    assert y[0, 0].flatten().tolist() == pytest.approx([0, 0.895246, 1.790493, 2.685739], abs=1e-6)
    assert y[0, 1].flatten().tolist() == pytest.approx([0.205084, 0.256355, 0.307626, 0.358897], abs=1e-6)


def test_the_gate_is_one_number_for_each_channel_and_never_enlarges() -> None:
    x = torch.rand(3, 2, 5, 4, generator=torch.Generator().manual_seed(0)) + 0.1
    with torch.inference_mode():
        gate = recalibration_of_the_reference()(x) / x
    assert gate.std(dim=(2, 3)).max() < 1e-6
    assert gate.min() > 0
    assert gate.max() < 1


def test_black_and_white_enter_as_minus_one_and_one() -> None:
    torch.manual_seed(0)
    model = cifake_cnn.build(style_attention=True).eval()
    pixels = torch.tensor([0, 255], dtype=torch.uint8).reshape(2, 1, 1, 1).expand(2, 32, 32, 3)
    levels = torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(pixels), model.judge(levels))


def test_a_picture_of_another_size_is_resized_as_the_card_would() -> None:
    torch.manual_seed(0)
    model = cifake_cnn.build().eval()
    large = np.random.default_rng(0).integers(0, 256, (70, 91, 3), dtype=np.uint8)
    small = np.asarray(PIL.Image.fromarray(large).resize((32, 32), PIL.Image.Resampling.BILINEAR))
    with torch.inference_mode():
        inside, before = (model(torch.from_numpy(p[None].copy())) for p in (large, small))
    assert inside.item() == pytest.approx(before.item(), abs=1e-3)  # Pillow rounds to whole levels


def test_a_flat_picture_can_be_trained_on() -> None:
    torch.manual_seed(0)
    model = cifake_cnn.build(style_attention=True)
    model(torch.full((4, 32, 32, 3), 7, dtype=torch.uint8)).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("style_attention", [False, True])
def test_the_graph_agrees_with_torch_at_every_size(style_attention: bool) -> None:
    torch.manual_seed(0)
    model = cifake_cnn.for_export(cifake_cnn.build(style_attention=style_attention))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)  # fresh logits hardly differ between pictures
    graph = to_onnx(model)
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 32, 32, 3), (3, 32, 32, 3), (2, 45, 71, 3)):
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels})
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
        assert len(expected) == 1 or expected.std() > 1e-3
