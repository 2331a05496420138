"""Words for lay readers: one phrase for each verdict and warning, the same in every format."""

from __future__ import annotations

from dataclasses import dataclass

from veridical.models.card import Estimate
from veridical.models.metric import metric_kind
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
    "plain_frame": "The picture stands in a plain frame, as on a page.",
    "truncated": "The file breaks off: grey or black stands for what is missing.",
    "damaged": "The file is damaged: part of the picture is not what it was.",
    "no_end_marker": "The mark of the file's end is missing; the picture is whole.",
    "trailing_data": "The file holds data after the end of the picture.",
    "small_picture": "The picture is smaller than what the detector was made for.",
    "flat_picture": "There is almost no texture in the picture.",
    "screenshot_or_text": "The picture looks like text, a screen, a chart or flat colours.",
    "heavy_compression": "The picture was once compressed so strongly that its blocks show.",
}

# Why a gate withholds the verdicts that it withholds.
GATE_WORDS = {
    "small_picture": "The picture is smaller than what the detector looks at, and real pictures that small are "
    "often called AI.",
    "flat_picture": "There is almost no texture in the picture, and texture is what the detector goes by.",
    "screenshot_or_text": "The picture looks like text, a screen, a chart or flat colours, on which the "
    "detector was never measured.",
    "heavy_compression": "The picture was once compressed so strongly that traces of AI, had there been any, "
    "would be gone.",
    "plain_frame": "The picture stands in a plain frame, as on a page, and the frame itself looks real to the "
    "detector.",
    "truncated": "The file breaks off, and on half pictures the detector was never measured.",
    "damaged": "The file is damaged, and on broken pictures the detector was never measured.",
}


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


def percent_in_words(fraction: float) -> str:
    """A percentage, as `percent` rounds it, for the inside of a sentence.

    >>> [percent_in_words(value) for value in (0.0004, 0.25, 0.9996)]
    ['under 1 %', '25 %', 'over 99 %']
    """
    return percent(fraction).replace("<", "under ").replace(">", "over ")


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


def metric_value(name: str, estimate: Estimate) -> tuple[str, str]:
    """The number and its 95 % interval, as per cent where the metric is a rate.

    >>> metric_value("fpr", Estimate(value=0.05, low=0.031, high=0.078, n=400))
    ('5.0 %', '3.1–7.8 %')
    """
    value, low, high = (
        estimate_in_words(name, number) for number in (estimate.value, estimate.low, estimate.high)
    )
    return value, f"{low.removesuffix(' %')}–{high}"


def estimate_in_words(name: str, value: float) -> str:
    """A value of the metric `name` alone, written as `metric_value` writes it.

    >>> estimate_in_words("fpr", 0.05), estimate_in_words("auroc", 0.9)
    ('5.0 %', '0.900')
    """
    return f"{100 * value:.1f} %" if metric_kind(name).is_rate else f"{value:.3f}"


@dataclass(frozen=True)
class Paragraph:
    """A part of what a report says about one file: a heading, and its sentences."""

    heading: str
    sentences: tuple[str, ...]


def account(report: Report) -> list[Paragraph]:
    """The grounds of a verdict, in the order of a reader's questions; nothing for a file without an answer."""
    if report.error:
        return []
    parts = [Paragraph("What was seen", tuple(seen(report)))] if seen(report) else []
    if rates := error_rates(report):
        parts.append(Paragraph("How often this verdict is wrong", tuple(rates)))
    for verdict, heading in (
        (Verdict.AI, "What points to AI"),
        (Verdict.REAL, "What points to a real picture"),
    ):
        parts.append(Paragraph(heading, tuple(pointing_to(report, verdict)) or (NOTHING,)))
    return [*parts, Paragraph("What could be wrong", (*doubts(report), NO_PROOF))]


NOTHING = "Nothing that was looked at."
NO_PROOF = "A verdict is an estimate, not proof."


# The reasons that say how often a verdict is wrong: in either direction.
_RATES = ("error_rate", "wrong_share")


def seen(report: Report) -> list[str]:
    """The evidence that by itself speaks for no verdict, and what provenance found."""
    return [*report.seen, *(f"{f.summary} ({f.kind}, {f.strength})" for f in report.provenance)]


def error_rates(report: Report) -> list[str]:
    """How often this verdict is wrong, where that was measured, in sentences."""
    return [reason.sentence for reason in report.reasons if reason.code in _RATES]


def pointing_to(report: Report, verdict: Verdict) -> list[str]:
    """The reasons for a verdict, whether or not it was given; for `unsure`, those against having one."""
    return [r.sentence for r in report.reasons if r.points_to is verdict and r.code not in _RATES]


def doubts(report: Report) -> list[str]:
    """The doubts about this very answer, as sentences."""
    sentences = pointing_to(report, Verdict.UNSURE) + [_warning_words(code) for code in report.warnings]
    if report.verdict is Verdict.UNSURE:
        sentences.append("Neither verdict would be right often enough here; other evidence has to decide.")
    if not report.calibrated:
        sentences.append("The number was not calibrated: it ranks pictures and is no probability.")
    return sentences


def _warning_words(code: str) -> str:
    return WARNING_WORDS.get(code) or f"{code.replace('_', ' ').capitalize()}."
