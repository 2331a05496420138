"""A model card holds what `card.json` says, as Markdown that people and Hugging Face read."""

from __future__ import annotations

import dataclasses
import math
import re

import pytest
from huggingface_hub import ModelCard, ModelCardData

from veridical.evaluation.robustness import Robustness
from veridical.models.card import Card, Estimate, LicensedPart, Measurement, Reproduction, TrainingData
from veridical.reports import About
from veridical.reports.aims import Costs, Outcome, outcomes
from veridical.reports.model_card import render
from veridical.results import Thresholds

NAN = Estimate(math.nan, math.nan, math.nan, 0)


def measurement(**changes: Estimate) -> Measurement:
    metrics = {
        "auroc": Estimate(0.90, 0.88, 0.92, 800),
        "tpr_at_fpr_5": Estimate(0.85, 0.8, 0.9, 800),
        "fpr": Estimate(0.02, 0.01, 0.04, 400),
        "ece": Estimate(0.05, 0.04, 0.06, 800),
        "unsure": Estimate(0.25, 0.22, 0.28, 800),
    }
    return Measurement(
        split="pictures.csv, split test",
        data_sha256="1" * 64,
        command="veridical bench p.csv",
        metrics=metrics | changes,
        generators={
            "sdxl": {"auroc": Estimate(0.7, 0.6, 0.8, 30), "unsure": Estimate(0.5, 0.3, 0.7, 30)},
            "few": {"auroc": Estimate(0.1, 0.0, 0.2, 29), "unsure": Estimate(0.5, 0.3, 0.7, 29)},
        },
        sources={
            "large": {"fpr": Estimate(0.04, 0.02, 0.08, 100), "unsure": Estimate(0.5, 0.4, 0.6, 100)},
            "small": {"fpr": Estimate(0.5, 0.4, 0.6, 99), "unsure": Estimate(0.5, 0.4, 0.6, 99)},
        },
    )


@pytest.fixture
def card(about: About) -> Card:
    assert about.card is not None
    return dataclasses.replace(
        about.card,
        licence="MIT (the test's own)",
        thresholds=Thresholds(ai=0.9, real=0.2),
        measured=(measurement(),),
        training=TrainingData(
            name="pictures.csv, split train",
            data_sha256="2" * 64,
            n_real=7,
            n_fake=5,
            generators=("sdxl",),
            sources=("a|b", "c"),
            parts=(
                LicensedPart("a|b", "MIT", 3, 0),
                LicensedPart("a|b", "", 1, 1),
                LicensedPart("c", "MIT", 3, 4),
            ),
        ),
        reproduction=Reproduction(("veridical train tiny", "veridical export best"), 7, "3" * 64),
    )


def robustness(*, auroc_lost: float, flips: Estimate) -> Robustness:
    change = Estimate(-auroc_lost, -auroc_lost - 0.01, -auroc_lost + 0.01, 800)
    cells = {
        "auroc_change": change,
        "verdict_flips": flips,
        "verdict_changes": flips,
        "fakes_become_real": flips,
        "half_crossed": flips,
    }
    return Robustness(operation="jpeg", severity="quality 75", cells=cells, generators={}, left_out=0)


def outcome(found: list[Outcome], start: str) -> Outcome:
    [one] = [each for each in found if each.aim.startswith(start)]
    return one


def front_matter(text: str) -> ModelCardData:
    data = ModelCard(text).data
    assert isinstance(data, ModelCardData)
    return data


def test_hugging_face_reads_every_metric_with_its_interval(card: Card) -> None:
    data = front_matter(render(card, sha256="4" * 64))
    assert (data.license, data.library_name, data.pipeline_tag) == ("mit", "veridical", "image-classification")
    results = {result.metric_type: result for result in data.eval_results or ()}
    assert results["roc_auc"].metric_value == 0.9
    assert results["roc_auc"].metric_args == {"confidence_level": 0.95, "low": 0.88, "high": 0.92, "n": 800}
    assert results["roc_auc"].dataset_revision == "1" * 64


def test_a_licence_that_the_hub_does_not_know_is_named(card: Card) -> None:
    odd = dataclasses.replace(card, licence='Only on "Sundays": ask')
    data = front_matter(render(odd, sha256="4" * 64))
    assert (data.license, data.get("license_name")) == ("other", 'Only on "Sundays": ask')


def test_licences_are_summed_and_those_nobody_stated_are_called_unknown(card: Card) -> None:
    text = render(card, sha256="4" * 64)
    assert "| MIT | 6 | 4 |" in text
    assert "| unknown | 1 | 1 |" in text
    assert r"| a\|b | MIT | 3 | 0 |" in text


def test_every_row_of_a_table_has_as_many_cells_as_its_heading(card: Card) -> None:
    found = {"jpeg_75": robustness(auroc_lost=0.1, flips=NAN)}
    text = render(card, sha256="4" * 64, robustness=found)
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) > 6
    for table in tables:
        assert len({line.replace(r"\|", "").count("|") for line in table.splitlines()}) == 1


def test_the_share_that_gets_a_verdict_is_what_is_not_unsure(card: Card) -> None:
    assert "75.0 % (72.0–78.0 %) of 800 pictures get a verdict" in render(card, sha256="4" * 64)


def test_a_generator_that_training_knew_is_marked(card: Card) -> None:
    text = render(card, sha256="4" * 64)
    assert "| sdxl | yes | 30 |" in text
    assert "| few | no | 29 |" in text


def test_the_commands_the_seed_and_every_hash_are_told(card: Card) -> None:
    text = render(card, sha256="4" * 64)
    assert "    veridical train tiny && \\\n    veridical export best\n" in text
    assert "Seed 7" in text
    assert all(digit * 64 in text for digit in "01234")


def test_a_card_of_old_without_training_or_measurements_gives_a_page_too(about: About) -> None:
    assert about.card is not None
    for old in (about.card, dataclasses.replace(about.card, measured=(), limits=())):
        text = render(old, sha256="4" * 64)
        assert front_matter(text).library_name == "veridical"
        assert "before cards kept their commands" in text


def test_markup_in_a_name_stays_text(card: Card) -> None:
    hostile = dataclasses.replace(card, name="<script>`x`", description="[a](javascript:b)\n# c")
    body = render(hostile, sha256="4" * 64).split("\n---\n", 1)[1]
    assert r"# \<script\>" in body
    assert r"\[a\](javascript:b)\\n\# c" in body
    prose = re.sub(r"`[^`\n]*`|^    .*$", "", body.replace(r"\`", ""), flags=re.MULTILINE)
    assert re.findall(r"(?<!\\)<", prose) == ["<"]  # of the paper's address


def test_an_aim_is_missed_by_the_difference_and_only_strata_that_are_large_enough_count(card: Card) -> None:
    found = outcomes(card, None, Costs())
    assert outcome(found, "AUROC, all").result == "missed by 0.020"
    assert outcome(found, "AUROC, worst").result == "missed by 0.200"
    assert outcome(found, "AUROC, worst").measured.endswith("n = 30, sdxl")
    assert outcome(found, "TPR").result == "met"
    assert outcome(found, "Reals").result == "missed by 1.0 points"
    assert outcome(found, "ECE").result == "met"


def test_a_detector_that_never_says_ai_calls_no_real_picture_so(card: Card) -> None:
    silent = dataclasses.replace(card, thresholds=Thresholds(ai=None, real=0.2))
    assert outcome(outcomes(silent, None, Costs()), "Reals").result == "met"


def test_what_was_not_measured_is_neither_met_nor_missed(about: About) -> None:
    assert about.card is not None
    bare = dataclasses.replace(about.card, measured=(), thresholds=Thresholds(ai=0.9, real=None))
    assert {each.result for each in outcomes(bare, None, Costs())} == {"not measured"}


def test_robustness_and_costs_are_held_against_their_aims(card: Card) -> None:
    perturbed = {
        "jpeg_75": robustness(auroc_lost=0.02, flips=Estimate(0.0, 0.0, 0.1, 200)),
        "resize_0.5": robustness(auroc_lost=0.05, flips=NAN),
        "messenger": robustness(auroc_lost=0.0, flips=Estimate(0.06, 0.03, 0.1, 200)),
    }
    found = outcomes(card, perturbed, Costs(bundle_bytes=61_000_000, cpu_ms=120.0, cold_start=0.4))
    assert outcome(found, "AUROC lost with JPEG").result == "met"
    assert outcome(found, "AUROC lost with half").result == "missed by 0.020"
    changed = outcome(found, "Answers that change")
    assert changed.result == "missed by 1.0 points"
    assert changed.measured.endswith("messenger")
    assert outcome(found, "AI pictures that become real").result == "missed by 6.0 points"
    assert outcome(found, "Files").result == "missed by 1 MB"
    assert outcome(found, "CPU").result == "met"
    assert outcome(found, "Cold").result == "missed by 0.23"


def test_what_is_no_delivery_does_not_count_as_one(card: Card) -> None:
    found = outcomes(card, {"noise_0.1": robustness(auroc_lost=0.0, flips=Estimate(0.9, 0.8, 1.0, 9))}, Costs())
    assert outcome(found, "Answers that change").result == "not measured"
