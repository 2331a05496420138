"""Robustness to perturbations: the change of a detector's metrics and verdicts on the same samples.

Both are measured on every bootstrap draw, so that what is hard with and without the perturbation cancels out
of the change. Reals and fakes are drawn apart, and in the tables of generators each generator's fakes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from veridical.data.perturbations import NAMED
from veridical.errors import DataError
from veridical.evaluation import metrics, resampling
from veridical.evaluation.benchmark import by_detector
from veridical.evaluation.intervals import percentiles, wilson
from veridical.evaluation.metrics import Labels, Scores
from veridical.evaluation.predictions import Prediction, as_arrays, read_predictions
from veridical.evaluation.resampling import Counts, Indices, Plan, Values
from veridical.models.card import Estimate
from veridical.results import Verdict

Cells = dict[str, Estimate]
Numbers = tuple[Scores, Scores]  # the scores of all samples, and their logits
Pair = tuple[Prediction, Prediction]  # a sample as it is, and perturbed

_METRICS = ("auroc", "tpr_at_fpr_5", "balanced_accuracy")
_OPPOSITE = {Verdict.AI: Verdict.REAL, Verdict.REAL: Verdict.AI}
RATES = ("verdict_flips", "verdicts_lost", "verdict_changes", "fakes_become_real", "half_crossed")
CELLS = (*(name + end for name in _METRICS for end in ("", "_change")), *RATES)


@dataclass(frozen=True)
class Robustness:
    """One detector after one perturbation.

    `cells` holds AUROC, TPR at 5 % FPR and balanced accuracy at 0.5, and their changes from the same samples
    unperturbed (below 0 is worse); they are absent without both classes. `verdict_flips` is the share of
    verdicts (those that are not `unsure`) that become the opposite, `verdicts_lost` that become `unsure`: of
    no verdicts it is `nan`. `verdict_changes` is the share of all samples whose answer changes, `unsure` being
    one; `fakes_become_real` that of the fakes not called real before. `half_crossed` is the share of all scores
    that come to lie on the other side of 0.5. `generators` has the same of each generator's fakes, against all
    the reals; there n counts the fakes. `left_out` is the number of samples with one of the two scores missing.
    """

    operation: str
    severity: str
    cells: Cells
    generators: dict[str, Cells]
    left_out: int


def measure(predictions: Sequence[Prediction], *, rounds: int = 1000) -> dict[str, dict[str, Robustness]]:
    """Of each detector, by the name of the perturbation, `none` first.

    Raises `DataError` (`bad_predictions`) if there are no perturbed rows, or a detector has none to compare
    them with.
    """
    found = {row.perturbation for row in predictions}
    if found <= {"none"}:
        raise DataError(
            "The predictions hold no perturbed samples.",
            code="bad_predictions",
            hint="Make them: veridical predict DETECTOR... --data SOURCE --perturbation all -o FILE.parquet",
        )
    clean, _ = by_detector(predictions)
    table: dict[str, dict[str, Robustness]] = {name: {} for name in clean}
    for perturbation in [name for name in NAMED if name in found] + sorted(found - set(NAMED)):
        perturbed, _ = by_detector(predictions, perturbation=perturbation)
        for detector, rows in perturbed.items():
            pairs = _pairs(clean.get(detector, []), rows)
            left_out = len(rows) + len(clean[detector]) - 2 * len(pairs)
            table[detector][perturbation] = _robustness(pairs, left_out=left_out, rounds=rounds)
    return table


def of_bundle(path: Path, sha256: str, *, rounds: int = 1000) -> dict[str, Robustness]:
    """The robustness of one bundle in a file of predictions, by the name of the perturbation.

    Raises `DataError` (`bad_predictions`) if it holds none by the bundle with that hash of its card.
    """
    rows = [row for row in read_predictions(path) if row.bundle == sha256]
    if not rows:
        raise DataError(
            f"{path} holds no predictions by the bundle {sha256[:12]}.",
            code="bad_predictions",
            hint="Make them: veridical predict BUNDLE --data SOURCE --perturbation all -o FILE.parquet",
        )
    (found,) = measure(rows, rounds=rounds).values()
    return found


def to_json(table: Mapping[str, Mapping[str, Robustness]]) -> dict[str, dict[str, dict[str, object]]]:
    """Every cell; what is not defined has no value (`nan`, in JSON null) and an n of 0."""
    return {
        detector: {
            perturbation: {
                "operation": found.operation,
                "severity": found.severity,
                "left_out": found.left_out,
                **_complete(found.cells),
                "generators": {name: _complete(cells) for name, cells in found.generators.items()},
            }
            for perturbation, found in rows.items()
        }
        for detector, rows in table.items()
    }


def _pairs(clean: Sequence[Prediction], perturbed: Sequence[Prediction]) -> list[Pair]:
    by_sample = {(row.path, row.sha256, row.box): row for row in perturbed}
    pairs = [
        (row, by_sample[sample]) for row in clean if (sample := (row.path, row.sha256, row.box)) in by_sample
    ]
    why = ""
    if not pairs:
        why = "it has judged none of the same samples as they are"
    elif any(before.bundle != after.bundle for before, after in pairs):
        why = "another bundle of that name has judged them as they are"
    elif any(before.label != after.label for before, after in pairs):
        why = "labels differ"
    if why:
        raise DataError(
            f"What '{perturbed[0].detector}' says after {perturbed[0].perturbation} cannot be compared: {why}.",
            code="bad_predictions",
        )
    return pairs


def _robustness(pairs: Sequence[Pair], *, left_out: int, rounds: int) -> Robustness:
    name = pairs[0][1].perturbation
    labels, *of_before = as_arrays([row for row, _ in pairs])
    _, *of_after = as_arrays([row for _, row in pairs])
    before, after = (of_before[0], of_before[1]), (of_after[0], of_after[1])
    changes = functools.partial(_changes, labels=labels, before=before, after=after, rounds=rounds)
    generators = {
        generator: np.array(
            [
                place
                for place, (row, _) in enumerate(pairs)
                if row.label == "fake" and row.generator == generator
            ]
        )
        for generator in sorted({row.generator for row, _ in pairs if row.label == "fake"})
    }
    every = changes({"": np.flatnonzero(labels == 1)}, plan=resampling.samples_within(labels.tolist()))[""]
    of_generators = changes(generators, plan=_within_generators(pairs))
    return Robustness(
        operation=NAMED[name].operation if name in NAMED else name,
        severity=NAMED[name].severity if name in NAMED else "",
        cells=every | _rates(pairs),
        generators={
            generator: {
                cell: dataclasses.replace(e, n=len(own)) for cell, e in of_generators[generator].items()
            }
            | _rates([pairs[place] for place in own])
            for generator, own in generators.items()
        },
        left_out=left_out,
    )


def _within_generators(pairs: Sequence[Pair]) -> Plan:
    return resampling.samples_within([row.generator if row.label == "fake" else None for row, _ in pairs])


def _changes(
    groups: Mapping[str, Indices], *, labels: Labels, before: Numbers, after: Numbers, plan: Plan, rounds: int
) -> dict[str, Cells]:
    """Metrics and their changes for each group of fakes against all the reals; empty without both classes."""
    if not 0 < labels.sum() < len(labels):
        return {group: {} for group in groups}
    drawn: dict[str, dict[str, list[Values]]] = {group: {cell: [] for cell in CELLS} for group in groups}
    for counts in resampling.draws(plan, rounds=rounds):
        ones, others = (_drawn(groups, labels, *numbers, counts) for numbers in (before, after))
        for (group, one), (_, other) in zip(ones, others, strict=True):
            for metric in _METRICS:
                drawn[group][metric].append(other[metric])
                drawn[group][f"{metric}_change"].append(other[metric] - one[metric])
    reals = np.flatnonzero(labels == 0)
    return {
        group: _estimates(
            labels[both := np.concatenate([reals, own])],
            (before[0][both], before[1][both]),
            (after[0][both], after[1][both]),
            drawn[group],
        )
        for group, own in groups.items()
    }


def _estimates(labels: Labels, before: Numbers, after: Numbers, drawn: Mapping[str, Sequence[Values]]) -> Cells:
    cells = {}
    for name in _METRICS:
        value = metrics.measured(name, labels, *after)
        for cell, of in ((name, value), (f"{name}_change", value - metrics.measured(name, labels, *before))):
            cells[cell] = percentiles(of, np.concatenate(drawn[cell]), n=len(labels))
    return cells


def _drawn(
    groups: Mapping[str, Indices], labels: Labels, scores: Scores, logits: Scores, counts: Counts
) -> Iterator[tuple[str, dict[str, Values]]]:
    real, fake = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    placed = resampling.placement(logits[real], logits[fake], counts[:, real])
    real_accuracy = counts[:, real] @ (scores[real] < 0.5) / placed.reals[:, 0]
    for group, own in groups.items():
        placed_own, own_counts = placed.of(np.searchsorted(fake, own)), counts[:, own]
        fake_accuracy = own_counts @ (scores[own] >= 0.5) / own_counts.sum(axis=1)
        yield (
            group,
            {
                "auroc": resampling.auroc(placed_own, own_counts),
                "tpr_at_fpr_5": resampling.tpr_at_fpr(placed_own, own_counts, fpr=0.05),
                "balanced_accuracy": (real_accuracy + fake_accuracy) / 2,
            },
        )


def _rates(pairs: Sequence[Pair]) -> Cells:
    verdicts = [(one.verdict, other.verdict) for one, other in pairs if one.verdict is not Verdict.UNSURE]
    of_fakes = [other for one, other in pairs if one.label == "fake" and one.verdict is not Verdict.REAL]
    crossed = sum((one.score >= 0.5) != (other.score >= 0.5) for one, other in pairs)
    return {
        "verdict_flips": wilson(sum(other is _OPPOSITE[one] for one, other in verdicts), len(verdicts)),
        "verdicts_lost": wilson(sum(other is Verdict.UNSURE for _, other in verdicts), len(verdicts)),
        "verdict_changes": wilson(sum(one.verdict is not other.verdict for one, other in pairs), len(pairs)),
        "fakes_become_real": wilson(sum(other.verdict is Verdict.REAL for other in of_fakes), len(of_fakes)),
        "half_crossed": wilson(crossed, len(pairs)),
    }


def _complete(cells: Cells) -> Cells:
    return {name: cells.get(name, Estimate(math.nan, math.nan, math.nan, 0)) for name in CELLS}
