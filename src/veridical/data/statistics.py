"""Statistics of a data set: counts, sizes, formats, copies, and every sample that cannot be read, by name."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from veridical.data.samples import Sample, load_pixels
from veridical.errors import DataError, VeridicalError
from veridical.media.sniff import sniff

# So many of the commonest sizes are told; the number of different ones is told as well.
MOST_SIZES = 10

# Enough of a file for `sniff`.
_START = 4096


@dataclass(frozen=True)
class Group:
    """The number of samples that share split, label, generator and source, and of those that cannot be read."""

    split: str
    label: str
    generator: str
    source: str
    samples: int
    unreadable: int


@dataclass(frozen=True)
class Size:
    """A size in pixels, and how many samples have it."""

    width: int
    height: int
    samples: int


@dataclass(frozen=True)
class Appearance:
    """A class from outside, for what differs here between the classes is a shortcut to learn.

    `formats` counts file formats (`raw`: pixels without a file of their own); `sizes` are the commonest of
    `different_sizes`.
    """

    label: str
    formats: dict[str, int]
    different_sizes: int
    sizes: list[Size]


@dataclass(frozen=True)
class Unreadable:
    """A sample that cannot be read, and why."""

    name: str
    split: str
    label: str
    code: str
    message: str


@dataclass(frozen=True)
class Copies:
    """Samples with the same bytes (and the same box), with the splits and labels among which they are."""

    sha256: str
    names: list[str]
    splits: list[str]
    labels: list[str]


@dataclass(frozen=True)
class Statistics:
    """All that `examine` found; `content` counts what pictures show, where the set says so."""

    samples: int
    groups: list[Group]
    content: dict[str, int]
    appearance: list[Appearance]
    unreadable: list[Unreadable]
    copies_within_splits: list[Copies]
    copies_across_splits: list[Copies]


@dataclass(frozen=True)
class _Seen:
    sample: Sample
    sha256: str
    format: str
    width: int
    height: int


def examine(samples: Iterable[Sample]) -> Statistics:
    """Read every sample once. None is left out: what cannot be read is counted and named in its class.

    A hash that a manifest states is not believed but made again.
    """
    seen: list[_Seen] = []
    unreadable: list[Unreadable] = []
    groups: dict[tuple[str, str, str, str], list[int]] = defaultdict(lambda: [0, 0])
    content: Counter[str] = Counter()
    for sample in samples:
        group = groups[sample.split, _label(sample), sample.generator, sample.source]
        group[0] += 1
        content[sample.content] += 1
        try:
            seen.append(_look(sample))
        except DataError as error:
            group[1] += 1
            unreadable.append(_unreadable(sample, error))
    copies = _find_copies(seen)
    return Statistics(
        samples=content.total(),
        groups=[Group(*key, samples=count, unreadable=bad) for key, (count, bad) in sorted(groups.items())],
        content={name: count for name, count in sorted(content.items()) if name},
        appearance=_appearance(seen),
        unreadable=unreadable,
        copies_within_splits=[found for found in copies if len(found.names) > len(found.splits)],
        copies_across_splits=[found for found in copies if len(found.splits) > 1],
    )


def _look(sample: Sample) -> _Seen:
    height, width = load_pixels(sample).shape[:2]
    if sample.member:
        return _Seen(sample, sample.sha256, "raw", width, height)
    with sample.path.open("rb") as file:
        format = sniff(file.read(_START)) or "unknown"
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return _Seen(sample, sha256, format, width, height)


def _unreadable(sample: Sample, error: DataError) -> Unreadable:
    # What the decoder said is more use than that the sample is unreadable.
    cause = error.__cause__ if isinstance(error.__cause__, VeridicalError) else error
    return Unreadable(sample.name, sample.split, _label(sample), cause.code, cause.message)


def _appearance(seen: Sequence[_Seen]) -> list[Appearance]:
    by_label: dict[str, list[_Seen]] = defaultdict(list)
    for one in seen:
        by_label[_label(one.sample)].append(one)
    return [_appearance_of(label, by_label[label]) for label in sorted(by_label)]


def _appearance_of(label: str, seen: Sequence[_Seen]) -> Appearance:
    sizes = Counter((one.width, one.height) for one in seen)
    commonest = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:MOST_SIZES]
    return Appearance(
        label=label,
        formats=dict(sorted(Counter(one.format for one in seen).items())),
        different_sizes=len(sizes),
        sizes=[Size(width, height, count) for (width, height), count in commonest],
    )


def _find_copies(seen: Sequence[_Seen]) -> list[Copies]:
    same: dict[tuple[str, str], list[Sample]] = defaultdict(list)
    for one in seen:
        same[one.sha256, str(one.sample.box)].append(one.sample)
    return [
        Copies(
            sha256,
            names=[sample.name for sample in samples],
            splits=sorted({sample.split for sample in samples}),
            labels=sorted({_label(sample) for sample in samples}),
        )
        for (sha256, _), samples in same.items()
        if len(samples) > 1
    ]


def _label(sample: Sample) -> str:
    return sample.label.name.lower()
