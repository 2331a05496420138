"""The figures of a benchmark; the same predictions give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from veridical.evaluation import curves
from veridical.models.card import Estimate
from veridical.reports.benchmark.measured import Measured
from veridical.reports.svg import (
    DASHES,
    FAKE,
    INK,
    LINE,
    QUIET,
    REAL,
    SERIES,
    SURFACE,
    WIDTH,
    Plot,
    drawing,
    finished,
)


@dataclass(frozen=True)
class Series:
    """How a detector's line looks in the figures that compare: `number` from 1, and the dashes of the line."""

    measured: Measured
    number: int
    dashes: tuple[float, ...]

    @property
    def colour(self) -> str:
        """The stand-in that `Plot.svg` replaces."""
        return SERIES[self.number - 1]


def leaders(measured: Sequence[Measured]) -> list[Series]:
    """The first detectors of a sorted list, as many as can be told apart by colour and by dashes."""
    ranked = [m for m in measured if m.is_ranked][: len(SERIES)]
    return [Series(m, i, dashes) for i, (m, dashes) in enumerate(zip(ranked, DASHES, strict=False), start=1)]


def ranking(measured: Sequence[Measured]) -> Plot:
    """AUROC of every detector with its interval."""
    ranked = [m for m in measured if m.is_ranked]
    with drawing(height=0.8 + 0.45 * len(ranked)) as (figure, axes):
        for place, m in enumerate(ranked):
            area = m.metrics["auroc"]
            axes.plot([area.low, area.high], [place, place], color=INK, linewidth=1.5)
            axes.plot(area.value, place, "o", color=INK, markersize=6)
            axes.text(0.0, place - 0.2, _short(m.name), fontsize=9)
            axes.text(1.0, place - 0.2, _estimate(area), fontsize=9, ha="right", color=QUIET)
            axes.axhline(place + 0.35, color=LINE, linewidth=0.7)
        axes.axvline(0.5, color=QUIET, linestyle="--", linewidth=1)
        axes.set(xlim=(0, 1), ylim=(len(ranked) - 0.5, -0.75), yticks=[], xlabel="AUROC")
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False, axis="y")
    told = " ".join(f"{m.name}: {_estimate(m.metrics['auroc'])}." for m in ranked)
    return finished(
        figure,
        "ranking",
        alt=f"AUROC of {len(ranked)} detectors, the highest first. {told}",
        caption="Dot: AUROC. Line: its 95 % interval. Dashed: 0.5, as good as guessing.",
    )


def roc(measured: Sequence[Measured]) -> Plot:
    """ROC of every detector; the leaders' lines can be told apart."""
    with drawing(height=WIDTH) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        for line, m in _lines(measured):
            curve = curves.roc(m.labels, m.scores)
            axes.plot(curve.x, curve.y, **line)
        axes.set(xlabel="FPR: share of reals called fake", ylabel="TPR: share of fakes called fake")
        _unit_square(axes)
    told = " ".join(_told_at_rates(s.measured) for s in leaders(measured))
    return finished(
        figure,
        "roc",
        alt=f"ROC curves. {told}",
        caption="ROC: every threshold at once. Up and to the left is better. Dashed: guessing."
        f"{_others(measured)}",
    )


def precision_recall(measured: Sequence[Measured]) -> Plot:
    """Precision against recall of every detector; the leaders' lines can be told apart."""
    with drawing(height=WIDTH) as (figure, axes):
        for share in sorted({m.fakes / len(m.labels) for m in measured if m.is_ranked}):
            axes.axhline(share, color=QUIET, linestyle="--", linewidth=1)
        for line, m in _lines(measured):
            curve = curves.precision_recall(m.labels, m.scores)
            axes.step(curve.x, curve.y, where="pre", **line)
        axes.set(xlabel="Recall: share of fakes called fake", ylabel="Precision: share of fakes among them")
        _unit_square(axes)
    told = " ".join(f"{s.measured.name}: AP {_estimate(s.measured.metrics['ap'])}." for s in leaders(measured))
    return finished(
        figure,
        "precision-recall",
        alt=f"Precision against recall. {told}",
        caption="Precision and recall: up and to the right is better. Dashed: the share of fakes in the set, "
        f"the precision of guessing.{_others(measured)}",
    )


def coverage_risk(measured: Sequence[Measured]) -> Plot:
    """How the errors grow with the share of pictures that get an answer."""
    with drawing(height=WIDTH) as (figure, axes):
        for line, m in _lines(measured):
            # A few pictures are no rate: the line starts where ten answers stand behind it.
            points = [p for p in curves.coverage_risk(m.labels, m.scores) if p.risk.n >= 10]
            axes.plot([p.coverage for p in points], [p.risk.value for p in points], **line)
        axes.set(xlabel="Coverage: share of pictures answered", ylabel="Risk: share of wrong answers at 0.5")
        axes.set(xlim=(0, 1), ylim=(0, None))
    told = " ".join(_told_at_coverages(s.measured) for s in leaders(measured))
    return finished(
        figure,
        "coverage-risk",
        alt=f"Share of wrong answers against share of pictures answered, the surest first. {told}",
        caption="Coverage and risk: the pictures whose score is farthest from 0.5 are answered first, from the "
        f"tenth on. Lower is better; a line that rises knows when it errs.{_others(measured)}",
    )


def reliability(measured: Measured) -> Plot:
    """Share of fakes against score, with Wilson's interval of each bin."""
    bins = curves.reliability(measured.labels, measured.scores)
    with drawing(height=3.4) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=QUIET, linestyle="--", linewidth=1)
        values = np.array([b.fakes.value for b in bins])
        axes.errorbar(
            [b.mean_score for b in bins],
            values,
            yerr=[values - [b.fakes.low for b in bins], [b.fakes.high for b in bins] - values],
            fmt="o-", color=INK, markersize=4.5, linewidth=1, elinewidth=1.5, capsize=2.5,
        )  # fmt: skip
        axes.set(xlabel="Score: probability of fake", ylabel="Share of fakes")
        _unit_square(axes)
    told = " ".join(
        f"At score {b.mean_score:.2f}: {_estimate(b.fakes, digits=2)} are fake, n {b.fakes.n}." for b in bins
    )
    return finished(
        figure,
        f"reliability-{measured.name}",
        alt=f"Reliability of {measured.name}. {told}",
        caption=f"Reliability over {len(bins)} filled bins of 15, {len(measured.labels)} pictures in all, with "
        "Wilson’s 95 % interval of each. On the dashed line a score of 0.7 means that 70 % are fake.",
    )


def histogram(measured: Measured) -> Plot:
    """Scores of fakes above the line and of reals below it."""
    held = curves.score_histogram(measured.labels, measured.scores)
    fakes = 100 * held.fakes / max(measured.fakes, 1)
    reals = 100 * held.reals / max(measured.reals, 1)
    with drawing(height=3.4) as (figure, axes):
        left, width = held.edges[:-1], np.diff(held.edges)
        for heights, colour in ((fakes, FAKE), (-reals, REAL)):
            axes.bar(left, heights, width, align="edge", color=colour, edgecolor=SURFACE, linewidth=0.8)
        axes.axhline(0, color=INK, linewidth=1)
        top = 1.45 * max(fakes.max(), reals.max())
        _label(axes, f"fakes, n {measured.fakes}", (0.5, top), (0, -12), "center")
        _label(axes, f"reals, n {measured.reals}", (0.5, -top), (0, 17), "center")
        for name, threshold in _thresholds(measured):
            axes.axvline(threshold, color=INK, linestyle=":", linewidth=1.5)
            if threshold < 0.5:
                _label(axes, name, (threshold, -top), (3, 3), "left")
            else:
                _label(axes, name, (threshold, -top), (-3, 3), "right")
        axes.set(xlim=(0, 1), ylim=(-top, top), xlabel="Score: probability of fake", ylabel="Per cent of class")
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    told = (
        f"Quartiles of the fakes’ scores: {_quartiles(measured, 1)}; of the reals’: {_quartiles(measured, 0)}."
    )
    limits = " ".join(f"{name} {threshold:.3f}." for name, threshold in _thresholds(measured))
    return finished(
        figure,
        f"histogram-{measured.name}",
        alt=f"Histogram of the scores of {measured.name}. {told} {limits}".strip(),
        caption=f"Scores of {measured.fakes} fakes (above the line) and {measured.reals} reals (below it), "
        f"each as per cent of its class. {_about_thresholds(measured)}",
    )


def _lines(measured: Sequence[Measured]) -> Iterator[tuple[dict[str, Any], Measured]]:
    """Line styles of all detectors, those behind the leaders first and thin, the best on top."""
    # Any: keyword arguments of a matplotlib line.
    series = leaders(measured)
    named = {s.measured.name for s in series}
    for m in measured:
        if m.is_ranked and m.name not in named:
            yield {"color": QUIET, "linewidth": 0.6, "alpha": 0.6}, m
    for s in reversed(series):
        style = (0, s.dashes) if s.dashes else "-"
        yield {"color": s.colour, "linewidth": 1.8, "linestyle": style}, s.measured


def _label(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    aside: tuple[float, float],
    side: Literal["left", "center", "right"],
) -> None:
    """Text on a ground of its own, `aside` of `place` by so many points."""
    ground = {"facecolor": SURFACE, "edgecolor": "none", "pad": 0.5}
    axes.annotate(text, place, aside, textcoords="offset points", ha=side, fontsize=9, bbox=ground)


def _unit_square(axes: Axes) -> None:
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def _others(measured: Sequence[Measured]) -> str:
    rest = sum(m.is_ranked for m in measured) - len(leaders(measured))
    return f" The thin lines are the other {rest}." if rest > 0 else ""


def _told_at_rates(m: Measured) -> str:
    rates = ", ".join(
        f"{_estimate(m.metrics[f'tpr_at_fpr_{percent}'])} of the fakes at {percent} % FPR" for percent in (1, 5)
    )
    return f"{m.name}: AUROC {_estimate(m.metrics['auroc'])}; finds {rates}."


def _told_at_coverages(m: Measured) -> str:
    points = curves.coverage_risk(m.labels, m.scores)
    chosen = dict.fromkeys(next(p for p in points if p.coverage >= share) for share in (0.25, 0.5, 1.0))
    risks = [f"{_estimate(p.risk)} wrong at {100 * p.coverage:.0f} % coverage" for p in chosen]
    return f"{m.name}: {', '.join(risks)}."


def _thresholds(m: Measured) -> list[tuple[str, float]]:
    """The detector's own thresholds, where all its predictions carry the same."""
    named = {
        "real up to": {p.threshold_real for p in m.rows},
        "AI from": {p.threshold_ai for p in m.rows},
    }
    return [
        (name, value)
        for name, values in named.items()
        if len(values) == 1 and not math.isnan(value := next(iter(values)))
    ]


def _about_thresholds(m: Measured) -> str:
    found = [f"{name} {threshold:.3f}" for name, threshold in _thresholds(m)]
    return f"Dotted: its thresholds, {' and '.join(found)}." if found else "It has no thresholds."


def _quartiles(m: Measured, label: int) -> str:
    chosen = m.scores[m.labels == label]
    if not len(chosen):
        return "none"
    return ", ".join(f"{q:.2f}" for q in np.quantile(chosen, [0.25, 0.5, 0.75]))


def _estimate(estimate: Estimate, *, digits: int = 3) -> str:
    return f"{estimate.value:.{digits}f} ({estimate.low:.{digits}f} to {estimate.high:.{digits}f})"


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:27]}…"
