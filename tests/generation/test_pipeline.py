"""From a real picture to a fake of what it shows."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs the extra 'generate'")

import torch

from veridical.errors import ModelError, SourceError
from veridical.generation.captions import Captioner
from veridical.generation.pipeline import Pipeline
from veridical.generation.prompts import Modality, find_writer
from veridical.generation.text_to_image import find_model


def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


class Shouting:
    """Makes a prompt of the caption that shows where it came from."""

    name = "shouting"

    def __init__(self, *, reads_caption: bool) -> None:
        self.reads_caption = reads_caption

    def write(self, caption: str, *, seed: int, modality: Modality = "image") -> str:
        return f"{caption.upper()}! {modality} {seed}"


class Silent(Captioner):
    """A captioner that has nothing to say."""

    def caption(self, pixels: np.ndarray) -> str:
        return ""


class Deaf(Captioner):
    """A captioner that must not be asked."""

    def caption(self, pixels: np.ndarray) -> str:
        raise AssertionError


def test_a_picture_becomes_a_caption_a_prompt_and_a_fake_and_all_is_told(
    tiny_captioner: Path, tiny_diffusion: Path
) -> None:
    captioner, generator = Captioner(str(tiny_captioner)), find_model(str(tiny_diffusion))
    fake = Pipeline(captioner, Shouting(reads_caption=True), generator).make(picture(), seed=4)
    assert fake.caption == captioner.caption(picture())
    assert fake.prompt == f"{fake.caption.upper()}! image 4"
    assert (fake.model, fake.seed) == ("tiny-diffusion", 4)
    assert fake.pixels.shape == (64, 64, 3)
    assert np.array_equal(fake.pixels, generator.make(fake.prompt, seed=4))


def test_a_writer_that_never_looks_at_the_caption_needs_no_captioner(tiny_diffusion: Path) -> None:
    pipeline = Pipeline(Deaf(), Shouting(reads_caption=False), find_model(str(tiny_diffusion)))
    assert pipeline.make(picture(), seed=0).caption == ""


def test_memory_that_is_too_small_is_an_error_of_ours(tiny_diffusion: Path) -> None:
    class Large(Deaf):
        def caption(self, pixels: np.ndarray) -> str:
            raise torch.OutOfMemoryError

    pipeline = Pipeline(Large(), find_writer("caption"), find_model(str(tiny_diffusion)))
    with pytest.raises(ModelError) as caught:
        pipeline.make(picture(), seed=0)
    assert caught.value.code == "out_of_memory"


def test_a_picture_of_which_nothing_is_said_is_left_out(tiny_diffusion: Path) -> None:
    pipeline = Pipeline(Silent(), find_writer("caption"), find_model(str(tiny_diffusion)))
    with pytest.raises(SourceError) as caught:
        pipeline.make(picture(), seed=0)
    assert caught.value.code == "no_caption"
