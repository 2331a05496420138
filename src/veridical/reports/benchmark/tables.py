"""The tables of a benchmark: what is in them; `table_formats` writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from veridical.evaluation.benchmark import Cells
from veridical.evaluation.comparison import COMPARED
from veridical.evaluation.robustness import Robustness
from veridical.models.card import Estimate
from veridical.models.metric import METRIC_KINDS, metric_kind
from veridical.reports.benchmark.measured import Compared, Measured, Results
from veridical.reports.escaping import visible

Cell = Estimate | int | str

_MAIN = (
    "auroc", "within", "tpr_at_fpr_1", "tpr_at_fpr_5", "ap", "eer", "balanced_accuracy", "mcc", "brier", "ece",
    "sn34", "fpr", "unsure",
)  # fmt: skip
# Of a verdict at the detector's own threshold, which not every detector has.
_AT_AI = ("fpr", "tpr", "accuracy_at_threshold")
_AT_REAL = ("reals_called_real", "fakes_called_real")


@dataclass(frozen=True)
class Table:
    """Rows of cells under `columns`, as many in each row; `name` is that of its files.

    The first column names the rows. Estimates have their 95 % interval, and what their n counts is in the
    caption. `heat` is the range of values that a heat map of the table spans, dark to light.
    """

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    heat: tuple[float, float] | None = None


def all_tables(results: Results) -> list[Table]:
    """Every table that has a row."""
    tables = [
        leaderboard(results),
        *by_generator(results),
        *by_source(results),
        by_content(results),
        comparison_with_best(results),
        *by_perturbation(results),
        every_metric(results),
        confusion(results),
    ]
    return [table for table in tables if table.rows]


def leaderboard(results: Results) -> Table:
    """The main metrics of every detector, the highest AUROC first."""
    names = [name for name in _MAIN if any(name in m.metrics for m in results.detectors)]
    return Table(
        name="leaderboard",
        title="Leaderboard",
        caption="Higher is better for AUROC, TPR, AP, balanced accuracy, MCC and SN34; lower for EER, Brier, "
        "ECE, FPR and unsure. FPR is the share of reals called AI at the detector’s own threshold (its n: the "
        "reals), unsure the share without a verdict; a detector without thresholds is always unsure. "
        f"{results.wilson} Otherwise {results.bootstrap}",
        columns=("detector", *map(metric_heading, names), "reals", "fakes"),
        rows=tuple(
            (m.name, *(_cell(m, m.metrics, n) for n in names), m.reals, m.fakes) for m in results.detectors
        ),
    )


def every_metric(results: Results) -> Table:
    """Every metric that was measured, a row for each."""
    names = dict.fromkeys([*METRIC_KINDS, *(name for m in results.detectors for name in m.metrics)])
    return Table(
        name="metrics",
        title="Every metric",
        caption="All that was measured over all pictures; n is what the metric counts: all of them, the reals "
        f"or the fakes. {results.wilson} Otherwise {results.bootstrap}",
        columns=("metric", "n", *(m.name for m in results.detectors)),
        rows=tuple(
            _row(metric_heading(name), results.detectors, [m.metrics for m in results.detectors], name)
            for name in names
            if any(name in m.metrics for m in results.detectors)
        ),
    )


def confusion(results: Results) -> Table:
    """Counts of verdicts at 0.5."""
    counts = [(m.name, m.benchmark.confusion) for m in results.detectors]
    return Table(
        name="confusion",
        title="Verdicts at 0.5",
        caption="Counts of pictures; a score of 0.5 or more calls a picture fake. TP: fakes called fake. FP: "
        "reals called fake. TN: reals called real. FN: fakes called real.",
        columns=("detector", "TP", "FP", "TN", "FN"),
        rows=tuple((name, c.tp, c.fp, c.tn, c.fn) for name, c in counts),
    )


def by_generator(results: Results) -> list[Table]:
    """Each generator's fakes: ranked against all the reals, and called AI."""
    groups = _Groups("generator", results.detectors, [m.benchmark.generators for m in results.detectors])
    means = [m.benchmark.generator_mean for m in results.detectors]
    against = (
        "The fakes of one generator (n of them) against all the reals; the mean counts each generator once."
    )
    return [
        groups.table(
            "auroc",
            name="auroc_by_generator",
            title="AUROC by generator",
            caption=f"{against} {results.bootstrap}",
            means=means,
        ),
        groups.table(
            "tpr_at_fpr_5",
            name="tpr_at_fpr_5_by_generator",
            title="TPR at 5 % FPR by generator",
            caption=f"{against} {results.bootstrap}",
            means=means,
        ),
        groups.table(
            "tpr",
            name="tpr_by_generator",
            title="Fakes called AI by generator",
            caption="TPR at the detector’s own threshold: share of a generator’s fakes (n of them) called AI. "
            f"{results.wilson}",
        ),
    ]


def by_source(results: Results) -> list[Table]:
    """Each source's reals: called AI, and ranked against all the fakes."""
    groups = _Groups("source", results.detectors, [m.benchmark.sources for m in results.detectors])
    return [
        groups.table(
            "fpr",
            name="fpr_by_source",
            title="Reals called AI by source",
            caption="FPR at the detector’s own threshold: share of a source’s reals (n of them) called AI. "
            f"{results.wilson}",
        ),
        groups.table(
            "auroc",
            name="auroc_by_source",
            title="AUROC by source",
            caption=f"The reals of one source (n of them) against all the fakes. {results.bootstrap}",
        ),
    ]


def by_content(results: Results) -> Table:
    """AUROC within each content class; no row where the samples name none."""
    groups = _Groups("content", results.detectors, [m.benchmark.contents for m in results.detectors])
    return groups.table(
        "auroc",
        name="auroc_by_content",
        title="AUROC by content",
        caption=f"The reals and fakes of one content class (n of them). {results.bootstrap}",
    )


def by_perturbation(results: Results) -> list[Table]:
    """Tables of each detector under perturbations; empty where no perturbed picture was judged."""
    detectors = [m for m in results.detectors if m.rows[0].detector in results.robustness]
    groups = _Groups(
        "perturbation",
        detectors,
        [
            {
                _perturbation_words(name, r): r.cells
                for name, r in results.robustness[m.rows[0].detector].items()
            }
            for m in detectors
        ],
    )
    draws = f"{results.rounds:,} draws of pictures, reals and fakes apart"
    bootstrap = f"95 % intervals are those of the percentile bootstrap, {draws}"
    return [
        groups.table(
            "auroc",
            name="robustness_auroc",
            title="AUROC after perturbations",
            caption=f"All reals and fakes (n of them) after each perturbation. {bootstrap}.",
            heat=(0.5, 1.0),
        ),
        groups.table(
            "auroc_change",
            name="robustness_auroc_change",
            title="Change of AUROC by perturbations",
            caption="AUROC after the perturbation less that of the same pictures before it: below 0 is worse. "
            f"{bootstrap}, both measured on each.",
        ),
        groups.table(
            "tpr_at_fpr_5_change",
            name="robustness_tpr_at_fpr_5_change",
            title="Change of TPR at 5 % FPR by perturbations",
            caption="TPR at 5 % FPR after the perturbation less that of the same pictures before it: below 0 "
            f"is worse. {bootstrap}, both measured on each.",
        ),
        groups.table(
            "verdict_flips",
            name="robustness_verdict_flips",
            title="Verdicts that flip",
            caption="Share of the verdicts AI and real (n of them) that become the opposite after the "
            "perturbation. 95 % intervals of rates are Wilson’s; who always says unsure has no verdicts.",
        ),
        groups.table(
            "half_crossed",
            name="robustness_half_crossed",
            title="Scores that cross 0.5",
            caption="Share of all pictures (n of them) whose score comes to lie on the other side of 0.5 after "
            "the perturbation. 95 % intervals of rates are Wilson’s.",
        ),
    ]


def perturbation_by_generator(results: Results, detector: Measured) -> Table:
    """One detector: AUROC of each generator's fakes against all the reals, after each perturbation."""
    found = results.robustness.get(detector.rows[0].detector, {})
    generators = sorted({generator for r in found.values() for generator in r.generators})
    return Table(
        name="robustness_by_generator",
        title=f"AUROC of {detector.name} by perturbation and generator",
        caption="The fakes of one generator against all the reals, both perturbed. 95 % intervals are those of "
        f"the percentile bootstrap, {results.rounds:,} draws within reals and each generator’s fakes.",
        columns=("perturbation", *(f"{visible(g)}, n {_most(found, g)}" for g in generators)),
        rows=tuple(
            (_perturbation_words(name, r), *(r.generators.get(g, {}).get("auroc", "") for g in generators))
            for name, r in found.items()
        ),
        heat=(0.5, 1.0),
    )


def _most(found: Mapping[str, Robustness], generator: str) -> int:
    return max(cells["half_crossed"].n for r in found.values() if (cells := r.generators.get(generator)))


def _perturbation_words(name: str, found: Robustness) -> str:
    return visible(f"{found.operation} {found.severity}".strip() or name)


def comparison_with_best(results: Results) -> Table:
    """The best detector less each of the others, on the pictures that both have judged."""
    best = results.detectors[0].name
    return Table(
        name="comparison_with_best",
        title=f"{best} compared with the others",
        caption=f"{best} less the other, on the n pictures that both have judged. {results.bootstrap} Both are "
        "measured on each draw, so an interval without 0 is a difference that the draws bear out. The verdicts "
        "are those at 0.5, p is McNemar’s, exact and two-sided. Nothing is corrected for the number of rows, "
        "or for having chosen the best on these same pictures.",
        columns=(
            "other",
            "n",
            *(f"{metric_heading(metric)} difference" for metric in COMPARED),
            f"only {best} right",
            "only the other right",
            "McNemar p",
        ),
        rows=tuple(_comparison_row(compared) for compared in results.comparisons),
    )


def _comparison_row(compared: Compared) -> tuple[Cell, ...]:
    found = compared.comparison
    if found is None:
        return (compared.name, compared.problem, *[""] * (len(COMPARED) + 3))
    verdicts = found.verdicts_at_half
    p = f"{verdicts.p_value:.3f}" if verdicts.p_value >= 0.001 else "below 0.001"
    differences: list[Cell] = [found.differences.get(metric, "") for metric in COMPARED]
    return (compared.name, found.n, *differences, verdicts.only_first_right, verdicts.only_second_right, p)


def metric_heading(name: str) -> str:
    """The field's name of a metric, for a column.

    >>> metric_heading("tpr_at_fpr_5"), metric_heading("risk_at_coverage_80")
    ('TPR at 5 % FPR', 'risk at coverage 80')
    """
    return metric_kind(name).heading


@dataclass(frozen=True)
class _Groups:
    """Groups of one `kind`, and the `cells` of each group for each of the detectors."""

    kind: str
    detectors: Sequence[Measured]
    cells: Sequence[Mapping[str, Cells]]

    def table(
        self,
        metric: str,
        *,
        name: str,
        title: str,
        caption: str,
        means: Sequence[Cells] | None = None,
        heat: tuple[float, float] | None = None,
    ) -> Table:
        """One metric: a row for each group, a column for each detector, the means below."""
        groups = list(dict.fromkeys(g for of in self.cells for g, cells in of.items() if metric in cells))
        rows = [
            _row(visible(group), self.detectors, [of.get(group, {}) for of in self.cells], metric)
            for group in groups
        ]
        if rows and means is not None:
            rows.append(_row("mean of all", self.detectors, means, metric))
        columns = (self.kind, "n", *(m.name for m in self.detectors))
        return Table(name=name, title=title, caption=caption, columns=columns, rows=tuple(rows), heat=heat)


def _row(heading: str, detectors: Sequence[Measured], cells: Sequence[Cells], metric: str) -> tuple[Cell, ...]:
    """One metric of each detector, and before them its n."""
    # Detectors that judged different sets have different n; CSV has that of each.
    counts = sorted({of[metric].n for of in cells if metric in of})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (heading, n, *(_cell(m, of, metric) for m, of in zip(detectors, cells, strict=True)))


def _cell(detector: Measured, cells: Cells, name: str) -> Cell:
    """A rate at a threshold that the detector does not have would be a perfect 0."""
    lacks = (name in _AT_AI and not detector.has_threshold) or (
        name in _AT_REAL and not detector.has_threshold_real
    )
    return "no threshold" if lacks else cells.get(name, "")
