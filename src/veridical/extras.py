"""Extras: what of this program needs a further installation, and the command that works where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Extra:
    """An optional part of the program.

    `gives` is what it is for; `modules` are the imported names of packages that this extra brings, the first of
    them one by which it is recognised.
    """

    gives: str
    modules: tuple[str, ...]


_SERVE = ("fastapi", "multipart", "prometheus_client", "python_multipart", "starlette", "uvicorn")

EXTRAS: dict[str, Extra] = {
    "bench": Extra("benchmarks, calibration, plots and Parquet", ("sklearn", "scipy", "matplotlib", "pyarrow")),
    "generate": Extra("making pictures from words", ("diffusers", "gguf", "ncnn", "sentencepiece")),
    "heic": Extra("HEIC and HEIF pictures", ("pi_heif",)),
    "hub": Extra("models from a hub", ("huggingface_hub", "transformers", "pyarrow")),
    "jxl": Extra("JPEG XL pictures", ("imagecodecs",)),
    "network": Extra("miners, validators and the ledger", ("bittensor", "bittensor_core", "httpx2", *_SERVE)),
    "retrieval": Extra("PDQ hashes of known pictures", ("pdqhash",)),
    "serve": Extra("HTTP servers", _SERVE),
    "train": Extra(
        "training and export",
        ("torch", "safetensors", "onnxscript", "jaxtyping", "tensorboard", "sklearn"),
    ),
}


def install_command(extra: str) -> str:
    """The command that adds an extra: this checkout's own script, or pip with the packages themselves.

    No distribution of this name is on the package index, so `pip install 'veridical[...]'` would not find one.
    """
    script = Path(__file__).parents[2] / "scripts" / "install"
    if script.is_file():
        return f"{_short(script)} {extra}"
    import shlex
    import sys

    return shlex.join([sys.executable, "-m", "pip", "install", *sorted(_requirements(extra))])


def _short(path: Path) -> str:
    """Relative where that is what one would type, else whole."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _requirements(extra: str) -> Iterator[str]:
    """The packages of an extra, and of the extras that it includes, as the installed metadata names them.

    An extra that has moved to the base install has none of its own; its packages are named from there.
    """
    import importlib.metadata
    import re

    for line in importlib.metadata.requires("veridical") or ():
        requirement, _, condition = line.partition(";")
        name = re.split(r"[^\w-]", requirement, maxsplit=1)[0].replace("-", "_")
        if not condition and name in EXTRAS[extra].modules:
            yield requirement.strip()
        if not re.search(rf"extra == ['\"]{extra}['\"]", condition):
            continue
        included = re.fullmatch(r"veridical\[([\w,-]+)\]", requirement.strip())
        if included:
            for name in included[1].split(","):
                yield from _requirements(name)
        else:
            yield requirement.strip()
