"""Reasons: a judgement in sentences, for and against its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from veridical.detectors import Detector
from veridical.explanation.error_rates import error_rate, measurement_of, wrong_shares
from veridical.explanation.facts import fact_in_words
from veridical.explanation.words import GATE_WORDS, percent_in_words
from veridical.media.image import Image
from veridical.models.card import Measurement
from veridical.results import ErrorRate, Reason, Thresholds, Verdict, WrongShare
from veridical.verdict import VIEWS_DISAGREE, Judgement


@dataclass(frozen=True)
class Explanation:
    """The sentences about a judgement, in the order of telling.

    `seen` are the sentences that by themselves speak for no verdict, `number` the first of them.
    """

    number: str
    reasons: tuple[Reason, ...]
    seen: tuple[str, ...]
    error_rate: ErrorRate | None
    wrong_shares: tuple[WrongShare, ...]

    @property
    def evidence(self) -> tuple[str, ...]:
        """All sentences."""
        return (self.number, *(reason.sentence for reason in self.reasons), *self.seen)


def explain(judgement: Judgement, image: Image, detector: Detector) -> Explanation:
    """The words for a judgement of an image by a detector."""
    verdict = judgement.verdict
    measurement = measurement_of(verdict, judgement.thresholds, detector.card)
    shares = wrong_shares(verdict, measurement) if measurement else ()
    return Explanation(
        number=_number_in_words(judgement, detector),
        reasons=(
            *_gates_in_words(judgement),
            _place(judgement),
            *(_error_rates_in_words(verdict, measurement, shares, detector) if measurement else ()),
            *(_doubts_of_the_number(judgement) if detector.calibrated else ()),
            *_parts(judgement),
        ),
        seen=(*_parts_in_words(judgement, image), *map(fact_in_words, judgement.score.facts)),
        error_rate=error_rate(verdict, measurement) if measurement else None,
        wrong_shares=shares,
    )


def _number_in_words(judgement: Judgement, detector: Detector) -> str:
    score = judgement.score
    said = f"The detector '{detector.name}' gives {percent_in_words(score.probability)}"
    if not detector.calibrated:
        return f"{said} for AI; this number is not calibrated, so it ranks pictures but is not a probability."
    likely = f"{said} probability that the picture was made by AI, if both were equally likely beforehand"
    if score.interval is None:
        return f"{likely}."
    return f"{likely} (95 % interval of the calibration: {_range(score.interval)})."


def _gates_in_words(judgement: Judgement) -> list[Reason]:
    """Why there is no verdict although the number would give one."""
    would = judgement.thresholds.decide(judgement.score.probability).value
    return [
        Reason(code, Verdict.UNSURE, f"{GATE_WORDS[code]} So it does not say '{would}'.")
        for code in judgement.withheld
        if code in GATE_WORDS
    ]


def _place(judgement: Judgement) -> Reason:
    """The reason that lies in the place of the number between the thresholds."""
    ai, real = judgement.thresholds.ai, judgement.thresholds.real
    if VIEWS_DISAGREE in judgement.codes:
        sentence = "It is unsure, because some parts of the picture look made by AI and others look real."
        return Reason("parts_disagree", Verdict.UNSURE, sentence)
    match judgement.thresholds.decide(judgement.score.probability):
        case Verdict.AI:
            sentence = f"The number is at or above {_threshold(ai)}, from which on it says 'ai'."
            return Reason("above_threshold", Verdict.AI, sentence)
        case Verdict.REAL:
            sentence = f"The number is at or below {_threshold(real)}, up to which it says 'real'."
            return Reason("below_threshold", Verdict.REAL, sentence)
    if ai is None and real is None:
        sentence = (
            "It is unsure, because no threshold could be set for it: its verdict is never 'ai' or 'real'."
        )
        return Reason("no_thresholds", Verdict.UNSURE, sentence)
    says_ai = "it never says 'ai'" if ai is None else f"it says 'ai' only from {_threshold(ai)} on"
    says_real = "it never says 'real'" if real is None else f"'real' only up to {_threshold(real)}"
    return Reason("between_thresholds", Verdict.UNSURE, f"It is unsure, because {says_ai} and {says_real}.")


def _doubts_of_the_number(judgement: Judgement) -> list[Reason]:
    """Reasons from the interval: a leaning without a verdict, or a verdict that it leaves open."""
    if judgement.score.interval is None:
        return []
    low, high = judgement.score.interval
    spread = _range((low, high))
    if judgement.verdict is not Verdict.UNSURE:
        edge = _edge(judgement.verdict, judgement.thresholds)
        if not low < edge < high:
            return []
        sentence = f"The calibration's own interval, {spread}, reaches to the other side of the threshold."
        return [Reason("interval_over_threshold", Verdict.UNSURE, sentence)]
    if low > 0.5:
        sentence = f"Its whole interval, {spread}, is above one half: it leans to AI, without a verdict."
        return [Reason("leans_to_ai", Verdict.AI, sentence)]
    if high < 0.5:
        sentence = f"Its whole interval, {spread}, is below one half: it leans to real, without a verdict."
        return [Reason("leans_to_real", Verdict.REAL, sentence)]
    return []


def _edge(verdict: Verdict, thresholds: Thresholds) -> float:
    edge = thresholds.ai if verdict is Verdict.AI else thresholds.real
    assert edge is not None  # a verdict comes from a threshold
    return edge


def _error_rates_in_words(
    verdict: Verdict, measurement: Measurement, shares: Sequence[WrongShare], detector: Detector
) -> list[Reason]:
    rate = error_rate(verdict, measurement)
    kind, other = ("real pictures", "real") if verdict is Verdict.AI else ("AI pictures", "AI")
    origin = _origin(verdict, measurement, detector)
    wrongly = f"it wrongly called {_rate_in_words(rate.value, rate.low, rate.high)} '{verdict.value}'"
    reasons = [Reason("error_rate", verdict, f"Of {rate.n} {kind} {origin}, {wrongly}.")]
    if shares:
        said = [
            f"if {_prior_in_words(share.prior)}, {_rate_in_words(share.value, share.low, share.high)}"
            for share in shares
        ]
        sentence = f"Of the pictures that it calls '{verdict.value}' so many are {other}: {'; '.join(said)}."
        reasons.append(Reason("wrong_share", verdict, sentence))
    return reasons


def _origin(verdict: Verdict, measurement: Measurement, detector: Detector) -> str:
    """The origin, in words, of the pictures on which a rate was measured."""
    if measurement.role == "fitted":
        return "on which its thresholds were chosen"
    if measurement.role == "out_of_fold":
        return "of publishers that its parts were not fitted on, one at a time"
    training = detector.card.training if detector.card else None
    if verdict is Verdict.AI:
        tested, seen, strata = set(measurement.sources), training and training.sources, "sources"
    else:
        tested, seen, strata = set(measurement.generators), training and training.generators, "generators"
    if not tested or not seen or tested & set(seen):
        return "in its test"
    return f"from {strata} it was not trained on"


def _prior_in_words(prior: float) -> str:
    return "as many are AI as real" if prior == 0.5 else f"one in {1 / prior:.0f} is AI"


def _rate_in_words(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % (95 % interval {100 * low:.1f} to {100 * high:.1f} %)"


def _parts(judgement: Judgement) -> list[Reason]:
    """The verdicts of the parts that were looked at, each on its own."""
    parts = judgement.parts
    if len(parts) < 2:
        return []
    kind = "frames judged" if judgement.score.frame_logits else "parts looked at"
    verdicts = [judgement.thresholds.decide(part) for part in parts]
    reasons = []
    for verdict in (Verdict.AI, Verdict.REAL):
        if count := verdicts.count(verdict):
            share = f"All {len(parts)}" if count == len(parts) else f"{count} of the {len(parts)}"
            sentence = f"{share} {kind} would give '{verdict.value}' by themselves."
            reasons.append(Reason(f"parts_say_{verdict.value}", verdict, sentence))
    return reasons


def _parts_in_words(judgement: Judgement, image: Image) -> list[str]:
    parts = judgement.parts
    spread = f"{percent_in_words(min(parts))} to {percent_in_words(max(parts))}" if parts else ""
    if len(image.frames) > 1:
        judged = f"{len(image.frames)} of the {image.frame_count} frames were judged, spread over the whole"
        answer = f"; they gave {spread}, and the answer is for the mean of their logits" if parts else ""
        return [f"{judged}{answer}."]
    told = []
    if image.frame_count > 1:
        told.append(f"Only the first of the file's {image.frame_count} frames or pages was judged.")
    if len(parts) > 1:
        told.append(f"{len(parts)} parts of the picture gave {spread}.")
    return [*told, *_share_seen(judgement, image)]


def _share_seen(judgement: Judgement, image: Image) -> list[str]:
    """How much of the picture was looked at, unless it was all of it."""
    boxes = judgement.score.viewed
    if not boxes:
        return []
    import numpy as np  # already there where a picture was judged

    covered = np.zeros((image.height, image.width), bool)
    for box in boxes:
        covered[box.top : box.top + box.height, box.left : box.left + box.width] = True
    share = float(covered.mean())
    if share >= 0.995:
        return []
    parts = f"{len(boxes)} part" + ("s" if len(boxes) > 1 else "")
    return [f"It looked at {parts} of the picture, {max(100 * share, 0.1):.2g} % of its pixels."]


def _threshold(value: float | None) -> str:
    assert value is not None  # no verdict comes from a threshold that is not there
    return f"{100 * value:.4g} %"


def _range(bounds: tuple[float, float]) -> str:
    return " to ".join(map(percent_in_words, bounds))
