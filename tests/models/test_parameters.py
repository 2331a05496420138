from __future__ import annotations

import csv
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from veridical.errors import MissingExtraError, ModelError
from veridical.models.parameters import read_parameters


def test_parameters_come_back_as_they_were_saved(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    saved = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array([7])}
    safetensors.numpy.save_file(saved, path)

    read = read_parameters(path)

    assert read.keys() == saved.keys()
    assert all(np.array_equal(read[name], saved[name]) for name in saved)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_parameters_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float, dtype: type) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"bias": np.zeros(2, dtype), "weight": np.array([0, value], dtype)}, path)
    with pytest.raises(ModelError, match="'weight' holds NaN") as caught:
        read_parameters(path)
    assert caught.value.code == "malformed_checkpoint"


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = safetensors.numpy.save({"weight": np.ones(3, np.float32)})
    for length in range(len(whole)):
        path = tmp_path / "model.safetensors"
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError) as caught:
            read_parameters(path)
        assert caught.value.code == "malformed_checkpoint"


def test_a_number_type_that_numpy_lacks_is_said_plainly(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0")
    with pytest.raises(ModelError, match="number type"):
        read_parameters(path)


def test_a_pickle_named_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\x80\x04\x95\x10\0\0\0\0\0\0\0}.")
    with pytest.raises(ModelError) as caught:
        read_parameters(path)
    assert caught.value.code == "unsafe_checkpoint"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="absent"):
        read_parameters(tmp_path / "absent.safetensors")


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file({"weight": np.ones(1, np.float32)}, path)
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(MissingExtraError, match="train"):
        read_parameters(path)


@pytest.mark.shared
def test_every_checkpoint_of_the_corpus_is_refused_as_the_manifest_expects(shared: Path) -> None:
    with (shared / "corpus" / "MANIFEST.tsv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["file"].startswith("checkpoints/")]
    expected = {row["file"]: row["reason_code"].replace("malformed", "malformed_checkpoint") for row in rows}

    found = {}
    for name in expected:
        with pytest.raises(ModelError) as caught:
            read_parameters(shared / "corpus" / name)
        found[name] = caught.value.code

    assert len(found) > 50
    assert found == expected


@pytest.mark.shared
def test_every_pickle_of_the_corpus_is_refused_in_the_place_of_a_bundle(shared: Path) -> None:
    from veridical.models.bundle import read_bundle

    pickles = list((shared / "corpus" / "checkpoints" / "picklescan").iterdir())
    codes = set()
    for path in pickles:
        with pytest.raises(ModelError) as caught:
            read_bundle(path)
        codes.add(caught.value.code)
    assert len(pickles) > 50
    assert codes == {"unsafe_checkpoint"}
