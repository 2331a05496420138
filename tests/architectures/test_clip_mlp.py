"""UFD-T: a perceptron on a frozen tower."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch

from veridical.architectures import clip_mlp
from veridical.models.graph import check_graph
from veridical.training.export import to_onnx


def test_its_head_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in clip_mlp.MLPHead().parameters()) == 295_681


def test_the_head_is_two_layers_with_a_relu_between() -> None:
    torch.manual_seed(0)
    head = clip_mlp.MLPHead(8)
    x = torch.randn(5, 8)
    hidden = (x @ head.fc1.weight.T + head.fc1.bias).clamp(min=0)
    expected = hidden @ head.fc2.weight[0] + head.fc2.bias
    torch.testing.assert_close(head(x), expected)


def test_the_head_is_as_wide_as_the_embedding() -> None:
    model = clip_mlp.build("clip-tiny", blocks=[1, 2, 3])
    assert sum(p.numel() for p in model.head.parameters()) == (3 * 32 + 1) * 384 + 385


def test_the_default_is_the_published_one() -> None:
    with torch.device("meta"):
        model = clip_mlp.build()
    assert model.backbone == "clip-vit-l14"
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 295_681


def test_the_graph_agrees_with_torch_at_every_size() -> None:
    torch.manual_seed(0)
    model = clip_mlp.for_export(clip_mlp.build("clip-tiny"))
    graph = to_onnx(model)
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 64, 64, 3), (2, 224, 224, 3), (3, 223, 500, 3)):
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels})
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
