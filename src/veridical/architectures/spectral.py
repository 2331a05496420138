"""Spectra, block-DCT statistics, the phase alone and high-pass residuals, and a small network on them.

Four families of features from the literature in one detector:

* log-magnitude spectrum and its azimuthal mean: Ricard Durall, Margret Keuper, Janis Keuper: Watch your
  Up-Convolution: CNN Based Generative Deep Neural Networks are Failing to Reproduce Spectral Distributions,
  CVPR 2020, https://arxiv.org/abs/2003.01826.
* DCT statistics by frequency band: Yuyang Qian, Guojun Yin, Lu Sheng, Zixuan Chen, Jing Shao: Thinking in
  Frequency: Face Forgery Detection by Mining Frequency-aware Clues, ECCV 2020,
  https://arxiv.org/abs/2007.09355 (F3-Net).
* the picture rebuilt from its phase alone: Honggu Liu, Xiaodan Li, Wenbo Zhou, Yuefeng Chen, Yuan He, Hui Xue,
  Weiming Zhang, Nenghai Yu: Spatial-Phase Shallow Learning: Rethinking Face Forgery Detection in Frequency
  Domain, CVPR 2021, https://arxiv.org/abs/2103.01856 (SPSL).
* truncated high-pass residuals: Jessica Fridrich, Jan Kodovsky: Rich Models for Steganalysis of Digital Images,
  IEEE TIFS 2012, https://doi.org/10.1109/TIFS.2012.2190402; and a Laplacian of Gaussian beside them.

Written from the published definitions. We differ from all of them: none is reproduced as a whole. F3-Net learns
its bands and takes the DCT of the whole picture; here bands are fixed diagonals of 8x8 blocks, JPEG's own, and
statistics are taken of them. SPSL divides by the magnitude; here by the magnitude plus one grey level, because
the phase of a bin that holds only rounding noise is noise. The rich model rounds its residuals and counts
co-occurrences; here they are truncated, not rounded, and a convolution looks at them.

The Fourier transform is made of matrix products, because standard ONNX has none of this kind, so the picture
has a fixed size: the centre is cropped, a short side is repeated.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from veridical.architectures._pixels import luma
from veridical.architectures._trunk import Trunk
from veridical.architectures.clip import centre_view
from veridical.architectures.precision import full_precision

BLOCK = 8

# The first diagonal of each band of an 8x8 DCT block, and the end: 6 low coefficients, 22 mid, 36 high.
BANDS = (0, 3, 7, 15)

# Residuals are truncated at +-4 grey levels: the rich model's T = 2 at its coarsest quantisation, q = 2.
TRUNCATION = 4.0

_GRID = 16
_PHASE_FLOOR = 1.0
_LEAST_VARIANCE = 1e-3


class DFT(nn.Module):
    """The discrete Fourier transform of `size` x `size` pictures, not normalised, the mean at (0, 0)."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        steps = torch.arange(size)
        angle = (torch.outer(steps, steps) % size).double() * (2.0 * math.pi / size)
        self.register_buffer("cosine", angle.cos().float(), persistent=False)
        self.register_buffer("sine", angle.sin().float(), persistent=False)

    def forward(self, x: Float[Tensor, "b c n n"]) -> tuple[Float[Tensor, "b c n n"], Float[Tensor, "b c n n"]]:
        """Real and imaginary part."""
        even, odd = x @ self.cosine, x @ self.sine
        return self.cosine @ even - self.sine @ odd, -(self.sine @ even + self.cosine @ odd)

    def inverse(
        self, real: Float[Tensor, "b c n n"], imaginary: Float[Tensor, "b c n n"]
    ) -> Float[Tensor, "b c n n"]:
        """The real part of the picture that has this spectrum."""
        even = real @ self.cosine - imaginary @ self.sine
        odd = real @ self.sine + imaginary @ self.cosine
        return (self.cosine @ even - self.sine @ odd) / self.cosine.shape[0] ** 2


class AzimuthalMean(nn.Module):
    """Means over rings of a spectrum whose mean is at (0, 0); the ring of a bin is its radius, rounded down."""

    ring: Tensor
    bins: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        frequency = (torch.arange(size) + size // 2) % size - size // 2
        radius = torch.hypot(frequency[:, None].double(), frequency[None].double()).floor().long().flatten()
        self.register_buffer("ring", radius, persistent=False)
        self.register_buffer("bins", radius.bincount().float(), persistent=False)

    def forward(self, x: Float[Tensor, "b n n"]) -> Float[Tensor, "b rings"]:
        """One number for each integer radius from 0 to that of the corner."""
        zeros = x.new_zeros(x.shape[0], self.bins.shape[0])
        return zeros.scatter_add(1, self.ring.expand(x.shape[0], -1), x.flatten(1)) / self.bins


def block_dct(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 64 h8 w8"]:
    """The orthonormal 8x8 DCT of each block; channel 8 u + v has vertical frequency u, horizontal v.

    Rows and columns that do not fill a block are dropped.

    >>> ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    >>> [round(v, 4) + 0.0 for v in block_dct(ramp)[0, :8, 0, 0].tolist()]
    [28.0, -18.2216, 0.0, -1.9048, 0.0, -0.5682, 0.0, -0.1434]
    """
    return F.conv2d(x, _dct_kernels().to(x), stride=BLOCK)


def dct_statistics(blocks: Float[Tensor, "b 64 h w"]) -> Float[Tensor, "b 134"]:
    """Over all blocks: log mean size and log mean square of each coefficient, and mean and standard deviation
    of the log energy of the low, the mid and the high band. The lowest coefficient is not in its band.
    """
    sizes = torch.log1p(blocks.abs().mean(dim=(2, 3)))
    squares = torch.log1p(blocks.square().mean(dim=(2, 3)))
    diagonal = torch.arange(BLOCK)[:, None] + torch.arange(BLOCK)
    energy = []
    for start, end in zip(BANDS[:-1], BANDS[1:], strict=True):
        inside = (diagonal >= max(start, 1)) & (diagonal < end)
        channels = inside.flatten().nonzero().flatten().to(blocks.device)
        energy.append(torch.log1p(blocks.index_select(1, channels).square().sum(dim=1)))
    bands = torch.stack(energy, dim=1)
    mean = bands.mean(dim=(2, 3))
    variance = (bands - mean[..., None, None]).square().mean(dim=(2, 3))
    deviation = (variance + _LEAST_VARIANCE).sqrt()  # the root of a rounding error is a large error
    return torch.cat([sizes, squares, mean, deviation], dim=1)


def residual_kernels() -> Float[Tensor, "5 5 5"]:
    """High-pass kernels: KB, KV, linear across, linear down, Laplacian of Gaussian.

    The first four are the rich model's, divided by their largest weight. The last has sigma 1, sums to zero and
    gives the Laplacian of a paraboloid. All give 0 on planes.
    """
    kb = F.pad(torch.tensor([[-1.0, 2, -1], [2, -4, 2], [-1, 2, -1]]), (1, 1, 1, 1)) / 4
    rows = [[-1.0, 2, -2, 2, -1], [2, -6, 8, -6, 2], [-2, 8, -12, 8, -2]]
    kv = torch.tensor([*rows, rows[1], rows[0]]) / 12
    linear = torch.zeros(5, 5)
    linear[2, 1:4] = torch.tensor([1.0, -2, 1]) / 2
    return torch.stack([kb, kv, linear, linear.T, _laplacian_of_gaussian()])


def residuals(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c5 h4 w4"]:
    """The five high-pass residuals of each channel, channel by channel, where the kernels fit."""
    channels = x.shape[1]
    kernels = residual_kernels().to(x)[:, None].repeat(channels, 1, 1, 1)
    return F.conv2d(x, kernels, groups=channels)


class Spectral(nn.Module):
    """All features of the centre `size` pixels and a trunk on them; 160,055 parameters for 256 pixels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.dft = DFT(size)
        self.azimuthal_mean = AzimuthalMean(size)
        rings = self.azimuthal_mean.bins.shape[0]
        self.trunk = Trunk(channels=16, numbers=rings - 1 + 2 * _GRID**2 + 134)

    def forward(self, pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
        """Logits; above 0 is towards fake."""
        x = centre_view(pixels, self.size).permute(0, 3, 1, 2).to(self.trunk.head.weight.dtype)
        with full_precision(x):
            maps, numbers = self.features(x)
        logits: Tensor = self.trunk(maps, numbers)
        return logits

    def features(
        self, x: Float[Tensor, "b 3 n n"]
    ) -> tuple[Float[Tensor, "b 16 n2 n2"], Float[Tensor, "b numbers"]]:
        """Residuals of the three colours and the phase-only view, and the numbers; `x` in [0, 255]."""
        grey = luma(x)
        # A large mean would cost all other bins digits. Row by row: a plain sum of all pixels loses some.
        mean = grey.mean(dim=3, keepdim=True).mean(dim=2, keepdim=True)
        real, imaginary = self.dft(grey - mean)
        real, imaginary = real / self.size, imaginary / self.size  # white noise keeps its deviation
        power = real.square() + imaginary.square()
        magnitude = power.sqrt()
        floored = magnitude + _PHASE_FLOOR
        phase = self.size * self.dft.inverse(real / floored, imaginary / floored)
        high_pass = residuals(x).clamp(-TRUNCATION, TRUNCATION)
        maps = torch.cat([high_pass, phase[..., 2:-2, 2:-2]], dim=1)
        cell = self.size // _GRID
        log_magnitude = torch.log1p(magnitude)
        numbers = [
            torch.log1p(self.azimuthal_mean(power.squeeze(1)))[:, 1:],  # the mean's ring holds rounding errors
            F.avg_pool2d(log_magnitude, cell).flatten(1),
            F.max_pool2d(log_magnitude, cell).flatten(1),  # the peaks that a mean would hide
            dct_statistics(block_dct(grey)),
        ]
        return maps, torch.cat(numbers, dim=1)


def build(size: int = 256) -> Spectral:
    """A fresh network for crops of `size` pixels, a multiple of 16; raises `ValueError` for another."""
    if size < 2 * _GRID or size % _GRID:
        raise ValueError(f"size is a multiple of {_GRID} from {2 * _GRID} on, not {size}.")
    return Spectral(size)


def for_export(model: nn.Module) -> nn.Module:
    """The network itself; there is nothing to fold."""
    return model.eval()


def _dct_kernels() -> Float[Tensor, "64 1 8 8"]:
    steps = torch.arange(BLOCK, dtype=torch.float64)
    basis = torch.cos(torch.outer(steps, 2 * steps + 1) * (math.pi / (2 * BLOCK))) * math.sqrt(2 / BLOCK)
    basis[0] *= math.sqrt(0.5)
    return torch.einsum("ui,vj->uvij", basis, basis).reshape(-1, 1, BLOCK, BLOCK)


def _laplacian_of_gaussian() -> Float[Tensor, "5 5"]:
    place = torch.arange(-2.0, 3.0)
    squared = place[:, None] ** 2 + place**2
    kernel = (squared - 2) * torch.exp(-squared / 2)
    kernel -= kernel.mean()
    return kernel * 4 / (kernel * squared).sum()
