"""Gram matrices and co-occurrences: symmetry, sums, constants."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from veridical.architectures import texture
from veridical.models.graph import check_graph
from veridical.training.export import to_onnx


def small_network() -> texture.Texture:
    """Two scales, with batch norms that have seen a batch."""
    torch.manual_seed(0)
    model = texture.build(scales=(1, 2))
    model(torch.randint(0, 256, (8, 32, 32, 3), dtype=torch.uint8))
    return model.eval()


def levels(height: int = 12, width: int = 17) -> torch.Tensor:
    """Random whole levels that lie on the centres of the bins."""
    bins = torch.randint(0, 9, (2, 1, height, width), generator=torch.Generator().manual_seed(0))
    return bins * 32.0


def test_it_has_161_397_parameters() -> None:
    assert sum(p.numel() for p in texture.build().parameters()) == 161_397


def test_a_gram_matrix_is_symmetric_and_has_no_negative_eigenvalue() -> None:
    x = torch.randn(2, 5, 7, 9, generator=torch.Generator().manual_seed(0))
    matrix = texture.gram(x)
    assert torch.allclose(matrix, matrix.mT, atol=1e-6)
    assert torch.linalg.eigvalsh(matrix).min() > -1e-6
    expected = torch.einsum("bihw,bjhw->bij", x, x) / (7 * 9)
    assert torch.allclose(matrix, expected, atol=1e-5)


def test_a_gram_matrix_does_not_know_where_things_are_nor_how_many_times() -> None:
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    elsewhere = x.roll((2, 3), dims=(2, 3)).flip(2)
    assert torch.allclose(texture.gram(elsewhere), texture.gram(x), atol=1e-6)
    assert torch.allclose(texture.gram(x.repeat(1, 1, 2, 3)), texture.gram(x), atol=1e-6)


def test_shares_sum_to_one_and_keep_the_level() -> None:
    x = torch.linspace(-3.0, 20.0, 50)
    shares = texture.soft_bins(x, 0.0, 16.0)
    centres = torch.linspace(0.0, 16.0, texture.BINS)
    assert torch.allclose(shares.sum(dim=1), torch.ones(50))
    assert torch.allclose(shares @ centres, x.clamp(0.0, 16.0), atol=1e-5)
    assert shares.min() >= 0


def test_a_gradient_flows_through_the_bins() -> None:
    x = (255 * torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    rare = texture.co_occurrences(x, 0.0, 255.0)[0, :, 3, 4].sum()
    rare.backward()  # type: ignore[no-untyped-call] # torch's own
    assert x.grad is not None
    assert x.grad.abs().max() > 0


def test_co_occurrences_are_symmetric_and_sum_to_one() -> None:
    x = 255 * torch.rand(2, 1, 12, 17, generator=torch.Generator().manual_seed(0))
    pairs = texture.co_occurrences(x, 0.0, 255.0)
    assert torch.allclose(pairs, pairs.mT)
    assert torch.allclose(pairs.sum(dim=(2, 3)), torch.ones(2, 3))
    assert pairs.min() >= 0


def test_co_occurrences_of_whole_levels_are_counts() -> None:
    x = levels()
    bins = (x[0, 0] / 32).int().numpy()
    neighbours = ((slice(0, -1), slice(1, None)), (slice(1, None), slice(0, -1)), (slice(1, None),) * 2)
    for place, (rows, columns) in enumerate(neighbours):
        counted = np.zeros((9, 9))
        for one, other in zip(bins[:-1, :-1].flat, bins[rows, columns].flat, strict=True):
            counted[one, other] += 0.5
            counted[other, one] += 0.5
        found = texture.co_occurrences(x, 0.0, 256.0)[0, place]
        np.testing.assert_allclose(found, counted / counted.sum(), atol=1e-6)


def test_a_constant_is_one_pair() -> None:
    pairs = texture.co_occurrences(torch.full((1, 1, 8, 8), 96.0), 0.0, 256.0)
    assert pairs[0, :, 3, 3].tolist() == [1, 1, 1]


def test_the_second_difference_sees_only_what_varies_in_both_directions() -> None:
    place = torch.arange(6.0)
    one_way = (place**3)[:, None] + place.square()
    assert texture.second_difference(one_way[None, None]).abs().max() == 0
    both = place[:, None].square() * place.square()
    assert texture.second_difference(both[None, None]).flatten().tolist() == [1.0] * 16


def test_statistics_are_not_rounded_in_mixed_precision() -> None:
    model = small_network()
    pixels = torch.randint(0, 256, (2, 3, 32, 32)).float()
    gram_numbers = texture.CHANNELS * (texture.CHANNELS + 1) // 2  # of learned features, which may be rounded
    with torch.no_grad():
        plain = model.statistics(pixels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = model.statistics(pixels)
    assert mixed.dtype == torch.float32
    assert torch.equal(plain[:, gram_numbers:], mixed[:, gram_numbers:])


def test_a_flat_picture_can_be_trained_on() -> None:
    model = small_network().train()
    model(torch.full((4, 32, 32, 3), 7, dtype=torch.uint8)).sum().backward()
    gradients = [p.grad for p in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("scales", [(), (0, 1)])
def test_scales_that_are_not_positive_are_refused(scales: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="scales are positive"):
        texture.build(scales=scales)


def test_the_graph_agrees_with_torch_at_every_size() -> None:
    model = texture.for_export(small_network())
    graph = to_onnx(model)
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 32, 32, 3), (3, 65, 71, 3)):
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for pixels in (noise, np.full(shape, 90, np.uint8), np.sort(noise, axis=2)):
            (logits,) = session.run(["logits"], {"pixels": pixels})
            with torch.inference_mode():
                expected = model(torch.from_numpy(pixels)).numpy()
            np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
