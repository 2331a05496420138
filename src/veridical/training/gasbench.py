"""A checkpoint becomes the folder that the benchmark of Bittensor's subnet 34 (gasbench) loads.

`model_config.yaml`, `model.py` with `load_model(weights_path, num_classes)`, and `model.safetensors`. The code
runs where nothing of ours is installed, behind a list of allowed imports, so it is cut out of our architecture:
the definitions that `build` needs, without annotations, and a wrapper from a batch of uint8 pictures to the two
logits [real, synthetic].

Written from what was known of the subnet in November 2026, and never submitted. Not verified: the names of the
fields in `model_config.yaml`, the order of a batch's axes (both are taken), and whether a picture is resized
before. The logits are those of the checkpoint, without a bundle's calibration.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

import veridical
from veridical.architectures.facts import FACTS
from veridical.errors import ModelError
from veridical.files import replace_file
from veridical.models.card import PixelInput
from veridical.training.experiment import Experiment
from veridical.training.export import MOST_LOGIT_DIFFERENCE, load_model

# Of what gasbench allows, what is certain and enough here.
ALLOWED_IMPORTS = frozenset({"torch", "numpy", "safetensors"})

_OURS = "veridical.architectures."

# Imported for annotations alone, which are cut.
_FOR_ANNOTATIONS = frozenset({"__future__", "jaxtyping"})

_WRAPPER_IMPORTS = {"import torch", "from torch import nn", "from safetensors.torch import load_file"}

_WRAPPER = '''
SETTINGS = {settings}


class TwoLogits(nn.Module):
    """From uint8 pictures, (b, 3, h, w) or (b, h, w, 3), to logits [real, synthetic], (b, 2)."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, pixels):
        if pixels.shape[1] == 3:
            pixels = pixels.permute(0, 2, 3, 1)
        logits = self.network(pixels).float()
        return torch.stack([torch.zeros_like(logits), logits], dim=1)


def load_model(weights_path, num_classes=2):
    """The network with its parameters, in evaluation mode."""
    if num_classes != 2:
        raise ValueError("this network tells two classes, real and synthetic")
    network = build(**SETTINGS)
    network.load_state_dict(load_file(weights_path))
    return TwoLogits(network).eval()
'''


def export_gasbench(
    path: Path, folder: Path, *, experiment: str | None = None, say: Callable[[str], None] = print
) -> None:
    """Write the three files of a checkpoint to `folder`.

    Raises `ModelError`: `unsupported_export` for an architecture that judges videos, or that needs imports
    which may not be allowed; `export_mismatch` if the files do not give the checkpoint's logits.
    """
    recipe, model = load_model(path, experiment)
    files = {
        "model.safetensors": safetensors.torch.save(dict(model.state_dict())),
        "model.py": _code(recipe).encode(),
        "model_config.yaml": _config(recipe).encode(),
    }
    with tempfile.TemporaryDirectory() as name:
        for file, data in files.items():
            replace_file(Path(name) / file, data)
        difference = _difference(model, Path(name), recipe.input)
    say(f"logits of model.py and of the checkpoint differ by at most {difference:.1e}")
    if difference > MOST_LOGIT_DIFFERENCE:
        raise ModelError(f"logits differ by {difference:.1e}.", code="export_mismatch")
    for file, data in files.items():
        replace_file(folder / file, data)


def self_contained(architecture: str) -> str:
    """Python of what an architecture's `build` needs, importing only what is allowed."""
    imports, definitions = _gather(_OURS + architecture)
    needed = _needed(definitions, "build")
    kept = [node for name, node in definitions.items() if name in needed]
    used = {node.id for part in kept for node in ast.walk(part) if isinstance(node, ast.Name)}
    lines = sorted({line for name, line in imports.items() if name in used} | _WRAPPER_IMPORTS)
    body = "\n\n\n".join(dict.fromkeys(ast.unparse(node) for node in kept))
    code = "\n".join([*lines, "", "", body, ""])
    _refuse_other_imports(code, architecture)
    return code


def imported_packages(code: str) -> set[str]:
    """The top-level packages that Python code imports."""
    found = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found


def _code(recipe: Experiment) -> str:
    facts = FACTS[recipe.architecture]
    if facts.judges != "image":
        raise ModelError(f"'{recipe.architecture}' judges a {facts.judges}.", code="unsupported_export")
    paper = recipe.paper
    about = [
        f"{recipe.name}: {recipe.architecture}, written by veridical {veridical.__version__}.",
        f"{paper.authors}: {paper.title}, {paper.venue}, {paper.url}.",
        f"{recipe.licence}.",
    ]
    comment = "".join(f"# {' '.join(line.split())}\n" for line in about)
    wrapper = _WRAPPER.format(settings=repr(recipe.settings))
    return f"{comment}\n{self_contained(recipe.architecture)}\n{wrapper}"


def _config(recipe: Experiment) -> str:
    """YAML; strings are quoted as in JSON, which is YAML too."""
    size = recipe.input.size
    return (
        f"name: {json.dumps(recipe.name)}\n"
        f"version: {json.dumps(veridical.__version__)}\n"
        "modality: image\n"
        "preprocessing:\n"
        f"  resize: [{size}, {size}]\n"
        "model:\n"
        "  num_classes: 2\n"
        "  weights_file: model.safetensors\n"
    )


def _gather(module_name: str) -> tuple[dict[str, str], dict[str, ast.stmt]]:
    """Imports by the name that they bind, and definitions by theirs, with those of our own imports."""
    tree = _Plain().visit(ast.parse(inspect.getsource(importlib.import_module(module_name))))
    imports: dict[str, str] = {}
    definitions: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("veridical."):
            more_imports, more = _gather(_whole_name(node))
            imports |= more_imports
            _add(definitions, more, module_name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            imports |= dict(_lines(node))
        else:
            _add(definitions, dict.fromkeys(_bound(node), node), module_name)
    return imports, definitions


def _whole_name(node: ast.ImportFrom) -> str:
    assert node.module is not None
    # `from veridical.architectures import clip` binds a module, whose names would have to be renamed.
    if not node.module.startswith(_OURS) or any(alias.asname for alias in node.names):
        raise ModelError(f"'{ast.unparse(node)}' cannot be cut out.", code="unsupported_export")
    return node.module


def _add(definitions: dict[str, ast.stmt], more: dict[str, ast.stmt], module_name: str) -> None:
    twice = {name for name in definitions.keys() & more.keys() if name not in ("build", "for_export", "HEAD")}
    if twice:
        raise ModelError(f"{module_name} defines {sorted(twice)} twice.", code="unsupported_export")
    definitions |= more


def _needed(definitions: dict[str, ast.stmt], start: str) -> set[str]:
    needed, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name in needed or name not in definitions:
            continue
        needed.add(name)
        names = (node.id for node in ast.walk(definitions[name]) if isinstance(node, ast.Name))
        waiting.extend(names)
    return needed


def _bound(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _lines(node: ast.Import | ast.ImportFrom) -> Iterator[tuple[str, str]]:
    """Each bound name with an import line of its own."""
    for alias in node.names:
        name = (alias.asname or alias.name).split(".")[0]
        if isinstance(node, ast.Import):
            line = ast.unparse(ast.Import([alias]))
        else:
            line = ast.unparse(ast.ImportFrom(node.module, [alias], 0))
        yield name, line


def _refuse_other_imports(code: str, architecture: str) -> None:
    other = sorted(imported_packages(code) - ALLOWED_IMPORTS)
    if other:
        raise ModelError(
            f"'{architecture}' imports {', '.join(other)}, which gasbench may not allow.",
            code="unsupported_export",
            hint="npr, cifake_cnn, colour_cnn and discriminator can be exported.",
        )


class _Plain(ast.NodeTransformer):
    """Without annotations, and without imports that only they need."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module in _FOR_ANNOTATIONS else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        self.generic_visit(node)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        self.generic_visit(node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _difference(model: nn.Module, folder: Path, pixel_input: PixelInput) -> float:
    """The largest difference of logits over random pictures, in both orders of axes."""
    specification = importlib.util.spec_from_file_location("exported_model", folder / "model.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    exported = module.load_model(str(folder / "model.safetensors"), 2)
    size = pixel_input.size
    pictures = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8)
    pixels = torch.from_numpy(pictures)
    with torch.inference_mode():
        ours = model(pixels)
        both: Sequence[torch.Tensor] = [exported(pixels), exported(pixels.permute(0, 3, 1, 2))]
        worst = max(float((theirs[:, 1] - theirs[:, 0] - ours).abs().max()) for theirs in both)
    return worst
