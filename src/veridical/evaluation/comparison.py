"""Two detectors on the same samples: is one better, or was it luck?

Both are measured on every bootstrap draw, so that what is hard for both cancels out of the difference; and
McNemar's test looks at the samples on which only one of them is right. Quinn McNemar: Note on the sampling
error of the difference between correlated proportions or percentages, Psychometrika 1947.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from veridical.errors import DataError
from veridical.evaluation import resampling
from veridical.evaluation.intervals import percentiles
from veridical.evaluation.metrics import measured
from veridical.evaluation.predictions import Prediction, as_arrays
from veridical.models.card import Estimate

COMPARED = ("auroc", "ap", "tpr_at_fpr_5")

Sample = tuple[str, str, int]


@dataclass(frozen=True)
class McNemar:
    """How many samples only one of the two judges rightly, and the chance of so uneven a split among equals.

    `p_value` is two-sided and exact (binomial); 1 where the two agree everywhere.
    """

    only_first_right: int
    only_second_right: int
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """The first detector less the second.

    `differences` has the metrics of `COMPARED`, and is empty without both classes. `verdicts_at_threshold` is
    of verdicts at each detector's own threshold, where both have one. `left_out` counts the samples that only
    the first, and only the second, has judged.
    """

    first: str
    second: str
    n: int
    left_out: tuple[int, int]
    differences: dict[str, Estimate]
    verdicts_at_half: McNemar
    verdicts_at_threshold: McNemar | None


def compare(
    first: Sequence[Prediction], second: Sequence[Prediction], *, rounds: int = 1000, by_group: bool = False
) -> Comparison:
    """The two on the samples that both have judged: the same file, by sha256 or else by path, and region.

    Raises `DataError` (`bad_predictions`) if there is no such sample, or if labels disagree.
    """
    ones, others = _by_sample(first), _by_sample(second)
    shared = [sample for sample in ones if sample in others]
    if not shared:
        raise _not_comparable(first, second, "they have no sample in common")
    pairs = [(ones[sample], others[sample]) for sample in shared]
    if wrong := next((one.path for one, other in pairs if one.label != other.label), None):
        raise _not_comparable(first, second, f"they disagree on the label of {wrong}")
    left, right = [one for one, _ in pairs], [other for _, other in pairs]
    return Comparison(
        first=left[0].detector,
        second=right[0].detector,
        n=len(shared),
        left_out=(len(ones) - len(shared), len(others) - len(shared)),
        differences=_differences(left, right, rounds=rounds, by_group=by_group),
        verdicts_at_half=_mcnemar(_right_at_half(left), _right_at_half(right)),
        verdicts_at_threshold=_mcnemar_at_threshold(left, right),
    )


def _by_sample(predictions: Sequence[Prediction]) -> dict[Sample, Prediction]:
    # Copies of one picture in a set are told apart by their order.
    seen: Counter[tuple[str, str]] = Counter()
    samples: dict[Sample, Prediction] = {}
    for row in predictions:
        picture = (row.sha256 or row.path, row.box)
        samples[*picture, seen[picture]] = row
        seen[picture] += 1
    return samples


def _differences(
    left: Sequence[Prediction], right: Sequence[Prediction], *, rounds: int, by_group: bool
) -> dict[str, Estimate]:
    labels, scores, logits = as_arrays(left)
    _, other_scores, other_logits = as_arrays(right)
    ours, theirs = (scores, logits), (other_scores, other_logits)
    if not 0 < labels.sum() < len(labels):
        return {}
    if by_group:
        plan = resampling.whole_groups([row.group for row in left], labels)
    else:
        plan = resampling.samples_within(labels.tolist())
    drawn: dict[str, list[resampling.Values]] = {name: [] for name in COMPARED}
    for counts in resampling.draws(plan, rounds=rounds):
        one, other = (resampling.metrics_of(labels, *numbers, counts) for numbers in (ours, theirs))
        for name in COMPARED:
            drawn[name].append(one[name] - other[name])
    return {
        name: percentiles(
            measured(name, labels, *ours) - measured(name, labels, *theirs),
            np.concatenate(drawn[name]),
            n=len(labels),
        )
        for name in COMPARED
    }


def _mcnemar_at_threshold(left: Sequence[Prediction], right: Sequence[Prediction]) -> McNemar | None:
    if any(np.isnan(row.threshold_ai) for row in (*left, *right)):
        return None
    return _mcnemar(_right_at_threshold(left), _right_at_threshold(right))


def _right_at_half(rows: Sequence[Prediction]) -> npt.NDArray[np.bool_]:
    return np.array([(row.score >= 0.5) == (row.label == "fake") for row in rows])


def _right_at_threshold(rows: Sequence[Prediction]) -> npt.NDArray[np.bool_]:
    return np.array([(row.score >= row.threshold_ai) == (row.label == "fake") for row in rows])


def _mcnemar(left: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> McNemar:
    only_left, only_right = int((left & ~right).sum()), int((~left & right).sum())
    apart = only_left + only_right
    return McNemar(only_left, only_right, float(stats.binomtest(only_left, apart).pvalue) if apart else 1.0)


def _not_comparable(first: Sequence[Prediction], second: Sequence[Prediction], why: str) -> DataError:
    names = " and ".join(f"'{rows[0].detector}'" for rows in (first, second) if rows)
    return DataError(
        f"{names} cannot be compared: {why}.",
        code="bad_predictions",
        hint="Samples are matched by their sha256, or by their path where they have none.",
    )
