"""Spectra, block DCT and high-pass kernels against reference values and independent implementations."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import scipy.fft
import torch

from veridical.architectures import spectral
from veridical.models.graph import check_graph
from veridical.training.export import to_onnx


def small_network() -> spectral.Spectral:
    """64 pixels, with batch norms that have seen a batch."""
    torch.manual_seed(0)
    model = spectral.build(size=64)
    model(torch.randint(0, 256, (8, 64, 64, 3), dtype=torch.uint8))
    return model.eval()


def magnitude(x: torch.Tensor) -> torch.Tensor:
    real, imaginary = spectral.DFT(x.shape[-1])(x.reshape(1, 1, *x.shape))
    return torch.hypot(real, imaginary)[0, 0]


def upsampled() -> torch.Tensor:
    """A 4x4 counter at twice its size, nearest neighbours."""
    return torch.arange(16.0).reshape(4, 4).repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)


def planes() -> torch.Tensor:
    """A constant, a ramp down and a ramp across, as three channels."""
    ramp = torch.arange(9.0)
    return torch.stack([torch.full((9, 9), 50.0), ramp[:, None].expand(9, 9), ramp.expand(9, 9)])[None]


def test_it_has_160_055_parameters() -> None:
    assert sum(p.numel() for p in spectral.build().parameters()) == 160_055


def test_the_transform_is_numpys() -> None:
    x = torch.rand(16, 16, generator=torch.Generator().manual_seed(0))
    real, imaginary = spectral.DFT(16)(x[None, None])
    expected = np.fft.fft2(x.numpy())
    np.testing.assert_allclose(real[0, 0], expected.real, atol=1e-4)
    np.testing.assert_allclose(imaginary[0, 0], expected.imag, atol=1e-4)


def test_the_inverse_gives_the_picture_back() -> None:
    x = 255 * torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    dft = spectral.DFT(16)
    assert torch.allclose(dft.inverse(*dft(x)), x, atol=1e-3)


def test_a_checkerboard_has_two_bins_of_32() -> None:
    rows = torch.arange(8.0)
    spectrum = magnitude((rows[:, None] + rows) % 2)
    assert spectrum[0, 0].item() == pytest.approx(32, abs=1e-4)
    assert spectrum[4, 4].item() == pytest.approx(32, abs=1e-4)
    assert spectrum.sum().item() == pytest.approx(64, abs=1e-3)


def test_an_impulse_is_flat() -> None:
    impulse = torch.zeros(8, 8)
    impulse[0, 0] = 1
    assert torch.allclose(magnitude(impulse), torch.ones(8, 8), atol=1e-6)


def test_nearest_upsampling_leaves_nothing_at_the_nyquist_row_and_column() -> None:
    spectrum = magnitude(upsampled())
    expected = [480, 41.810015, 22.627417, 17.318275, 0, 17.318275, 22.627417, 41.810015]
    assert spectrum[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert spectrum[4].abs().max() < 1e-4
    assert spectrum[:, 4].abs().max() < 1e-4


def test_the_azimuthal_mean_of_the_reference_picture() -> None:
    power = magnitude(upsampled()).square()
    rings = spectral.AzimuthalMean(8)(power[None])[0].tolist()
    assert rings == pytest.approx([230400, 7429.3287, 1088, 509.8685, 0, 0], rel=1e-5, abs=1e-4)


def test_the_block_dct_is_scipys_and_orthonormal() -> None:
    x = torch.rand(1, 1, 8, 16, generator=torch.Generator().manual_seed(0))
    blocks = spectral.block_dct(x)
    for column in (0, 1):
        expected = scipy.fft.dctn(x[0, 0, :, 8 * column : 8 * column + 8].numpy(), norm="ortho")
        np.testing.assert_allclose(blocks[0, :, 0, column].reshape(8, 8), expected, atol=1e-5)
    assert blocks.square().sum().item() == pytest.approx(x.square().sum().item(), rel=1e-5)


def test_the_dct_of_a_ramp_has_the_reference_values() -> None:
    first_row = spectral.block_dct(torch.arange(8.0).expand(1, 1, 8, 8))[0, :8, 0, 0].tolist()
    expected = [28, -18.221641, 0, -1.904818, 0, -0.568239, 0, -0.143408]
    assert first_row == pytest.approx(expected, abs=1e-5)


def test_the_bands_part_all_64_coefficients_but_the_mean() -> None:
    energy = []
    for coefficient in range(64):
        blocks = torch.zeros(1, 64, 1, 1)
        blocks[0, coefficient] = 1
        energy.append(spectral.dct_statistics(blocks)[0, 128:131] > 0)
    inside = torch.stack(energy)
    assert inside.sum(dim=0).tolist() == [5, 22, 36]
    assert inside.sum(dim=1).tolist() == [0] + [1] * 63


def test_the_rich_models_kernels_have_the_reference_sums() -> None:
    kernels = spectral.residual_kernels()
    assert kernels.sum(dim=(1, 2)).abs().max() < 1e-6
    assert kernels[:3].abs().sum(dim=(1, 2)).tolist() == pytest.approx([4, 8, 2])
    assert kernels[:3].square().sum(dim=(1, 2)).tolist() == pytest.approx([2.25, 4.138889, 1.5])
    assert torch.equal(kernels[3], kernels[2].T)


def test_residuals_are_zero_on_planes() -> None:
    assert spectral.residuals(planes()).abs().max() < 1e-4


def test_the_laplacian_of_gaussian_gives_the_laplacian_of_a_paraboloid() -> None:
    place = torch.arange(9.0)
    paraboloid = (place[:, None] ** 2 + 3 * place**2)[None, None]
    of_gaussian = spectral.residuals(paraboloid)[0, 4]
    assert torch.allclose(of_gaussian, torch.full((5, 5), 8.0), atol=1e-3)


def test_the_phase_alone_does_not_know_how_strong_a_picture_is() -> None:
    model = small_network()
    x = 20 * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    weak, strong = (model.features(gain * x)[0][:, 15] for gain in (3.0, 6.0))
    assert torch.nn.functional.cosine_similarity(weak.flatten(), strong.flatten(), dim=0) > 0.999
    assert (strong.std() / weak.std()).item() == pytest.approx(1, abs=0.02)


def test_features_are_not_rounded_in_mixed_precision() -> None:
    model = small_network()
    seen: list[tuple[torch.Tensor, ...]] = []
    model.trunk.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    model(pixels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(pixels)
    plain, mixed = seen
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


@pytest.mark.parametrize("size", [16, 100])
def test_a_size_that_the_grid_does_not_divide_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        spectral.build(size=size)


def test_the_graph_agrees_with_torch_at_every_size() -> None:
    model = spectral.for_export(small_network())
    graph = to_onnx(model)
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 32, 32, 3), (2, 64, 64, 3), (3, 65, 71, 3), (1, 130, 33, 3)):
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for pixels in (noise, np.full(shape, 90, np.uint8), np.sort(noise, axis=2)):
            (logits,) = session.run(["logits"], {"pixels": pixels})
            with torch.inference_mode():
                expected = model(torch.from_numpy(pixels)).numpy()
            np.testing.assert_allclose(logits, expected, atol=1e-4, rtol=0)
