"""Runs any bundle in ONNX Runtime, on one thread, without PyTorch."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from veridical.detectors.base import Carded, require_size, score_frames, score_of_logits
from veridical.detectors.gates import SMALL_PICTURE
from veridical.errors import ModelError, VeridicalError
from veridical.media.image import Image, Pixels
from veridical.models.bundle import Bundle
from veridical.models.card import PixelInput
from veridical.models.session import start_session
from veridical.results import Box, Score

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class BundleDetector(Carded):
    """The detector in a bundle: views as its card says, one run for each, calibrated mean of their logits.

    Views are run one by one: batches gain nothing on a CPU, and a score could depend on its neighbours.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Raises `ModelError` (`malformed_bundle`) for a graph that ONNX Runtime cannot load."""
        self.card = bundle.card
        self.sha256 = bundle.sha256
        self._session = _start_session(bundle)

    def detect(self, medium: Image) -> Score:
        """See `Detector.detect`."""
        return score_frames(medium, self._score, self.card)

    def self_test(self) -> None:
        """Judge two made-up pictures; raises `ModelError` (`self_test_failed`) if that does not work."""
        sides = {self.minimum, max(self.minimum, self.card.input.size)}
        try:
            for side in sorted(sides):
                self._score(_made_up_picture(side))
        except VeridicalError as error:
            raise ModelError(
                f"Bundle '{self.name}' fails its self-test: {error.message}", code="self_test_failed"
            ) from error

    def _score(self, image: Pixels) -> Score:
        require_size(image, self.minimum)
        pixel_input = self.card.input
        return replace(
            score_of_logits([self._logit(view) for view in crop_views(image, pixel_input)], self.card),
            viewed=viewed(image, pixel_input),
            warnings=(SMALL_PICTURE.code,) if min(image.shape[:2]) < pixel_input.size else (),
        )

    def _logit(self, view: Pixels) -> float:
        pixels = {self._session.get_inputs()[0].name: view[None]}
        try:
            (logits,) = self._session.run(["logits"], pixels)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise ModelError(f"Bundle '{self.name}' fails on {view.shape} pixels: {error}") from error
        if logits.shape != (1,):
            raise ModelError(f"Bundle '{self.name}' gives logits of shape {logits.shape} for one picture.")
        return float(logits[0])


def crop_views(image: Pixels, pixel_input: PixelInput) -> list[Pixels]:
    """The pixels that the graph is shown of a picture, each uint8 (height, width, 3)."""
    if pixel_input.kind == "resize":
        return [_resize(image, pixel_input)]
    boxes = viewed(image, pixel_input)
    return [image[b.top : b.top + b.height, b.left : b.left + b.width] for b in boxes]


def viewed(image: Pixels, pixel_input: PixelInput) -> tuple[Box, ...]:
    """The parts of a picture that the graph is shown."""
    height, width = image.shape[:2]
    if pixel_input.kind == "resize":
        return (Box(0, 0, width, height),)
    return tuple(crop_boxes(height, width, pixel_input))


def crop_boxes(height: int, width: int, pixel_input: PixelInput) -> list[Box]:
    """The boxes of a picture's squares, each once, the one in the middle first.

    They start at multiples of `align`. Nothing is padded: a side shorter than `size` is taken whole, trimmed to
    a multiple of `align`. `crops` lie in the middle and at the corners. For `spread` the picture is divided
    into cells, of which `_grid` says how many, and there is one in the middle of each.

    >>> crop_boxes(101, 64, PixelInput(kind="crops", size=64, count=3))
    [Box(left=0, top=18, width=64, height=64), Box(left=0, top=0, width=64, height=64),
     Box(left=0, top=36, width=64, height=64)]
    >>> boxes = crop_boxes(768, 1024, PixelInput(kind="spread", size=224, count=9))
    >>> [(box.top, box.left) for box in boxes]
    [(272, 400), (80, 144), (80, 656), (464, 144), (464, 656)]
    """
    sides = (height, width)
    lengths = [min(pixel_input.size, side // pixel_input.align * pixel_input.align) for side in sides]
    if pixel_input.kind == "spread":
        grid = _grid(height, width, pixel_input.size)
        places = [[(2 * cell + 1) / (2 * cells) for cell in range(cells)] for cells in grid]
    else:
        places = [[0.0, 1.0], [0.0, 1.0]]

    def start(place: float, axis: int) -> int:
        """Of a square that lies as near to `place`, a share of the side, as the picture allows."""
        spare = sides[axis] - lengths[axis]
        return (
            min(max(int(place * sides[axis] - lengths[axis] / 2), 0), spare)
            // pixel_input.align
            * pixel_input.align
        )

    high, wide = lengths
    wanted = [(0.5, 0.5), *itertools.product(*places)]
    boxes = dict.fromkeys(Box(start(across, 1), start(down, 0), wide, high) for down, across in wanted)
    return list(boxes)[: pixel_input.count]


def _grid(height: int, width: int, size: int) -> tuple[int, int]:
    """Rows and columns of cells, at most nine in all: more for a larger side, and for a panorama.

    One cell for a side of less than 1.5 squares, two for one of less than nine, else three; the longer side has
    as many times more as it is longer, in whole numbers.

    >>> [_grid(*sides, 224) for sides in ((256, 256), (300, 400), (1024, 1024), (3000, 4000), (500, 2100))]
    [(1, 1), (1, 2), (2, 2), (3, 3), (2, 4)]
    """
    rows, columns = (1 + (side >= 1.5 * size) + (side >= 9 * size) for side in (height, width))
    if height > width:
        return min(max(rows, columns * (height // width)), 9 // columns), columns
    return rows, min(max(columns, rows * (width // height)), 9 // rows)


def _resize(image: Pixels, pixel_input: PixelInput) -> Pixels:
    import PIL.Image  # only bundles that resize need it; crops start faster without

    method = PIL.Image.Resampling[pixel_input.interpolation.upper()]
    return np.asarray(PIL.Image.fromarray(image).resize((pixel_input.size, pixel_input.size), method))


def _start_session(bundle: Bundle) -> InferenceSession:
    card = bundle.card
    session = start_session(
        bundle.graph, f"bundle '{card.name}'", int8_weights=card.precision == "int8_weights"
    )
    outputs = {output.name for output in session.get_outputs()}
    if card.has_map != ("map" in outputs):
        raise ModelError(f"Bundle '{card.name}': card and graph differ on whether it gives a map.")
    return session


def _made_up_picture(side: int) -> Pixels:
    """A smooth gradient under fixed noise: neither flat nor pure noise, the same every time."""
    ramp = np.linspace(0, 200, side)
    noise = np.random.default_rng(0).integers(0, 55, (side, side, 3))
    return (ramp[:, None, None] / 2 + ramp[None, :, None] / 2 + noise).astype(np.uint8)
