"""Fakes made on the spot, as a source of challenges."""

from __future__ import annotations

import dataclasses
import logging
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs the extra 'generate'")

from veridical.data.perturbations import Pixels
from veridical.errors import ModelError, SourceError
from veridical.network.validator import offers
from veridical.network.validator.media_cache import CacheLimits, MediaCache
from veridical.network.validator.offers import Offer
from veridical.results import Label


def real(number: int = 0) -> Offer:
    def load() -> Pixels:
        return np.random.default_rng(number).integers(0, 256, (80, 80, 3), np.uint8)

    return Offer(f"origin {number}", Label.REAL, "camera", "set", load)


def test_a_generator_makes_a_fake_of_every_real_and_nothing_of_it_is_logged(
    tiny_captioner: Path, tiny_diffusion: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="veridical")
    (pipeline,) = offers.text_to_image(
        [str(tiny_diffusion)], captioner=str(tiny_captioner), prompts="caption", device="cpu"
    )
    made = offers.generated([real(0), real(1)], pipeline, random.Random(0))
    assert [offer.label for offer in made] == [Label.FAKE] * 2
    assert {offer.generator for offer in made} == {"tiny-diffusion"}
    assert {offer.source for offer in made} == {"set"}
    assert len({offer.origin for offer in (*made, real(0), real(1))}) == 4
    with MediaCacheOf(tmp_path) as cache:
        assert cache.add(made[0])
        assert cache.ready(Label.FAKE) == 1
        assert not cache.add(made[0])
    assert not caplog.records


def test_nothing_is_loaded_before_a_fake_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path))
    pipelines = offers.text_to_image(
        ["sdxl", "flux"], captioner="owner/captioner", prompts="llama", device="cpu"
    )
    assert [pipeline.model for pipeline in pipelines] == ["sdxl", "flux"]
    made = offers.generated([real()], pipelines[0], random.Random(0))
    with pytest.raises(ModelError):
        made[0].load()


def test_a_fake_that_its_model_withholds_is_left_out_and_the_next_one_comes(tmp_path: Path) -> None:
    def withhold() -> Pixels:
        raise SourceError("withheld", code="blocked")

    with MediaCacheOf(tmp_path) as cache:
        assert not cache.add(dataclasses.replace(real(0), load=withhold))
        assert cache.add(real(1))


class MediaCacheOf:
    """A cache in a folder, closed at the end."""

    def __init__(self, folder: Path) -> None:
        self._cache = MediaCache(folder, CacheLimits(least_side=64), random.Random(0))

    def __enter__(self) -> MediaCache:
        return self._cache

    def __exit__(self, *_: object) -> None:
        self._cache.close()
