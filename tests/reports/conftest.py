"""Entries of every kind, made by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from veridical.errors import ErrorInfo
from veridical.models.card import Card, Estimate, Measurement, Paper, PixelInput
from veridical.reports import About, Entry
from veridical.results import ModelInfo, Reason, Report, Thresholds, Verdict

# What a hostile file name can hold: markup, escapes, line ends, a formula, a right-to-left override.
HOSTILE = "=<script>alert(1)</script>|\x1b[2J\n\x9b31m\u202egpj.exe\u2028"
REASONS = (
    Reason("error_rate", Verdict.AI, "Of 400 real pictures it wrongly called 5.0 % 'ai'."),
    Reason("parts_say_ai", Verdict.AI, "2 of the 5 parts would give 'ai' by themselves."),
    Reason("parts_say_real", Verdict.REAL, "1 of the 5 parts would give 'real' by itself."),
    Reason("interval_over_threshold", Verdict.UNSURE, "Its interval reaches over the threshold."),
)
THUMBNAIL = "data:image/jpeg;base64,AAAA"


def judged(path: str, probability: float, *, warnings: tuple[str, ...] = ()) -> Report:
    band = Thresholds(ai=0.9, real=0.2)
    return Report(
        path=path,
        verdict=band.decide(probability),
        probability=probability,
        sha256="ab" * 32,
        id="cd" * 8,
        calibrated=True,
        threshold=band.ai,
        threshold_real=band.real,
        interval=(max(0.0, probability - 0.02), min(1.0, probability + 0.02)),
        model=ModelInfo(name="tiny", version="1.0", sha256="ef" * 32),
        format="jpeg",
        width=640,
        height=480,
        evidence=("The pixel pattern fits.", *(reason.sentence for reason in REASONS)),
        reasons=REASONS,
        seen=("The pixel pattern fits.",),
        warnings=warnings,
    )


def failed(path: str) -> Report:
    error = ErrorInfo(code="truncated", message="The JPEG ends early.", hint="Get the whole file.")
    return Report(path=path, verdict=Verdict.ERROR, sha256="01" * 32, error=error)


@pytest.fixture
def entries() -> list[Entry]:
    return [
        Entry(judged("fake.jpg", 0.97), THUMBNAIL),
        Entry(judged("real.jpg", 0.04), THUMBNAIL),
        Entry(judged(HOSTILE, 0.5, warnings=("frames_limited",)), THUMBNAIL),
        Entry(failed("cut.jpg")),
    ]


@pytest.fixture
def about() -> About:
    card = Card(
        name="tiny",
        version="1.0",
        architecture="tiny",
        description="A test & nothing more.",
        licence="MIT",
        paper=Paper(authors="A", title="T", venue="V", url="https://example.org/paper"),
        input=PixelInput(kind="crops", size=32),
        parameters=3,
        files={"model.onnx": "0" * 64},
        measured=(
            Measurement(
                split="test",
                data_sha256="1" * 64,
                command="veridical bench predictions.csv",
                metrics={"fpr": Estimate(0.05, 0.031, 0.078, 400), "auroc": Estimate(0.9, 0.88, 0.92, 800)},
                generators={"sdxl": {"tpr": Estimate(0.7, 0.6, 0.8, 80)}},
            ),
        ),
        limits=("It has seen three pictures.",),
    )
    return About(made_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC), card=card)
