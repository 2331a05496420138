"""CIFAR's batch files: pickles that are read as data, because to unpickle a file is to run it.

The opcodes are walked by our own small machine, which builds dict, list, tuple, bytes, str, int and arrays of
uint8 from raw bytes. It never looks a name up and never calls anything: the few names that such a file needs
are known as words, and every other one is refused. A batch holds rows of 3,072 bytes, a picture each: 1,024
of red, then green, then blue.
"""

from __future__ import annotations

import functools
import io
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from veridical.errors import DataError

SIDE = 32

# The largest batch, `train` of CIFAR-100, has 155 MB.
_MOST_BYTES = 400_000_000

_NAMES = {
    "numpy.core.multiarray _reconstruct": "array",
    "numpy._core.multiarray _reconstruct": "array",
    "numpy ndarray": "ndarray",
    "numpy dtype": "dtype",
    "_codecs encode": "encode",  # how Python 3 writes bytes into the old protocols
}
_VALUES = {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE"}
_VALUES |= {"BINBYTES", "SHORT_BINBYTES"}
_CONSTANTS: dict[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_batch(path: Path) -> dict[str, Any]:  # Any: labels are lists, names are bytes or str, data an array
    """What a batch or a `meta` file holds; `data` is uint8, (pictures, 3072).

    The last few are kept in memory. Raises `DataError`: `not_found`, `bad_batch`, or `unsafe_pickle` for a
    file that names anything to be called.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"There is no batch {path}.", code="not_found") from error
    return _read_batch(path, status.st_size, status.st_mtime_ns)


def read_member(path: Path, member: str) -> npt.NDArray[np.uint8]:
    """The pixels of the picture at place `member` of a batch, (32, 32, 3)."""
    data = rows(path)
    if not (member.isdecimal() and int(member) < len(data)):
        raise DataError(f"{path} has {len(data)} pictures, but no number '{member}'.", code="bad_batch")
    return np.ascontiguousarray(data[int(member)].reshape(3, SIDE, SIDE).transpose(1, 2, 0))


def rows(path: Path) -> npt.NDArray[np.uint8]:
    """The pictures of a batch as they are stored, (pictures, 3072)."""
    data = read_batch(path).get("data")
    if not isinstance(data, np.ndarray) or data.shape[1:] != (3 * SIDE * SIDE,):
        raise DataError(f"{path} holds no rows of {3 * SIDE * SIDE} bytes.", code="bad_batch")
    return data


@functools.lru_cache(maxsize=8)
def _read_batch(path: Path, size: int, changed: int) -> dict[str, Any]:
    if size > _MOST_BYTES:
        raise DataError(f"{path} has {size:,} bytes; a CIFAR batch has fewer.", code="bad_batch")
    try:
        found = _Machine().run(path.read_bytes())
        return {_text(key): _finished(value) for key, value in found.items()}
    except DataError as error:
        raise DataError(f"{path}: {error.message}", code=error.code) from error
    except Exception as error:  # there is no end to the ways in which a damaged pickle fails
        raise DataError(f"{path} is no CIFAR batch, or it is damaged: {error}", code="bad_batch") from error


class _Name(str):
    """A name that a pickle would have had us call."""


class _Uint8:
    """Stands for the type of an array's elements."""


class _Array:
    """An array whose bytes are still to come."""

    pixels: npt.NDArray[np.uint8] | None = None


class _Machine:
    """Runs the opcodes of one pickle; `Any` throughout, for a stack holds whatever the file says."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, data: bytes) -> dict[Any, Any]:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            self.step(opcode.name, argument)
        (result,) = self.stack
        if not isinstance(result, dict):
            raise DataError("the pickle holds no dictionary.", code="bad_batch")
        return result

    def step(self, opcode: str, argument: Any) -> None:
        stack = self.stack
        match opcode:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case _ if opcode in _VALUES:
                stack.append(argument)
            case _ if opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            case "BINSTRING" | "SHORT_BINSTRING":
                stack.append(argument.encode("latin-1"))
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_LIST":
                stack.append([])
            case _ if opcode in _TUPLES:
                stack.append(tuple(self.pop(_TUPLES[opcode])))
            case "MARK":
                self.marks.append(len(stack))
            case "TUPLE":
                stack.append(tuple(self.pop_to_mark()))
            case "APPEND":
                self.extend(self.pop(1))
            case "APPENDS":
                self.extend(self.pop_to_mark())
            case "SETITEM":
                self.set_items(self.pop(2))
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                stack.append(_known_name(argument))
            case "STACK_GLOBAL":
                stack.append(_known_name(" ".join(map(_text, self.pop(2)))))
            case "REDUCE":
                stack.append(_made_by(*self.pop(2)))
            case "BUILD":
                (state,) = self.pop(1)
                _fill(stack[-1], state)
            case _:
                raise DataError(f"a CIFAR batch has no use for the opcode {opcode}.", code="unsafe_pickle")

    def pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise DataError("the pickle takes more than it has.", code="bad_batch")
        start = len(self.stack) - count
        taken = self.stack[start:]
        del self.stack[start:]
        return taken

    def pop_to_mark(self) -> list[Any]:
        return self.pop(len(self.stack) - self.marks.pop())

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise DataError("the pickle appends to what is no list.", code="bad_batch")
        self.stack[-1].extend(items)

    def set_items(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise DataError("the pickle sets items of what is no dictionary.", code="bad_batch")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))


def _known_name(name: str) -> _Name:
    if name not in _NAMES:
        raise DataError(
            f"the pickle names '{name.replace(' ', '.', 1)}', which pictures do not need; it is not read.",
            code="unsafe_pickle",
        )
    return _Name(_NAMES[name])


def _made_by(name: Any, arguments: Any) -> object:
    if isinstance(name, _Name):
        if name == "array":
            return _Array()
        if name == "dtype" and _text(arguments[0]) in ("u1", "|u1"):
            return _Uint8()
        if name == "encode" and _text(arguments[1]) in ("latin1", "latin-1"):
            return str(arguments[0]).encode("latin-1")
    raise DataError("the pickle makes something other than bytes of pixels.", code="unsafe_pickle")


def _fill(target: Any, state: Any) -> None:
    """Give an array its bytes; the state of an element's type says nothing that we need."""
    if isinstance(target, _Uint8):
        return
    if not isinstance(target, _Array):
        raise DataError("the pickle gives a state to what is no array.", code="unsafe_pickle")
    _, shape, kind, is_fortran, raw = state
    if not (isinstance(kind, _Uint8) and isinstance(raw, bytes)):
        raise DataError("the pickle holds an array that is not of uint8.", code="bad_batch")
    target.pixels = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if is_fortran else "C")


def _finished(value: Any) -> Any:
    return value.pixels if isinstance(value, _Array) else value


def _text(value: Any) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
