"""Power iteration against the exact decomposition."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from veridical.architectures import svd
from veridical.models.graph import check_graph
from veridical.training.export import to_onnx


def photo_like_blocks(seed: int) -> torch.Tensor:
    """Light that falls off across the block, with a little noise on it."""
    generator = torch.Generator().manual_seed(seed)
    down, across = (1 + torch.rand(20, 16, generator=generator).sort(dim=1).values for _ in range(2))
    noise = torch.randn(20, 16, 16, generator=generator)
    return 50 * down[..., None] * across[:, None] + noise


def norm(x: torch.Tensor) -> torch.Tensor:
    return x.square().sum(dim=(-2, -1)).sqrt()


def small_network() -> svd.SVD:
    """Ranks 1 and 2 of 8 x 8 blocks, with batch norms that have seen a batch."""
    torch.manual_seed(0)
    model = svd.build(block=8, ranks=(1, 2))
    model(torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8))
    return model.eval()


def test_it_has_79_657_parameters() -> None:
    assert sum(p.numel() for p in svd.build().parameters()) == 79_657


def test_the_reference_matrix() -> None:
    x = torch.tensor([[3.0, 0.0], [4.0, 5.0]])
    residual, values = svd.rank_residual(x, rank=1)
    assert values.tolist() == pytest.approx([6.708204], abs=1e-5)
    assert norm(residual).item() == pytest.approx(2.236068, abs=1e-5)
    nothing, values = svd.rank_residual(x, rank=2)
    assert values.tolist() == pytest.approx([6.708204, 2.236068], abs=1e-5)
    assert norm(nothing).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_matrix_of_that_rank_leaves_nothing(rank: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, 16, rank, generator=generator) @ torch.randn(5, rank, 12, generator=generator)
    residual, _ = svd.rank_residual(x, rank=rank, iterations=100)
    assert residual.abs().max() < 1e-4


def test_a_flat_block_and_an_empty_one_leave_nothing() -> None:
    x = torch.stack([torch.full((16, 16), 37.0), torch.zeros(16, 16)])
    residual, values = svd.rank_residual(x, rank=2)
    assert residual.abs().max() < 1e-3
    assert values[0, 0].item() == pytest.approx(16 * 37, rel=1e-6)
    assert values[1].tolist() == [0, 0]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), rank=st.integers(1, 4))
def test_too_much_is_left_and_never_too_little(seed: int, rank: int) -> None:
    x = torch.randn(20, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    exact = torch.linalg.svdvals(x)[:, rank:].square().sum(dim=1).sqrt()
    excess = norm(svd.rank_residual(x, rank=rank)[0]) / exact - 1
    assert excess.min() > -1e-9
    assert excess.mean() < 0.02


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999))
def test_the_rank_one_residual_is_exact_where_one_part_stands_out(seed: int) -> None:
    x = photo_like_blocks(seed).double()
    exact = torch.linalg.svdvals(x)
    residual, values = svd.rank_residual(x)
    assert torch.allclose(values[:, 0], exact[:, 0], rtol=1e-6)
    assert torch.allclose(norm(residual), exact[:, 1:].square().sum(dim=1).sqrt(), rtol=1e-6)


def test_cut_and_joined_again_a_picture_is_the_same_without_what_fills_no_block() -> None:
    x = torch.rand(2, 3, 19, 33, generator=torch.Generator().manual_seed(0))
    assert torch.equal(svd.joined(svd.blocks(x, 8)), x[:, :, :16, :32])


def test_one_column_times_one_row_leaves_no_trace_in_the_maps() -> None:
    ramp = torch.linspace(1, 10, 32)
    x = (ramp[:, None] * ramp).expand(1, 3, 32, 32)
    maps, _ = svd.build(ranks=(1,)).features(x)
    assert maps.shape == (1, 3, 32, 32)
    assert maps.abs().max() < 1e-4


def test_features_are_not_rounded_in_mixed_precision() -> None:
    model = small_network()
    seen: list[tuple[torch.Tensor, ...]] = []
    model.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    pixels = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    model(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(pixels)
    plain, mixed = seen
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


@pytest.mark.parametrize("ranks", [(), (0, 1), (2, 1), (1, 1), (8,)])
def test_ranks_that_do_not_rise_within_a_block_are_refused(ranks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ranks rise"):
        svd.build(block=8, ranks=ranks)


def test_the_graph_agrees_with_torch_at_every_size() -> None:
    model = svd.for_export(small_network())
    graph = to_onnx(model)
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 32, 32, 3), (3, 65, 71, 3)):
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for pixels in (noise, np.zeros(shape, np.uint8), np.full(shape, 90, np.uint8), np.sort(noise, axis=2)):
            (logits,) = session.run(["logits"], {"pixels": pixels})
            with torch.inference_mode():
                expected = model(torch.from_numpy(pixels)).numpy()
            np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
