"""A card's calibration is a rising map, reads as it was written, and old cards read as they did."""

import dataclasses
import json

import msgspec
import numpy as np
import pytest

from veridical.models.card import (
    Calibration,
    CalibrationPoint,
    Card,
    LicensedPart,
    Reproduction,
    TrainingData,
    parse_card,
)

PLATT = Calibration(2.0, -1.0, ((0.01, 0.0), (0.0, 0.04)), "val", "0" * 64, n_real=9, n_fake=9)
TABLE = (
    CalibrationPoint(-1.0, 0.1, 0.0, 0.2),
    CalibrationPoint(0.0, 0.5, 0.3, 0.6),
    CalibrationPoint(2.0, 0.9, 0.7, 1.0),
)
ISOTONIC = dataclasses.replace(PLATT, method="isotonic", table=TABLE)


def test_an_isotonic_calibration_is_linear_between_its_points_and_constant_outside() -> None:
    logits = np.linspace(-3, 4, 71)
    expected = np.interp(logits, [-1, 0, 2], [0.1, 0.5, 0.9])
    assert [ISOTONIC.probability(x) for x in logits] == pytest.approx(expected)
    low, high = np.array([ISOTONIC.interval(x) for x in logits]).T
    assert low == pytest.approx(np.interp(logits, [-1, 0, 2], [0.0, 0.3, 0.7]))
    assert high == pytest.approx(np.interp(logits, [-1, 0, 2], [0.2, 0.6, 1.0]))


def test_a_table_of_one_point_says_the_same_of_everything() -> None:
    constant = dataclasses.replace(ISOTONIC, table=TABLE[1:2])
    assert {constant.probability(x) for x in (-9.0, 0.0, 9.0)} == {0.5}


@pytest.mark.parametrize(
    "changes",
    [{"table": TABLE[::-1]}, {"table": (TABLE[0], TABLE[0])}, {"table": ()}, {"method": "platt"}],
)
def test_a_table_that_does_not_rise_or_does_not_belong_is_refused(changes: dict[str, object]) -> None:
    written = json.loads(msgspec.json.encode(ISOTONIC))
    written |= json.loads(msgspec.json.encode(changes))
    with pytest.raises(msgspec.ValidationError, match="table"):
        msgspec.json.decode(json.dumps(written), type=Calibration)


@pytest.mark.parametrize("calibration", [PLATT, ISOTONIC])
def test_a_calibration_survives_its_json(calibration: Calibration) -> None:
    assert msgspec.json.decode(msgspec.json.encode(calibration), type=Calibration) == calibration


def test_a_calibration_written_before_there_were_methods_and_tables_is_platts() -> None:
    written = json.loads(msgspec.json.encode(PLATT))
    del written["method"], written["table"]
    assert msgspec.json.decode(json.dumps(written), type=Calibration) == PLATT


def test_a_card_written_before_it_kept_licences_and_commands_reads_as_it_did(card: Card) -> None:
    training = TrainingData("train", "0" * 64, 1, 1, parts=(LicensedPart("a", "MIT", 1, 1),))
    made = Reproduction(("veridical train x",), 0, "1" * 64)
    full = dataclasses.replace(card, files={"model.onnx": "2" * 64}, training=training, reproduction=made)
    assert parse_card(full.to_json()) == full
    written = json.loads(full.to_json())
    del written["reproduction"], written["training"]["parts"]
    old = parse_card(json.dumps(written).encode())
    assert old == dataclasses.replace(full, reproduction=None, training=dataclasses.replace(training, parts=()))


def test_pictures_of_one_step_get_exactly_the_same_probability() -> None:
    step = dataclasses.replace(ISOTONIC, table=(TABLE[1], dataclasses.replace(TABLE[1], logit=0.7)))
    assert {step.probability(x) for x in np.linspace(-1, 2, 301)} == {0.5}
