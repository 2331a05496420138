"""Challenges: a picture and a secret label, made so that nothing but the pixels tells which it is.

The label is a fair coin. Real and fake take the same road: a crop, a mirror, perturbations, one encoding, all
drawn alike, so that size, format, quality and file size follow one distribution, and metadata never survive.
The same picture is made anew each time, and for some challenges anew for each miner, so that miners who pass
answers on are seen.
"""

from __future__ import annotations

import functools
import hashlib
import io
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import PIL.Image
import simplejpeg

from veridical.data.perturbations import NAMED, Pixels, flip
from veridical.errors import NetworkError
from veridical.network.validator.media_cache import MediaCache, Pool
from veridical.results import Label

# Crops are cropped no further, or they could become too small to judge.
_OPERATIONS = ("jpeg", "webp", "resize", "blur", "noise", "colour")
# How many of them in a row, and how often: none, mild, medium, hard, as the published validators have it.
_LENGTHS, _SHARES = (0, 1, 2, 3), (0.25, 0.45, 0.15, 0.15)
_FORMATS = ("jpeg", "jpeg", "jpeg", "webp", "png")
_QUALITIES = (60, 98)


@dataclass(frozen=True)
class ChallengeRecipe:
    """Shares and sizes by which challenges are mixed.

    `modalities`: share of each kind of media. `side`: no picture is larger, in pixels, nor smaller than three
    quarters of it. `private` and `canaries`: shares of the challenges from those pools. `variants`: share of
    the challenges in which every miner gets its own version of the picture.
    """

    modalities: Mapping[str, float] = field(default_factory=lambda: {"image": 1.0})
    side: int = 256
    private: float = 0.1
    canaries: float = 0.05
    variants: float = 0.1


@dataclass(frozen=True)
class Body:
    """A file that a miner is sent, and what was done to the picture on its way."""

    data: bytes = field(repr=False)
    media_type: str
    perturbation: str

    @property
    def sha256(self) -> str:
        """Hex, of the file."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class Challenge:
    """A picture and its label; what must stay secret is not in its `repr`.

    `seed` makes the same bodies again, for whoever doubts a score later.
    """

    id: str
    modality: str
    origin: str
    label: Label = field(repr=False)
    generator: str = field(repr=False)
    source: str = field(repr=False)
    pool: Pool = field(repr=False)
    pixels: Pixels = field(repr=False)
    seed: int = field(repr=False)
    side: int
    has_variants: bool

    def body(self, hotkey: str) -> Body:
        """The file for that miner; one for all, unless the challenge has variants."""
        if not self.has_variants:
            return self._common
        own = int.from_bytes(hashlib.sha256(hotkey.encode()).digest(), "big")
        return make_body(self.pixels, self.side, np.random.default_rng([self.seed, own]))

    @functools.cached_property
    def _common(self) -> Body:
        return make_body(self.pixels, self.side, np.random.default_rng(self.seed))


def make_challenge(
    cache: MediaCache, recipe: ChallengeRecipe, rng: random.Random, *, is_fresh: Callable[[str], bool]
) -> Challenge:
    """The next challenge, with a picture that counts as sent from now on.

    `is_fresh` says of a picture's origin whether it may be sent; one that may not is passed over. `rng` must be
    one that nobody can guess: `random.SystemRandom()`. Raises `NetworkError` (`no_media`) rather than let the
    label depend on what is left.
    """
    modality = rng.choices(list(recipe.modalities), list(recipe.modalities.values()))[0]
    if modality != "image":
        raise NetworkError(f"Challenges of {modality} cannot be made yet.", code="no_media")
    pool = _pool(cache, recipe, modality, rng.random())
    label = Label.FAKE if rng.random() < 0.5 else Label.REAL
    media = cache.take(label, pool=pool, modality=modality)
    while not is_fresh(media.origin):
        media = cache.take(label, pool=pool, modality=modality)
    return Challenge(
        id=f"{rng.getrandbits(128):032x}",
        modality=modality,
        origin=media.origin,
        label=media.label,
        generator=media.generator,
        source=media.source,
        pool=media.pool,
        pixels=media.pixels,
        seed=rng.getrandbits(128),
        side=recipe.side,
        has_variants=rng.random() < recipe.variants,
    )


def make_body(pixels: Pixels, side: int, rng: np.random.Generator) -> Body:
    """A fresh version of a picture, whose short side is at least `side`, as a file without metadata."""
    steps = []
    height, width = (int(rng.integers(-(-3 * side // 8), side // 2 + 1)) * 2 for _ in range(2))
    top, left = (
        int(rng.integers(0, (whole - part) // 2 + 1)) * 2
        for whole, part in zip(pixels.shape, (height, width), strict=False)
    )
    steps.append(f"crop {width}x{height}+{left}+{top}")
    pixels = pixels[top : top + height, left : left + width]
    if rng.random() < 0.5:
        steps.append("flip")
        pixels = flip(pixels)
    length = int(rng.choice(_LENGTHS, p=_SHARES))
    for operation in rng.permutation(_OPERATIONS)[:length]:
        variants = [named for named in NAMED.values() if named.operation == operation]
        drawn = variants[int(rng.integers(len(variants)))]
        steps.append(drawn.name)
        pixels = drawn.apply(pixels, rng)
    format = _FORMATS[int(rng.integers(len(_FORMATS)))]
    data, how = _encoded(pixels, format, rng)
    return Body(data, f"image/{format}", ", ".join([*steps, how]))


def _pool(cache: MediaCache, recipe: ChallengeRecipe, modality: str, chance: float) -> Pool:
    """The pool by chance; one that lacks either label is passed over, or being of it would tell the label.

    If all lack one, there is no challenge: the coin must not be thrown until both its sides can be sent.
    """
    wanted = Pool.OPEN
    if chance < recipe.canaries:
        wanted = Pool.CANARY
    elif chance < recipe.canaries + recipe.private:
        wanted = Pool.PRIVATE
    for pool in (wanted, Pool.OPEN, Pool.PRIVATE):
        if all(cache.ready(label, modality=modality, pool=pool) for label in Label):
            return pool
    raise cache.no_media(min(Label, key=lambda label: cache.ready(label, modality=modality)))


def _encoded(pixels: Pixels, format: str, rng: np.random.Generator) -> tuple[bytes, str]:
    quality = int(rng.integers(_QUALITIES[0], _QUALITIES[1] + 1))
    if format == "jpeg":
        sampling = "420" if rng.random() < 2 / 3 else "444"
        data = simplejpeg.encode_jpeg(
            np.ascontiguousarray(pixels), quality=quality, colorsubsampling=sampling, fastdct=False
        )
        return data, f"JPEG {quality} {sampling}"
    buffer = io.BytesIO()
    options = {"quality": quality} if format == "webp" else {}
    PIL.Image.fromarray(pixels).save(buffer, format=format.upper(), **options)
    return buffer.getvalue(), f"WebP {quality}" if format == "webp" else "PNG"
