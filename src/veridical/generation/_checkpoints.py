"""What all models of a hub need here: the extra, parameters that are no pickle, a number format, silence."""

from __future__ import annotations

import contextlib
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from veridical.errors import MissingExtraError, ModelError, UsageError
from veridical.models.parameters import refuse_pickle

if TYPE_CHECKING:
    import torch

Half = Literal["float16", "bfloat16"]

# Of a checkpoint of transformers: no code, and parameters as safetensors only.
TRANSFORMERS_FILES = ["*.json", "*.txt", "*.jinja", "*.model", "model.safetensors", "model-*.safetensors"]

# What loading one raises when it is not what its configuration says.
LOADING_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError)

_PICKLES = frozenset({".bin", ".ckpt", ".pkl", ".pt", ".pth"})


def require_extra(what: str) -> None:
    """Raise `MissingExtraError` without the packages of the extra `generate`; loads none of them."""
    for package in ("torch", "transformers", "diffusers", "gguf"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(what, extra="generate")


def require_device(device: str) -> None:
    """Raise `UsageError` for a device that this machine, or this build of PyTorch, does not have."""
    if device == "cpu":
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"The device {device!r} cannot be used: {error}", hint="Name another.") from error


def require_safetensors(folder: Path) -> None:
    """Raise `ModelError` (`unsafe_checkpoint`) for a checkpoint of transformers in another format."""
    refuse_pickles(folder)
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} holds no parameters in safetensors.", code="unsafe_checkpoint")


def refuse_pickles(folder: Path) -> None:
    """Raise `ModelError` (`unsafe_checkpoint`) where parameters are there as pickle only, or disguised as such.

    Looks at the folder and those in it, in each of which a pipeline keeps one of its networks.
    """
    for part in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        safe = sorted(part.glob("*.safetensors"))
        for path in safe:
            refuse_pickle(path)
        if not safe and any(path.suffix in _PICKLES for path in part.iterdir()):
            raise ModelError(
                f"{part} holds its parameters as pickle only.",
                code="unsafe_checkpoint",
                hint="Pickles are not opened; use a revision with parameters in safetensors.",
            )


def refuse_missing(folder: Path, report: dict[str, object]) -> None:
    """Raise `ModelError` if parameters were missing, which transformers fills with random numbers."""
    if missing := report["missing_keys"]:
        assert isinstance(missing, (set, list))
        raise ModelError(
            f"{folder} lacks {', '.join(sorted(map(str, missing))[:5])}.", code="checkpoint_mismatch"
        )


def number_format(device: str, half: Half) -> torch.dtype:
    """The 16-bit format a model was published in where the device computes in it; else 32 bits."""
    import torch

    if not device.startswith("cuda"):
        return torch.float32
    if half == "float16" or torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16 if half == "float16" else torch.bfloat16
    return torch.float32


# How much the libraries say is set for all threads of a process at once.
_silence = threading.Lock()


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """Without the bars of progress and the remarks that the libraries print."""
    import diffusers.utils.logging
    import transformers.utils.logging

    with _silence, contextlib.ExitStack() as stack:
        for library in (diffusers.utils.logging, transformers.utils.logging):
            stack.callback(library.set_verbosity, library.get_verbosity())
            library.set_verbosity_error()
            if library.is_progress_bar_enabled():
                library.disable_progress_bar()
                stack.callback(library.enable_progress_bar)
        yield
