"""Promises about the source: codes are documented, hints name what exists, names are unique, no circles."""

from __future__ import annotations

import ast
import graphlib
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1] / "src" / "veridical"
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(ROOT.rglob("*.py"))}


def dotted(path: Path) -> str:
    parts = ["veridical", *path.relative_to(ROOT).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def text_of(name: str) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in ROOT.rglob(name))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def strings(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def test_every_code_that_is_raised_is_documented() -> None:
    documented = set(re.findall(r"`(\w+)`", text_of("errors.py") + text_of("protocol.py")))
    documented |= set(re.findall(r"class (\w+)\(ChainError", text_of("errors.py")))
    raised = {
        keyword.value.value: path.name
        for path, tree in MODULES.items()
        for call in calls(tree)
        if isinstance(call.func, ast.Name) and call.func.id.endswith("Error")
        for keyword in call.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    }
    assert {code: where for code, where in raised.items() if code not in documented} == {}


def test_every_option_that_a_hint_names_exists() -> None:
    options = {
        part
        for path, tree in MODULES.items()
        if path.is_relative_to(ROOT / "cli")
        for text in strings(tree)
        for part in text.split("/")
        if part.startswith("--")
    } | {"--help", "--no-deps"}
    hints = {
        option: path.name
        for path, tree in MODULES.items()
        for call in calls(tree)
        for keyword in call.keywords
        if keyword.arg == "hint"
        for text in strings(keyword.value)
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text)
    }
    assert {option: where for option, where in hints.items() if option not in options} == {}


def test_names_of_public_classes_are_unique() -> None:
    places = defaultdict(list)
    for path, tree in MODULES.items():
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(dotted(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def imported(tree: ast.Module) -> Iterator[str]:
    """The modules that are imported when this one is, whatever functions import later."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_modules_import_one_another_in_a_circle() -> None:
    known = {dotted(path) for path in MODULES}
    graph = {dotted(path): {name for name in imported(tree) if name in known} for path, tree in MODULES.items()}
    # A package and its parts count as one where the package's own file only gathers them.
    graphlib.TopologicalSorter({name: needs - {name} for name, needs in graph.items()}).prepare()


def test_nothing_private_is_imported_from_another_folder() -> None:
    wrong = []
    for path, tree in MODULES.items():
        own = dotted(path.parent / "__init__.py")
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or not (node.module or "").startswith("veridical"):
                continue
            folder, _, name = str(node.module).rpartition(".")
            private = name.startswith("_") or any(re.match(r"_[^_]", alias.name) for alias in node.names)
            if private and folder.split(".")[:2] != own.split(".")[:2]:
                wrong.append(f"{dotted(path)} imports {node.module}")
    assert wrong == []


BARE = re.compile(r"^(What|Who|Where|The same|As)\b")


def test_a_docstring_names_its_subject_first() -> None:
    opened = [
        f"{dotted(path)}: {first}"
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (first := (ast.get_docstring(node) or "").split("\n")[0])
        and BARE.match(first)
    ]
    assert opened == []
