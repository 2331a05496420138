"""Figures as SVG that take their colours from the page they stand in.

The same numbers give the same bytes: ids are salted with the figure's name, no date or version is written, and
the user's own matplotlib settings have no part in it. Text stays text, for those who search or enlarge it.
The page's style sheet defines `--ink`, `--quiet`, `--line`, `--surface`, `--ai`, `--real` and `--series-1` to
`--series-5`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.style
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Colours that no figure would use, each put back as a variable of the page's style sheet, so that the figures
# follow its light, dark and printed colours.
INK, QUIET, LINE, SURFACE, FAKE, REAL = (f"#{i:06x}" for i in range(0xA0A001, 0xA0A007))
SERIES = tuple(f"#{i:06x}" for i in range(0xB0B001, 0xB0B006))
_VARIABLES = {
    INK: "ink", QUIET: "quiet", LINE: "line", SURFACE: "surface", FAKE: "ai", REAL: "real",
    **{colour: f"series-{i}" for i, colour in enumerate(SERIES, start=1)},
}  # fmt: skip

# Dashes as in SVG's stroke-dasharray, in units of the line's width.
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.5), (6, 2, 1, 2), (9, 3))

_STYLE: dict[Any, Any] = {  # Any: matplotlib's names of settings are a Literal of hundreds

    "svg.fonttype": "none",
    "text.parse_math": False,  # a `$` in a name is a dollar
    "font.size": 10,
    "axes.edgecolor": QUIET, "axes.labelcolor": INK, "axes.facecolor": "none", "axes.linewidth": 0.8,
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
    "figure.facecolor": "none", "grid.color": LINE, "grid.linewidth": 0.7,
    "text.color": INK, "xtick.color": QUIET, "ytick.color": QUIET,
    "xtick.labelcolor": INK, "ytick.labelcolor": INK,
}  # fmt: skip

WIDTH = 4.0  # inches; at 72 points to the inch as wide as the narrowest page's column


@dataclass(frozen=True)
class Plot:
    """A figure: the SVG, what it shows in sentences with the numbers, and the caption below it."""

    svg: Markup
    alt: str
    caption: str


@contextmanager
def drawing(*, height: float) -> Iterator[tuple[Figure, Axes]]:
    """A figure as wide as a page's column, `height` inches high, in the page's style."""
    with matplotlib.style.context(["default", _STYLE]):
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        yield figure, figure.subplots()


def finished(figure: Figure, name: str, *, alt: str, caption: str) -> Plot:
    """The figure as SVG; `name` is its own within the page."""
    held = io.StringIO()
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": name}):
        figure.savefig(held, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Plot(_for_a_page(held.getvalue()), alt, caption)


def _for_a_page(svg: str) -> Markup:
    """The element alone: as wide as its column, in the page's colours and letters, with the ids it uses."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r' (width|height)="[0-9.]+pt"', "", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r" font-family: [^;\"]+;", "", svg)
    svg = re.sub("|".join(_VARIABLES), lambda found: f"var(--{_VARIABLES[found[0]]})", svg)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", svg)
    return Markup(svg)
