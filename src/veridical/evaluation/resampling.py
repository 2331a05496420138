"""The bootstrap of many rounds at once: how often each sample is drawn, and the metrics of what was drawn.

Bradley Efron, Robert Tibshirani: An Introduction to the Bootstrap, 1993. A draw is a row of counts, one for
each sample. Nothing is sorted anew in a round: the number of drawn reals above each fake (its placement,
Margaret Pepe, Tianxi Cai: The analysis of placement values for evaluating discriminatory measures, Biometrics
2004) gives the ranking metrics. The results are those of `veridical.evaluation.metrics` on the samples, each
repeated as often as it was drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veridical.evaluation.formulas import matthews_of, sn34_of
from veridical.evaluation.metrics import ECE_BINS, Labels, Scores, bin_of

Counts = npt.NDArray[np.float64]  # (rounds, samples)
Values = npt.NDArray[np.float64]  # (rounds,)
Indices = npt.NDArray[np.intp]

# Rounds times samples that are computed together: arrays of 8 MB, so that ten fit into any memory.
_BLOCK = 1_000_000


@dataclass(frozen=True, eq=False)
class Plan:
    """The plan of a draw: units with replacement, from each stratum as many as it has.

    `unit` (samples,) is the unit of each sample, `stratum` (units,) the stratum of each unit.
    """

    unit: Indices
    stratum: Indices


def samples_within(strata: Sequence[object]) -> Plan:
    """Each sample is a unit; `strata` (samples,) are drawn apart, such as reals and fakes."""
    return Plan(unit=np.arange(len(strata)), stratum=_codes([str(stratum) for stratum in strata]))


def whole_groups(groups: Sequence[str], labels: Labels) -> Plan:
    """Whole groups are drawn, since samples of one publisher resemble one another.

    Groups of reals, groups of fakes, and groups of both are drawn apart, so that no round lacks a class. A
    sample without a group is one of its own.
    """
    names = [name or f"\0{place}" for place, name in enumerate(groups)]
    unit = _codes(names)
    fakes, sizes = np.bincount(unit, weights=labels), np.bincount(unit)
    return Plan(unit=unit, stratum=np.where(fakes == 0, 0, np.where(fakes == sizes, 1, 2)))


def draws(plan: Plan, *, rounds: int, seed: int = 0) -> Iterator[Counts]:
    """Blocks of rows of counts, `rounds` rows in all; the same for the same `seed`."""
    members = [np.flatnonzero(plan.stratum == value) for value in np.unique(plan.stratum)]
    generators = [np.random.default_rng([seed, place]) for place in range(len(members))]
    most = max(1, _BLOCK // max(1, len(plan.unit)))
    for start in range(0, rounds, most):
        counts = np.empty((min(most, rounds - start), len(plan.stratum)))
        for drawn, rng in zip(members, generators, strict=True):
            counts[:, drawn] = _drawn(rng, rounds=len(counts), size=len(drawn))
        yield counts[:, plan.unit]


def _drawn(rng: np.random.Generator, *, rounds: int, size: int) -> npt.NDArray[np.intp]:
    places = rng.integers(0, size, size=(rounds, size)) + size * np.arange(rounds)[:, None]
    return np.bincount(places.ravel(), minlength=rounds * size).reshape(rounds, size)


def _codes(names: Sequence[str]) -> Indices:
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1].reshape(-1)


@dataclass(frozen=True, eq=False)
class Placement:
    """How many of the drawn reals score above each fake, and at or above it, (rounds, fakes).

    `reals` (rounds, 1) is how many were drawn.
    """

    above: Counts
    at_or_above: Counts
    reals: Counts

    def of(self, fakes: Indices) -> Placement:
        """That of some of the fakes."""
        return Placement(self.above[:, fakes], self.at_or_above[:, fakes], self.reals)


def placement(real_scores: Scores, fake_scores: Scores, real_counts: Counts) -> Placement:
    """The place of each fake among the reals of each draw."""
    order = np.argsort(real_scores)
    sorted_scores = real_scores[order]
    below = _cumulated(real_counts[:, order])
    return Placement(
        above=below[:, -1:] - below[:, np.searchsorted(sorted_scores, fake_scores, side="right")],
        at_or_above=below[:, -1:] - below[:, np.searchsorted(sorted_scores, fake_scores, side="left")],
        reals=below[:, -1:],
    )


def auroc(placed: Placement, fake_counts: Counts) -> Values:
    """See `metrics.auroc`."""
    lost = _mean(placed.above + placed.at_or_above, fake_counts) / 2
    return 1 - lost / placed.reals[:, 0]


def tpr_at_fpr(placed: Placement, fake_counts: Counts, *, fpr: float) -> Values:
    """See `metrics.tpr_at_fpr`."""
    return _mean(placed.at_or_above / placed.reals <= fpr, fake_counts)


def average_precision(placed: Placement, fake_scores: Scores, fake_counts: Counts) -> Values:
    """See `metrics.average_precision`."""
    order = np.argsort(fake_scores)
    sorted_scores, counts = fake_scores[order], fake_counts[:, order]
    below = _cumulated(counts)
    found = below[:, -1:] - below[:, np.searchsorted(sorted_scores, sorted_scores, side="left")]
    # A fake that was not drawn weighs nothing; 1 keeps it from being divided by nothing.
    precision = found / np.maximum(1, found + placed.at_or_above[:, order])
    return _mean(precision, counts)


def equal_error_rate(
    real_scores: Scores, fake_scores: Scores, real_counts: Counts, fake_counts: Counts
) -> Values:
    """See `metrics.equal_error_rate`."""
    thresholds = np.unique(np.concatenate([real_scores, fake_scores]))[::-1]
    false_positive = _share_at_or_above(thresholds, real_scores, real_counts)
    gap = false_positive + _share_at_or_above(thresholds, fake_scores, fake_counts) - 1
    # Nothing is called fake before the first threshold, everything after the last: the gap goes from -1 to 1.
    rows = np.arange(len(gap))
    after = np.argmax(gap >= 0, axis=1)
    first = after == 0
    gap_before = np.where(first, -1.0, gap[rows, after - 1])
    rate_before = np.where(first, 0.0, false_positive[rows, after - 1])
    step = -gap_before / (gap[rows, after] - gap_before)
    rates: Values = rate_before + step * (false_positive[rows, after] - rate_before)
    return rates


def metrics_of(labels: Labels, scores: Scores, logits: Scores, counts: Counts) -> dict[str, Values]:
    """Every metric of `metrics.METRICS` for each draw of a set with both classes; ranks are those of logits."""
    real, fake = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    real_counts, fake_counts = counts[:, real], counts[:, fake]
    placed = placement(logits[real], logits[fake], real_counts)
    return {
        "auroc": auroc(placed, fake_counts),
        "ap": average_precision(placed, logits[fake], fake_counts),
        "eer": equal_error_rate(logits[real], logits[fake], real_counts, fake_counts),
        "tpr_at_fpr_1": tpr_at_fpr(placed, fake_counts, fpr=0.01),
        "tpr_at_fpr_5": tpr_at_fpr(placed, fake_counts, fpr=0.05),
        **probability_metrics(labels, scores, counts),
    }


def probability_metrics(labels: Labels, scores: Scores, counts: Counts) -> dict[str, Values]:
    """The metrics of verdicts at 0.5 and of probabilities; those that need a missing class are `nan`."""
    bins = np.eye(ECE_BINS)[bin_of(scores)] * (labels - scores)[:, None]
    columns = [labels, labels * (scores >= 0.5), labels * (scores > 0.5), (scores - labels) ** 2]
    columns += [(1 - labels) * (scores >= 0.5), (1 - labels) * (scores > 0.5)]
    sums = counts @ np.hstack([np.stack(columns, axis=1), bins])
    fakes, found, found_strictly, squared, alarms, alarms_strictly = sums[:, :6].T
    total = counts.sum(axis=1)
    reals = total - fakes
    with np.errstate(invalid="ignore"):  # 0 / 0 is nan, as it should be
        return {
            "balanced_accuracy": (found / fakes + 1 - alarms / reals) / 2,
            "f1": np.where(fakes == 0, np.nan, 2 * found / (found + alarms + fakes)),
            "mcc": matthews_of(found, alarms, fakes, reals),
            "brier": squared / total,
            "ece": np.abs(sums[:, 6:]).sum(axis=1) / total,
            "sn34": sn34_of(matthews_of(found_strictly, alarms_strictly, fakes, reals), squared / total),
        }


def _mean(values: Counts | npt.NDArray[np.bool_], counts: Counts) -> Values:
    """The mean of `values` (rounds, samples) in each round, each counted as often as it was drawn."""
    means: Values = np.einsum("rs,rs->r", counts, values) / counts.sum(axis=1)
    return means


def _share_at_or_above(thresholds: Scores, scores: Scores, counts: Counts) -> Counts:
    order = np.argsort(scores)
    below = _cumulated(counts[:, order])
    return 1 - below[:, np.searchsorted(scores[order], thresholds, side="left")] / below[:, -1:]


def _cumulated(counts: Counts) -> Counts:
    """The counts of the first 0, 1, ... samples."""
    below = np.zeros((len(counts), counts.shape[1] + 1))
    np.cumsum(counts, axis=1, out=below[:, 1:])
    return below
