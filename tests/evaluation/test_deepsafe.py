"""A published headline, reproduced from the scores that its authors ship, and beaten with their own detectors.

Fetched from PyPI by pip for this test alone, never kept: the licence is non-commercial.
"""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def deepsafe() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "deepsafe.py"
    spec = importlib.util.spec_from_file_location("deepsafe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scores(deepsafe: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        fetched = deepsafe.fetch(tmp_path_factory.mktemp("deepsafe"))
    except subprocess.CalledProcessError as error:
        pytest.skip(f"pip cannot fetch deepsafe-bench from PyPI: {error.stderr.strip().splitlines()[-1:]}")
    assert isinstance(fetched, Path)
    return fetched


def test_the_published_headline_comes_out_to_four_digits(deepsafe: ModuleType, scores: Path) -> None:
    reproduced = {name: round(value, 4) for name, value in deepsafe.headline(scores).items()}
    assert reproduced == deepsafe.PUBLISHED


def test_fusion_beats_their_ensemble_on_generators_it_has_not_seen(deepsafe: ModuleType, scores: Path) -> None:
    ensemble = deepsafe.ensemble_on_images(scores)
    fused = deepsafe.fused(scores, group=deepsafe.by_generator, rounds=100)
    assert fused["auroc"].n == ensemble["auroc"].n == 10_000
    assert fused["auroc"].value >= 0.954
    assert fused["tpr_at_fpr_1"].value >= 0.56
    # It was 0.0093 on the rows that the calibration was fitted on; in nested folds it is 0.0115.
    assert fused["ece"].value <= 0.012
    assert fused["auroc"].low > ensemble["auroc"].high
    assert fused["tpr_at_fpr_1"].value > ensemble["tpr_at_fpr_1"].value
    assert fused["ece"].high < ensemble["ece"].low
