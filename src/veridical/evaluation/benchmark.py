"""A table from stored predictions: each cell with its 95 % interval and its n.

Rates have Wilson's interval, everything else that of a bootstrap which draws reals and fakes apart. With
`by_group` whole groups (publishers) are drawn, since their samples resemble one another; a rate's interval is
then the wider of the two at either end, because a bootstrap of no errors has no width.

Verdicts at 0.5 (`accuracy`, `real_accuracy`, `fake_accuracy`, `balanced_accuracy`, `f1`, `mcc`, the confusion)
call a score of 0.5 or more fake. At the detector's own thresholds, `fpr` and `reals_called_real` are shares of
reals, `tpr` and `fakes_called_real` shares of fakes, `unsure` is the share of all that gets no verdict (also
where a gate withholds it). `accuracy_at_threshold`, which knows no gates, is the share of right answers where
everything below the upper threshold is called real.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from veridical.errors import DataError, did_you_mean
from veridical.evaluation import resampling
from veridical.evaluation.intervals import percentiles, wilson
from veridical.evaluation.metrics import METRICS, Labels, Scores, measured
from veridical.evaluation.predictions import Prediction, as_arrays
from veridical.evaluation.resampling import Counts, Indices, Plan, Values
from veridical.models.card import Estimate
from veridical.results import Verdict

Cells = dict[str, Estimate]
Mask = npt.NDArray[np.bool_]
Rates = dict[str, tuple[Mask, Mask]]  # of each rate, the samples that are hits, and those that are counted

_AGAINST_OTHERS = ("auroc", "tpr_at_fpr_1", "tpr_at_fpr_5", "balanced_accuracy")
RATES_OF_REALS = ("real_accuracy", "fpr", "reals_called_real")
RATES_OF_FAKES = ("fake_accuracy", "tpr", "fakes_called_real")
GENERATOR_CELLS = (*_AGAINST_OTHERS, *RATES_OF_FAKES, "unsure")
SOURCE_CELLS = ("auroc", *RATES_OF_REALS, "unsure")
# All that `summarise` can give.
CELLS = (*METRICS, "within", "accuracy", "accuracy_at_threshold", *RATES_OF_REALS, *RATES_OF_FAKES, "unsure")

# Of either class; a publisher of fewer has no AUROC worth averaging.
LEAST_WITHIN = 5

# The content of samples that name none, in a set where others do.
UNSTATED = "(unstated)"


@dataclass(frozen=True)
class Confusion:
    """Counts of verdicts at 0.5; fake is positive."""

    tp: int
    fp: int
    tn: int
    fn: int


@dataclass(frozen=True)
class Benchmark:
    """One detector on one set.

    `metrics` is over all images. `generators` has each generator's fakes against all the reals (n counts the
    fakes), `generator_mean` the plain means of its columns (n counts the generators), `sources` each source's
    reals against all the fakes (n counts the reals), `contents` each content class on its own. What is not
    defined, such as an AUROC without fakes, is absent.
    """

    metrics: Cells
    confusion: Confusion
    generator_mean: Cells
    generators: dict[str, Cells]
    sources: dict[str, Cells]
    contents: dict[str, Cells]


def by_detector(
    predictions: Iterable[Prediction], *, perturbation: str = "none"
) -> tuple[dict[str, list[Prediction]], Counter[str]]:
    """The rows of each detector after one perturbation, and how many rows of each other were left out.

    Raises `DataError` (`bad_predictions`) if none is left, if two bundles have one name, or if a detector
    answers twice for one sample.
    """
    chosen: dict[str, dict[tuple[str, str, str], Prediction]] = {}
    bundles: dict[str, str] = {}
    left_out: Counter[str] = Counter()
    for row in predictions:
        if row.perturbation != perturbation:
            left_out[row.perturbation] += 1
            continue
        if bundles.setdefault(row.detector, row.bundle) != row.bundle:
            raise _unusable(f"two different detectors are called '{row.detector}'")
        answers = chosen.setdefault(row.detector, {})
        if (row.path, row.sha256, row.box) in answers:
            raise _unusable(f"'{row.detector}' answers twice for {row.path}")
        answers[row.path, row.sha256, row.box] = row
    if not chosen:
        raise _unusable(
            f"there is none with perturbation '{perturbation}'. {did_you_mean(perturbation, left_out)}"
        )
    return {name: list(answers.values()) for name, answers in chosen.items()}, left_out


def measure(predictions: Sequence[Prediction], *, rounds: int = 1000, by_group: bool = False) -> Benchmark:
    """Everything that can be said of one detector's predictions."""
    labels, scores, _ = as_arrays(predictions)
    called = scores >= 0.5
    generators, generator_mean = _generators(predictions, rounds=rounds, by_group=by_group)
    return Benchmark(
        metrics=summarise(predictions, rounds=rounds, by_group=by_group),
        confusion=Confusion(
            tp=int((called & (labels == 1)).sum()),
            fp=int((called & (labels == 0)).sum()),
            tn=int((~called & (labels == 0)).sum()),
            fn=int((~called & (labels == 1)).sum()),
        ),
        generator_mean=generator_mean,
        generators=generators,
        sources=per_source(predictions, rounds=rounds, by_group=by_group),
        contents=per_content(predictions, rounds=rounds, by_group=by_group),
    )


def summarise(predictions: Sequence[Prediction], *, rounds: int = 1000, by_group: bool = False) -> Cells:
    """Every metric of one detector on one set, of `CELLS` those that are defined."""
    labels, scores, logits = as_arrays(predictions)
    values = {name: measured(name, labels, scores, logits) for name in METRICS}
    defined = {name: value for name, value in values.items() if not math.isnan(value)}
    rates = _rates(predictions, labels, scores)
    inside = publishers_of_both([row.group for row in predictions], labels)
    if inside:
        defined["within"] = within(labels, logits, inside)
    has_both = 0 < labels.sum() < len(labels)
    drawn = _joined(
        (
            resampling.metrics_of(labels, scores, logits, counts)
            if has_both
            else resampling.probability_metrics(labels, scores, counts)
        )
        | (_drawn_rates(rates, counts) if by_group else {})
        | ({"within": _within_drawn(inside, labels, logits, counts)} if inside else {})
        for counts in resampling.draws(_plan(predictions, labels, by_group=by_group), rounds=rounds)
    )
    sizes = {"within": sum(map(len, inside))}
    table = {
        name: percentiles(value, drawn[name], n=sizes.get(name, len(labels))) for name, value in defined.items()
    }
    return table | {name: _rate(*rate, drawn.get(name)) for name, rate in rates.items()}


def per_generator(
    predictions: Sequence[Prediction], *, rounds: int = 1000, by_group: bool = False
) -> dict[str, Cells]:
    """Each generator's fakes against all the reals of the set; n counts the fakes.

    There is no AP, since it depends on the share of fakes, and so on how many a generator happens to have.
    """
    return _generators(predictions, rounds=rounds, by_group=by_group)[0]


def per_source(
    predictions: Sequence[Prediction], *, rounds: int = 1000, by_group: bool = False
) -> dict[str, Cells]:
    """Each source's reals: against all the fakes, and what verdicts they get; n counts the reals."""
    # With labels and scores turned round, a source of reals is what a generator of fakes is.
    columns = _of_strata(predictions, of_label=0, rounds=rounds, by_group=by_group)
    return {
        name: {cell: cells[cell] for cell in SOURCE_CELLS if cell in cells}
        for name, (cells, _) in columns.items()
    }


def per_content(
    predictions: Sequence[Prediction], *, rounds: int = 1000, by_group: bool = False
) -> dict[str, Cells]:
    """Each content class as a set of its own; empty where no sample names its content."""
    rows: dict[str, list[Prediction]] = {}
    for row in predictions:
        rows.setdefault(row.content or UNSTATED, []).append(row)
    if set(rows) <= {UNSTATED}:
        return {}
    return {name: summarise(rows[name], rounds=rounds, by_group=by_group) for name in sorted(rows)}


def to_json(benchmarks: Mapping[str, Benchmark]) -> dict[str, dict[str, object]]:
    """Every cell of every detector; what is not defined has no value (`nan`, in JSON null) and an n of 0."""

    def table(rows: Mapping[str, Cells], names: Sequence[str]) -> dict[str, Cells]:
        return {row: _complete(cells, names) for row, cells in rows.items()}

    return {
        detector: {
            **_complete(benchmark.metrics, CELLS),
            "confusion": benchmark.confusion,
            "generator_mean": _complete(benchmark.generator_mean, GENERATOR_CELLS),
            "generators": table(benchmark.generators, GENERATOR_CELLS),
            "sources": table(benchmark.sources, SOURCE_CELLS),
            "contents": table(benchmark.contents, CELLS),
        }
        for detector, benchmark in benchmarks.items()
    }


def to_rows(benchmarks: Mapping[str, Benchmark]) -> Iterator[tuple[str, str, str, str, Estimate]]:
    """Every defined cell on a row of its own: detector, table, row of the table, metric, estimate."""
    for detector, benchmark in benchmarks.items():
        tables = {
            "all": {"all": benchmark.metrics},
            "generator_mean": {"mean": benchmark.generator_mean},
            "generators": benchmark.generators,
            "sources": benchmark.sources,
            "contents": benchmark.contents,
        }
        for table, rows in tables.items():
            for row, cells in rows.items():
                for metric, estimate in cells.items():
                    if not math.isnan(estimate.value):
                        yield detector, table, row, metric, estimate


def _complete(cells: Cells, names: Sequence[str]) -> Cells:
    return {name: cells.get(name, Estimate(math.nan, math.nan, math.nan, 0)) for name in names}


def _generators(
    predictions: Sequence[Prediction], *, rounds: int, by_group: bool
) -> tuple[dict[str, Cells], Cells]:
    """The cells of each generator, and their means over generators."""
    columns = _of_strata(predictions, of_label=1, rounds=rounds, by_group=by_group)
    table = {
        name: {cell: cells[cell] for cell in GENERATOR_CELLS if cell in cells}
        for name, (cells, _) in columns.items()
    }
    means = {}
    for cell in GENERATOR_CELLS:
        values = [cells[cell].value for cells in table.values() if cell in cells]
        if values:
            drawn = np.nanmean([drawn[cell] for _, drawn in columns.values()], axis=0)
            means[cell] = percentiles(float(np.mean(values)), drawn, n=len(values))
    return table, means


def _of_strata(
    predictions: Sequence[Prediction], *, of_label: int, rounds: int, by_group: bool
) -> dict[str, tuple[Cells, dict[str, Values]]]:
    """Each generator of fakes (or, with `of_label` 0, source of reals) against all of the other class.

    Gives the cells and their bootstrap values; all strata share the draws, in which each keeps its size.
    """
    labels, scores, logits = as_arrays(predictions)
    strata = _strata(predictions, labels, scores, of_label=of_label)
    drawn = _drawn_strata(
        strata,
        labels,
        scores,
        logits,
        _stratified_plan(predictions, labels, of_label=of_label, by_group=by_group),
        of_label=of_label,
        rounds=rounds,
    )
    others = np.flatnonzero(labels != of_label)
    result = {}
    for name, (own, rates) in strata.items():
        both = np.concatenate([others, own])
        cells = {
            cell: percentiles(
                measured(cell, labels[both], scores[both], logits[both]), drawn[name][cell], n=len(own)
            )
            for cell in _AGAINST_OTHERS
            if cell in drawn[name]
        }
        cells |= {cell: _rate(*rate, drawn[name][cell] if by_group else None) for cell, rate in rates.items()}
        result[name] = (cells, drawn[name])
    return result


def _strata(
    predictions: Sequence[Prediction], labels: Labels, scores: Scores, *, of_label: int
) -> dict[str, tuple[Indices, Rates]]:
    """The places of each stratum's samples, and their rates."""
    places: dict[str, list[int]] = {}
    for place in np.flatnonzero(labels == of_label).tolist():
        places.setdefault(predictions[place].stratum, []).append(place)
    return {
        name: (np.array(own), _rates([predictions[p] for p in own], labels[own], scores[own]))
        for name, own in sorted(places.items())
    }


def _drawn_strata(
    strata: Mapping[str, tuple[Indices, Rates]],
    labels: Labels,
    scores: Scores,
    logits: Scores,
    plan: Plan,
    *,
    of_label: int,
    rounds: int,
) -> dict[str, dict[str, Values]]:
    others = np.flatnonzero(labels != of_label)
    every = np.concatenate([own for own, _ in strata.values()]) if strata else np.array([], dtype=np.intp)
    columns = {name: np.flatnonzero(np.isin(every, own)) for name, (own, _) in strata.items()}
    # The class whose strata are shown takes the place of the fakes, which score high.
    sign = 1 if of_label == 1 else -1
    right = ((scores[others] >= 0.5) == (of_label == 0)).astype(float)
    blocks: dict[str, list[dict[str, Values]]] = {name: [] for name in strata}
    for counts in resampling.draws(plan, rounds=rounds):
        placed = resampling.placement(sign * logits[others], sign * logits[every], counts[:, others])
        for name, (own, rates) in strata.items():
            drawn = _drawn_rates(rates, counts[:, own])
            if len(others):
                drawn |= _ranked(placed.of(columns[name]), counts[:, own])
                accuracy = drawn["fake_accuracy" if of_label == 1 else "real_accuracy"]
                drawn["balanced_accuracy"] = (accuracy + counts[:, others] @ right / placed.reals[:, 0]) / 2
            blocks[name].append(drawn)
    return {name: _joined(parts) for name, parts in blocks.items()}


def _stratified_plan(
    predictions: Sequence[Prediction], labels: Labels, *, of_label: int, by_group: bool
) -> Plan:
    if by_group:
        return resampling.whole_groups([row.group for row in predictions], labels)
    return resampling.samples_within(
        [row.stratum if label == of_label else None for row, label in zip(predictions, labels, strict=True)]
    )


def _ranked(placed: resampling.Placement, counts: Counts) -> dict[str, Values]:
    with np.errstate(invalid="ignore"):  # a stratum that was not drawn has no value in that round
        return {
            "auroc": resampling.auroc(placed, counts),
            "tpr_at_fpr_1": resampling.tpr_at_fpr(placed, counts, fpr=0.01),
            "tpr_at_fpr_5": resampling.tpr_at_fpr(placed, counts, fpr=0.05),
        }


def within(labels: Labels, logits: Scores, publishers: Sequence[Indices]) -> float:
    """The mean AUROC inside publishers, where the style of a set tells nothing of the label."""
    return float(np.mean([METRICS["auroc"](labels[own], logits[own]) for own in publishers]))


def publishers_of_both(publishers: Sequence[str], labels: Labels) -> list[Indices]:
    """The places of each publisher's samples, of publishers with enough of both classes."""
    groups = np.array(publishers)
    every = [np.flatnonzero(groups == name) for name in sorted(set(groups.tolist()) - {""})]
    return [own for own in every if np.bincount(labels[own], minlength=2).min() >= LEAST_WITHIN]


def _within_drawn(publishers: Sequence[Indices], labels: Labels, logits: Scores, counts: Counts) -> Values:
    areas = []
    for own in publishers:
        real, fake = own[labels[own] == 0], own[labels[own] == 1]
        placed = resampling.placement(logits[real], logits[fake], counts[:, real])
        with np.errstate(invalid="ignore"):  # a class that was not drawn has no area in that round
            areas.append(resampling.auroc(placed, counts[:, fake]))
    means: Values = np.nanmean(areas, axis=0)
    return means


def _rates(predictions: Sequence[Prediction], labels: Labels, scores: Scores) -> Rates:
    ai = np.array([p.threshold_ai for p in predictions])
    real, fake, every = labels == 0, labels == 1, np.ones(len(labels), dtype=bool)
    called_fake = scores >= 0.5
    # NaN stands for "no such threshold": no comparison with it holds.
    above = scores >= ai
    verdicts = np.array([p.verdict.value for p in predictions])
    called_ai, called_real = verdicts == Verdict.AI.value, verdicts == Verdict.REAL.value
    rates = {"accuracy": (called_fake == fake, every)}
    if not np.isnan(ai).all():
        rates["accuracy_at_threshold"] = (above == fake, ~np.isnan(ai))
    return rates | {
        "real_accuracy": (~called_fake, real),
        "fpr": (called_ai, real),
        "reals_called_real": (called_real, real),
        "fake_accuracy": (called_fake, fake),
        "tpr": (called_ai, fake),
        "fakes_called_real": (called_real, fake),
        "unsure": (~called_ai & ~called_real, every),
    }


def _drawn_rates(rates: Rates, counts: Counts) -> dict[str, Values]:
    with np.errstate(invalid="ignore"):  # of nothing drawn there is no rate
        return {name: counts @ (hit & of) / (counts @ of) for name, (hit, of) in rates.items()}


def _rate(hit: Mask, of: Mask, drawn: Values | None) -> Estimate:
    estimate = wilson(int((hit & of).sum()), int(of.sum()))
    if drawn is None or not estimate.n:
        return estimate
    clustered = percentiles(estimate.value, drawn, n=estimate.n)
    return Estimate(
        estimate.value, min(estimate.low, clustered.low), max(estimate.high, clustered.high), estimate.n
    )


def _plan(predictions: Sequence[Prediction], labels: Labels, *, by_group: bool) -> Plan:
    if by_group:
        return resampling.whole_groups([row.group for row in predictions], labels)
    return resampling.samples_within(labels.tolist())


def _joined(blocks: Iterable[dict[str, Values]]) -> dict[str, Values]:
    parts = list(blocks)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _unusable(why: str) -> DataError:
    return DataError(f"The predictions cannot be measured: {why}", code="bad_predictions")
