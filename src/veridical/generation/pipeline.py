"""From a real picture to a fake of what it shows: caption, prompt, generator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veridical.errors import ModelError, SourceError
from veridical.generation.captions import Captioner
from veridical.generation.diffusion import Diffusion
from veridical.generation.prompts import PromptWriter


@dataclass(frozen=True)
class Fake:
    """A fake picture, uint8 (h, w, 3), and what was said on the way; `caption` is empty if none was needed."""

    pixels: npt.NDArray[np.uint8]
    caption: str
    prompt: str
    model: str
    seed: int


class Pipeline:
    """A captioner, a writer of prompts and a generator; several pipelines may share the first two.

    Every model that was asked once stays in memory.
    """

    def __init__(self, captioner: Captioner, writer: PromptWriter, generator: Diffusion) -> None:
        self.model = generator.name
        self._captioner = captioner
        self._writer = writer
        self._generator = generator

    def make(self, real: npt.NDArray[np.uint8], *, seed: int) -> Fake:
        """A new picture of what a real one, uint8 (h, w, 3), shows; the same for the same seed.

        Raises `ModelError` when a model cannot be loaded or does not fit into memory; `SourceError` when the
        captioner says nothing (`no_caption`) or the generator withholds its picture (`blocked`).
        """
        import torch

        try:
            return self._make(real, seed)
        except torch.OutOfMemoryError as error:
            raise ModelError(
                f"The memory is too small for {self._captioner.name}, {self._writer.name} and {self.model}.",
                code="out_of_memory",
                hint="Choose smaller models, or fewer at a time.",
            ) from error

    def _make(self, real: npt.NDArray[np.uint8], seed: int) -> Fake:
        caption = self._captioner.caption(real) if self._writer.reads_caption else ""
        if self._writer.reads_caption and not caption:
            raise SourceError(f"{self._captioner.name} says nothing of the picture.", code="no_caption")
        prompt = self._writer.write(caption, seed=seed)
        return Fake(self._generator.make(prompt, seed=seed), caption, prompt, self.model, seed)
