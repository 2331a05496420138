"""Pictures on offer for challenges: labelled sets, folders of known fakes, and fakes made on the spot.

A source is an iterator of `Offer`: it says what it has, and makes pixels only of what is taken. Whatever makes
pictures by name (a text-to-image model of a hub) becomes a source in the same way.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from veridical.data.perturbations import Pixels, screenshot
from veridical.data.samples import Sample, load_pixels
from veridical.errors import SourceError
from veridical.media.sources import EXTENSIONS
from veridical.results import Label

if TYPE_CHECKING:
    from veridical.generation.pipeline import Pipeline

Remake = Callable[[Pixels], Pixels]


@dataclass(frozen=True)
class Offer:
    """A picture that a source has.

    `origin` names it for good: the same picture has the same one each time, and it says nothing of the label.
    `load` gives its pixels, and may take long; it raises `VeridicalError` when there are none. `is_known`: it
    is made from a picture that everyone can look up.
    """

    origin: str
    label: Label
    generator: str
    source: str
    load: Callable[[], Pixels]
    modality: str = "image"
    is_known: bool = False


def offers_of(samples: Iterable[Sample]) -> list[Offer]:
    """A labelled set as it is."""
    return [
        Offer(_origin(each), each.label, each.generator, each.source, functools.partial(load_pixels, each))
        for each in samples
    ]


def fakes_in(folder: Path) -> list[Offer]:
    """Every picture in a folder of known fakes, whatever it is called; a folder in it names the generator."""
    paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in EXTENSIONS and path.is_file()]
    if not paths:
        raise SourceError(f"There are no pictures in {folder}.", code="no_matches")
    return offers_of(
        Sample(
            path=path,
            label=Label.FAKE,
            generator=path.parent.name if path.parent != folder else folder.name,
            source=folder.name,
            group=folder.name,
        )
        for path in paths
    )


def reconstructions(reals: Iterable[Offer], remake: Remake, generator: str) -> list[Offer]:
    """Fakes that `remake` makes of each real picture: the same content, other traces."""
    return [
        replace(
            real,
            origin=_renamed(real.origin, generator),
            label=Label.FAKE,
            generator=generator,
            load=_remaking(real.load, remake),
        )
        for real in reals
    ]


def generated(reals: Iterable[Offer], pipeline: Pipeline, rng: random.Random) -> list[Offer]:
    """New pictures, by a text-to-image model, of what each real one shows.

    Nothing is loaded before the first of them is. What was said on the way is not logged, since caption and
    prompt would tell a fake by its content.
    """

    def making(load: Callable[[], Pixels]) -> Callable[[], Pixels]:
        return lambda: pipeline.make(load(), seed=rng.getrandbits(32)).pixels

    return [
        Offer(
            origin=_renamed(real.origin, pipeline.model),
            label=Label.FAKE,
            generator=pipeline.model,
            source=real.source,
            load=making(real.load),
        )
        for real in reals
    ]


def canaries(known: Iterable[Offer], remake: Remake, generator: str) -> list[Offer]:
    """Traps for miners that look pictures up: of each known real picture a re-photograph and a fresh fake.

    Both are re-photographed, so that being so says nothing. Who recognises the original calls the fake real.
    """
    reals = [offer for offer in known if offer.label is Label.REAL]
    fakes = reconstructions(reals, remake, generator)
    return [
        replace(
            offer,
            origin=_renamed(offer.origin, "photographed"),
            load=_remaking(offer.load, _photographed),
            is_known=True,
        )
        for offer in (*reals, *fakes)
    ]


def autoencoder(folder: Path) -> Remake:
    """The tiny autoencoder in a folder as something that makes fakes; needs PyTorch."""
    from veridical.generation.reconstruct import load_autoencoder, reconstruct

    loaded = load_autoencoder(folder)
    return lambda pixels: reconstruct(pixels, loaded)


def upscaler(name: str) -> Remake:
    """A GAN that scales pictures up, by its name, as something that makes fakes; needs the extra `generate`."""
    from veridical.generation.upscale import load_upscaler, remake

    loaded = load_upscaler(name)
    return lambda pixels: remake(pixels, loaded)


def text_to_image(models: Sequence[str], *, captioner: str, prompts: str, device: str) -> list[Pipeline]:
    """Pipelines by name, each with its own model and all with one captioner and one writer of prompts.

    Needs the extra `generate`. Raises `UnknownModelError` for a name, and `ModelError` for a folder.
    """
    from veridical.generation.captions import Captioner
    from veridical.generation.pipeline import Pipeline
    from veridical.generation.prompts import find_writer
    from veridical.generation.text_to_image import find_model

    seeing, writer = Captioner(captioner, device), find_writer(prompts, device)
    return [Pipeline(seeing, writer, find_model(name, device)) for name in models]


def shuffled(offers: Sequence[Offer], label: Label, rng: random.Random) -> Iterator[Offer]:
    """Those of a label in random order."""
    chosen = [offer for offer in offers if offer.label is label]
    rng.shuffle(chosen)
    return iter(chosen)


def by_turns(*sources: Iterator[Offer]) -> Iterator[Offer]:
    """An offer of each source in turn, until all are empty."""
    rows = itertools.zip_longest(*sources)
    return (offer for row in rows for offer in row if offer is not None)


def _origin(sample: Sample) -> str:
    return hashlib.sha256(f"{sample.sha256 or sample.name} {sample.box}".encode()).hexdigest()


def _renamed(origin: str, what: str) -> str:
    return hashlib.sha256(f"{origin} {what}".encode()).hexdigest()


def _remaking(load: Callable[[], Pixels], remake: Remake) -> Callable[[], Pixels]:
    return lambda: remake(load())


def _photographed(pixels: Pixels) -> Pixels:
    return screenshot(pixels, np.random.default_rng())
