"""How often `retrieval` finds copies, how often it is wrong, and how long a query takes.

False hits: the index is the folder's hash lists, and a hit for a picture that is in none of their sets is
wrong. In none are all AI-generated ones, and the reals of other sources. Copies: pictures of the split train,
and what becomes of them on their way. The radius was chosen on the splits train and val; test only shows what
it is worth.

    python benchmarks/retrieval.py ../shared/data
    python benchmarks/retrieval.py ../shared/data --embeddings 700 --copies 80

The second compares embeddings instead: of so many pictures, how many have another one that shows "much the
same", and which of their copies still do.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from veridical.data.perturbations import Pixels, jpeg, resize, webp
from veridical.data.samples import Sample, load_pixels, read_samples
from veridical.detectors.retrieval import (
    DHASH_RADIUS,
    LEAST_COSINE,
    LEAST_DETAIL,
    LEAST_PDQ_QUALITY,
    PDQ_RADIUS,
)
from veridical.detectors.retrieval.embedding import embed
from veridical.detectors.retrieval.index import Index, read_hash_list, read_index, write_index
from veridical.evaluation.intervals import wilson
from veridical.media.fingerprint import PDQ, detail, dhash, pdq
from veridical.results import Label

# Photographs that neither come from the listed sets nor were picked from the open web, where copies are usual.
_OTHER_SETS = {"shoes", "dogcat", "bsds500", "camvid-png", "exif-cameras", "phone-cameras"} | {
    "imagenet",
    "genimage-imagenet",
}
_COPIES: dict[str, Callable[[Pixels], Pixels]] = {
    "half size, JPEG 75": lambda pixels: jpeg(resize(pixels, 0.5), 75),
    "quarter size, JPEG 50, WebP 50": lambda pixels: webp(jpeg(resize(pixels, 0.25), 50), 50),
    "2.5 % cut off each side": lambda pixels: _trimmed(pixels, 0.025),
    "10 % cut off each side": lambda pixels: _trimmed(pixels, 0.1),
}


def main() -> None:
    """Print false hits by radius, copies found, and the time of a query."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with images.csv and hashes/*.dhash.txt")
    parser.add_argument("--copies", type=int, default=250, help="pictures of which copies are looked up")
    parser.add_argument("--embeddings", type=int, default=0, help="compare those of so many pictures")
    arguments = parser.parse_args()
    if arguments.embeddings:
        _embeddings(read_samples(arguments.data / "images.csv"), arguments.embeddings, arguments.copies)
        return
    lists = sorted((arguments.data / "hashes").glob("*.dhash.txt"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "benchmark.index")
        count = write_index(path, (e for file in lists for e in read_hash_list(file, Label.REAL)))
        index = read_index(path)
    print(f"index: {count:,} hashes")
    samples = read_samples(arguments.data / "images.csv")
    chosen_on = _strangers([s for s in samples if s.split in ("train", "val")])
    shown_on = _strangers([s for s in samples if s.split == "test"])
    _false_hits(index, "train and val", chosen_on)
    _false_hits(index, "test", shown_on)
    _false_hits(index, "all three", chosen_on + shown_on)
    _copies([s for s in samples if s.split == "train"], arguments.copies)
    _time(index)


def _strangers(samples: Sequence[Sample]) -> list[int]:
    """The dHashes of the pictures that are in none of the listed sets."""
    return [dhash(load_pixels(s)) for s in samples if s.label is Label.FAKE or s.source in _OTHER_SETS]


def _false_hits(index: Index, splits: str, hashes: Sequence[int]) -> None:
    for least in (0, LEAST_DETAIL):
        asked = [h for h in hashes if detail(h) >= least]
        print(f"{splits}: {len(asked)} of {len(hashes)} pictures have detail >= {least}")
        for radius in range(8):
            hits = sum(bool(index.find(dhash=h, dhash_radius=radius)) for h in asked)
            rate = wilson(hits, len(asked))
            chosen = " <- chosen" if radius == DHASH_RADIUS and least else ""
            print(f"  radius {radius}: {hits:3} {rate.value:7.2%} [{rate.low:.2%}, {rate.high:.2%}]{chosen}")


def _copies(samples: Sequence[Sample], count: int) -> None:
    chosen = np.random.default_rng(0).choice(len(samples), min(count, len(samples)), replace=False)
    pictures = [np.ascontiguousarray(load_pixels(samples[place])) for place in chosen]
    originals = [(dhash(pixels), pdq(pixels)) for pixels in pictures]
    for name, change in _COPIES.items():
        copies = [np.ascontiguousarray(change(pixels)) for pixels in pictures]
        hashed = [(dhash(pixels), pdq(pixels)) for pixels in copies]
        found = [_found(before, after) for before, after in zip(originals, hashed, strict=True)]
        by_dhash, by_pdq, by_either = (sum(column) for column in zip(*found, strict=True))
        print(f"{name}: of {len(found)} found {by_either} (dHash {by_dhash}, PDQ {by_pdq})")


def _found(before: tuple[int, PDQ], after: tuple[int, PDQ]) -> tuple[bool, bool, bool]:
    by_dhash = detail(after[0]) >= LEAST_DETAIL and (before[0] ^ after[0]).bit_count() <= DHASH_RADIUS
    bits = int.from_bytes(before[1].hash, "big") ^ int.from_bytes(after[1].hash, "big")
    by_pdq = after[1].quality >= LEAST_PDQ_QUALITY and bits.bit_count() <= PDQ_RADIUS
    return by_dhash, by_pdq, by_dhash or by_pdq


def _embeddings(samples: Sequence[Sample], count: int, copies: int) -> None:
    chosen = np.random.default_rng(0).choice(len(samples), min(count, len(samples)), replace=False)
    vectors = np.stack([_embedded(load_pixels(samples[place])) for place in chosen])
    nearest = (vectors @ vectors.T - 2 * np.eye(len(vectors))).max(axis=1)
    for least in (0.93, LEAST_COSINE, 0.97):
        rate = wilson(int((nearest >= least).sum()), len(nearest))
        print(
            f"cosine {least}: {rate.value:.2%} [{rate.low:.2%}, {rate.high:.2%}] of {rate.n} have another one"
        )
    for name, change in _COPIES.items():
        copied = [_embedded(change(load_pixels(samples[place]))) for place in chosen[:copies]]
        found = sum(float(a @ b) >= LEAST_COSINE for a, b in zip(copied, vectors[:copies], strict=True))
        print(f"{name}: of {len(copied)} found {found} at cosine {LEAST_COSINE}")


def _embedded(pixels: Pixels) -> NDArray[np.float32]:
    return np.frombuffer(embed(np.ascontiguousarray(pixels)), "<f2").astype(np.float32)


def _trimmed(pixels: Pixels, share: float) -> Pixels:
    rows, columns = (max(1, round(side * share)) for side in pixels.shape[:2])
    return pixels[rows:-rows, columns:-columns]


def _time(index: Index, rounds: int = 200) -> None:
    times = []
    for wanted in np.random.default_rng(0).integers(0, 2**63, rounds):
        started = time.perf_counter()
        index.find(dhash=int(wanted), dhash_radius=DHASH_RADIUS)
        times.append((time.perf_counter() - started) * 1e3)
    print(f"query: median {statistics.median(times):.2f} ms, slowest of {rounds} {max(times):.2f} ms")


if __name__ == "__main__":
    main()
