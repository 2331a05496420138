from __future__ import annotations

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest

from veridical.reports import About, Entry, Format, render
from veridical.reports.thumbnail import LONGEST_SIDE, data_uri

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def text(entries: list[Entry], about: About) -> str:
    return "".join(render(Format.HTML, entries, about))


def test_every_tag_is_closed_in_order(text: str) -> None:
    assert Page(text).open == []


def test_the_page_needs_nothing_from_elsewhere(text: str) -> None:
    values = [pair for _, attributes in Page(text).tags for pair in attributes.items()]
    loads = [value for name, value in values if name in ("src", "srcset", "data", "poster", "action")]
    assert loads
    assert all(value and value.startswith("data:image/jpeg;base64,") for value in loads)
    assert all((link["href"] or "").startswith("#") for link in Page(text).all("a"))
    assert not re.search(r"url\(|@import|<script|<link|<iframe|<object", text)


def test_the_policy_forbids_what_the_page_does_not_need(text: str) -> None:
    [policy] = [
        m["content"] for m in Page(text).all("meta") if m.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_a_name_with_markup_stays_text(text: str) -> None:
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert not Page(text).all("script")


def test_a_thumbnail_cannot_leave_its_attribute(entries: list[Entry], about: About) -> None:
    entry = replace(entries[0], report=replace(entries[0].report, path='"><img src=x onerror=alert(1)>'))
    page = Page("".join(render(Format.HTML, [entry], about)))
    assert [image["src"] for image in page.all("img")] == [entry.thumbnail]


def test_every_picture_has_a_text_and_the_page_a_language(text: str) -> None:
    page = Page(text)
    assert page.all("html") == [{"lang": "en"}]
    assert all(image["alt"] for image in page.all("img"))


def test_the_bar_is_told_to_those_who_do_not_see_it(text: str) -> None:
    bars = [d["aria-label"] for d in Page(text).all("div") if d.get("role") == "img"]
    assert bars[0] == (
        "Probability of AI 97 %, 95 % interval 95–99 %, called real at or below 20 %, "
        "called AI-generated at or above 90 %."
    )


def test_words_come_before_the_number(text: str) -> None:
    first = text.index("Probably AI-generated</h2>")
    assert first < text.index("<strong>97 %</strong>")


def test_an_error_says_what_happened_and_what_to_do(text: str) -> None:
    assert "The JPEG ends early." in text
    assert "Get the whole file." in text


def test_what_could_be_wrong_names_the_limits_of_the_model_and_the_warnings_of_the_file(text: str) -> None:
    assert "It has seen three pictures." in text
    assert "Only some frames of the animation were judged." in text


def test_the_measured_error_rates_have_their_intervals(text: str) -> None:
    assert re.search(r"Real pictures called AI-generated</th><td[^>]*>5.0 %</td><td[^>]*>3.1–7.8 %</td>", text)


def test_a_detector_without_a_card_or_thresholds_gives_a_page_too(entries: list[Entry], about: About) -> None:
    bare = replace(entries[0].report, threshold=None, threshold_real=None, interval=None, calibrated=False)
    page = "".join(render(Format.HTML, [Entry(bare)], replace(about, card=None)))
    assert "never called AI" in page
    assert "not calibrated" in page


def test_text_is_readable_on_its_ground_in_both_schemes(text: str) -> None:
    pairs = [(ink, ground) for ink in ("ink", "quiet") for ground in ("page", "surface", "sunk")]
    pairs += [("link", "sunk"), ("link", "surface")]
    for name in ("ai", "real", "unsure", "error"):
        pairs += [(name, "surface"), (name, f"{name}-tint"), ("ink", f"{name}-tint")]
    for block in text.split("@media")[:2]:
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        faint = [(ink, ground) for ink, ground in pairs if contrast(colours[ink], colours[ground]) < 4.5]
        assert faint == []


def test_a_thumbnail_is_small_and_keeps_the_shape() -> None:
    # Any: all that is used of an Image is its pixels.
    picture: Any = SimpleNamespace(pixels=np.zeros((300, 1200, 3), np.uint8))
    uri = data_uri(picture)
    head, data = uri.split(",")
    assert head == "data:image/jpeg;base64"
    assert PIL.Image.open(io.BytesIO(base64.b64decode(data))).size == (LONGEST_SIDE, LONGEST_SIDE // 4)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two colours (#rrggbb)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
