"""The aims of the default detector, and by how much a card misses them.

The aims were set before the default was trained (issue 13 of this project), and are the same for every card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from veridical.data.perturbations import DELIVERIES
from veridical.explanation.words import estimate_in_words
from veridical.models.card import Card, Estimate, Measurement
from veridical.reports.escaping import visible

if TYPE_CHECKING:
    # Not while running: a card is printed without what measures robustness.
    from veridical.evaluation.robustness import Robustness

LEAST_FAKES = 30  # of a generator whose AUROC counts
LEAST_REALS = 100  # of a source whose false positives count

_NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Costs:
    """The costs of a bundle: its files in bytes, one decoded 1 MP picture in CPU ms on one core.

    `cold_start` is the CPU time of one whole process as a share of that of a script on torch and Pillow.
    """

    bundle_bytes: int | None = None
    cpu_ms: float | None = None
    cold_start: float | None = None


@dataclass(frozen=True)
class Outcome:
    """One aim, and what became of it, in words."""

    aim: str
    wanted: str
    measured: str
    result: str

    @property
    def is_missed(self) -> bool:
        """Whether it was measured and not reached."""
        return self.result.startswith("missed")


def outcomes(card: Card, robustness: Mapping[str, Robustness] | None, costs: Costs) -> list[Outcome]:
    """Every aim against the first split that the card was measured on, the robustness and the costs."""
    measured = card.measured[0] if card.measured else None
    return [
        *_of_ranking(measured),
        _false_positives(card, measured),
        *_of_verdicts(measured),
        *_of_robustness(robustness or {}),
        _plain("Files of the bundle", 60, costs.bundle_bytes and costs.bundle_bytes / 1e6, unit="MB"),
        _plain("CPU time of a 1 MP picture on one core", 400, costs.cpu_ms, unit="ms"),
        _plain("Cold start, share of a torch and Pillow script's CPU time", 1 / 6, costs.cold_start),
    ]


def _of_ranking(measured: Measurement | None) -> Iterator[Outcome]:
    yield _outcome("AUROC, all generators", 0.92, _metric(measured, "auroc"), metric="auroc")
    yield _outcome("AUROC inside publishers, mean", 0.90, _metric(measured, "within"), metric="within")
    generators = measured.generators if measured else {}
    enough = {
        name: cells["auroc"]
        for name, cells in generators.items()
        if "auroc" in cells and cells["auroc"].n >= LEAST_FAKES
    }
    worst = min(enough, key=lambda name: enough[name].value, default=None)
    yield _outcome(
        f"AUROC, worst generator of at least {LEAST_FAKES} pictures",
        0.90,
        None if worst is None else enough[worst],
        metric="auroc",
        where="" if worst is None else worst,
    )
    yield _outcome("TPR at 5 % FPR", 0.65, _metric(measured, "tpr_at_fpr_5"), metric="tpr_at_fpr_5")


def _of_verdicts(measured: Measurement | None) -> Iterator[Outcome]:
    for aim, name, most in (
        ("AI pictures called real", "fakes_called_real", 0.05),
        ("Real pictures called AI", "fpr", 0.01),
        ("Answered with unsure", "unsure", 0.45),
        ("ECE", "ece", 0.08),
    ):
        yield _outcome(aim, most, _metric(measured, name), metric=name, most=True)


def _false_positives(card: Card, measured: Measurement | None) -> Outcome:
    aim = f"Reals called AI, worst source of at least {LEAST_REALS} reals"
    if card.thresholds.ai is None:
        return Outcome(aim, "at most 3.0 %", "it never says 'ai'", "met")
    sources = measured.sources if measured else {}
    enough = {
        name: cells["fpr"]
        for name, cells in sources.items()
        if "fpr" in cells and cells["fpr"].n >= LEAST_REALS
    }
    if enough:
        worst = max(enough, key=lambda name: enough[name].value)
        return _outcome(aim, 0.03, enough[worst], metric="fpr", most=True, where=worst)
    pooled = _metric(measured, "fpr")
    said = f"no source is that large; all together {_in_full('fpr', pooled)}" if pooled else ""
    return Outcome(aim, "at most 3.0 %", said, _NOT_MEASURED)


def _of_robustness(robustness: Mapping[str, Robustness]) -> Iterator[Outcome]:
    for name, words in (("jpeg_75", "JPEG 75"), ("resize_0.5", "half size and back")):
        found = robustness.get(name)
        change = found.cells.get("auroc_change") if found else None
        lost = change and Estimate(-change.value, -change.high, -change.low, change.n)
        yield _outcome(f"AUROC lost with {words}", 0.03, lost, metric="auroc", most=True)
    delivered = {name: found.cells for name, found in robustness.items() if name in DELIVERIES}
    for aim, cell, most in (
        ("Answers that change under one re-delivery, the worst", "verdict_changes", 0.05),
        ("AI pictures that become real under one re-delivery, the worst", "fakes_become_real", 0.0),
    ):
        worst = max(delivered, key=lambda name: delivered[name][cell].value, default=None)
        estimate = delivered[worst][cell] if worst else None
        yield _outcome(aim, most, estimate, metric=cell, most=True, where=worst or "")


def _metric(measured: Measurement | None, name: str) -> Estimate | None:
    return measured.metrics.get(name) if measured else None


def _outcome(
    aim: str,
    bound: float,
    estimate: Estimate | None,
    *,
    metric: str,
    most: bool = False,
    where: str = "",
) -> Outcome:
    """Whether an estimate is at least `bound`, or with `most` at most; `metric` says how it is written."""
    wanted = f"at {'most' if most else 'least'} {estimate_in_words(metric, bound)}"
    if estimate is None:
        return Outcome(aim, wanted, "", _NOT_MEASURED)
    short = estimate.value - bound if most else bound - estimate.value
    measured = _in_full(metric, estimate) + (f", {visible(where)}" if where else "")
    # A hair's breadth of rounding is no miss.
    missed = f"missed by {estimate_in_words(metric, short).replace('%', 'points')}"
    return Outcome(aim, wanted, measured, missed if short > 1e-9 else "met")


def _in_full(metric: str, estimate: Estimate) -> str:
    value, low, high = (estimate_in_words(metric, x) for x in (estimate.value, estimate.low, estimate.high))
    return f"{value} ({low} to {high}), n = {estimate.n}"


def _plain(aim: str, most: float, value: float | None, *, unit: str = "") -> Outcome:
    def said(number: float) -> str:
        return f"{number:.0f} {unit}" if unit else f"{number:.2f}"

    wanted = f"at most {said(most)}"
    if value is None:
        return Outcome(aim, wanted, "", _NOT_MEASURED)
    result = "met" if value <= most else f"missed by {said(value - most)}"
    return Outcome(aim, wanted, said(value), result)
