"""The words for lay readers: one phrase for each verdict, warning and metric, the same in every format."""

from __future__ import annotations

from veridical.models.card import Estimate
from veridical.results import Report, Verdict

VERDICT_WORDS = {
    Verdict.AI: "Probably AI-generated",
    Verdict.REAL: "Probably a real picture",
    Verdict.UNSURE: "Unsure",
    Verdict.ERROR: "Could not be judged",
}

WARNING_WORDS = {
    "views_disagree": "Parts of the picture give different answers.",
    "frames_limited": "Only some frames of the animation were judged.",
    "metadata_partial": "Some of the file's metadata could not be read.",
    "trailing_data": "The file holds data after the end of the picture.",
}

METRIC_WORDS = {
    "fpr": "Real pictures called AI-generated",
    "tpr": "AI-generated pictures called AI-generated",
    "fakes_called_real": "AI-generated pictures called real",
    "reals_called_real": "Real pictures called real",
    "unsure": "Pictures answered with unsure",
    "balanced_accuracy": "Balanced accuracy",
    "auroc": "AUROC (0.5 is guessing, 1 is perfect)",
    "ap": "Average precision",
    "eer": "Equal error rate",
    "brier": "Brier score",
    "ece": "Calibration error (ECE)",
}

_NOT_PERCENT = ("auroc", "ap", "brier", "ece", "mcc")


def percent(fraction: float) -> str:
    """A probability or rate in whole per cent; never a certainty that was not measured.

    >>> [percent(p) for p in (0.0004, 0.25, 0.9996)]
    ['<1 %', '25 %', '>99 %']
    """
    if fraction < 0.005:
        return "<1 %"
    if fraction >= 0.995:
        return ">99 %"
    return f"{100 * fraction:.0f} %"


def interval(bounds: tuple[float, float]) -> str:
    """An interval of probabilities in whole per cent.

    >>> interval((0.912, 0.987))
    '91–99 %'
    """
    low, high = bounds
    return f"{100 * low:.0f}–{100 * high:.0f} %"


def probability(report: Report) -> str:
    """The number behind a verdict, with its interval where there is one; empty for an error."""
    if report.probability is None:
        return ""
    text = percent(report.probability)
    if not report.calibrated:
        return f"{text} (not calibrated)"
    return f"{text} ({interval(report.interval)})" if report.interval else text


def metric_name(name: str) -> str:
    """The words for a metric of a card.

    >>> metric_name("tpr_at_fpr_5")
    'AI-generated pictures found if 5 % of real ones may be called AI-generated'
    """
    before, _, rate = name.partition("_at_fpr_")
    if before == "tpr" and rate:
        return f"AI-generated pictures found if {rate} % of real ones may be called AI-generated"
    return METRIC_WORDS.get(name, name.replace("_", " "))


def metric_value(name: str, estimate: Estimate) -> tuple[str, str]:
    """The number and its 95 % interval, as per cent where the metric is a rate.

    >>> metric_value("fpr", Estimate(value=0.05, low=0.031, high=0.078, n=400))
    ('5.0 %', '3.1–7.8 %')
    """
    if name in _NOT_PERCENT:
        return f"{estimate.value:.3f}", f"{estimate.low:.3f}–{estimate.high:.3f}"
    return f"{100 * estimate.value:.1f} %", f"{100 * estimate.low:.1f}–{100 * estimate.high:.1f} %"


def doubts(report: Report) -> list[str]:
    """What could be wrong with this very answer, as sentences."""
    sentences = [_warning_words(code) for code in report.warnings]
    if report.verdict is Verdict.UNSURE:
        sentences.append("Neither verdict would be right often enough here; other evidence has to decide.")
    if not report.calibrated:
        sentences.append("The number was not calibrated: it ranks pictures and is no probability.")
    return sentences


def _warning_words(code: str) -> str:
    return WARNING_WORDS.get(code) or f"{code.replace('_', ' ').capitalize()}."
