"""The audit that a data set passes before it is trained on, or is trained on in spite of.

Audited are the splits `train` and `val` (of a set without splits, everything), as the network will see them:
`evaluation.audit.audit_views` says what of a file reaches it. So a set whose fakes are PNG and whose reals are
JPEG passes for an experiment that re-encodes both alike, and fails for one that does not.

Colours that tell the classes apart are said and recorded, but do not stop a training: they are what the
pictures show, no encoding takes them away, and sets of one subject and one camera hardly exist.

The verdict is kept in the run's folder, and not asked again of the same samples and augmentation.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from veridical.data.samples import Sample, read_samples
from veridical.errors import DataError
from veridical.evaluation.audit import Audit, audit_views
from veridical.files import replace_file
from veridical.training.experiment import Experiment

RECORD = "audit.json"

# What is recorded on the card without a refusal.
CONTENT = frozenset({"colour"})


def pass_audit(
    experiment: Experiment,
    folder: Path,
    *,
    accept: bool,
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> tuple[str, ...]:
    """The names of the failures with which the experiment's data are trained on; empty if they pass.

    Raises `DataError` (`shortcuts`) if they fail, unless `accept`, and then writes nothing.
    """
    samples = _training_samples(experiment)
    if not samples:  # training itself says best which split is missing
        return ()
    question = _question(experiment, samples)
    answered = _read_record(folder, question)
    if answered is not None:
        return answered
    found = audit_views(samples, experiment.augmentation, seed=experiment.seed, workers=workers)
    for line in _in_words(found):
        say(line)
    refused = [name for name in found.failures if name not in CONTENT]
    if refused and not accept:
        raise DataError(
            f"{experiment.data} fails its audit: {', '.join(refused)}.",
            code="shortcuts",
            hint="A network would learn that instead of the traces of generators. Mend the set ('veridical "
            "audit --as-trained' says more), or train with --accept-shortcuts, which the card records.",
        )
    _write_record(folder, question, found)
    return found.failures


def _training_samples(experiment: Experiment) -> list[Sample]:
    """What is trained on or validates, of sets with splits and of sets without."""
    if not experiment.val_data:
        return [s for s in read_samples(experiment.data) if s.split in ("", "train", "val")]
    parts = {"train": experiment.data, "val": experiment.val_data}
    return [
        dataclasses.replace(sample, split=split)
        for split, data in parts.items()
        for sample in read_samples(data)
        if sample.split in ("", split)
    ]


def _question(experiment: Experiment, samples: Sequence[Sample]) -> str:
    """What an audit depends on, as one hash; of the files it takes the manifest's word."""
    rows = sorted(f"{s.name} {s.sha256} {int(s.label)} {s.split} {s.group} {s.box} {s.prompt}" for s in samples)
    whole = "\n".join([repr(experiment.augmentation), str(experiment.seed), *rows])
    return hashlib.sha256(whole.encode(errors="surrogateescape")).hexdigest()


def _read_record(folder: Path, question: str) -> tuple[str, ...] | None:
    path = folder / RECORD
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    return tuple(record["failures"]) if record["question"] == question else None


def _write_record(folder: Path, question: str, found: Audit) -> None:
    record = {"question": question, **json.loads(found.to_json())}
    replace_file(folder / RECORD, json.dumps(record, indent=2).encode() + b"\n")


def _in_words(found: Audit) -> list[str]:
    lines = []
    for name, shortcut in found.shortcuts.items():
        value = shortcut.balanced_accuracy
        what = shortcut.note if value is None else f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
        lines.append(f"audit: {name} {what}{' fails' if shortcut.failed else ''}")
    for one in found.duplicates:
        lines.append(f"audit: {one.kind} copies: {' = '.join(copy.name for copy in one.copies)}")
    for in_two in (*found.groups_in_two_splits, *found.prompts_in_two_splits):
        if not in_two.source_only:
            lines.append(f"audit: {in_two.name} is in the splits {', '.join(in_two.splits)}")
    return [*lines, *(f"audit: {note}" for note in found.notes)]
