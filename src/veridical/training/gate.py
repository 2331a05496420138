"""The audit that a data set passes before it is trained on, or is trained on in spite of.

Audited are the splits `train` and `val` (of a set without splits, everything), as the network will see them:
`evaluation.audit.audit_views` says what of a file reaches it. So a set whose fakes are PNG and whose reals are
JPEG passes for an experiment that re-encodes both alike, and fails for one that does not.

Colours that tell the classes apart are said and recorded, but do not stop a training: they are what the
pictures show, no encoding takes them away, and sets of one subject and one camera hardly exist.

What passed is kept in the run's folder, and not asked again of the same samples and augmentation. Files that
are kept back for measuring (`data.kept_back`) are refused first, whatever is accepted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veridical.data.kept_back import require_not_kept_back
from veridical.data.loader import Augmentation
from veridical.data.samples import Sample, data_paths
from veridical.errors import DataError
from veridical.evaluation.audit import Audit, audit_views
from veridical.files import replace_file
from veridical.training.experiment import Experiment, Head
from veridical.training.loop import Run

RECORD = "audit.json"

# What is recorded on the card without a refusal.
CONTENT = frozenset({"colour"})


@dataclass(frozen=True)
class Passed:
    """Samples, by name, that may be trained on in the `view` of an experiment, and what they failed in it.

    One audit of a set does for all folds of it.
    """

    names: frozenset[str]
    view: str
    failures: tuple[str, ...]

    def require(self, samples: Sequence[Sample], experiment: Experiment) -> None:
        """Raise `DataError` (`not_audited`) for samples or a view that the audit did not see."""
        others = {sample.name for sample in samples} - self.names
        if others or _view(experiment) != self.view:
            raise DataError(
                f"{len(others)} samples were not audited as '{experiment.name}' sees them.", code="not_audited"
            )


def pass_audit(experiment: Experiment, samples: Sequence[Sample], run: Run) -> Passed:
    """The audit of `samples`, all that an experiment trains on and validates with.

    Raises `DataError`: `kept_back`; and `shortcuts` if they fail and the run does not accept that. Then nothing
    is written. Of several processes only the first asks.
    """
    names, view = frozenset(sample.name for sample in samples), _view(experiment)
    if not run.processes.is_first:
        return Passed(names, view, ())
    data = ";".join(filter(None, (experiment.data, experiment.val_data)))
    require_not_kept_back(samples, data_paths(data))
    question = _question(view, samples)
    answered = _read_record(run.folder, question)
    if answered is not None:
        return Passed(names, view, answered)
    found = audit_views(samples, views_of(experiment), seed=experiment.seed, workers=run.workers)
    for line in _in_words(found):
        run.say(line)
    refused = [name for name in found.failures if name not in CONTENT]
    if refused and not run.accept_shortcuts:
        raise DataError(
            f"{experiment.data} fails its audit: {', '.join(refused)}.",
            code="shortcuts",
            hint="A network would learn that instead of the traces of generators. Mend the set ('veridical "
            "audit --as-trained' says more), or train with --accept-shortcuts, which the card records.",
        )
    _write_record(run.folder, question, found)
    return Passed(names, view, found.failures)


def views_of(experiment: Experiment) -> Augmentation:
    """The way of pictures to the network in training: for a head on untouched views, a cut alone."""
    fit, input = experiment.fit, experiment.input
    if isinstance(fit, Head) and (fit.views or not (fit.copies or fit.encoded)):
        resize = input.size if input.kind == "resize" else 0
        return Augmentation(crop=input.size, resize=resize, downscale=0.0, flip=0.0, reencoded=False)
    if isinstance(fit, Head) and not fit.copies:
        return Augmentation(crop=input.size, downscale=0.0)
    return experiment.augmentation


def _view(experiment: Experiment) -> str:
    return f"{views_of(experiment)!r}\n{experiment.seed}"


def _question(view: str, samples: Sequence[Sample]) -> str:
    """Everything that an audit depends on, as one hash; of the files it takes the manifest's word."""
    rows = sorted(f"{s.name} {s.sha256} {int(s.label)} {s.split} {s.group} {s.box} {s.prompt}" for s in samples)
    whole = "\n".join([view, *rows])
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
