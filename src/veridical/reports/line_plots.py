"""Lines with bands as an SVG of their own: the same numbers give the same bytes.

Colours are those of Masataka Okabe and Kei Ito, told apart by the colour-blind too, and every line has its
own dashes for those who print in grey.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib
import matplotlib.style
from matplotlib.figure import Figure

from veridical.models.card import Estimate

_LOOKS = (
    ("#0072B2", "-"),
    ("#D55E00", "--"),
    ("#009E73", "-."),
    ("#CC79A7", ":"),
    ("#000000", (0, (6, 1, 1, 1, 1, 1))),
    ("#E69F00", (0, (8, 3))),
)
MOST_LINES = len(_LOOKS)


def line_plot(
    x: Sequence[float], lines: Mapping[str, Sequence[Estimate]], *, title: str, x_label: str, y_label: str
) -> str:
    """An SVG with a line for each name in `lines`, at most `MOST_LINES`, and its 95 % interval as a band."""
    with matplotlib.style.context(["default", {"svg.fonttype": "none", "svg.hashsalt": title}]):
        figure = Figure(figsize=(7.0, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for (name, cells), (colour, dashes) in zip(lines.items(), _LOOKS, strict=False):
            axes.plot(
                x, [cell.value for cell in cells], color=colour, linestyle=dashes, marker="o", markersize=3
            )
            low, high = [cell.low for cell in cells], [cell.high for cell in cells]
            axes.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
            axes.plot([], [], color=colour, linestyle=dashes, label=name)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        axes.grid(visible=True, linewidth=0.5, alpha=0.4)
        axes.spines[["top", "right"]].set_visible(False)
        if len(lines) > 1:
            figure.legend(loc="outside right center", frameon=False, fontsize=9)
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
    return svg.getvalue()
