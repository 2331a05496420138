"""SARIF 2.1.0, for code-scanning views: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.

One rule, `ai-generated`: a verdict of `ai` is a warning, `unsure` a note, `real` a passed check; a file that
could not be judged is a notification of the run, because nothing is known of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from urllib.parse import quote

from veridical import __version__
from veridical.explanation.words import VERDICT_WORDS, percent
from veridical.reports import About, Entry
from veridical.reports.escaping import visible
from veridical.results import Report, Verdict

RULE = "ai-generated"
_LEVELS = {
    Verdict.AI: {"kind": "fail", "level": "warning"},
    Verdict.UNSURE: {"kind": "fail", "level": "note"},
    # The standard allows no level but `none` where the kind is not `fail` (3.27.10).
    Verdict.REAL: {"kind": "pass", "level": "none"},
}

# `object`: SARIF is heterogeneous JSON.
Json = dict[str, object]


def render(entries: Iterable[Entry], about: About) -> Iterator[str]:
    """The whole log, once every entry is known."""
    artifacts: list[Json] = []
    results: list[Json] = []
    failures: list[Json] = []
    for index, entry in enumerate(entries):
        artifacts.append(_artifact(entry.report))
        if entry.report.error:
            failures.append(_failure(entry.report, index))
        else:
            results.append(_result(entry.report, index))
    run = {
        "tool": {"driver": _driver(about)},
        "artifacts": artifacts,
        "results": results,
        "invocations": [{"executionSuccessful": not failures, "toolExecutionNotifications": failures}],
    }
    log = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    yield json.dumps(log, indent=2) + "\n"


def _driver(about: About) -> Json:
    driver: Json = {
        "name": "veridical",
        "version": __version__,
        "rules": [
            {
                "id": RULE,
                "name": "AiGenerated",
                "shortDescription": {"text": "The picture was probably made by AI."},
                "fullDescription": {
                    "text": "An estimate from the pixels, not proof. Look at the evidence and the error rates."
                },
                "defaultConfiguration": {"level": "warning"},
            }
        ],
    }
    if about.card:
        driver["properties"] = {"model": about.card.name, "modelVersion": about.card.version}
    return driver


def _artifact(report: Report) -> Json:
    artifact: Json = {"location": {"uri": _uri(report.path)}}
    if report.sha256:
        artifact["hashes"] = {"sha-256": report.sha256}
    return artifact


def _result(report: Report, index: int) -> Json:
    assert report.probability is not None
    words = f"{VERDICT_WORDS[report.verdict]}: probability {percent(report.probability)}."
    return {
        "ruleId": RULE,
        "ruleIndex": 0,
        **_LEVELS[report.verdict],
        "message": {"text": " ".join([words, *map(visible, report.evidence)])},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(report.path), "index": index}}}],
        "partialFingerprints": {"sha256/v1": report.sha256} if report.sha256 else {},
        "properties": {
            "verdict": report.verdict.value,
            "probability": report.probability,
            "interval": report.interval,
            "calibrated": report.calibrated,
            "threshold": report.threshold,
            "model": report.model and report.model.name,
            "modelSha256": report.model and report.model.sha256,
            "warnings": report.warnings,
        },
    }


def _failure(report: Report, index: int) -> Json:
    assert report.error is not None
    return {
        "level": "error",
        "descriptor": {"id": report.error.code},
        "message": {"text": visible(" ".join(filter(None, [report.error.message, report.error.hint])))},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(report.path), "index": index}}}],
    }


def _uri(name: str | None) -> str:
    """A URI reference for a name as the user gave it; a relative name stays relative."""
    if name is None or name == "-":
        return "stdin"
    if name.startswith(("file:///", "http://", "https://")):
        return name
    path = PurePath(name)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
