"""Parameters on disk: safetensors, and never pickle, which is refused by its name or its first bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from veridical.errors import MissingExtraError, ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A serialised ONNX graph cannot be larger than protobuf's own limit; parameters need not be either.
MAX_FILE_BYTES = 2 * 2**30

_PICKLE_SUFFIXES = frozenset(
    ".7z .bin .ckpt .dill .joblib .mar .npy .npz .pickle .pkl .pt .pt2 .pth .tar .zip".split()
)
_CONVERT = (
    "Pickle can run code when it is opened. Where you can afford that, load it with "
    "torch.load(path, weights_only=True) and save its tensors with safetensors.torch.save_file."
)


def read_parameters(path: Path) -> dict[str, NDArray[Any]]:
    """The tensors of a safetensors file by name, each finite (`Any`: of the dtype in the file).

    Raises `ModelError`: `unsafe_checkpoint` for every other kind of file, `malformed_checkpoint` for a
    damaged one and for numbers that are not finite; `MissingExtraError` without the `safetensors` library.
    """
    return dict(_finite_tensors(path))


def refuse_pickle_name(name: str) -> None:
    """Raise `ModelError` (`unsafe_checkpoint`) for the names that pickles and archives of them go by."""
    if Path(name).suffix.lower() in _PICKLE_SUFFIXES:
        raise _unsafe_checkpoint(name)


def refuse_pickle(path: Path) -> None:
    """Refuse a file that is a pickle: by its name before it is opened, else by its first nine bytes."""
    refuse_pickle_name(path.name)
    with path.open("rb") as file:
        if _looks_like_pickle(file.read(9)):
            raise _unsafe_checkpoint(path.name)


def require_size(path: Path, *, limit: int) -> None:
    """Raise `ModelError` for a file of more than `limit` bytes."""
    size = path.stat().st_size
    if size > limit:
        raise ModelError(f"{path} has {size} bytes; at most {limit} are read.")


def _looks_like_pickle(head: bytes) -> bool:
    # A safetensors file begins with the length of its header, which may read like a pickle's first bytes.
    if head[8:9] == b"{":
        return False
    is_pickle = head[:1] == b"\x80" and head[1:2] in {b"\0", b"\1", b"\2", b"\3", b"\4", b"\5"}
    return is_pickle or head.startswith((b"PK\x03\x04", b"PK\x05\x06", b"7z\xbc\xaf\x27\x1c", b"\x93NUMPY"))


def _unsafe_checkpoint(name: str) -> ModelError:
    return ModelError(
        f"'{name}' is not safetensors or ONNX, and may hold pickled code; it was not loaded.",
        code="unsafe_checkpoint",
        hint=_CONVERT,
    )


def _finite_tensors(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    if path.suffix.lower() != ".safetensors":
        raise _unsafe_checkpoint(path.name)
    try:
        refuse_pickle(path)
        require_size(path, limit=MAX_FILE_BYTES)
    except OSError as error:
        raise _malformed_checkpoint(path, str(error)) from error
    try:
        import safetensors
    except ImportError as error:
        raise MissingExtraError("parameters in safetensors", extra="train") from error
    import numpy as np

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            for name in file.keys():
                tensor = file.get_tensor(name)
                if tensor.dtype.kind not in "biu" and not np.isfinite(tensor).all():
                    raise _malformed_checkpoint(path, f"'{name}' holds NaN or infinity")
                yield name, tensor
    except safetensors.SafetensorError as error:
        raise _malformed_checkpoint(path, str(error)) from error
    except (TypeError, AttributeError) as error:  # how it meets a dtype that numpy lacks
        raise _malformed_checkpoint(path, f"it holds a number type that NumPy lacks: {error}") from error


def _malformed_checkpoint(path: Path, why: str) -> ModelError:
    return ModelError(
        f"{path} cannot be used: {why}.",
        code="malformed_checkpoint",
        hint="The file is damaged, or was not written by a finished training.",
    )
