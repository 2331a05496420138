"""A plot is an SVG of its own, with its words as text, and the same every time."""

import defusedxml.ElementTree

from veridical.models.card import Estimate
from veridical.reports.line_plots import MOST_LINES, line_plot

X = [0.1, 0.5, 0.9]


def plot(names: list[str]) -> str:
    cells = [Estimate(value, value - 0.1, value + 0.1, 9) for value in (0.3, 0.6, 0.5)]
    return line_plot(X, dict.fromkeys(names, cells), title="A <title>", x_label="threshold", y_label="value")


def test_it_is_xml_with_its_words_in_it_and_nothing_from_elsewhere() -> None:
    svg = plot(["recall", "accuracy"])
    root = defusedxml.ElementTree.fromstring(svg)
    words = " ".join(root.itertext())
    for word in ("A <title>", "threshold", "value", "recall", "accuracy"):
        assert word in words
    assert "http://" not in svg.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def test_the_same_numbers_give_the_same_bytes() -> None:
    assert plot(["recall"]) == plot(["recall"])


def test_every_line_has_another_colour_and_other_dashes() -> None:
    svg = plot([f"metric {i}" for i in range(MOST_LINES)])
    for i in range(MOST_LINES):
        assert f"metric {i}" in svg
    assert svg.count("stroke-dasharray") >= MOST_LINES - 1
