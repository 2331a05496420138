"""Xception against the published counts, and its graph against torch."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from veridical.architectures import xception
from veridical.training.export import to_onnx


def small_network() -> xception.Xception:
    """A sixteenth of the width; its batch norms are not the identity and keep the signal alive."""
    torch.manual_seed(0)
    model = xception.build(width=1 / 16)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0, 0.05)
            module.running_var.uniform_(0.05, 0.5)
    return model.eval()


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_it_has_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        model = xception.build()
    assert count(model.features) == 20_806_952
    assert count(model.classifier) == 4_098


def test_features_are_a_thirty_second_of_the_picture() -> None:
    with torch.device("meta"):
        features = xception.build().features.eval()
        assert features(torch.zeros(1, 3, 256, 256)).shape == (1, 2048, 8, 8)
        assert features(torch.zeros(1, 3, 32, 32)).shape == (1, 2048, 1, 1)


def test_a_block_without_stride_adds_to_its_input() -> None:
    block = xception.SeparableBlock((4, 4, 4, 4), stride=1).eval()
    for parameter in block.body.parameters():
        nn.init.zeros_(parameter)
    x = torch.randn(1, 4, 5, 5)
    assert torch.equal(block(x), x)


def test_the_logit_is_that_of_the_softmax() -> None:
    model = small_network()
    pixels = torch.randint(0, 256, (2, 40, 51, 3), dtype=torch.uint8)
    with torch.inference_mode():
        features = torch.relu(model.features(xception.scale_pixels(pixels, torch.zeros(1))))
        softmax = model.classifier(features.mean(dim=(2, 3))).softmax(dim=1)
        assert torch.allclose(model(pixels).sigmoid(), softmax[:, 1], atol=1e-6)


def test_its_graph_gives_the_same_logits_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xception, "MIDDLE_BLOCKS", 1)  # the exporter's time grows with their number
    model = small_network()
    session = onnxruntime.InferenceSession(to_onnx(xception.for_export(model)))
    for shape in ((1, 32, 32, 3), (2, 71, 96, 3)):
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels.numpy()})
        with torch.inference_mode():
            assert np.abs(logits - model(pixels).numpy()).max() < 1e-4
