"""One self-contained HTML page of a benchmark: tables, figures, and the pictures on which detectors err worst.

It loads nothing from anywhere, runs no script and holds no date: the same predictions and files give the same
bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jinja2
from matplotlib import colormaps
from matplotlib.colors import to_hex

from veridical import __version__
from veridical.models.card import Estimate
from veridical.reports import jinja
from veridical.reports.benchmark import figures
from veridical.reports.benchmark.measured import Measured, Results
from veridical.reports.benchmark.outcomes import Picture, look_at, outcomes
from veridical.reports.benchmark.table_formats import estimate_parts
from veridical.reports.benchmark.tables import Table, all_tables, perturbation_by_generator
from veridical.reports.escaping import visible
from veridical.reports.svg import Plot
from veridical.results import Verdict

# Of each kind of error and detector.
_WORST = 6

# The luminance that has the same contrast with black as with white: 4.6.
_MIDDLE = 0.179

_VERDICTS = {
    Verdict.AI: "called AI",
    Verdict.REAL: "called real",
    Verdict.UNSURE: "unsure",
}


@dataclass(frozen=True)
class Portrait:
    """The page's part about one detector alone."""

    measured: Measured
    plots: Sequence[Plot]
    robustness: Table
    false_positives: Sequence[Picture]
    false_negatives: Sequence[Picture]


def render(results: Results) -> str:
    """The page."""
    tables = {table.name: table for table in all_tables(results)}
    detectors = results.detectors
    return _template().render(
        results=results,
        best=detectors[0],
        ranked=[m for m in detectors if m.is_ranked],
        series=figures.leaders(detectors),
        overview=_overview(detectors),
        tables=tables,
        portraits=[_portrait(results, m) for m in detectors],
        version=__version__,
    )


def _overview(detectors: Sequence[Measured]) -> Mapping[str, Plot]:
    if not any(m.is_ranked for m in detectors):
        return {}
    drawn = (figures.ranking, figures.roc, figures.precision_recall, figures.coverage_risk)
    return {draw.__name__: draw(detectors) for draw in drawn}


def _portrait(results: Results, measured: Measured) -> Portrait:
    found = outcomes(measured.rows)
    # All are equally wrong where every score is the same.
    shown = 0 if measured.is_constant else _WORST
    return Portrait(
        measured=measured,
        plots=[figures.reliability(measured), figures.histogram(measured)],
        robustness=perturbation_by_generator(results, measured),
        false_positives=look_at(found.fp[:shown]),
        false_negatives=look_at(found.fn[:shown]),
    )


def _template() -> jinja2.Template:
    environment = jinja.environment("veridical.reports.benchmark")
    environment.globals.update(heat=_heat, verdict=lambda picture: _VERDICTS[picture.prediction.verdict])
    environment.filters.update(visible=visible, parts=estimate_parts)
    environment.tests.update(estimate=lambda cell: isinstance(cell, Estimate))
    return environment.get_template("benchmark.html.j2")


def _heat(estimate: Estimate, span: tuple[float, float]) -> str:
    """The ground of a cell, dark for low and light for high, and letters that stand out from it."""
    low, high = span
    ground = colormaps["viridis"](min(max((estimate.value - low) / (high - low), 0.0), 1.0))
    return f"background:{to_hex(ground)};color:{'#000000' if _luminance(ground) > _MIDDLE else '#ffffff'}"


def _luminance(colour: Sequence[float]) -> float:
    """Relative luminance of an sRGB colour, as in WCAG 2.2."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
