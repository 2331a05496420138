from __future__ import annotations

import csv
import html
import importlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace

import msgspec
import pytest

from veridical.reports import About, Entry, Format, render
from veridical.results import Report

STREAMING = (Format.TABLE, Format.JSON, Format.JSONL, Format.CSV, Format.MD)
ACTS_ON_A_TERMINAL = {"\x1b", "\x9b", "\u202e", "\u2028"}


def text_of(name: Format, entries: list[Entry], about: About) -> str:
    return "".join(render(name, entries, about))


@pytest.mark.parametrize("name", Format)
def test_every_format_has_a_module_of_its_name(name: Format) -> None:
    assert callable(importlib.import_module(f"veridical.reports.{name.value}").render)


@pytest.mark.parametrize("name", Format)
def test_nothing_in_a_name_acts_on_a_terminal_in_any_format(
    name: Format, entries: list[Entry], about: About
) -> None:
    assert not ACTS_ON_A_TERMINAL & set(text_of(name, entries, about))


@pytest.mark.parametrize("name", Format)
def test_no_files_give_a_valid_empty_report(name: Format, about: About) -> None:
    text = text_of(name, [], about)
    match name:
        case Format.JSONL:
            assert text == ""
        case Format.JSON | Format.SARIF:
            assert json.loads(text)
        case _:
            assert text.endswith("\n")


@pytest.mark.parametrize("name", STREAMING)
def test_a_streaming_format_gives_each_row_before_it_asks_for_the_next(
    name: Format, entries: list[Entry], about: About
) -> None:
    asked: list[str | None] = []

    def source() -> Iterator[Entry]:
        for entry in entries:
            asked.append(entry.report.path)
            yield entry

    for text in render(name, source(), about):
        if "fake.jpg" in text:
            break
    assert asked == ["fake.jpg"]


def test_jsonl_is_the_report_itself_one_line_a_file_even_for_splitlines(
    entries: list[Entry], about: About
) -> None:
    lines = text_of(Format.JSONL, entries, about).splitlines()
    decoded = [msgspec.json.decode(line, type=Report) for line in lines]
    assert decoded == [entry.report for entry in entries]


def test_json_holds_every_result_and_counts_them(entries: list[Entry], about: About) -> None:
    whole = json.loads(text_of(Format.JSON, entries, about))
    assert whole["schema_version"] == 1
    assert [result["path"] for result in whole["results"]] == [entry.report.path for entry in entries]
    shares = whole["summary"].pop("shares")
    assert whole["summary"] == {"files": 4, "ai": 1, "real": 1, "unsure": 1, "error": 1}
    assert {name: (share["value"], share["n"]) for name, share in shares.items()} == dict.fromkeys(
        ("ai", "real", "unsure"), (1 / 3, 3)
    )


def test_csv_has_one_line_a_file_and_the_same_columns_in_each(entries: list[Entry], about: About) -> None:
    text = text_of(Format.CSV, entries, about)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(text.splitlines()) == len(entries) + 1
    assert [row["verdict"] for row in rows] == ["ai", "real", "unsure", "error"]
    assert rows[0]["probability"] == "0.97"
    assert rows[3]["error_code"] == "truncated"
    assert all(None not in row for row in rows)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_csv_cell_starts_like_a_formula(start: str, entries: list[Entry], about: About) -> None:
    name = f"{start}cmd|'/c calc'!A1"
    report = replace(entries[0].report, path=name)
    row = next(csv.DictReader(io.StringIO(text_of(Format.CSV, [Entry(report)], about))))
    assert row["path"].startswith("'")


def test_markdown_keeps_one_row_and_four_cells_whatever_the_name(entries: list[Entry], about: About) -> None:
    lines = text_of(Format.MD, entries, about).splitlines()
    hostile = next(line for line in lines if "script" in line)
    assert hostile.replace(r"\|", "").count("|") == 5
    assert r"\<script\>" in hostile


def test_the_table_says_the_verdict_first_and_the_number_second(entries: list[Entry], about: About) -> None:
    row = text_of(Format.TABLE, entries, about).splitlines()[1]
    assert row.split() == ["Probably", "AI-generated", "97", "%", "(95–99", "%)", "fake.jpg"]


def test_the_table_adds_evidence_only_for_a_single_file(entries: list[Entry], about: About) -> None:
    assert "The pixel pattern fits." in text_of(Format.TABLE, entries[:1], about)
    assert "The pixel pattern fits." not in text_of(Format.TABLE, entries, about)


@pytest.mark.parametrize("name", [Format.TABLE, Format.MD, Format.HTML])
def test_a_verdict_is_shown_with_what_speaks_for_and_against_it_each_sentence_once(
    name: Format, entries: list[Entry], about: About
) -> None:
    text = html.unescape(text_of(name, entries[:1], about)).replace("\N{NO-BREAK SPACE}", " ")
    order = [
        "How often this verdict is wrong",
        "Of 400 real pictures it wrongly called 5.0 % 'ai'.",
        "What points to AI",
        "2 of the 5 parts would give 'ai' by themselves.",
        "What points to a real picture",
        "1 of the 5 parts would give 'real' by itself.",
        "What could be wrong",
        "Its interval reaches over the threshold.",
    ]
    assert [text.count(words) for words in order] == [1] * len(order)
    assert sorted(order, key=text.index) == order
    assert text.count("The pixel pattern fits.") == 1


@pytest.mark.parametrize("width", [80, 120])
def test_what_a_verdict_rests_on_is_wrapped_to_the_terminal(
    width: int, entries: list[Entry], about: About
) -> None:
    report = replace(entries[0].report, seen=("word " * 60,))
    lines = text_of(Format.TABLE, [Entry(report)], replace(about, width=width)).splitlines()
    words = [line for line in lines if line.startswith("    word")]
    assert len(words) > 1
    assert all(len(line) <= width for line in words)


def test_where_nothing_points_to_a_verdict_that_is_said(entries: list[Entry], about: About) -> None:
    report = replace(entries[0].report, reasons=(), evidence=(), seen=())
    assert text_of(Format.TABLE, [Entry(report)], about).count("Nothing that was looked at.") == 2


def test_colour_is_added_to_words_and_never_replaces_them(entries: list[Entry], about: About) -> None:
    coloured = text_of(Format.TABLE, entries, replace(about, colour=True))
    assert coloured.count("\x1b[0m") == len(entries)
    assert all(words in coloured for words in ("Probably AI-generated", "Probably a real picture", "Unsure"))
