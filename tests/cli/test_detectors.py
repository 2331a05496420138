from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

Run = Callable[..., CompletedProcess[str]]


def test_every_detector_is_listed_with_its_paper_and_its_parameters(run: Run) -> None:
    ran = run("detectors", "--format", "json")
    listed = {each["name"]: each for each in json.loads(ran.stdout)["detectors"]}
    assert {"npr_shared", "constant", "random", "retrieval", "fusion", "mixture", "hub"} <= listed.keys()
    assert {"npr", "clip_linear", "clip_mlp", "cifake_cnn", "colour_cnn", "ucf"} <= listed.keys()
    assert listed["npr"]["papers"] == ["https://arxiv.org/abs/2312.10461"]
    assert listed["fusion"]["papers"] == ["https://doi.org/10.1016/S0893-6080(05)80023-1"]
    assert (listed["clip_mlp"]["parameters"], listed["clip_mlp"]["trained"]) == (304_261_889, 295_681)
    assert listed["ucf"]["kind"] == "architecture"
    assert listed["npr_shared"]["kind"] == "bundle"
    assert all(each["what"] for each in listed.values())


def test_the_table_says_what_each_needs(run: Run) -> None:
    out = run("detectors").stdout
    assert "1,437,761" in out
    assert "veridical index build" in out


def test_a_bundle_and_an_index_of_the_users_cache_are_listed(run: Run, bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "cache" / "bundles" / "mine")
    (tmp_path / "list.txt").write_text("f0ce13836b43c666\n")
    run("index", "build", "--label", "real", tmp_path / "list.txt", "--index", "press")
    listed = {
        each["name"]: each for each in json.loads(run("detectors", "--format", "json").stdout)["detectors"]
    }
    assert listed["mine"]["what"] == "The mean of all pixels."
    assert listed["retrieval"]["ready"] == ["retrieval:press"]


def test_listing_needs_no_torch() -> None:
    code = "import sys; from veridical.cli import main; main(['detectors']); assert 'torch' not in sys.modules"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
