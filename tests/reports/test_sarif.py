"""Checked against what SARIF 2.1.0 requires: the schema itself is not ours to copy."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any  # JSON is heterogeneous

import jsonschema
import pytest

from veridical.reports import About, Entry, Format, render


def an_object(**properties: Any) -> Any:
    """A JSON schema: an object that has all of these; a name that ends in `_` may be absent."""
    return {
        "type": "object",
        "required": [name for name in properties if not name.endswith("_")],
        "properties": {name.removesuffix("_"): schema for name, schema in properties.items()},
    }


def a_list_of(schema: Any) -> Any:
    return {"type": "array", "items": schema}


TEXT = {"type": "string", "minLength": 1}
URI = {"type": "string", "pattern": r"^[!#-;=?-\[\]_a-z~%]+$"}
LEVEL = {"enum": ["none", "note", "warning", "error"]}
KIND = {"enum": ["pass", "open", "informational", "notApplicable", "review", "fail"]}
PLACE = an_object(physicalLocation=an_object(artifactLocation=an_object(uri=URI, index={"type": "integer"})))
DRIVER = an_object(name=TEXT, version=TEXT, rules=a_list_of(an_object(id=TEXT)))
RESULT = an_object(
    message=an_object(text=TEXT),
    ruleId=TEXT,
    level=LEVEL,
    kind=KIND,
    locations=a_list_of(PLACE),
    partialFingerprints_={"type": "object", "additionalProperties": TEXT},
)
NOTIFICATION = an_object(message=an_object(text=TEXT), level=LEVEL, locations=a_list_of(PLACE))
RUN = an_object(
    tool=an_object(driver=DRIVER),
    artifacts=a_list_of(an_object(location=an_object(uri=URI))),
    results=a_list_of(RESULT),
    invocations=a_list_of(
        an_object(executionSuccessful={"type": "boolean"}, toolExecutionNotifications_=a_list_of(NOTIFICATION))
    ),
)
LOG = an_object(version={"const": "2.1.0"}, runs=a_list_of(RUN), **{"$schema": TEXT})


@pytest.fixture
def run(entries: list[Entry], about: About) -> Any:
    log = json.loads("".join(render(Format.SARIF, entries, about)))
    jsonschema.validate(log, LOG)
    return log["runs"][0]


def test_there_is_one_rule_and_every_result_is_of_it(run: Any) -> None:
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["ai-generated"]
    assert {result["ruleId"] for result in run["results"]} == {"ai-generated"}


def test_the_level_follows_the_verdict(run: Any) -> None:
    assert [(r["properties"]["verdict"], r["kind"], r["level"]) for r in run["results"]] == [
        ("ai", "fail", "warning"),
        ("real", "pass", "none"),
        ("unsure", "fail", "note"),
    ]


def test_a_result_carries_its_probability_and_points_to_a_hashed_artifact(run: Any) -> None:
    first = run["results"][0]
    location = first["locations"][0]["physicalLocation"]["artifactLocation"]
    artifact = run["artifacts"][location["index"]]
    assert first["properties"]["probability"] == 0.97
    assert artifact["location"]["uri"] == location["uri"] == "fake.jpg"
    assert artifact["hashes"] == {"sha-256": "ab" * 32}


def test_a_failed_file_is_a_notification_of_an_unsuccessful_run(run: Any) -> None:
    [invocation] = run["invocations"]
    [notification] = invocation["toolExecutionNotifications"]
    assert not invocation["executionSuccessful"]
    assert notification["descriptor"] == {"id": "truncated"}
    assert "The JPEG ends early." in notification["message"]["text"]


def test_an_absolute_path_becomes_a_file_uri(entries: list[Entry], about: About) -> None:
    entry = Entry(replace(entries[0].report, path="/tmp/a b#c.jpg"))
    log = json.loads("".join(render(Format.SARIF, [entry], about)))
    assert log["runs"][0]["artifacts"][0]["location"]["uri"] == "file:///tmp/a%20b%23c.jpg"
