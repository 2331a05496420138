from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest
import torch

import veridical.architectures
from veridical.architectures.facts import FACTS, Facts

# Files of the folder that are no architectures: what those are built from, or trained against.
PARTS = frozenset({"clip", "facts", "precision", "probe", "tiny_autoencoder", "xception"})


def count(name: str, **settings: object) -> tuple[int, int]:
    """All parameters of an architecture and those that are trained; memory is taken only where it must be."""
    build = importlib.import_module(f"veridical.architectures.{name}").build
    with torch.device("meta" if "backbone" in inspect.signature(build).parameters else "cpu"):
        parameters = list(build(**settings).parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() for p in parameters if p.requires_grad)


def test_every_architecture_is_told_of() -> None:
    (folder,) = veridical.architectures.__path__
    files = {path.stem for path in Path(folder).glob("*.py") if not path.stem.startswith("_")}
    assert files == FACTS.keys() | PARTS


@pytest.mark.parametrize(("name", "facts"), FACTS.items())
def test_parameters_are_as_many_as_is_told(name: str, facts: Facts) -> None:
    assert count(name) == (facts.parameters, facts.trained)
    for variant, parameters in facts.variants.items():
        settings = dict(setting.split("=") for setting in variant.split())
        values = {key: int(value) if value.isdigit() else value for key, value in settings.items()}
        assert count(name, **values)[0] == parameters
