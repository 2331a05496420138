"""The audit of a labelled set: what gives its labels away besides the traces a detector should learn.

A network learns whatever tells the classes apart. Where reals are JPEG and fakes PNG, or fakes are all 1024
pixels square, it learns that, and its accuracy elsewhere falls to chance. Patrick Grommelt, Louis Weiss,
Franz-Josef Pfreundt, Janis Keuper: Fake or JPEG? Revealing Common Biases in Generated Image Detection
Datasets, 2024, https://arxiv.org/abs/2403.17608. The second way to fool oneself is to meet in the test what
was shown in training: copies, prompts and publishers in two splits.

`audit` asks this of the files as they are; `audit_views` of what is left when an experiment's augmentation
has cut and re-encoded them, which is all that its network will see.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from veridical.data.loader import Augmentation
from veridical.data.samples import Sample
from veridical.data.statistics import Unreadable
from veridical.errors import DataError
from veridical.evaluation.audit.duplicates import Copy, Duplicate, find_duplicates
from veridical.evaluation.audit.families import of_files, of_views
from veridical.evaluation.audit.looks import look_at, view_colours
from veridical.evaluation.audit.shortcuts import Shortcut, measure
from veridical.results import Label

__all__ = ["Audit", "Copy", "SetCounts", "Duplicate", "InTwoSplits", "Shortcut", "audit", "audit_views"]

# Of a training set so many pictures of a class are looked at as views, and so many in all sought for copies:
# before training one wants to know within half a minute.
MOST_VIEWS = 400
MOST_COMPARED = 10_000


@dataclass(frozen=True)
class InTwoSplits:
    """A publisher or prompt with samples in more than one split.

    `source_only`: the publisher is not known, only the name of the source stands in its place. A set that
    its maker split holds every source in every split, which does not fail the audit.
    """

    name: str
    splits: tuple[str, ...]
    samples: int
    source_only: bool = False


@dataclass(frozen=True)
class SetCounts:
    """How many samples there are of what, `splits` and `sources` by label; `unreadable` by label too."""

    samples: int
    splits: dict[str, dict[str, int]]
    generators: dict[str, int]
    sources: dict[str, dict[str, int]]
    unreadable: dict[str, int]


@dataclass(frozen=True)
class Audit:
    """All that was found; `notes` say what was not looked at, and why."""

    shortcuts: dict[str, Shortcut]
    duplicates: tuple[Duplicate, ...]
    groups_in_two_splits: tuple[InTwoSplits, ...]
    prompts_in_two_splits: tuple[InTwoSplits, ...]
    unreadable: tuple[Unreadable, ...]
    counts: SetCounts
    notes: tuple[str, ...] = ()

    @property
    def failures(self) -> tuple[str, ...]:
        """The names of what failed: shortcuts first, then leaks. Empty if the set passes."""
        leaks = {
            "duplicates": self.duplicates,
            "groups_in_two_splits": [found for found in self.groups_in_two_splits if not found.source_only],
            "prompts_in_two_splits": self.prompts_in_two_splits,
            "unreadable": self.unreadable,
        }
        failed = [name for name, shortcut in self.shortcuts.items() if shortcut.failed]
        return (*failed, *(name for name, found in leaks.items() if found))

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return not self.failures

    def to_json(self) -> bytes:
        """One JSON object, indented: the fields, and `passed` and `failures` before them."""
        fields = msgspec.to_builtins(self) | {"unreadable": self._unreadable_by_label()}
        whole = {"passed": self.passed, "failures": self.failures, **fields}
        return msgspec.json.format(msgspec.json.encode(whole), indent=2)

    def _unreadable_by_label(self) -> dict[str, list[Unreadable]]:
        return {
            label.name.lower(): [one for one in self.unreadable if one.label == label.name.lower()]
            for label in Label
        }


def audit(samples: Sequence[Sample], *, folds: int = 5, seed: int = 0, workers: int = 1) -> Audit:
    """Read every sample once, by `workers` threads, and ask what tells the label and what leaks.

    No sample is left out: one that cannot be read is named. Copies are compared each with each, so that the
    time for 100,000 samples is minutes and grows with the square of their number.
    """
    looks, unreadable = look_at(samples, workers=workers)
    shortcuts = measure(of_files(looks), [look.sample for look in looks], folds=folds, seed=seed)
    return _audit(samples, shortcuts, find_duplicates(looks), unreadable)


def audit_views(
    samples: Sequence[Sample],
    augmentation: Augmentation,
    *,
    folds: int = 5,
    seed: int = 0,
    workers: int = 1,
    most_views: int = MOST_VIEWS,
    most_compared: int = MOST_COMPARED,
) -> Audit:
    """An audit of what a network sees in training: each picture after `augmentation`.

    File names, containers and metadata never reach it, so they are no shortcut here. What does reach it:
    colours; with `resize`, the size and shape of the picture, as the ratio of the resampling; without it, a
    side that is shorter than the crop, as a seam; and without `reencoded` the traces of format and
    quantisation in the pixels. At most `most_views` views of a class are made, drawn by `seed`, and copies are
    sought among `most_compared` samples. Raises `DataError` with the path of a sample that cannot be read.
    """
    compared = [samples[at] for at in _draw(len(samples), most_compared, seed)]
    looks, unreadable = look_at(compared, workers=workers, with_pdq=False)
    if unreadable:
        raise DataError(
            f"{unreadable[0].name} cannot be read: {unreadable[0].message}",
            code="unreadable_sample",
            hint="Remove it from the data set, or repair it; 'veridical audit' names all of its kind.",
        )
    by_label = [[look for look in looks if look.sample.label is label] for label in Label]
    shown = [of_label[at] for of_label in by_label for at in _draw(len(of_label), most_views, seed)]
    drawn = [look.sample for look in shown]
    colours = view_colours(drawn, augmentation, seed=seed, workers=workers)
    shortcuts = measure(of_views(shown, colours, augmentation), drawn, folds=folds, seed=seed)
    notes = []
    if len(shown) < len(samples):
        notes.append(f"shortcuts were sought in views of {len(shown)} of {len(samples)} samples")
    if len(compared) < len(samples):
        notes.append(f"copies were sought among {len(compared)} of {len(samples)} samples")
    return _audit(samples, shortcuts, find_duplicates(looks), (), tuple(notes))


def _audit(
    samples: Sequence[Sample],
    shortcuts: dict[str, Shortcut],
    duplicates: tuple[Duplicate, ...],
    unreadable: Sequence[Unreadable],
    notes: tuple[str, ...] = (),
) -> Audit:
    counts = _count(samples, unreadable)
    if "source" in shortcuts:
        single = sum(len(labels) == 1 for labels in counts.sources.values())
        note = f"{single} of {len(counts.sources)} sources hold one class only"
        found = shortcuts["source"]
        shortcuts["source"] = replace(found, note="; ".join(filter(None, (note, found.note))))
    return Audit(
        shortcuts=shortcuts,
        duplicates=duplicates,
        groups_in_two_splits=_in_two_splits(samples, lambda s: s.group, lambda s: s.group == s.source),
        prompts_in_two_splits=_in_two_splits(samples, lambda s: s.prompt, lambda s: False),
        unreadable=tuple(unreadable),
        counts=counts,
        notes=notes,
    )


def _in_two_splits(
    samples: Sequence[Sample], name: Callable[[Sample], str], is_source: Callable[[Sample], bool]
) -> tuple[InTwoSplits, ...]:
    members: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        if name(sample):
            members[name(sample)].append(sample)
    splits = {key: sorted({sample.split for sample in found}) for key, found in members.items()}
    return tuple(
        InTwoSplits(key, tuple(splits[key]), len(found), source_only=all(map(is_source, found)))
        for key, found in sorted(members.items())
        if len(splits[key]) > 1
    )


def _count(samples: Sequence[Sample], unreadable: Sequence[Unreadable]) -> SetCounts:
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    sources: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in samples:
        label = sample.label.name.lower()
        splits[sample.split][label] += 1
        sources[sample.source][label] += 1
    fakes = Counter(sample.generator for sample in samples if sample.label is Label.FAKE)
    return SetCounts(
        samples=len(samples),
        splits={name: dict(splits[name]) for name in sorted(splits)},
        generators=dict(sorted(fakes.items())),
        sources={name: dict(sources[name]) for name in sorted(sources)},
        unreadable=dict(Counter(one.label for one in unreadable)),
    )


def _draw(count: int, most: int, seed: int) -> list[int]:
    """At most `most` of the places 0 to `count`, in order."""
    if count <= most:
        return list(range(count))
    return sorted(int(at) for at in np.random.default_rng(seed).choice(count, size=most, replace=False))
