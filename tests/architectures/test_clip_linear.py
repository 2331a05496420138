"""UFD: a linear layer on a frozen tower."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import onnxruntime
import pytest
import torch

from veridical.architectures import clip, clip_linear
from veridical.detectors.bundle import crop_views
from veridical.models.card import PixelInput
from veridical.models.graph import check_graph
from veridical.training.export import to_onnx
from veridical.training.quantisation import quantise_weights


def test_its_head_has_the_published_number_of_parameters() -> None:
    assert sum(p.numel() for p in clip_linear.LinearHead().parameters()) == 769


def test_its_head_starts_from_a_narrow_normal_distribution() -> None:
    torch.manual_seed(0)
    weight = clip_linear.LinearHead(100_000).fc.weight
    assert weight.mean().item() == pytest.approx(0, abs=3e-4)
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)


def test_the_head_is_as_wide_as_the_embedding() -> None:
    assert sum(p.numel() for p in clip_linear.build("clip-tiny").head.parameters()) == 16 + 1
    two_blocks = clip_linear.build("clip-tiny", blocks=[1, 3])
    assert sum(p.numel() for p in two_blocks.head.parameters()) == 2 * 32 + 1


def test_by_default_only_the_head_is_trained() -> None:
    model = clip_linear.build("clip-tiny")
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"head.fc.weight", "head.fc.bias"}


def test_a_whole_picture_gets_the_logit_of_the_view_that_the_bundle_takes() -> None:
    model = clip_linear.build("clip-tiny").eval()
    for height, width in ((301, 227), (97, 260), (64, 65)):
        picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        view = crop_views(picture, PixelInput(kind="crops", size=224))[0]
        trimmed = picture[: height // 2 * 2, : width // 2 * 2]
        with torch.inference_mode():
            of_view, of_picture = (model(torch.from_numpy(p[None].copy())) for p in (view, trimmed))
        assert torch.equal(of_view, of_picture)


def test_the_graph_agrees_with_torch_at_every_size() -> None:
    torch.manual_seed(0)
    model = clip_linear.for_export(clip_linear.build("clip-tiny", blocks=[1, 2]))
    graph = to_onnx(model)
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 32, 32, 3), (2, 224, 224, 3), (3, 225, 71, 3), (1, 301, 226, 3)):
        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels})
        with torch.inference_mode():
            expected = model(torch.from_numpy(pixels)).numpy()
        np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("family", ["clip", "dinov2", "siglip"])
@pytest.mark.parametrize(("blocks", "patches"), [([3], []), ([1], [2, 3]), ([1, 3], [1, 3]), ([2], [1])])
def test_an_export_gives_the_same_logits(
    family: clip.Family, blocks: list[int], patches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = dataclasses.replace(clip.SETTINGS["clip-tiny"], family=family)
    monkeypatch.setitem(clip.SETTINGS, "tiny", settings)
    torch.manual_seed(0)
    model = clip_linear.build("tiny", blocks, patches).eval()
    exported = clip_linear.for_export(model)
    pixels = torch.randint(0, 256, (2, 250, 230, 3), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(exported(pixels), model(pixels), atol=1e-5, rtol=0)


def test_an_export_needs_no_second_matrix_in_its_last_block() -> None:
    model = clip_linear.build("clip-tiny", [1], [3]).eval()
    saved = 32 * 128  # clip-tiny's width by its hidden layer
    before, after = (len(to_onnx(each)) for each in (model, clip_linear.for_export(model)))
    assert before - after == pytest.approx(4 * saved, rel=0.2)


def test_int8_weights_leave_a_logit_almost_where_it_was_and_depend_on_no_batch() -> None:
    torch.manual_seed(0)
    exported = clip_linear.for_export(clip_linear.build("clip-tiny", [1, 3], [2, 3]))
    graph = to_onnx(exported)
    before = logging.getLogger().handlers[:], logging.getLogger().level
    small = quantise_weights(graph)
    assert (logging.getLogger().handlers, logging.getLogger().level) == before
    check_graph(small)
    assert b"MatMulNBits" in small
    pixels = np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(small)
    (together,) = session.run(["logits"], {"pixels": pixels})
    alone = [session.run(["logits"], {"pixels": one[None]})[0][0] for one in pixels]
    np.testing.assert_allclose(together, alone, atol=1e-5, rtol=0)
    with torch.inference_mode():
        expected = exported(torch.from_numpy(pixels)).numpy()
    np.testing.assert_allclose(together, expected, atol=0.02, rtol=0)
