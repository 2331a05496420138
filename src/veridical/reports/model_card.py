"""A bundle's card as Markdown: the front matter that Hugging Face reads, then what a reader has to know.

Everything in it comes from `card.json`, and from what is measured apart from the bundle and handed over.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2

from veridical.explanation.words import metric_value
from veridical.models.card import Card, Estimate, LicensedPart, Measurement, PixelInput
from veridical.models.metric import METRIC_KINDS, metric_kind
from veridical.reports import jinja
from veridical.reports.aims import Costs, outcomes
from veridical.reports.escaping import markdown_cell, visible

if TYPE_CHECKING:
    from veridical.evaluation.robustness import Robustness

# Names that the hub knows: https://huggingface.co/docs/hub/repositories-licenses
_HUB_LICENCES = {"MIT": "mit", "Apache-2.0": "apache-2.0", "BSD-3-Clause": "bsd-3-clause", "CC0-1.0": "cc0-1.0"}

_NOT_DEFINED = "–"
_ADDRESS = re.compile(r"https?://[!-;=?-~]+")  # printable ASCII but < and >


@dataclass(frozen=True)
class LicenceCount:
    """How many training pictures are under one licence."""

    licence: str
    n_real: int
    n_fake: int


def render(
    card: Card, *, sha256: str, costs: Costs | None = None, robustness: Mapping[str, Robustness] | None = None
) -> str:
    """The model card; `sha256` is that of `card.json`, `robustness` is by the name of the perturbation."""
    return _template().render(
        card=card,
        sha256=sha256,
        aims=outcomes(card, robustness, costs or Costs()),
        robustness=robustness or {},
        licences=_by_licence(card.training.parts if card.training else ()),
        coverage=[_coverage(measurement) for measurement in card.measured],
        hub_licence=_hub_licence(card.licence),
    )


def _template() -> jinja2.Template:
    # This is no HTML: `md`, `code` and `yaml` escape.
    environment = jinja.environment("veridical.reports", autoescape=False)
    environment.filters.update(
        md=markdown_cell, visible=visible, link=_link, code=_code, yaml=_yaml, pixels=_pixels_in_words
    )
    environment.globals.update(
        cell=_cell,
        row=_row,
        hub_metrics={name: kind.hub for name, kind in METRIC_KINDS.items() if kind.hub},
        metric_kind=metric_kind,
    )
    return environment.get_template("model_card.md.j2")


def _yaml(value: object) -> str:  # object: whatever JSON can say
    """The value as JSON, which is YAML too, whatever the text holds."""
    return json.dumps(value, ensure_ascii=False)


def _code(text: str) -> str:
    """Between backticks, which the text must not hold."""
    return f"`{visible(text).replace('`', chr(39))}`"


def _link(address: str) -> str:
    """An address to follow, or the text of what is none."""
    return f"<{address}>" if _ADDRESS.fullmatch(address) else markdown_cell(address)


def _hub_licence(licence: str) -> str:
    """The hub's name of a licence that ours begins with; `other` for what it does not know."""
    return next((hub for name, hub in _HUB_LICENCES.items() if licence.split(" ")[0] == name), "other")


def _cell(cells: Mapping[str, Estimate], name: str) -> str:
    """A metric with its interval."""
    estimate = cells.get(name)
    if estimate is None or math.isnan(estimate.value):
        return _NOT_DEFINED
    value, bounds = metric_value(name.removesuffix("_change"), estimate)
    if name.endswith("_change"):
        value, bounds = f"{estimate.value:+.3f}", f"{estimate.low:+.3f} to {estimate.high:+.3f}"
    return f"{value} ({bounds})"


def _row(cells: Mapping[str, Estimate], names: Iterable[str]) -> str:
    return " | ".join(_cell(cells, name) for name in names)


def _by_licence(parts: tuple[LicensedPart, ...]) -> list[LicenceCount]:
    """The counts of each licence, the most pictures first."""
    names = {part.licence for part in parts}
    counted = [
        LicenceCount(
            name,
            sum(part.n_real for part in parts if part.licence == name),
            sum(part.n_fake for part in parts if part.licence == name),
        )
        for name in names
    ]
    return sorted(counted, key=lambda count: (-count.n_real - count.n_fake, count.licence))


def _coverage(measurement: Measurement) -> Estimate | None:
    """The share of pictures that get a verdict."""
    unsure = measurement.metrics.get("unsure")
    if unsure is None:
        return None
    return Estimate(1 - unsure.value, 1 - unsure.high, 1 - unsure.low, unsure.n)


def _pixels_in_words(given: PixelInput) -> str:
    if given.kind == "resize":
        how = f"The whole picture is resized to {given.size} × {given.size} ({given.interpolation})."
    elif given.count == 1:
        how = f"The central square of {given.size} × {given.size} pixels is cut out"
    else:
        how = (
            f"At most {given.count} squares of {given.size} × {given.size} pixels are cut out, the centre first"
        )
    if given.kind == "crops":
        how += (
            f" at native resolution, at a multiple of {given.align} pixels from the corner, so that the "
            "sampling grid keeps its phase; nothing is resized."
        )
    return f"{how} A picture with a side below {given.minimum} pixels is refused."
