"""`veridical calibrate`: scores become probabilities with thresholds, and what that is worth is measured."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help, format_option
from veridical.cli._printing import print_encoded

if TYPE_CHECKING:
    from veridical.data.samples import Sample
    from veridical.evaluation.calibration import Method
    from veridical.evaluation.calibration_report import CalibrationReport, PredictedSet
    from veridical.evaluation.predictions import Prediction
    from veridical.evaluation.thresholds import Promise
    from veridical.models.bundle import Bundle
    from veridical.models.card import Card, Estimate


@click.command()
@click.argument("subject")
@click.option("--data", help=f"The set whose splits --fit and --report name: {data_option_help}")
@click.option("--fit", help="Predictions to fit on, or with --data a split (val). By default those of SUBJECT.")
@click.option("--report", help="Predictions to measure on, or with --data a split (test).")
@click.option("--detector", default="", help="Whose predictions, where a file holds those of several.")
@click.option(
    "--method",
    type=click.Choice(["auto", "temperature", "platt", "isotonic"]),
    default="auto",
    show_default=True,
    help="auto takes the lowest log-loss out of fold.",
)
@click.option(
    "--fpr",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="No more reals than this may be called AI, with 95 % confidence, overall and of each large source.",
)
@click.option(
    "--fakes-called-real",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="The same for fakes called real.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.1,
    show_default=True,
    help="Prediction sets may miss the label of so many pictures of each class.",
)
@click.option(
    "--rounds",
    type=click.IntRange(100),
    default=500,
    show_default=True,
    help="Bootstrap draws of an interval.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write SUBJECT, a bundle, anew with this card."
)
@format_option
def calibrate(
    subject: str,
    data: str | None,
    fit: str | None,
    report: str | None,
    detector: str,
    method: str,
    fpr: float,
    fakes_called_real: float,
    alpha: float,
    rounds: int,
    output: Path | None,
    format: str,
) -> None:
    """Calibrate SUBJECT: a bundle (a name or folder), or a file of predictions.

    Temperature, Platt and isotonic are compared on publishers that their fit did not see; one is fitted on all
    of --fit, gets thresholds with an unsure band between, and is measured on --report.
    """
    from typing import cast

    with needs_extra("bench", "calibration"):
        from veridical.evaluation.calibration_report import calibrate as calibrate_on

    bundle, fitted, reported = _sets(subject, data=data, fit=fit, report=report, detector=detector)
    found = calibrate_on(
        fitted,
        reported,
        method=None if method == "auto" else cast("Method", method),  # one of the choices above
        fpr=fpr,
        fakes_called_real=fakes_called_real,
        alpha=alpha,
        rounds=rounds,
    )
    if format == "json":
        print_encoded(found)
    else:
        for line in _lines(found):
            click.echo(line)
    if output is not None:
        options = [*_given(data=data, fit=fit, report=report), "--method", found.method]
        options += ["--fpr", str(fpr), "--fakes-called-real", str(fakes_called_real)]
        _write(bundle, output, found, reported, ["calibrate", subject, *options])


def _given(**options: str | None) -> list[str]:
    return [word for name, value in options.items() if value is not None for word in (f"--{name}", value)]


def _sets(
    subject: str, *, data: str | None, fit: str | None, report: str | None, detector: str
) -> tuple[Bundle | None, PredictedSet, PredictedSet]:
    """The bundle, where SUBJECT is one, and the predictions to fit and to measure on."""
    from veridical.errors import UsageError
    from veridical.evaluation.calibration_report import in_split, predicted_set
    from veridical.evaluation.predictions import read_predictions

    is_file = Path(subject).suffix in (".csv", ".parquet")
    bundle = None if is_file else _read_bundle(subject)
    sha256 = "" if bundle is None else bundle.sha256
    if data is None:
        if report is None or (fit is None and not is_file):
            raise UsageError(
                "What to fit and to measure on is not said.", hint="Give --data, or --fit and --report."
            )
        fitted, reported = (
            predicted_set(name, read_predictions(Path(name)), detector=detector, bundle=sha256)
            for name in (fit or subject, report)
        )
        return bundle, fitted, reported

    from veridical.data.samples import read_samples

    parts = [(f"{data}, split {name}", read_samples(data, name)) for name in (fit or "val", report or "test")]
    if bundle is None:
        every = predicted_set(subject, read_predictions(Path(subject)), detector=detector)
        fitted, reported = (in_split(name, every, samples) for name, samples in parts)
    else:
        fitted, reported = (predicted_set(name, _predict(bundle, samples)) for name, samples in parts)
    return bundle, fitted, reported


def _read_bundle(subject: str) -> Bundle:
    from veridical.models.bundle import read_bundle
    from veridical.models.store import find_bundle

    return read_bundle(find_bundle(subject).folder)


def _predict(bundle: Bundle, samples: Sequence[Sample]) -> Iterator[Prediction]:
    import veridical
    from veridical.detectors.bundle import BundleDetector
    from veridical.evaluation.predictions import predict

    return predict(BundleDetector(bundle), samples, code=veridical.__version__)


def _write(
    bundle: Bundle | None, output: Path, found: CalibrationReport, reported: PredictedSet, words: list[str]
) -> None:
    from veridical.errors import UsageError
    from veridical.evaluation.calibration_report import calibrated_card
    from veridical.models.bundle import write_bundle

    if bundle is None:
        raise UsageError("Predictions are no bundle that could be written.", hint="Name the bundle as SUBJECT.")
    card = calibrated_card(bundle.card, found, reported, command=f"veridical {shlex.join(words)}")
    card = _remembering(card, options=words[2:])
    files = {name: (bundle.folder / name).read_bytes() for name in card.files}
    written = write_bundle(output, card, files)
    click.echo(f"{written.folder} {written.sha256}", err=True)


def _remembering(card: Card, *, options: list[str]) -> Card:
    """The card with this calibration as the last of the commands that make its bundle."""
    made = card.reproduction
    if made is None:
        return card
    folder = f"bundles/{card.name}"
    command = f"veridical {shlex.join(['calibrate', folder, *options, '-o', folder])}"
    others = [old for old in made.commands if not old.startswith("veridical calibrate ")]
    return replace(card, reproduction=replace(made, commands=(*others, command)))


def _lines(found: CalibrationReport) -> Iterator[str]:
    for role, facts in (("fitted on", found.fit), ("measured on", found.report)):
        yield (
            f"{role}: {facts.name}, {facts.n_real} real, {facts.n_fake} fake, {facts.groups} publishers, "
            f"sha256 {facts.data_sha256[:12]}"
        )
    yield from (f"note: {note}" for note in found.notes)
    yield "\nout of fold, publishers apart, both classes weighted equally"
    for name, cells in found.comparison.items():
        yield from _cells(f"{name} (chosen)" if name == found.method else name, cells)
    ai, real = found.thresholds.ai, found.thresholds.real
    yield f"\nthresholds: ai {_or_never(ai)}, real {_or_never(real)}; unsure between"
    yield "\nmeasured"
    yield from _cells("before", found.before)
    yield from _cells("after", found.after)
    yield from _cells("all", {**found.metrics, **found.coverage, **found.conformal})
    if ai is None:
        return
    for role, promised in (("fitted on", found.sources_of_fit), ("measured on", found.sources)):
        yield f"\nreals called AI, at most {found.fpr:.1%} wanted: sources it was {role}"
        yield from _promise_lines(promised)


def _cells(row: str, cells: Mapping[str, Estimate]) -> Iterator[str]:
    for name, cell in cells.items():
        yield f"  {row:<24} {name:<22} {cell.value:6.3f}  [{cell.low:.3f}, {cell.high:.3f}]  n={cell.n}"


def _promise_lines(promised: Mapping[str, Promise]) -> Iterator[str]:
    words = {True: "kept", False: "not shown to be kept", None: "not measured: too few"}
    for name, promise in promised.items():
        (line,) = _cells(name, {"fpr": promise.fpr})
        yield f"{line}  {words[promise.kept]}"


def _or_never(threshold: float | None) -> str:
    return "never" if threshold is None else f"{threshold:.3f}"
