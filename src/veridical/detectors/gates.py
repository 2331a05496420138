"""Gates: which pictures are outside what detectors were measured on, told from their pixels alone.

Each gate is one statistic that can be said in words, with a threshold chosen on the splits train and val of the
shared set and on pictures made for it; `python benchmarks/gates.py DATA` prints hits, false alarms and how the
default detector errs behind each. A gate that does not predict errors is a warning. One that does, or behind
which nothing could be measured, withholds the verdict (see `veridical.verdict`).

Statistics are exact sums of integers over at most 256 tiles of 32 x 32 pixels at native resolution, spread over
the picture and starting at multiples of 32, so that they cost the same for every size and JPEG's grid keeps its
phase. They were measured on pictures of at least `LEAST_SIDE` pixels a side; below it no gate looks.

Not here, since it failed: telling drawings, paintings and renderings from photographs (`LOG.md`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from veridical.media.image import Pixels
from veridical.results import Verdict

# Pixels a side; the default detector's minimum.
LEAST_SIDE = 64

_TILE = 32
_MOST_TILES = 256
_BLOCK = 8
_FRAME = 16

Luma = NDArray[np.int32]


@dataclass(frozen=True)
class Gate:
    """A kind of picture, by its `code`, and the verdicts that are not given of it."""

    code: str
    withholds: tuple[Verdict, ...]


_BOTH = (Verdict.AI, Verdict.REAL)

# It is repeated until it is large enough, and the seams pass for traces: reals are called AI, fakes not more
# often real.
SMALL_PICTURE = Gate("small_picture", (Verdict.AI,))
FLAT_PICTURE = Gate("flat_picture", _BOTH)
SCREENSHOT_OR_TEXT = Gate("screenshot_or_text", _BOTH)
# Behind it the traces of generators are gone and fakes pass for real, but reals are not called AI more often.
HEAVY_COMPRESSION = Gate("heavy_compression", (Verdict.REAL,))
# Page screenshots and framed pictures: the plain part looks real, and AI pictures with it (36 % of the test's).
PLAIN_FRAME = Gate("plain_frame", (Verdict.REAL,))

GATES = {
    gate.code: gate
    for gate in (SMALL_PICTURE, FLAT_PICTURE, SCREENSHOT_OR_TEXT, HEAVY_COMPRESSION, PLAIN_FRAME)
}


@dataclass(frozen=True)
class PixelStatistics:
    """The numbers gates look at: shares of 8 x 8 blocks, ranges and steps in grey levels of luma (0 to 255).

    `still`: share of blocks with a range of at most 6. `half_tones`: share of those with one above 6 and below
    48. `contrasty`: of the picture at half size, share of blocks with a range of at least 48; `two_tone`: of
    those, the share in which 70 % of the pixels are within 15 % of the range from the darkest or the lightest.
    `block_edges`: by how much steps across the border of JPEG's blocks, wherever its grid lies, exceed their
    neighbours more than elsewhere; the smaller of across and down.
    """

    still: float
    half_tones: float
    contrasty: float
    two_tone: float
    block_edges: float


def look(pixels: Pixels) -> tuple[str, ...]:
    """The codes of the gates that fire on a picture, uint8 (height, width, 3)."""
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return ()
    found = measure(pixels)
    fired = {
        FLAT_PICTURE.code: found.still >= 0.9,
        # Letters and charts are two tones with nothing between; a photograph has half-tones around its edges.
        SCREENSHOT_OR_TEXT.code: found.half_tones <= 0.2 and found.contrasty >= 0.02 and found.two_tone >= 0.5,
        HEAVY_COMPRESSION.code: found.block_edges >= 1.2,
        PLAIN_FRAME.code: plain_sides(pixels) >= 3,
    }
    return tuple(code for code, fires in fired.items() if fires)


def look_at_frames(frames: Sequence[Pixels]) -> tuple[str, ...]:
    """The codes of the gates that fire on more than half of the frames; of a still, on it."""
    fired = [code for frame in frames for code in look(frame)]
    return tuple(code for code in GATES if 2 * fired.count(code) > len(frames))


def measure(pixels: Pixels) -> PixelStatistics:
    """The statistics of a picture, uint8 (height, width, 3), of at least 32 pixels a side."""
    luma = _luma(_tiles(pixels))
    ranges = np.ptp(_blocks(luma), axis=1)
    halved = _blocks(_halved(luma))
    contrasty = np.ptp(halved, axis=1) >= 4 * 48
    return PixelStatistics(
        still=float(np.mean(ranges <= 6)),
        half_tones=float(np.mean((ranges > 6) & (ranges < 48))),
        contrasty=float(np.mean(contrasty)),
        two_tone=_two_tone(halved[contrasty]),
        block_edges=min(_block_edges(luma), _block_edges(luma.transpose(0, 2, 1))),
    )


def plain_sides(pixels: Pixels) -> int:
    """The number of sides whose outermost 16 pixels are of one colour, give or take three levels."""
    strips = (pixels[:_FRAME], pixels[-_FRAME:], pixels[:, :_FRAME], pixels[:, -_FRAME:])
    return sum(_is_plain(strip.reshape(-1, 3).astype(np.int16)) for strip in strips)


def _is_plain(strip: NDArray[np.int16]) -> bool:
    off = np.abs(strip - np.median(strip, axis=0)).max(axis=1)
    return bool((off <= 3).mean() >= 0.99)


def _tiles(pixels: Pixels) -> Pixels:
    """(n, 32, 32, 3), rows and columns of tiles thinned out evenly to at most 256."""
    rows, columns = (side // _TILE for side in pixels.shape[:2])
    step = max(1.0, (rows * columns / _MOST_TILES) ** 0.5)
    tops, lefts = (
        [int(place * step) * _TILE for place in range(max(1, int(count / step)))] for count in (rows, columns)
    )
    return np.stack([pixels[top : top + _TILE, left : left + _TILE] for top in tops for left in lefts])


def _luma(tiles: Pixels) -> Luma:
    """ITU-R BT.601, in whole grey levels: sums of integers are the same on every processor."""
    red, green, blue = (tiles[..., channel].astype(np.int32) for channel in range(3))
    return (77 * red + 150 * green + 29 * blue + 128) >> 8


def _blocks(luma: Luma) -> Luma:
    """(n, height, width) as (blocks, 64)."""
    count, height, width = luma.shape
    cut = luma.reshape(count, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return cut.transpose(0, 1, 3, 2, 4).reshape(-1, _BLOCK * _BLOCK)


def _halved(luma: Luma) -> Luma:
    """Sums of 2 x 2 pixels: four times the grey levels."""
    return luma[:, ::2, ::2] + luma[:, 1::2, ::2] + luma[:, ::2, 1::2] + luma[:, 1::2, 1::2]


def _two_tone(blocks: Luma) -> float:
    if not len(blocks):
        return 0.0
    low, high = blocks.min(axis=1, keepdims=True), blocks.max(axis=1, keepdims=True)
    near = 20 * np.minimum(blocks - low, high - blocks) <= 3 * (high - low)
    return float(np.mean(near.mean(axis=1) >= 0.7))


def _block_edges(luma: Luma) -> float:
    steps = np.abs(np.diff(luma, axis=2))
    # Twice the excess over the two neighbours; clipped, so that the picture's own edges do not decide.
    excess = np.clip(2 * steps[:, :, 1:-1] - steps[:, :, :-2] - steps[:, :, 2:], -16, 16).sum(axis=(0, 1)) / 2
    per_row = luma.shape[0] * luma.shape[1]
    phases = np.array([excess[phase::_BLOCK].mean() / per_row for phase in range(_BLOCK)])
    strongest = int(phases.argmax())
    return float(phases[strongest] - np.median(np.delete(phases, strongest)))
