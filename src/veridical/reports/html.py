"""One self-contained HTML page: pictures, verdicts in words, evidence, and what could be wrong.

It loads nothing from anywhere, runs no script, and can be mailed, printed and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import jinja2

from veridical import __version__
from veridical.explanation.words import (
    NO_PROOF,
    NOTHING,
    VERDICT_WORDS,
    doubts,
    error_rates,
    interval,
    metric_value,
    percent,
    pointing_to,
    seen,
)
from veridical.models.card import Measurement
from veridical.models.metric import metric_kind
from veridical.reports import About, Entry, jinja
from veridical.reports.escaping import visible
from veridical.reports.summary import Summary
from veridical.results import Report, Verdict


@dataclass(frozen=True)
class Row:
    """One line of a table of measured rates, in words."""

    name: str
    value: str
    bounds: str
    n: int


def render(entries: Iterable[Entry], about: About) -> Iterator[str]:
    """The page, once every entry is known, in pieces."""
    summary = Summary()
    kept = []
    for entry in entries:
        summary.add(entry.report)
        kept.append(entry)
    yield from _template().generate(
        entries=kept,
        summary=summary,
        card=about.card,
        made_at=about.made_at,
        model=next((entry.report.model for entry in kept if entry.report.model), None),
        version=__version__,
        Verdict=Verdict,
    )


def _template() -> jinja2.Template:
    environment = jinja.environment("veridical.reports")
    environment.globals.update(
        words=VERDICT_WORDS,
        alt_text=_alt_text,
        bar_text=_bar_text,
        doubts=doubts,
        error_rates=error_rates,
        pointing_to=pointing_to,
        seen=seen,
        nothing=NOTHING,
        no_proof=NO_PROOF,
        metric_kind=metric_kind,
        metric_value=metric_value,
        rows=_rows,
        share=_share,
    )
    environment.filters.update(visible=visible, sentence=_sentence, percent=percent, interval=interval)
    return environment.get_template("report.html.j2")


def _sentence(text: str) -> str:
    """With its per cent signs kept on the line of their numbers."""
    return visible(text).replace(" %", "\N{NO-BREAK SPACE}%")


def _alt_text(report: Report) -> str:
    return f"The judged picture {visible(report.path or '')}, made smaller."


def _bar_text(report: Report) -> str:
    """The bar in words, for those who do not see it."""
    assert report.probability is not None
    parts = [f"Probability of AI {percent(report.probability)}"]
    if report.interval:
        parts.append(f"95 % interval {interval(report.interval)}")
    if report.threshold_real is not None:
        parts.append(f"called real at or below {percent(report.threshold_real)}")
    if report.threshold is not None:
        parts.append(f"called AI-generated at or above {percent(report.threshold)}")
    return ", ".join(parts) + "."


def _rows(measurement: Measurement) -> list[Row]:
    return [
        Row(metric_kind(name).words, *metric_value(name, estimate), estimate.n)
        for name, estimate in measurement.metrics.items()
    ]


def _share(fraction: float) -> str:
    """A fraction as a CSS length; Python's formatting, so that no locale makes a comma of the point."""
    return f"{100 * min(max(fraction, 0.0), 1.0):.2f}%"
