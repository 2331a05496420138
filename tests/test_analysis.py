from __future__ import annotations

import dataclasses
import hashlib
import io
import math
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import PIL.Image
import pytest

import veridical
from veridical.analysis import analyse, judge
from veridical.detectors import Detector
from veridical.detectors.base import require_size, score_frames, score_of_logits
from veridical.errors import ModelError, UnknownModelError, UsageError
from veridical.media.image import Image, Pixels
from veridical.media.limits import Limits
from veridical.models.card import (
    Calibration,
    Card,
    Estimate,
    Measurement,
    Paper,
    PixelInput,
    Role,
    TrainingData,
)
from veridical.results import Report, Score, Thresholds, Verdict
from veridical.verdict import VIEWS_DISAGREE

BAND = Thresholds(ai=0.9, real=0.2)


@dataclass
class Fixed:
    """A detector whose views give chosen logits; `frames` gives one logit to each picture in turn instead."""

    views: tuple[float, ...] = (0.0,)
    frames: tuple[float, ...] = ()
    thresholds: Thresholds = BAND
    card: Card | None = None
    minimum: int = 1
    name: str = "fixed"
    version: str = "7"
    sha256: str = "f" * 64
    seen: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def calibrated(self) -> bool:
        return self.card is not None and self.card.calibration is not None

    def detect(self, medium: Image) -> Score:
        self.seen.extend(frame.shape for frame in medium.frames)
        of_frames = iter(self.frames)
        return score_frames(medium, lambda frame: self._score(frame, next(of_frames, None)), self.card)

    def _score(self, frame: Pixels, own: float | None) -> Score:
        require_size(frame, self.minimum)
        return score_of_logits(self.views if own is None else [own], self.card)


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def png(width: int = 64, height: int = 48) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def animation(frames: int) -> bytes:
    pictures = [PIL.Image.new("RGB", (64, 48), (10 * index, 255 - 10 * index, 0)) for index in range(frames)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:])
    return buffer.getvalue()


def report_of(detector: Detector, *, data: bytes | None = None, threshold: float | None = None) -> Report:
    return judge(data or png(), path="a.png", detector=detector, threshold=threshold).report


def card(*, thresholds: Thresholds = BAND) -> Card:
    """With a calibration that doubles logits, and error rates measured on two splits."""
    rates = {"fpr": Estimate(0.01, 0.003, 0.029, 300), "fakes_called_real": Estimate(0.04, 0.02, 0.07, 250)}
    worse = {name: Estimate(0.5, 0.4, 0.6, 9) for name in rates}
    return Card(
        name="fixed",
        version="7",
        architecture="none",
        description="For tests.",
        licence="MIT",
        paper=Paper(authors="Us", title="On tests", venue="Here", url="https://example.org"),
        input=PixelInput(kind="crops", size=64),
        parameters=0,
        files={},
        calibration=Calibration(
            slope=2.0, intercept=0.0, covariance=((0.01, 0.0), (0.0, 0.01)),
            fitted_on="val", data_sha256="0" * 64, n_real=10, n_fake=10,
        ),
        thresholds=thresholds,
        measured=(
            Measurement("val", "0" * 64, "x", worse),
            Measurement("test", "0" * 64, "x", rates, role="test"),
        ),
    )  # fmt: skip


def test_a_report_names_the_file_the_bundle_and_the_number_behind_the_verdict() -> None:
    data = png()
    report = judge(data, path="a.png", detector=Fixed(views=(logit(0.95),))).report

    assert report.verdict is Verdict.AI
    assert report.probability == pytest.approx(0.95)
    assert report.path == "a.png"
    assert report.sha256 == hashlib.sha256(data).hexdigest()
    assert (report.format, report.width, report.height) == ("png", 64, 48)
    assert (report.threshold, report.threshold_real) == (0.9, 0.2)
    assert report.model is not None
    assert (report.model.name, report.model.version, report.model.sha256) == ("fixed", "7", "f" * 64)
    assert not report.calibrated
    assert report.error is None
    assert report.frames == ()
    assert min(report.timing_ms.decode, report.timing_ms.detect) >= 0
    assert msgspec.json.decode(report.to_json())["verdict"] == "ai"


def test_the_picture_comes_with_the_judgement() -> None:
    image = judge(png(), path=None, detector=Fixed()).image
    assert image is not None
    assert image.pixels.shape == (48, 64, 3)


@pytest.mark.parametrize(
    ("probability", "verdict"), [(0.95, "ai"), (0.89, "unsure"), (0.21, "unsure"), (0.19, "real")]
)
def test_the_verdict_follows_the_detectors_thresholds(probability: float, verdict: str) -> None:
    assert report_of(Fixed(views=(logit(probability),))).verdict == verdict


def test_the_id_is_that_of_the_bytes_and_the_bundle_whatever_the_name_and_threshold() -> None:
    detector = Fixed(views=(0.0,))
    first = report_of(detector)
    again = judge(png(), path="other.png", detector=detector, threshold=0.3).report
    assert first.id == again.id == hashlib.sha256(f"{first.sha256}{'f' * 64}".encode()).hexdigest()[:16]
    assert report_of(Fixed(sha256="e" * 64)).id != first.id
    assert report_of(detector, data=png(65)).id != first.id


@pytest.mark.parametrize(
    ("threshold", "verdict", "effective"),
    [
        (0.5, "ai", (0.5, 0.2)),
        (0.7, "unsure", (0.7, 0.2)),
        (0.1, "ai", (0.1, 0.1)),
        (1.0, "unsure", (1.0, 0.2)),
    ],
)
def test_a_given_threshold_replaces_the_one_for_ai_and_keeps_the_other_below_it(
    threshold: float, verdict: str, effective: tuple[float, float]
) -> None:
    report = report_of(Fixed(views=(logit(0.6),)), threshold=threshold)
    assert report.verdict == verdict
    assert (report.threshold, report.threshold_real) == effective


@pytest.mark.parametrize("threshold", [-0.01, 1.01, math.nan, math.inf])
def test_a_threshold_that_is_no_probability_is_a_usage_error(threshold: float) -> None:
    with pytest.raises(UsageError):
        report_of(Fixed(), threshold=threshold)
    with pytest.raises(UsageError):
        analyse("there is no such file", "constant", threshold=threshold)


def test_views_that_contradict_each_other_make_the_verdict_unsure_and_it_says_why() -> None:
    report = report_of(Fixed(views=(6.0, 6.0, 6.0, 6.0, logit(0.1))))
    assert report.probability is not None
    assert report.probability > 0.9
    assert report.verdict is Verdict.UNSURE
    assert report.warnings == (VIEWS_DISAGREE,)
    assert any("look real" in sentence for sentence in report.evidence)


def test_views_that_only_differ_do_not_count_as_contradicting() -> None:
    report = report_of(Fixed(views=(6.0, 6.0, logit(0.3))))
    assert report.verdict is Verdict.AI
    assert report.warnings == ()


def test_views_are_compared_after_calibration() -> None:
    # Calibrated, 0.3 becomes 0.16 and is below the threshold for real.
    report = report_of(Fixed(views=(6.0, 6.0, logit(0.3)), card=card()))
    assert report.verdict is Verdict.UNSURE


def test_an_animation_is_judged_by_the_mean_of_its_frames_logits_calibrated_after() -> None:
    report = report_of(Fixed(frames=(1.0, 2.0, 6.0), card=card()), data=animation(3))
    assert report.format == "gif"
    assert [frame.index for frame in report.frames] == [0, 1, 2]
    assert [frame.probability for frame in report.frames] == pytest.approx(
        [1 / (1 + math.exp(-2 * raw)) for raw in (1.0, 2.0, 6.0)]
    )
    assert report.probability == pytest.approx(1 / (1 + math.exp(-2 * 3.0)))
    low, high = report.interval or (0.0, 0.0)
    assert low < 1 / (1 + math.exp(-6)) < high
    assert any("3 of the 3 frames" in sentence for sentence in report.evidence)


def test_only_sampled_frames_of_a_long_animation_are_judged_and_that_is_said() -> None:
    detector = Fixed()
    report = judge(animation(20), path=None, detector=detector, limits=Limits(max_frames=4)).report
    assert len(detector.seen) == len(report.frames) == 4
    assert [report.frames[0].index, report.frames[-1].index] == [0, 19]
    assert "frames_limited" in report.warnings
    assert any("4 of the 20 frames" in sentence for sentence in report.evidence)


def test_frames_that_contradict_each_other_make_the_verdict_unsure() -> None:
    report = report_of(Fixed(frames=(9.0, -9.0)), data=animation(2))
    assert report.verdict is Verdict.UNSURE
    assert VIEWS_DISAGREE in report.warnings


def test_a_picture_below_the_detectors_minimum_is_an_error_with_its_size() -> None:
    judgement = judge(png(64, 48), path="a.png", detector=Fixed(minimum=50))
    report = judgement.report
    assert report.verdict is Verdict.ERROR
    assert report.error is not None
    assert report.error.code == "too_small"
    assert (report.width, report.height) == (64, 48)
    assert report.probability is None
    assert judgement.image is not None


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "empty_file"),
        (b"<html>", "unsupported_format"),
        (png()[:-30], "truncated"),
        (png(31), "too_small"),
    ],
)
def test_bytes_that_cannot_be_judged_give_a_report_with_the_reason_and_their_hash(
    data: bytes, code: str
) -> None:
    judgement = judge(data, path="a.png", detector=Fixed())
    assert judgement.image is None
    assert judgement.report.verdict is Verdict.ERROR
    assert judgement.report.error is not None
    assert judgement.report.error.code == code
    assert judgement.report.sha256 == hashlib.sha256(data).hexdigest()
    assert judgement.report.path == "a.png"


def test_the_size_limit_of_the_caller_holds(tmp_path: Path) -> None:
    limits = Limits(max_file_bytes=10)
    (tmp_path / "a.png").write_bytes(png())
    for source in (png(), tmp_path / "a.png"):
        report = analyse(source, "constant", limits=limits)
        assert report.error is not None
        assert report.error.code == "body_too_large"


def test_a_path_and_its_bytes_give_the_same_report_but_for_the_name(tmp_path: Path) -> None:
    path = tmp_path / "[a] *.png"
    path.write_bytes(png())
    by_path, by_text, by_bytes = (analyse(source, "random") for source in (path, str(path), png()))
    assert by_path.path == by_text.path == str(path)
    assert by_bytes.path is None
    assert by_path.verdict in {Verdict.AI, Verdict.REAL}
    assert by_path.id == by_text.id == by_bytes.id
    assert by_path.probability == by_text.probability == by_bytes.probability


@pytest.mark.parametrize(
    ("source", "code"),
    [("absent.png", "not_found"), (".", "is_a_directory"), ("https://example.org/a.png", "url_not_supported")],
)
def test_a_source_without_bytes_gives_a_report_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, code: str
) -> None:
    monkeypatch.chdir(tmp_path)
    report = analyse(source, "constant")
    assert (report.verdict, report.path, report.sha256) == (Verdict.ERROR, source, None)
    assert report.error is not None
    assert report.error.code == code


def test_an_unknown_detector_is_raised_because_no_other_file_would_fare_better() -> None:
    with pytest.raises(UnknownModelError):
        veridical.analyse(png(), "no_such_detector")


def test_a_detector_that_fails_is_raised() -> None:
    with pytest.raises(ModelError):
        report_of(Fixed(views=(math.nan,)))


def test_a_random_verdict_never_says_unsure_and_a_constant_one_always() -> None:
    assert analyse(png(), "random").verdict in {Verdict.AI, Verdict.REAL}
    assert analyse(png(), "constant").verdict is Verdict.UNSURE


def evidence(report: Report) -> str:
    return " ".join(report.evidence)


def test_the_evidence_for_ai_states_the_measured_share_of_real_pictures_called_so() -> None:
    said = evidence(report_of(Fixed(views=(3.0,), card=card())))
    assert "over 99 % probability" in said
    assert "95 % interval of the calibration" in said
    assert "at or above 90 %" in said
    assert (
        "Of 300 real pictures in its test, it wrongly called 1.0 % (95 % interval 0.3 to 2.9 %) 'ai'." in said
    )


def test_the_evidence_for_real_states_the_measured_share_of_fakes_called_so() -> None:
    said = evidence(report_of(Fixed(views=(-3.0,), card=card())))
    assert "at or below 20 %" in said
    assert (
        "Of 250 AI pictures in its test, it wrongly called 4.0 % (95 % interval 2.0 to 7.0 %) 'real'." in said
    )


def test_the_error_rate_is_a_number_too_and_that_of_the_verdict() -> None:
    for view, expected in ((3.0, (0.01, 0.003, 0.029, 300)), (-3.0, (0.04, 0.02, 0.07, 250))):
        rate = report_of(Fixed(views=(view,), card=card())).error_rate
        assert rate is not None
        assert (rate.value, rate.low, rate.high, rate.n) == expected
    assert report_of(Fixed(views=(0.0,), card=card())).error_rate is None
    assert report_of(Fixed(views=(3.0,), card=card()), threshold=0.5).error_rate is None


@pytest.mark.parametrize(
    ("seen", "origin"),
    [(("elsewhere",), "from sources it was not trained on"), (("museum",), "in its test"), ((), "in its test")],
)
def test_pictures_are_called_new_only_where_the_card_shows_that_they_are(
    seen: tuple[str, ...], origin: str
) -> None:
    full = card()
    tested = [
        dataclasses.replace(split, sources={"museum": {"fpr": split.metrics["fpr"]}}) for split in full.measured
    ]
    training = TrainingData("train", "0" * 64, n_real=9, n_fake=9, sources=seen)
    full = dataclasses.replace(full, measured=tuple(tested), training=training)
    assert f"Of 300 real pictures {origin}, it" in evidence(report_of(Fixed(views=(3.0,), card=full)))


def points(report: Report) -> list[tuple[str, str]]:
    return [(reason.code, reason.points_to.value) for reason in report.reasons]


def test_reasons_are_sentences_of_the_evidence() -> None:
    report = report_of(Fixed(views=(3.0, -3.0, 0.1), card=card()))
    assert {reason.sentence for reason in report.reasons} <= set(report.evidence)


def test_a_number_beyond_a_threshold_points_to_its_verdict() -> None:
    assert points(report_of(Fixed(views=(3.0,), card=card()))) == [
        ("above_threshold", "ai"),
        ("error_rate", "ai"),
    ]
    assert points(report_of(Fixed(views=(-3.0,)))) == [("below_threshold", "real")]


def test_an_interval_across_the_threshold_is_a_doubt() -> None:
    # Calibrated, 1.15 becomes 0.909, just above 0.9.
    assert ("interval_over_threshold", "unsure") in points(report_of(Fixed(views=(1.15,), card=card())))


@pytest.mark.parametrize(
    ("view", "leans"), [(0.5, ("leans_to_ai", "ai")), (-0.5, ("leans_to_real", "real")), (0.01, None)]
)
def test_without_a_verdict_a_number_leans_where_its_whole_interval_does(
    view: float, leans: tuple[str, str] | None
) -> None:
    found = points(report_of(Fixed(views=(view,), card=card())))
    assert found == [("between_thresholds", "unsure"), *([leans] if leans else [])]


def test_parts_point_to_the_verdicts_they_would_give() -> None:
    report = report_of(Fixed(views=(6.0, 6.0, 0.0, -6.0)))
    assert report.verdict is Verdict.UNSURE
    assert points(report) == [
        ("parts_disagree", "unsure"),
        ("parts_say_ai", "ai"),
        ("parts_say_real", "real"),
    ]
    assert "2 of the 4 parts looked at would give 'ai' by themselves." in report.evidence
    alike = report_of(Fixed(views=(6.0, 6.0)))
    assert "All 2 parts looked at would give 'ai' by themselves." in alike.evidence


def with_rates(role: Role, **rates: Estimate) -> Card:
    """The same card, measured once."""
    return dataclasses.replace(card(), measured=(Measurement("set", "0" * 64, "x", rates, role=role),))


def test_a_reader_is_told_how_many_with_this_verdict_are_of_the_other_kind() -> None:
    rates = with_rates(
        "test",
        fakes_called_real=Estimate(0.093, 0.065, 0.130, 312),
        reals_called_real=Estimate(0.420, 0.350, 0.494, 176),
    )
    report = report_of(Fixed(views=(-3.0,), card=rates))
    even, one_in_ten = report.wrong_shares
    assert even.prior == 0.5
    assert even.value == pytest.approx(0.093 / (0.093 + 0.420))
    assert even.low == pytest.approx(0.065 / (0.065 + 0.494))
    assert even.high == pytest.approx(0.130 / (0.130 + 0.350))
    assert one_in_ten.value == pytest.approx(0.1 * 0.093 / (0.1 * 0.093 + 0.9 * 0.420))
    assert (
        "Of the pictures that it calls 'real' so many are AI: if as many are AI as real, 18.1 % "
        "(95 % interval 11.6 to 27.1 %); if one in 10 is AI, 2.4 % (95 % interval 1.4 to 4.0 %)."
    ) in report.evidence


def test_a_verdict_that_was_never_given_to_either_kind_may_always_be_wrong() -> None:
    none = Estimate(0.0, 0.0, 0.1, 40)
    report = report_of(Fixed(views=(3.0,), card=with_rates("test", fpr=none, tpr=none)))
    assert [share.high for share in report.wrong_shares] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("role", "words"),
    [
        ("fitted", "on which its thresholds were chosen"),
        ("out_of_fold", "of publishers that its parts were not fitted on, one at a time"),
        ("test", "in its test"),
    ],
)
def test_it_is_said_on_what_a_rate_was_measured(role: Role, words: str) -> None:
    report = report_of(Fixed(views=(3.0,), card=with_rates(role, fpr=Estimate(0.01, 0.003, 0.029, 300))))
    assert f"Of 300 real pictures {words}, it wrongly called" in evidence(report)
    assert report.error_rate is not None
    assert report.error_rate.role == role


def test_a_rate_that_was_measured_at_another_threshold_is_not_quoted() -> None:
    said = evidence(report_of(Fixed(views=(3.0,), card=card()), threshold=0.5))
    assert "at or above 50 %" in said
    assert "in its test" not in said


@pytest.mark.parametrize(
    ("thresholds", "reason"),
    [
        (BAND, "it says 'ai' only from 90 % on and 'real' only up to 20 %"),
        (Thresholds(ai=0.995, real=None), "it says 'ai' only from 99.5 % on and it never says 'real'"),
        (Thresholds(ai=None, real=0.2), "it never says 'ai' and 'real' only up to 20 %"),
        (Thresholds(ai=None, real=None), "no threshold could be set"),
    ],
)
def test_an_unsure_verdict_says_why(thresholds: Thresholds, reason: str) -> None:
    report = report_of(Fixed(views=(0.0,), thresholds=thresholds))
    assert report.verdict is Verdict.UNSURE
    assert reason in evidence(report)


def test_a_number_without_calibration_is_said_to_be_none() -> None:
    assert "not calibrated" in evidence(report_of(Fixed(views=(3.0,))))


def test_the_spread_over_the_parts_of_a_picture_is_told() -> None:
    said = evidence(report_of(Fixed(views=(logit(0.5), logit(0.75)))))
    assert "2 parts of the picture gave 50 % to 75 %." in said


def test_a_file_of_several_pages_says_that_only_the_first_was_judged() -> None:
    pages = [PIL.Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    buffer = io.BytesIO()
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:])
    report = report_of(Fixed(), data=buffer.getvalue())
    assert "first of the file's 2 frames or pages" in evidence(report)


def test_pixels_reach_the_detector_as_they_are_in_the_file() -> None:
    seen: list[np.ndarray] = []

    class Keeping(Fixed):
        def detect(self, medium: Image) -> Score:
            seen.extend(medium.frames)
            return super().detect(medium)

    report_of(Keeping())
    assert np.array_equal(seen[0], np.asarray(PIL.Image.open(io.BytesIO(png()))))
