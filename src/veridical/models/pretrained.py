"""Models of a hub, loaded from a folder: parameters that are no pickle, a number format, silence."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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


def number_format(device: str, half: Half) -> torch.dtype:
    """The 16-bit format a model was published in where the device computes in it; else 32 bits."""
    import torch

    if not device.startswith("cuda"):
        return torch.float32
    if half == "float16" or torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.float16 if half == "float16" else torch.bfloat16
    return torch.float32


def load_pretrained(
    folder: Path, network: str, reader: str, *, dtype: torch.dtype, **of_reader: object
) -> tuple[Any, Any]:  # Any: one class for each architecture; object: options of the reader's class
    """A network in evaluation mode and what prepares its inputs, by the names of their classes in transformers.

    Reads safetensors alone and runs no code of the checkpoint. Raises `ModelError`: `unsafe_checkpoint`,
    `malformed_checkpoint`, `checkpoint_mismatch`.
    """
    import transformers

    require_safetensors(folder)
    here = {"local_files_only": True, "trust_remote_code": False}
    with silently("transformers"):
        try:
            model, report = getattr(transformers, network).from_pretrained(
                folder, use_safetensors=True, dtype=dtype, output_loading_info=True, **here
            )
            prepare = getattr(transformers, reader).from_pretrained(folder, **here, **of_reader)
        except LOADING_ERRORS as error:
            raise ModelError(
                f"{folder} cannot be loaded by {network}: {error}", code="malformed_checkpoint"
            ) from error
    # Which transformers fills with random numbers.
    if missing := sorted(map(str, report["missing_keys"])):
        raise ModelError(f"{folder} lacks {', '.join(missing[:5])}.", code="checkpoint_mismatch")
    return model.eval(), prepare


# How much the libraries say is set for all threads of a process at once.
_silence = threading.Lock()


@contextlib.contextmanager
def silently(*libraries: str) -> Iterator[None]:
    """Without the bars of progress and the remarks that `transformers` or `diffusers` print."""
    speaking = [importlib.import_module(f"{library}.utils.logging") for library in libraries]
    with _silence, contextlib.ExitStack() as stack:
        for library in speaking:
            stack.callback(library.set_verbosity, library.get_verbosity())
            library.set_verbosity_error()
            if library.is_progress_bar_enabled():
                library.disable_progress_bar()
                stack.callback(library.enable_progress_bar)
        yield
