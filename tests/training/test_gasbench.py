"""The folder for today's subnet: nothing of ours in it, and the same logits."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from veridical.architectures import cifake_cnn, colour_cnn, npr
from veridical.errors import ModelError
from veridical.training import checkpoint
from veridical.training.gasbench import export_gasbench, imported_packages, self_contained

# Named in the subnet's block-list.
FORBIDDEN = {"os", "sys", "subprocess", "socket", "pickle", "importlib", "ctypes", "threading", "builtins"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__", "open", "getattr", "setattr", "globals"}

CASES = {
    "npr_shared": (npr.build(), {}),
    "cifake_cnn": (cifake_cnn.build(style_attention=True), {"style_attention": True}),
    "colour_cnn": (colour_cnn.build(network="small"), {"network": "small", "saturation": 8.0}),
}

JUDGE = """
import importlib.abc, json, sys
class NothingOfOurs(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in ("veridical", "jaxtyping", "onnx", "sklearn"):
            raise ImportError(name)
sys.meta_path.insert(0, NothingOfOurs())
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from model import load_model
pixels = torch.from_numpy(np.load(sys.argv[2]))
with torch.inference_mode():
    print(json.dumps(load_model(sys.argv[1] + "/model.safetensors", 2)(pixels).tolist()))
"""


def quiet(line: str) -> None:
    """Nobody watches."""


@pytest.mark.parametrize("name", CASES)
def test_it_runs_where_there_is_only_torch_and_gives_our_logits(name: str, tmp_path: Path) -> None:
    model, settings = CASES[name]
    generator = torch.Generator().manual_seed(0)
    for buffer_name, buffer in model.named_buffers():
        if buffer_name.endswith("running_mean"):
            buffer.copy_(torch.randn(buffer.shape, generator=generator))
    checkpoint.save(
        tmp_path / "best.safetensors", model.state_dict(), {"experiment": name, "settings": settings}
    )
    folder = tmp_path / "out"
    export_gasbench(tmp_path / "best.safetensors", folder, say=quiet)
    assert {path.name for path in folder.iterdir()} == {"model.py", "model.safetensors", "model_config.yaml"}

    pictures = np.random.default_rng(1).integers(0, 256, (2, 3, 33, 48), np.uint8)
    np.save(tmp_path / "pictures.npy", pictures)
    ran = subprocess.run(
        [sys.executable, "-c", JUDGE, str(folder), str(tmp_path / "pictures.npy")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    real, synthetic = np.array(json.loads(ran.stdout)).T
    with torch.inference_mode():
        ours = model.eval()(torch.from_numpy(pictures).permute(0, 2, 3, 1)).numpy()
    assert synthetic - real == pytest.approx(ours, abs=1e-5)


@pytest.mark.parametrize("architecture", ["npr", "cifake_cnn", "colour_cnn"])
def test_the_code_holds_nothing_that_a_scanner_would_refuse(architecture: str) -> None:
    code = self_contained(architecture)
    assert imported_packages(code) <= {"torch", "safetensors"}
    assert not imported_packages(code) & FORBIDDEN
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert not names & FORBIDDEN_CALLS
    assert "veridical" not in code


def test_what_may_not_be_allowed_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    for architecture in ("texture", "clip_linear", "segmenter"):
        with pytest.raises(ModelError) as caught:
            self_contained(architecture)
        assert caught.value.code == "unsupported_export"


def test_three_classes_are_refused_by_the_exported_code(tmp_path: Path) -> None:
    model, settings = CASES["colour_cnn"]
    checkpoint.save(
        tmp_path / "best.safetensors", model.state_dict(), {"experiment": "colour_cnn", "settings": settings}
    )
    export_gasbench(tmp_path / "best.safetensors", tmp_path / "out", say=quiet)
    names: dict[str, object] = {}
    exec((tmp_path / "out" / "model.py").read_text(), names)
    load_model = names["load_model"]
    assert callable(load_model)
    with pytest.raises(ValueError, match="two classes"):
        load_model(str(tmp_path / "out" / "model.safetensors"), 3)
    stored = safetensors.torch.load_file(tmp_path / "out" / "model.safetensors")
    assert stored.keys() == model.state_dict().keys()
