"""Captions of what a picture shows: four beginnings of sentences, each of which the model ends in turn.

The model reads the picture and what it has said so far. BLIP-2: Junnan Li, Dongxu Li, Silvio Savarese,
Steven Hoi: BLIP-2: Bootstrapping Language-Image Pre-training with Frozen Image Encoders and Large Language
Models, ICML 2023, https://arxiv.org/abs/2301.12597.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from veridical.models.pretrained import (
    TRANSFORMERS_FILES,
    load_pretrained,
    number_format,
    require_device,
    require_extra,
)
from veridical.models.snapshots import find_snapshot, is_path, parse_repository

DEFAULT = "Salesforce/blip2-opt-6.7b-coco"
LICENCE = "mit"

# The first is left out of the caption, which begins with what is shown.
BEGINNINGS = ("An image of", "The setting is", "The background is", "The image type/style is")
NEW_TOKENS = 20


class Captioner:
    """A model that goes on with a text about a picture, such as BLIP-2; loaded when it is first asked.

    `name` is OWNER/NAME of a hub, with @REVISION if need be, or a folder written by `save_pretrained`.
    """

    def __init__(self, name: str = DEFAULT, device: str = "cpu") -> None:
        """Raises `UnknownModelError` for a name that is none, `MissingExtraError`, `UsageError`."""
        if not is_path(name):
            parse_repository(name)
        require_extra("captions")
        require_device(device)
        self.name = name
        self._device = device

    def caption(self, pixels: npt.NDArray[np.uint8]) -> str:
        """A caption of the picture, uint8 (h, w, 3): up to four sentences. Always the same for a picture.

        Raises `ModelError` when the model cannot be loaded.
        """
        said = ""
        for beginning in BEGINNINGS:
            said = said_with(said, beginning, self._go_on(pixels, f"{said} {beginning}".lstrip()))
        return said.removeprefix(BEGINNINGS[0]).strip()

    def _go_on(self, pixels: npt.NDArray[np.uint8], text: str) -> str:
        import torch

        model, processor = self._loaded
        inputs = processor(images=np.ascontiguousarray(pixels), text=text, return_tensors="pt")
        inputs = inputs.to(self._device, model.dtype)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)[0]
        # The text so far comes back in front of the new tokens.
        new = tokens[inputs["input_ids"].shape[1] :]
        return str(processor.decode(new, skip_special_tokens=True))

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:  # Any: one class for each architecture
        # The back end "pil", because the other one needs torchvision.
        model, processor = load_pretrained(
            find_snapshot(self.name, TRANSFORMERS_FILES),
            "AutoModelForImageTextToText",
            "AutoProcessor",
            dtype=number_format(self._device, "float16"),
            backend="pil",
        )
        return model.to(self._device), processor


def said_with(said: str, beginning: str, ending: str) -> str:
    """The caption so far with one more sentence; without it, if the model had nothing to add.

    >>> said_with("An image of a cat.", "The setting is", " a sofa, ")
    'An image of a cat. The setting is a sofa.'
    >>> said_with("An image of a cat.", "The setting is", "  ")
    'An image of a cat.'
    """
    ending = " ".join(ending.split()).rstrip(" .,;!?")
    return f"{said} {beginning} {ending}.".lstrip() if ending else said
