"""Fits `fusion`: a logistic regression over the logits of several detectors, from stored predictions.

David Wolpert: Stacked generalization, Neural Networks 1992, https://doi.org/10.1016/S0893-6080(05)80023-1.

Everything that is reported or chosen is out of fold: the predictions are cut into folds that never divide a
group (a publisher, or a generator), so that a member which knows a generator by heart gains nothing by it. If
the stack is then worse than any member, by log-loss or by AUROC, the member of the best AUROC alone is the
fusion.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from veridical.data.samples import Sample, data_sha256
from veridical.detectors.fusion import FusionRecipe, Member
from veridical.detectors.mixture import MixtureRecipe
from veridical.detectors.recipes import Recipe, read_recipe
from veridical.errors import DataError
from veridical.evaluation.benchmark import per_generator, per_source, summarise
from veridical.evaluation.calibration import fit
from veridical.evaluation.folds import Places, grouped_folds
from veridical.evaluation.metrics import Labels, Scores, auroc
from veridical.evaluation.predictions import Prediction, as_arrays
from veridical.evaluation.thresholds import choose_thresholds
from veridical.files import replace_file
from veridical.models.card import Calibration, Measurement, sha256_of
from veridical.results import Box, Label, Thresholds

# The weights are shrunk a little towards equal ones, in units of the standardised logits.
_REGULARISATION = 1.0

# Networks trained to saturation say more than they know: no more is believed than odds of a thousand to one.
_MOST_LOGIT = 6.9

# Bootstrap rounds for the calibration's interval in each fold, on which its thresholds depend a little.
_NESTED_ROUNDS = 100

R = TypeVar("R", bound=Recipe)
Folds = list[tuple[Places, Places]]


@dataclasses.dataclass(frozen=True)
class PredictionTable:
    """The predictions of several detectors for the same samples.

    `logits` (samples, detectors) are raw, NaN where a detector gave none; `rows` has one prediction a sample.
    """

    detectors: tuple[str, ...]
    sha256: tuple[str, ...]
    labels: Labels
    logits: Scores
    rows: tuple[Prediction, ...]


def table_of(predictions: Sequence[Prediction]) -> PredictionTable:
    """Predictions side by side, in the order in which samples and detectors first appear.

    Raises `DataError` for two bundles of one name, two answers to one sample, or two labels of one sample.
    """
    bundles: dict[str, str] = {}
    samples: dict[tuple[str, str, str], dict[str, Prediction]] = {}
    for row in predictions:
        if bundles.setdefault(row.detector, row.bundle) != row.bundle:
            raise _unusable(f"two different detectors are called '{row.detector}'")
        answers = samples.setdefault((row.sha256 or row.path, row.box, row.perturbation), {})
        if row.detector in answers or any(other.label != row.label for other in answers.values()):
            raise _unusable(f"{row.path} has two answers of '{row.detector}', or two labels")
        answers[row.detector] = row
    logits = [[answers[d].logit if d in answers else np.nan for d in bundles] for answers in samples.values()]
    rows = tuple(next(iter(answers.values())) for answers in samples.values())
    return PredictionTable(
        detectors=tuple(bundles),
        sha256=tuple(bundles.values()),
        labels=np.array([int(row.label == "fake") for row in rows]),
        logits=_without_infinities(np.array(logits, dtype=np.float64).reshape(len(rows), len(bundles))),
        rows=rows,
    )


def fit_fusion(
    predictions: Sequence[Prediction],
    *,
    name: str,
    data: str,
    data_sha256: str,
    command: str,
    group: Callable[[Prediction], str] = lambda row: row.group or row.stratum,
    rounds: int = 500,
) -> FusionRecipe:
    """The fusion of every detector in `predictions`, calibrated and measured out of fold.

    A member is referred to by the name it has in the predictions. `data` and `data_sha256` say what was judged,
    `command` how; none of the members may have been trained on it. `rounds` are those of the bootstrap. Raises
    `DataError` if the predictions cannot be cut into folds.
    """
    table = table_of(predictions)
    groups = [group(row) for row in table.rows]
    columns, members, bias, stacked = _chosen(table, groups)
    recipe = FusionRecipe(
        name=name,
        version="1",
        description=_description(table, columns),
        members=members,
        bias=bias,
        limits=("Each member's own limits hold for the combination too.",),
    )
    judged = _as_predictions(table, stacked, name)
    return calibrated(
        recipe,
        judged,
        _nested(table, groups, name),
        groups=groups,
        data=data,
        data_sha256=data_sha256,
        command=command,
        rounds=rounds,
    )


def calibrated(
    recipe: R,
    predictions: Sequence[Prediction],
    judged: Sequence[Prediction],
    *,
    groups: list[str],
    data: str,
    data_sha256: str,
    command: str,
    rounds: int = 500,
) -> R:
    """The recipe with a calibration and thresholds from its own logits on data new to its parts.

    Its error rates are those of `judged`: the same samples, each by a combination, a calibration and thresholds
    that were fitted without its group. Measured on the rows that chose them, they would flatter. `groups` are
    the publishers (or generators) of the predictions: intervals draw whole ones.
    """
    labels, _, logits = as_arrays(predictions)
    calibration = fit("platt", labels, logits, groups, fitted_on=data, data_sha256=data_sha256, rounds=rounds)
    thresholds = choose_thresholds(labels, logits, calibration)
    measured = Measurement(
        role="out_of_fold",
        split=f"{data}, out of fold",
        data_sha256=data_sha256,
        command=command,
        metrics=summarise(judged, rounds=rounds),
        generators=per_generator(judged, rounds=rounds),
        sources=per_source(judged),
    )
    return dataclasses.replace(recipe, calibration=calibration, thresholds=thresholds, measured=(measured,))


def calibrate_mixture(
    path: Path,
    predictions: Sequence[Prediction],
    *,
    data: str,
    data_sha256: str,
    command: str,
    rounds: int = 500,
) -> MixtureRecipe:
    """Calibrate the mixture in a file from its own predictions, and put it in the file's place.

    Raises `DataError` (`bad_predictions`) for predictions of anything else.
    """
    recipe, content = read_recipe(path, MixtureRecipe)
    if {row.bundle for row in predictions} != {sha256_of(content)}:
        raise _unusable(f"they are not those of {path} as it is now; make them by 'veridical predict'")
    groups = [row.group or row.stratum for row in predictions]
    recipe = calibrated(
        recipe,
        predictions,
        cross_calibrated(predictions, groups),
        groups=groups,
        data=data,
        data_sha256=data_sha256,
        command=command,
        rounds=rounds,
    )
    replace_file(path, recipe.to_json())
    return recipe


def cross_calibrated(predictions: Sequence[Prediction], groups: list[str]) -> list[Prediction]:
    """The predictions, each calibrated and judged at an operating point that saw none of its group."""
    labels, _, logits = as_arrays(predictions)
    judged: dict[int, Prediction] = {}
    for rest, held in grouped_folds(labels, groups):
        point = _operating_point(labels[rest], logits[rest], [groups[place] for place in rest])
        for place in held.tolist():
            judged[place] = predictions[place].with_operating_point(*point)
    return [judged[place] for place in range(len(predictions))]


def _nested(table: PredictionTable, groups: list[str], name: str) -> list[Prediction]:
    """The fusion's predictions, each by a stack, calibration and thresholds that saw none of its group.

    What `fit_fusion` chooses on all samples is chosen again in every fold, by folds within the rest.
    """
    judged: dict[int, Prediction] = {}
    for rest, held in grouped_folds(table.labels, groups):
        part, of_rest = _part(table, rest), [groups[place] for place in rest]
        columns, members, bias, stacked = _chosen(part, of_rest)
        point = _operating_point(part.labels, stacked, of_rest)
        logits = _stack(members, bias, table.logits[held][:, columns])
        rows = _as_predictions(_part(table, held), logits, name)
        for place, row in zip(held.tolist(), rows, strict=True):
            judged[place] = row.with_operating_point(*point)
    return [judged[place] for place in range(len(table.rows))]


def _chosen(
    table: PredictionTable, groups: list[str]
) -> tuple[tuple[int, ...], tuple[Member, ...], float, Scores]:
    """The columns, members and bias of the fusion of a table, and its stacked logits, out of fold."""
    folds = grouped_folds(table.labels, groups)
    everything = tuple(range(len(table.detectors)))
    stacked = _out_of_fold(table, everything, folds)
    best = _better_alone(table, stacked, folds)
    if best is None:
        return (everything, *_fit(table, everything), stacked)
    members = (_untouched(table, best),)
    return (best,), members, 0.0, _stack(members, 0.0, table.logits[:, (best,)])


def _operating_point(labels: Labels, logits: Scores, groups: list[str]) -> tuple[Calibration, Thresholds]:
    calibration = fit("platt", labels, logits, groups, fitted_on="", data_sha256="", rounds=_NESTED_ROUNDS)
    return calibration, choose_thresholds(labels, logits, calibration)


def _as_predictions(table: PredictionTable, logits: Scores, name: str) -> list[Prediction]:
    return [
        dataclasses.replace(row, detector=name, bundle="", logit=float(logit), codes="", parts="")
        for row, logit in zip(table.rows, logits, strict=True)
    ]


def _part(table: PredictionTable, places: Places) -> PredictionTable:
    return dataclasses.replace(
        table,
        labels=table.labels[places],
        logits=table.logits[places],
        rows=tuple(table.rows[place] for place in places),
    )


def judged_sha256(predictions: Sequence[Prediction]) -> str:
    """The `data_sha256` of the samples that were judged, each once; `DataError` where one has no hash."""
    if unnamed := [row.path for row in predictions if not row.sha256]:
        raise _unusable(f"{unnamed[0]} has no sha256")
    return data_sha256(
        {
            Sample(
                path=Path(),
                label=Label[row.label.upper()],
                generator="",
                source="",
                group="",
                box=Box(*map(int, row.box.split(","))) if row.box else None,
                sha256=row.sha256,
            )
            for row in predictions
        }
    )


def _without_infinities(logits: Scores) -> Scores:
    if np.isinf(logits).any():
        raise _unusable("a logit is infinite")
    return logits


def _out_of_fold(table: PredictionTable, columns: tuple[int, ...], folds: Folds) -> Scores:
    """The stacked logit of each sample by a fit that saw none of its group."""
    logits = np.full(len(table.rows), np.nan)
    for train, held in folds:
        members, bias = _fit(_part(table, train), columns)
        logits[held] = _stack(members, bias, table.logits[held][:, columns])
    return logits


def _better_alone(table: PredictionTable, stacked: Scores, folds: Folds) -> int | None:
    """The column of the best member, if some member is better than the stack in either respect; else `None`."""
    columns = range(len(table.detectors))
    losses = [_loss(table.labels, _out_of_fold(table, (column,), folds)) for column in columns]
    areas = [_own_auroc(table, column) for column in columns]
    if _loss(table.labels, stacked) <= min(losses) and auroc(table.labels, stacked) >= max(areas):
        return None
    return int(np.argmax(areas))


def _own_auroc(table: PredictionTable, column: int) -> float:
    """The AUROC of a member's own logits, where it gave any: fits that differ between folds would blur it."""
    given = ~np.isnan(table.logits[:, column])
    return auroc(table.labels[given], table.logits[given, column])


def _loss(labels: Labels, logits: Scores) -> float:
    """Log-loss with both classes weighted equally."""
    share = labels.mean()
    weights = np.where(labels == 1, 1 - share, share)
    probabilities = 1 / (1 + np.exp(-np.clip(logits, -30, 30)))
    return float(log_loss(labels, probabilities, sample_weight=weights))


def _fit(table: PredictionTable, columns: tuple[int, ...]) -> tuple[tuple[Member, ...], float]:
    blank = [_blank_member(table, column) for column in columns]
    features = np.hstack([_features(m, table.logits[:, c]) for m, c in zip(blank, columns, strict=True)])
    model = LogisticRegression(C=_REGULARISATION, class_weight="balanced", max_iter=1000)
    model.fit(features, table.labels)
    weights = model.coef_[0].reshape(len(columns), 2)
    members = tuple(
        dataclasses.replace(m, weight=float(present), missing_weight=float(missing))
        for m, (present, missing) in zip(blank, weights, strict=True)
    )
    return members, float(model.intercept_[0])


def _blank_member(table: PredictionTable, column: int) -> Member:
    given = table.logits[~np.isnan(table.logits[:, column]), column]
    if not len(given):
        raise _unusable(f"'{table.detectors[column]}' gave no score in a fold")
    # Not of a detector whose numbers are evidently no logarithms of odds.
    most = _MOST_LOGIT if np.median(np.abs(given)) <= _MOST_LOGIT else np.inf
    given = np.clip(given, -most, most)
    return Member(
        detector=table.detectors[column],
        sha256=table.sha256[column],
        mean=float(given.mean()),
        deviation=float(given.std()) or 1.0,  # of a constant, which then adds nothing
        low=float(given.min()),
        high=float(given.max()),
        weight=1.0,
    )


def _untouched(table: PredictionTable, column: int) -> Member:
    """A member whose stacked logit is its own; the calibration does the rest."""
    given = table.logits[~np.isnan(table.logits[:, column]), column]
    return dataclasses.replace(
        _blank_member(table, column),
        mean=0.0,
        deviation=1.0,
        low=float(given.min()),
        high=float(given.max()),
        missing_weight=float(given.mean()),
    )


def _features(member: Member, logits: Scores) -> Scores:
    """Two columns: the standardised logit, 0 where it is missing, and whether it is missing."""
    missing = np.isnan(logits)
    standard = [0.0 if absent else member.term(logit) for logit, absent in zip(logits, missing, strict=True)]
    return np.stack([np.array(standard), missing.astype(np.float64)], axis=1)


def _stack(members: tuple[Member, ...], bias: float, logits: Scores) -> Scores:
    recipe = FusionRecipe(name="", version="", description="", members=members, bias=bias)
    return np.array([recipe.stack([None if np.isnan(x) else float(x) for x in row]) for row in logits])


def _description(table: PredictionTable, chosen: tuple[int, ...]) -> str:
    names = ", ".join(table.detectors[column] for column in chosen)
    if len(chosen) == len(table.detectors):
        return f"A logistic stack of {names}."
    return (
        f"{names} alone: stacked with the others it was not better, out of fold ({', '.join(table.detectors)})."
    )


def _unusable(why: str) -> DataError:
    return DataError(f"The predictions cannot be combined: {why}.", code="bad_predictions")
