"""A detector is calibrated on one set of predictions, and what that is worth is measured on another."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from veridical.data.samples import Sample, data_sha256, file_sha256
from veridical.errors import DataError, UsageError
from veridical.evaluation import benchmark
from veridical.evaluation.calibration import Method, choose_method, compare, fit, losses, probabilities
from veridical.evaluation.conformal import ALPHA, PredictionSets, fit_sets, set_summary
from veridical.evaluation.coverage import coverage_summary
from veridical.evaluation.predictions import Prediction, as_arrays
from veridical.evaluation.thresholds import (
    MOST_FAKES_CALLED_REAL,
    MOST_REALS_CALLED_AI,
    Promise,
    choose_thresholds,
    promises,
)
from veridical.models.card import Calibration, Card, Estimate, Measurement, Role
from veridical.results import Box, Label, Thresholds


@dataclass(frozen=True)
class PredictedSet:
    """The predictions of one detector for one set: its `name`, its rows, the hash of its samples."""

    name: str
    rows: tuple[Prediction, ...]

    @property
    def data_sha256(self) -> str:
        """The hash that `data.samples.data_sha256` gives for the samples themselves."""
        return data_sha256(_sample(row) for row in self.rows)

    @property
    def groups(self) -> list[str]:
        """The publisher of each row, or what comes closest to it."""
        return [row.group or row.stratum for row in self.rows]


def predicted_set(
    name: str, rows: Iterable[Prediction], *, detector: str = "", bundle: str = ""
) -> PredictedSet:
    """The rows of one detector for untouched pictures: of that name or that hash, where one is given.

    Rows that name no bundle (those of `training.cross_fit`) belong to any.
    Raises `UsageError` where nothing is left, or where rows of several detectors are.
    """
    chosen = tuple(
        row
        for row in rows
        if row.perturbation == "none"
        and detector in ("", row.detector)
        and (not bundle or row.bundle in ("", bundle))
    )
    found = sorted({row.detector for row in chosen})
    if len(found) != 1:
        wanted = f" of {detector or bundle[:12]}" if detector or bundle else ""
        raise UsageError(
            f"{name} holds predictions{wanted} by {', '.join(found) or 'nobody'}; one detector is wanted.",
            hint="Name it with --detector." if found else "Judge the set with 'veridical predict' first.",
        )
    return PredictedSet(name, chosen)


def in_split(name: str, predicted: PredictedSet, samples: Sequence[Sample]) -> PredictedSet:
    """The predictions for these samples, which must all be there."""
    rows = {(row.sha256, row.box): row for row in predicted.rows}
    keys = [(sample.sha256 or file_sha256(sample.path), _box_in_words(sample.box)) for sample in samples]
    if missing := [sample.name for sample, key in zip(samples, keys, strict=True) if key not in rows]:
        raise DataError(
            f"{predicted.name} lacks {len(missing)} of {len(samples)} samples of {name}, such as {missing[0]}.",
            code="bad_predictions",
        )
    return PredictedSet(name, tuple(rows[key] for key in keys))


@dataclass(frozen=True)
class SetFacts:
    """The name, hash and counts of a set."""

    name: str
    data_sha256: str
    n_real: int
    n_fake: int
    groups: int


@dataclass(frozen=True)
class CalibrationReport:
    """A calibration with thresholds and prediction sets, fitted on `fit`, and what they do on `report`.

    `comparison` is out of fold within `fit`: log-loss, Brier and ECE of each method. Everything else that is
    measured is measured on `report`: `before` and `after` are the same losses for the scores that the
    predictions came with and for the new ones, `metrics` those of `benchmark.summarise`, `sources` the
    false-positive rate of each source against the wanted `fpr` (`sources_of_fit` the same where it was
    fitted), `coverage` the coverage-risk curve, `conformal` how many sets hold the label.
    """

    detector: str
    bundle: str
    fit: SetFacts
    report: SetFacts
    method: Method
    comparison: dict[str, dict[str, Estimate]]
    calibration: Calibration
    fpr: float
    thresholds: Thresholds
    before: dict[str, Estimate]
    after: dict[str, Estimate]
    metrics: dict[str, Estimate]
    sources: dict[str, Promise]
    sources_of_fit: dict[str, Promise]
    coverage: dict[str, Estimate]
    sets: PredictionSets
    conformal: dict[str, Estimate]
    notes: tuple[str, ...] = ()


def calibrate(
    fitted: PredictedSet,
    reported: PredictedSet,
    *,
    method: Method | None = None,
    fpr: float = MOST_REALS_CALLED_AI,
    fakes_called_real: float = MOST_FAKES_CALLED_REAL,
    alpha: float = ALPHA,
    rounds: int = 1000,
) -> CalibrationReport:
    """Fit on one set, measure on the other; without a `method` the best one out of fold.

    `fpr` and `fakes_called_real`: what the upper ends of the error rates may reach, see `choose_thresholds`.
    Raises `DataError` where the sets share files, hold several detectors, or cannot be cut into folds.
    """
    _require_one_detector(fitted, reported)
    notes = _shared(fitted, reported)
    labels, _, logits = as_arrays(fitted.rows)
    comparison = compare(labels, logits, fitted.groups, rounds=rounds)
    chosen = method or choose_method(comparison)
    calibration, thresholds = fit_operating_point(
        fitted, chosen, fpr=fpr, fakes_called_real=fakes_called_real, rounds=rounds
    )
    judged = apply(reported.rows, calibration, thresholds)
    sets = fit_sets(labels, logits, alpha=alpha)
    new_labels, new_scores, new_logits = as_arrays(judged)
    return CalibrationReport(
        detector=fitted.rows[0].detector,
        bundle=reported.rows[0].bundle,
        fit=_facts(fitted),
        report=_facts(reported),
        method=chosen,
        comparison=comparison,
        calibration=calibration,
        fpr=fpr,
        thresholds=thresholds,
        before=losses(new_labels, as_arrays(reported.rows)[1], rounds=rounds),
        after=losses(new_labels, new_scores, rounds=rounds),
        metrics=benchmark.summarise(judged, rounds=rounds),
        sources=promises(new_labels, new_scores, [row.source for row in judged], thresholds, fpr=fpr),
        sources_of_fit=promises(
            labels,
            probabilities(calibration, logits),
            [row.source for row in fitted.rows],
            thresholds,
            fpr=fpr,
        ),
        coverage=coverage_summary(new_labels, new_scores, rounds=rounds),
        sets=sets,
        conformal=set_summary(new_labels, new_logits, sets),
        notes=notes,
    )


def fit_operating_point(
    fitted: PredictedSet,
    method: Method = "platt",
    *,
    fpr: float = MOST_REALS_CALLED_AI,
    fakes_called_real: float = MOST_FAKES_CALLED_REAL,
    rounds: int = 500,
) -> tuple[Calibration, Thresholds]:
    """The calibration of a detector and its thresholds, both from one set that it was not trained on."""
    labels, _, logits = as_arrays(fitted.rows)
    calibration = fit(
        method,
        labels,
        logits,
        fitted.groups,
        fitted_on=fitted.name,
        data_sha256=fitted.data_sha256,
        rounds=rounds,
    )
    thresholds = choose_thresholds(
        labels,
        logits,
        calibration,
        reals_called_ai=fpr,
        fakes_called_real=fakes_called_real,
        publishers=fitted.groups,
    )
    return calibration, thresholds


def apply(rows: Sequence[Prediction], calibration: Calibration, thresholds: Thresholds) -> list[Prediction]:
    """The predictions of the same detector with another calibration and other thresholds."""
    return [row.with_operating_point(calibration, thresholds) for row in rows]


def measure(reported: PredictedSet, *, command: str, role: Role = "test", rounds: int = 1000) -> Measurement:
    """A card's numbers for a detector on a set; `command` prints them again, `role`: see `Measurement`."""
    return Measurement(
        role=role,
        split=reported.name,
        data_sha256=reported.data_sha256,
        command=command,
        metrics=benchmark.summarise(reported.rows, rounds=rounds),
        generators=benchmark.per_generator(reported.rows, rounds=rounds),
        sources=benchmark.per_source(reported.rows),
    )


def calibrated_card(card: Card, found: CalibrationReport, reported: PredictedSet, *, command: str) -> Card:
    """The card with the calibration and thresholds of a report, and with what they do on `reported`."""
    judged = dataclasses.replace(
        reported, rows=tuple(apply(reported.rows, found.calibration, found.thresholds))
    )
    measurement = measure(judged, command=command)
    measurement = dataclasses.replace(
        measurement, metrics=measurement.metrics | found.coverage | found.conformal
    )
    return dataclasses.replace(
        card,
        calibration=found.calibration,
        thresholds=found.thresholds,
        measured=(measurement,),
        limits=(*limits_of(measurement, found.thresholds), *_promise_in_words(found)),
    )


def limits_of(measurement: Measurement, thresholds: Thresholds) -> tuple[str, ...]:
    """The limits of a card's numbers that its reader has to know, in sentences."""
    area = measurement.metrics["auroc"]
    sentences = [
        f"On publishers it was not trained on its AUROC is {area.value:.2f} "
        f"(95 % interval {area.low:.2f} to {area.high:.2f}, n = {area.n}); 0.5 is guessing.",
    ]
    missing = [name for name, value in (("ai", thresholds.ai), ("real", thresholds.real)) if value is None]
    if missing:
        sentences.append(
            f"The validation data support no threshold for the verdict {' or '.join(missing)}, because its "
            "errors would be too many or publishers differ too much. So that verdict is never given."
        )
    return tuple(sentences)


def _promise_in_words(found: CalibrationReport) -> tuple[str, ...]:
    if found.thresholds.ai is None:
        return ()
    measured = {name: promise for name, promise in found.sources_of_fit.items() if promise.kept is not None}
    if not measured:
        return ("No source had enough reals for a promise of its own about false positives.",)
    upper = max(promise.fpr.high for promise in measured.values())
    unmeasured = sorted(found.sources_of_fit.keys() - measured.keys())
    sentence = (
        f"Of the reals of {', '.join(measured)} at most {upper:.1%} were called AI where the threshold was "
        "chosen (upper end of the 95 % interval of the worst)"
    )
    return (f"{sentence}; not measured: {', '.join(unmeasured)}." if unmeasured else f"{sentence}.",)


def _facts(chosen: PredictedSet) -> SetFacts:
    labels = as_arrays(chosen.rows)[0]
    return SetFacts(
        name=chosen.name,
        data_sha256=chosen.data_sha256,
        n_real=int((labels == 0).sum()),
        n_fake=int((labels == 1).sum()),
        groups=len(set(chosen.groups)),
    )


def _sample(row: Prediction) -> Sample:
    # Scores of others come without hashes of the files: their names have to do.
    identity = row.sha256 or hashlib.sha256(row.path.encode(errors="surrogateescape")).hexdigest()
    return Sample(
        path=Path(row.path),
        label=Label[row.label.upper()],
        generator=row.generator,
        source=row.source,
        group=row.group,
        box=Box(*map(int, row.box.split(","))) if row.box else None,
        sha256=identity,
    )


def _box_in_words(box: Box | None) -> str:
    return f"{box.left},{box.top},{box.width},{box.height}" if box else ""


def _require_one_detector(fitted: PredictedSet, reported: PredictedSet) -> None:
    found = {(row.detector, row.bundle) for chosen in (fitted, reported) for row in chosen.rows}
    detectors, bundles = {name for name, _ in found}, {sha256 for _, sha256 in found if sha256}
    if len(detectors) != 1 or len(bundles) > 1:
        names = ", ".join(sorted(f"{name} {sha256[:12]}".strip() for name, sha256 in found))
        raise UsageError(f"A calibration is that of one detector, and these are {names}.")
    for chosen in (fitted, reported):
        if len({row.label for row in chosen.rows}) < 2:
            raise DataError(f"{chosen.name} needs real and fake samples.", code="one_class")


def _shared(fitted: PredictedSet, reported: PredictedSet) -> tuple[str, ...]:
    """Warnings of groups that both sets hold; raises `DataError` for shared files, which may not be."""
    files = [{row.sha256 or row.path for row in chosen.rows} for chosen in (fitted, reported)]
    if both := files[0] & files[1]:
        raise DataError(
            f"{len(both)} files are in {fitted.name} and in {reported.name}, such as {min(both)}.",
            code="overlapping_splits",
            hint="Report on files that the calibration was not fitted on.",
        )
    groups = set(fitted.groups) & set(reported.groups)
    if not groups:
        return ()
    return (f"{len(groups)} publishers are in both sets, such as {min(groups)}: the report may be too good.",)
