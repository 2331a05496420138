from __future__ import annotations

import subprocess
import sys

import pytest

import veridical


def modules_after(statements: str) -> set[str]:
    """The top-level modules in memory after running the statements in a fresh interpreter."""
    code = f"{statements}\nimport sys; print(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_public_names_are_these_and_no_others() -> None:
    assert set(veridical.__all__) == {
        "Image", "Report", "analyse", "list_detectors", "load_detector", "open_media",
    }  # fmt: skip


@pytest.mark.parametrize("name", veridical.__all__)
def test_every_public_name_is_there_and_documented(name: str) -> None:
    assert getattr(veridical, name).__doc__
    assert name in dir(veridical)


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'detekt'"):
        veridical.detekt  # noqa: B018 - the access is the test


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = modules_after("import veridical")
    assert "veridical" in loaded
    assert not loaded & {"numpy", "torch", "PIL", "onnx", "onnxruntime", "msgspec"}


def test_the_way_of_one_picture_never_loads_torch_or_onnx() -> None:
    loaded = modules_after("import veridical; veridical.analyse(b'', 'constant')")
    assert "numpy" in loaded
    assert not loaded & {"torch", "onnx", "safetensors", "sklearn", "huggingface_hub"}
