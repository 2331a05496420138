"""`veridical doctor`: does this installation work, and what is missing?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click

from veridical.cli._options import format_option
from veridical.errors import ErrorInfo, VeridicalError
from veridical.extras import EXTRAS, install_command

if TYPE_CHECKING:
    from veridical.results import Report

_LIBRARIES = ("veridical", "numpy", "onnxruntime", "pillow", "simplejpeg", "imagecodecs")


@dataclass(frozen=True)
class ExtraState:
    """An optional dependency; `install` is what to type when it is missing."""

    name: str
    gives: str
    installed: bool
    install: str | None


@dataclass(frozen=True)
class SelfTest:
    """Whether the default detector judged a made-up picture."""

    passed: bool
    model: str | None = None
    sha256: str | None = None
    probability: float | None = None
    error: ErrorInfo | None = None


@click.command()
@format_option
@click.pass_context
def doctor(ctx: click.Context, format: str) -> None:
    """Versions, extras, and a self-test: a made-up picture is judged. Exit 0 if that works, else 4."""
    from veridical.cli._exit import ExitCode
    from veridical.cli._printing import print_json, print_table

    versions = _versions()
    extras = [_extra(name) for name in EXTRAS]
    test = _self_test()
    if format == "json":
        print_json(
            {"versions": versions, "extras": [asdict(extra) for extra in extras], "self_test": asdict(test)}
        )
    else:
        print_table(list(versions.items()))
        print()
        print_table([("EXTRA", "FOR", "STATE"), *((e.name, e.gives, e.install or "installed") for e in extras)])
        print()
        print(_sentence(test))
    ctx.exit(ExitCode.DONE if test.passed else ExitCode.MODEL)


def _versions() -> dict[str, str]:
    import platform

    system = {"python": platform.python_version(), "system": platform.platform()}
    return system | {name: _version(name) for name in _LIBRARIES}


def _version(distribution: str) -> str:
    import importlib.metadata  # 13 ms, for this command only

    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _extra(name: str) -> ExtraState:
    import importlib.util

    extra = EXTRAS[name]
    installed = importlib.util.find_spec(extra.modules[0]) is not None
    return ExtraState(name, extra.gives, installed, None if installed else install_command(name))


def _self_test() -> SelfTest:
    from veridical.detectors import load_detector

    try:
        detector = load_detector()
        report = _judge_made_up_picture()
    except VeridicalError as error:
        return SelfTest(passed=False, error=error.info)
    return SelfTest(
        passed=report.error is None,
        model=detector.name,
        sha256=detector.sha256,
        probability=report.probability,
        error=report.error,
    )


def _judge_made_up_picture() -> Report:
    import io

    import numpy as np
    import PIL.Image

    from veridical.analysis import judge
    from veridical.detectors import load_detector

    held = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (320, 480, 3), dtype=np.uint8)
    PIL.Image.fromarray(noise).save(held, "JPEG")
    return judge(held.getvalue(), path=None, detector=load_detector()).report


def _sentence(test: SelfTest) -> str:
    if test.passed:
        return f"Self-test passed: {test.model} judged a made-up picture (probability {test.probability:.3f})."
    assert test.error is not None
    return f"Self-test FAILED: {test.error.message} {test.error.hint or ''}".rstrip()
