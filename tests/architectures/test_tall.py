"""TALL: the layout of frames, and Swin against published counts and plain attention."""

import numpy as np
import onnxruntime
import pytest
import torch

from veridical.architectures import tall
from veridical.training.export import to_onnx


def small_network() -> tall.TALL:
    """Two stages on 8 x 8 and 4 x 4 places: the first is shifted in its second block."""
    torch.manual_seed(0)
    return tall.build(size=32, width=8, depths=(2, 1), heads=(2, 4), windows=(4, 4)).eval()


def count(model: tall.TALL) -> int:
    """Parameters of the Swin alone, without what TALL adds."""
    added = (*model.head.parameters(), model.position, model.frame)
    return sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in added)


def test_four_frames_become_one_picture() -> None:
    clip = torch.randint(0, 256, (1, 4, 224, 224, 3), dtype=torch.uint8)
    picture = tall.layout(clip)
    assert picture.shape == (1, 448, 448, 3)
    assert torch.equal(picture[0, :224, 224:], clip[0, 1])
    assert torch.equal(picture[0, 224:, :224], clip[0, 2])


@pytest.mark.parametrize(("frames", "clips"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_a_video_is_filled_up_to_whole_clips(frames: int, clips: int) -> None:
    assert tall.split_clips(torch.ones(frames, 2, 2, 3, dtype=torch.uint8)).shape == (clips, 4, 2, 2, 3)


def test_it_is_swin_b() -> None:
    with torch.device("meta"):
        published = tall.build(windows=(7, 7, 7, 7))
        ours = tall.build()
    assert count(published) == 86_743_224  # Swin-B without its classifier
    wider_tables = (27**2 - 13**2) * (2 * 4 + 2 * 8 + 18 * 16)
    assert count(ours) == 86_743_224 + wider_tables


def test_windows_come_apart_and_together_again() -> None:
    x = torch.randn(2, 8, 8, 3)
    windows = tall._windows(x, 4)
    assert torch.equal(windows[0, 1].reshape(4, 4, 3), x[0, :4, 4:])
    assert torch.equal(tall._from_windows(windows, 8, 4), x)


def test_one_window_without_bias_is_plain_attention() -> None:
    torch.manual_seed(0)
    layer = tall.WindowAttention(8, heads=2, side=4, window=4, shift=0)
    x = torch.randn(3, 4, 4, 8)
    plain = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    plain.load_state_dict(
        {
            "in_proj_weight": layer.query_key_value.weight,
            "in_proj_bias": layer.query_key_value.bias,
            "out_proj.weight": layer.out.weight,
            "out_proj.bias": layer.out.bias,
        }
    )
    tokens = x.flatten(1, 2)
    expected = plain(tokens, tokens, tokens, need_weights=False)[0].reshape(x.shape)
    assert torch.allclose(layer(x), expected, atol=1e-6)


@pytest.mark.parametrize("changed", [(0, 0), (3, 7), (7, 4)])
def test_a_shifted_window_never_joins_opposite_borders(changed: tuple[int, int]) -> None:
    layer = tall.WindowAttention(8, heads=2, side=8, window=4, shift=2)
    x = torch.randn(1, 8, 8, 8)
    other = x.clone()
    other[0, *changed] += 1.0
    with torch.inference_mode():
        moved = (layer(other) - layer(x)).abs().amax(dim=-1)[0] > 1e-6
    rows, columns = torch.where(moved)
    for places, place in ((rows, changed[0]), (columns, changed[1])):
        first = (place - 2) // 4 * 4 + 2
        assert {int(p) for p in places} == set(range(max(0, first), min(8, first + 4)))


def test_which_frame_a_patch_is_of_matters() -> None:
    model = small_network()
    torch.nn.init.zeros_(model.position)
    torch.nn.init.normal_(model.frame)
    black = torch.zeros(1, 4, 16, 16, 3, dtype=torch.uint8)
    white_first, white_last = black.clone(), black.clone()
    white_first[:, 0], white_last[:, 3] = 255, 255
    with torch.inference_mode():
        difference = model(tall.layout(white_first)) - model(tall.layout(white_last))
    assert difference.abs().item() > 1e-6


def test_its_graph_gives_the_same_logits_at_every_size() -> None:
    model = small_network()
    session = onnxruntime.InferenceSession(to_onnx(tall.for_export(model)))
    for shape in ((1, 64, 64, 3), (3, 32, 90, 3)):
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels.numpy()})
        with torch.inference_mode():
            assert np.abs(logits - model(pixels).numpy()).max() < 1e-4
