"""Colour spaces that a file states in numbers (CICP, nclx, gAMA and cHRM, JPEG XL's own) become sRGB.

Samples are made linear by the stated transfer, go through one matrix to the primaries of sRGB (the white
adapted by Bradford's method), and get sRGB's curve. What lies outside sRGB is clipped.

PQ and HLG (ITU-R BT.2100) are brought to SDR by one tone map. Light is measured in units of the reference
white of 203 cd/m2 (ITU-R BT.2408); HLG is shown on a display of 1,000 cd/m2 (system gamma 1.2). With `m` the
largest of a pixel's three channels and `peak` the level that one pixel in a thousand exceeds, but at least 1,
all three are multiplied by `(1 + m / peak**2) / (1 + m)`: Reinhard et al., "Photographic Tone Reproduction for
Digital Images", SIGGRAPH 2002, equation 4, applied to `m` as Chromium does. A picture that nowhere exceeds
reference white is left as it is, so that SDR content in an HDR file comes out as its SDR file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from veridical.media.formats._pixels import bands

Point = tuple[float, float]
Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_D65 = (0.3127, 0.3290)
_REFERENCE_WHITE = 203.0
_HLG_PEAK = 1000.0
_HLG_GAMMA = 1.2
_EXCEEDED_BY = 0.001  # the share of pixels that may lie above the peak: glints, and noise of the encoder
_STEPS = 65536

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

# ITU-T H.273, table 2: red, green, blue, white.
PRIMARIES: dict[int, tuple[Point, Point, Point, Point]] = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.310, 0.316)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
SRGB_PRIMARIES = PRIMARIES[1]

# H.273, table 3. The curves of video cameras (1, 6, 7, 14, 15, and 11, 12 within [0, 1]) are shown as sRGB by
# all browsers, since pictures so marked were made to be seen as sRGB; 2 is "not stated".
_SRGB_LIKE = {1, 2, 6, 7, 11, 12, 13, 14, 15}
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}


@dataclass(frozen=True)
class Space:
    """A colour space in numbers: the chromaticities of red, green, blue and white, and the transfer.

    `transfer` is `srgb`, `pq`, `hlg`, `dci`, or `gamma` with the exponent that makes samples linear.
    """

    primaries: tuple[Point, Point, Point, Point] = SRGB_PRIMARIES
    transfer: str = "srgb"
    gamma: float = 0.0
    is_full_range: bool = True

    @property
    def is_srgb(self) -> bool:
        """Whether the space is sRGB within the precision in which files state it."""
        return self.transfer == "srgb" and self.has_srgb_primaries and self.is_full_range

    @property
    def has_srgb_primaries(self) -> bool:
        """Whether the chromaticities are those of sRGB within the precision in which files state them."""
        return bool(np.abs(np.subtract(self.primaries, SRGB_PRIMARIES)).max() < 0.003)

    @property
    def is_hdr(self) -> bool:
        """Whether samples may mean light above the white of paper."""
        return self.transfer in ("pq", "hlg")

    def to_srgb(self, samples: NDArray[np.unsignedinteger], maximum: int) -> NDArray[np.uint8]:
        """Samples in [0, maximum], (h, w) or (h, w, 1 or 3), as (h, w, 3) sRGB."""
        if samples.ndim == 2:
            samples = samples[:, :, None]
        matrix = _matrix(self.primaries).astype(np.float32)
        table = self._linear_table(maximum)
        peak = self._peak(samples, table, maximum) if self.is_hdr else 1.0
        encode = _srgb_table()
        out = np.empty((*samples.shape[:2], 3), np.uint8)
        for rows in bands(len(samples)):
            light = self._display(table[np.minimum(samples[rows], maximum)])
            if self.is_hdr:
                brightest = light.max(axis=2, keepdims=True)
                light = light * ((1 + brightest / peak**2) / (1 + brightest)) if peak > 1 else light
            if light.shape[2] == 3:
                light = light @ matrix.T
            out[rows] = encode[np.rint(np.clip(light, 0, 1) * (_STEPS - 1)).astype(np.uint16)]
        return out

    def _linear_table(self, maximum: int) -> NDArray[np.float32]:
        level = np.arange(maximum + 1) / maximum
        if not self.is_full_range:
            level = np.clip((level * 255 - 16) / 219, 0, 1)
        curves: dict[str, Curve] = {"srgb": _from_srgb, "pq": _from_pq, "hlg": _from_hlg, "dci": _from_dci}
        light = level**self.gamma if self.transfer == "gamma" else curves[self.transfer](level)
        return light.astype(np.float32)

    def _display(self, light: NDArray[np.float32]) -> NDArray[np.float32]:
        """Light as displayed, 1 being reference white; of HLG the samples say what the camera saw."""
        if self.transfer != "hlg":
            return light
        luminance = _to_xyz(self.primaries)[1].astype(np.float32)
        seen = light @ luminance if light.shape[2] == 3 else light[:, :, 0]
        gain = np.maximum(seen, 1e-6) ** (_HLG_GAMMA - 1) * (_HLG_PEAK / _REFERENCE_WHITE)
        shown: NDArray[np.float32] = light * gain[:, :, None].astype(np.float32)
        return shown

    def _peak(self, samples: NDArray[np.unsignedinteger], table: NDArray[np.float32], maximum: int) -> float:
        step = max(1, int((samples.shape[0] * samples.shape[1] / 1_000_000) ** 0.5))
        few = self._display(table[np.minimum(samples[::step, ::step], maximum)]).max(axis=2).ravel()
        place = int((1 - _EXCEEDED_BY) * (few.size - 1))
        return max(1.0, float(np.partition(few, place)[place]))


def from_cicp(primaries: int, transfer: int, *, is_full_range: bool = True) -> Space | None:
    """The space of two numbers of ITU-T H.273, or `None` for one that is not known here.

    Not stated (2, and 0 in the wild) is read as sRGB's.
    """
    chosen = SRGB_PRIMARIES if primaries in (0, 2) else PRIMARIES.get(primaries)
    if chosen is None:
        return None
    if transfer == 0 or transfer in _SRGB_LIKE:
        return Space(chosen, is_full_range=is_full_range)
    if transfer in _GAMMAS:
        return Space(chosen, "gamma", _GAMMAS[transfer], is_full_range)
    name = {16: "pq", 17: "dci", 18: "hlg"}.get(transfer)
    return None if name is None else Space(chosen, name, is_full_range=is_full_range)


def is_believable(primaries: tuple[Point, Point, Point, Point]) -> bool:
    """Whether the chromaticities span colours at all: a matrix can be made of them and undone."""
    if any(not (-0.5 < x < 1.5 and 0 < abs(y) < 1.5) for x, y in primaries) or primaries[3][1] < 0.05:
        return False
    (x1, y1), (x2, y2), (x3, y3), _ = primaries
    area = abs((x2 - x1) * (y3 - y1) - (x3 - x1) * (y2 - y1))
    return area > 0.01


@cache
def _matrix(primaries: tuple[Point, Point, Point, Point]) -> NDArray[np.float64]:
    """Linear light of these primaries as linear light of sRGB's, white going to white."""
    white, target = _white(primaries[3]), _white(_D65)
    cones = np.diag((_BRADFORD @ target) / (_BRADFORD @ white))
    adapted = np.linalg.inv(_BRADFORD) @ cones @ _BRADFORD
    product: NDArray[np.float64] = np.linalg.inv(_to_xyz(SRGB_PRIMARIES)) @ adapted @ _to_xyz(primaries)
    return product


def _to_xyz(primaries: tuple[Point, Point, Point, Point]) -> NDArray[np.float64]:
    columns = np.stack([_white(point) for point in primaries[:3]], axis=1)
    scaled: NDArray[np.float64] = columns * np.linalg.solve(columns, _white(primaries[3]))
    return scaled


def _white(point: Point) -> NDArray[np.float64]:
    x, y = point
    return np.array([x / y, 1.0, (1 - x - y) / y])


@cache
def _srgb_table() -> NDArray[np.uint8]:
    light = np.arange(_STEPS) / (_STEPS - 1)
    level = np.where(light > 0.0031308, 1.055 * light ** (1 / 2.4) - 0.055, 12.92 * light)
    table: NDArray[np.uint8] = np.rint(level * 255).astype(np.uint8)
    return table


def _from_srgb(level: NDArray[np.float64]) -> NDArray[np.float64]:
    light: NDArray[np.float64] = np.where(level > 0.04045, ((level + 0.055) / 1.055) ** 2.4, level / 12.92)
    return light


def _from_dci(level: NDArray[np.float64]) -> NDArray[np.float64]:
    return 52.37 / 48 * level**2.6


def _from_pq(level: NDArray[np.float64]) -> NDArray[np.float64]:
    m1, m2 = 2610 / 16384, 2523 / 32
    c1, c2, c3 = 3424 / 4096, 2413 / 128, 2392 / 128
    power = level ** (1 / m2)
    return (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1) * (10000 / _REFERENCE_WHITE)


def _from_hlg(level: NDArray[np.float64]) -> NDArray[np.float64]:
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    light: NDArray[np.float64] = np.where(level <= 0.5, level**2 / 3, (np.exp((level - c) / a) + b) / 12)
    return light
