"""Copies of a picture in two splits, or under two labels: equal by bytes, by pixels, or nearly."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from veridical.detectors.retrieval import DHASH_RADIUS, LEAST_DETAIL, LEAST_PDQ_QUALITY, PDQ_RADIUS
from veridical.evaluation.audit.looks import Look
from veridical.media.fingerprint import detail


@dataclass(frozen=True)
class Copy:
    """One copy of a picture; `box` is that of a region (left, top, width, height), else empty."""

    name: str
    split: str
    label: str
    box: str


@dataclass(frozen=True)
class Duplicate:
    """Copies of one picture that lie in different splits or have different labels.

    `kind`: `file`, the same bytes (and region); `pixels`, the same pixels in other bytes; `near`, two pictures
    whose perceptual hashes are near, as after re-saving or resizing, with their distances in bits (`None` for
    a hash that was not compared).
    """

    kind: Literal["file", "pixels", "near"]
    copies: tuple[Copy, ...]
    dhash_distance: int | None = None
    pdq_distance: int | None = None


def find_duplicates(looks: Sequence[Look]) -> tuple[Duplicate, ...]:
    """All of them, each named once, the surest first.

    Near means within the radii of the detector `retrieval`, where its false hits were measured. Neither hash
    finds a copy that was cropped, rotated or mirrored. Blank pictures are copies only if their files are.
    """
    files = _same(looks, lambda look: look.sha256 + str(look.sample.box))
    by_file = {frozenset(rows) for rows in files}
    pixels = [
        rows
        for rows in _same(looks, lambda look: look.pixels_sha256)
        if frozenset(rows) not in by_file and not looks[rows[0]].is_blank
    ]
    found = [Duplicate("file", _copies(looks, rows)) for rows in files]
    found += [Duplicate("pixels", _copies(looks, rows)) for rows in pixels]
    return (*found, *_near(looks))


def _same(looks: Sequence[Look], key: Callable[[Look], str]) -> list[list[int]]:
    """The rows that agree in a key and differ in split or label."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, look in enumerate(looks):
        rows[key(look)].append(row)
    return [same for same in rows.values() if len({_place(looks[row]) for row in same}) > 1]


def _near(looks: Sequence[Look]) -> Iterator[Duplicate]:
    with_dhash = [row for row, look in enumerate(looks) if detail(look.dhash) >= LEAST_DETAIL]
    dhashes = np.array([[looks[row].dhash] for row in with_dhash], np.uint64)
    by_dhash = _within(looks, with_dhash, dhashes, DHASH_RADIUS)
    hashed = {row: look.pdq for row, look in enumerate(looks) if look.pdq is not None}
    with_pdq = [row for row, pdq in hashed.items() if pdq.quality >= LEAST_PDQ_QUALITY]
    pdqs = np.array([np.frombuffer(hashed[row].hash, "<u8") for row in with_pdq], np.uint64)
    by_pdq = _within(looks, with_pdq, pdqs, PDQ_RADIUS)
    for pair in sorted(by_dhash | by_pdq):
        one, two = (looks[row] for row in pair)
        if one.pixels_sha256 != two.pixels_sha256:
            yield Duplicate("near", _copies(looks, pair), by_dhash.get(pair), by_pdq.get(pair))


def _within(
    looks: Sequence[Look], rows: Sequence[int], hashes: NDArray[np.uint64], radius: int
) -> dict[tuple[int, int], int]:
    """The pairs of rows in different places whose hashes (n, words) differ in at most `radius` bits."""
    codes = {place: code for code, place in enumerate({_place(looks[row]) for row in rows})}
    places = np.array([codes[_place(looks[row])] for row in rows], np.intp)
    found = {}
    for at, row in enumerate(rows[:-1]):
        rest = slice(at + 1, None)
        distances = np.bitwise_count(hashes[rest] ^ hashes[at]).sum(axis=1, dtype=np.uint16)
        for other in np.flatnonzero((distances <= radius) & (places[rest] != places[at])):
            found[row, rows[at + 1 + int(other)]] = int(distances[other])
    return found


def _place(look: Look) -> tuple[str, int]:
    return look.sample.split, int(look.sample.label)


def _copies(looks: Sequence[Look], rows: Sequence[int]) -> tuple[Copy, ...]:
    samples = [looks[row].sample for row in rows]
    boxes = [f"{s.box.left},{s.box.top},{s.box.width},{s.box.height}" if s.box else "" for s in samples]
    return tuple(
        Copy(sample.name, sample.split, sample.label.name.lower(), box)
        for sample, box in zip(samples, boxes, strict=True)
    )
