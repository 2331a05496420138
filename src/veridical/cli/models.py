"""`veridical models`: which models are here, what their cards say, and whether they are what they claim."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import format_option
from veridical.errors import ErrorInfo, ModelError, VeridicalError

if TYPE_CHECKING:
    from veridical.models.card import Card, Estimate
    from veridical.models.store import FoundBundle
    from veridical.results import Thresholds

_name = click.argument("name", metavar="NAME|PATH")


@click.group()
def models() -> None:
    """List, describe and verify models."""


@models.command("list")
@format_option
def list_models(format: str) -> None:
    """The models on this machine, and where each is."""
    from veridical.cli._printing import print_json, print_table
    from veridical.models.store import list_bundles

    bundles = list_bundles()
    if format == "json":
        print_json({"models": [{"name": b.name, "origin": b.origin, "folder": str(b.folder)} for b in bundles]})
        return
    print_table([("NAME", "FROM", "FOLDER"), *((b.name, b.origin, str(b.folder)) for b in bundles)])


@models.command()
@_name
@format_option
def info(name: str, format: str) -> None:
    """The card of a model: method, licence, training data, thresholds, measured error rates, limits."""
    import msgspec

    from veridical.cli._printing import print_json, print_table
    from veridical.models.bundle import read_bundle
    from veridical.models.store import find_bundle

    bundle = read_bundle(find_bundle(name).folder)
    if format == "json":
        print_json({"sha256": bundle.sha256, "card": msgspec.to_builtins(bundle.card)})
        return
    print_table([*_facts(bundle.card), ("SHA-256", bundle.sha256)])
    for measurement in bundle.card.measured:
        print(f"\nMeasured on '{measurement.split}' (again by: {measurement.command})")
        print_table([("  METRIC", "VALUE", "95 % INTERVAL", "N"), *map(_rate, measurement.metrics.items())])
    if bundle.card.limits:
        print("\nLimits")
    for limit in bundle.card.limits:
        print(f"  - {limit}")


@models.command()
@click.argument("name", metavar="[NAME|PATH]", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file.")
@click.option(
    "--robustness",
    "perturbed",
    type=click.Path(path_type=Path),
    help="Predictions after perturbations by this very model: veridical predict ... --perturbation all.",
)
def card(name: str | None, output: Path | None, perturbed: Path | None) -> None:
    """The model card (the default's without a NAME) as Markdown, with the front matter of Hugging Face."""
    from veridical.cli._output import opened
    from veridical.detectors import DEFAULT_DETECTOR
    from veridical.models.bundle import read_bundle
    from veridical.models.store import find_bundle
    from veridical.reports.aims import Costs
    from veridical.reports.model_card import render

    bundle = read_bundle(find_bundle(name or DEFAULT_DETECTOR).folder)
    size = sum((bundle.folder / file).stat().st_size for file in bundle.card.files)
    robustness = None
    if perturbed is not None:
        with needs_extra("bench", "robustness"):
            from veridical.evaluation.robustness import of_bundle
        robustness = of_bundle(perturbed, bundle.sha256)
    text = render(bundle.card, sha256=bundle.sha256, costs=Costs(bundle_bytes=size), robustness=robustness)
    with opened(output) as file:
        file.write(text)


@models.command()
@click.argument("name", metavar="[NAME|PATH]", required=False)
@format_option
@click.pass_context
def verify(ctx: click.Context, name: str | None, format: str) -> None:
    """Check hashes, graph and parameters of a model, and let it judge a made-up picture; exit 4 if it fails.

    Without a name, every model on this machine.
    """
    from veridical.cli._exit import ExitCode
    from veridical.cli._printing import print_json, print_table
    from veridical.models.store import find_bundle, list_bundles

    found = [find_bundle(name)] if name else list_bundles()
    if not found:
        raise ModelError("There is no model on this machine.", hint="Install veridical again.")
    results = [_verify(bundle) for bundle in found]
    if format == "json":
        print_json({"models": [asdict(result) for result in results]})
    else:
        print_table([("RESULT", "NAME", "SHA-256 OR REASON"), *map(_verified_row, results)])
    if any(result.error for result in results):
        ctx.exit(ExitCode.MODEL)


@dataclass(frozen=True)
class Verified:
    """The result of a check: the hash of a model that is in order, or the error of one that is not."""

    name: str
    folder: str
    sha256: str | None = None
    error: ErrorInfo | None = None


def _verify(found: FoundBundle) -> Verified:
    from veridical.detectors.bundle import BundleDetector
    from veridical.models.bundle import read_bundle
    from veridical.models.graph import check_graph

    try:
        bundle = read_bundle(found.folder)
        # Reading trusts the graph of a shipped model to save time; here it is checked like any other.
        check_graph(bundle.graph)
        BundleDetector(bundle).self_test()
    except VeridicalError as error:
        return Verified(found.name, str(found.folder), error=error.info)
    return Verified(found.name, str(found.folder), sha256=bundle.sha256)


def _verified_row(result: Verified) -> tuple[str, ...]:
    if result.error:
        reason = f"{result.error.message} ({result.error.code})"
        return "FAILED", result.name, f"{reason} {result.error.hint or ''}".rstrip()
    return "ok", result.name, result.sha256 or ""


def _facts(card: Card) -> list[tuple[str, ...]]:
    facts: list[tuple[str, ...]] = [
        ("Name", f"{card.name} {card.version}"),
        ("What", card.description),
        ("Method", f"{card.paper.authors}: {card.paper.title}. {card.paper.venue}. {card.paper.url}"),
        ("Licence", card.licence),
        ("Network", f"{card.architecture}, {card.parameters:,} parameters, {card.precision}"),
        ("Pixels", f"{card.input.kind}, {card.input.count} x {card.input.size}, at least {card.input.minimum}"),
        ("Thresholds", _thresholds(card.thresholds)),
    ]
    if card.training:
        seen = f"{card.training.n_real:,} real, {card.training.n_fake:,} AI-generated"
        facts.append(("Trained on", f"{card.training.name}: {seen}"))
    if card.calibration:
        facts.append(("Calibrated on", card.calibration.fitted_on))
    return facts


def _thresholds(thresholds: Thresholds) -> str:
    real = "never real" if thresholds.real is None else f"real up to {thresholds.real:.3f}"
    ai = "never AI" if thresholds.ai is None else f"AI from {thresholds.ai:.3f} on"
    return f"{real}, {ai}, else unsure"


def _rate(metric: tuple[str, Estimate]) -> tuple[str, ...]:
    from veridical.explanation.words import metric_value

    name, estimate = metric
    return f"  {name}", *metric_value(name, estimate), str(estimate.n)
