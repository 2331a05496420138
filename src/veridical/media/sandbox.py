"""A fenced child process for decoders that are large, young, or whose memory the header does not bound.

HEIC, AVIF and JPEG XL come from big C++ libraries with codecs inside; TIFF and ICO are containers of other
formats, whose sizes their headers do not bound. JPEG, PNG, GIF, WebP and BMP are decoded in this process: old,
small, fuzzed for years, their memory known from the header - and a child costs 0.2 s of CPU time.

The child (`_fence`) gets the bytes through a pipe and gives pixels back through another; it has 3 GiB of
address space, 30 s of CPU time, an empty directory, no network, no way to open a file, no new privileges.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from veridical.errors import MediaError
from veridical.media._fence import OUT_OF_MEMORY
from veridical.media.limits import Limits

if TYPE_CHECKING:
    from veridical.media.formats._pixels import Decoded, MetadataBlocks

_BOOT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from veridical.media._fence import main
main()
"""
# One thread each: threads would need address space, and one picture is one core's work.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}
_CODES = frozenset({"unsupported_format", "malformed", "truncated", "too_large", "too_small", "decode_oom"})


@dataclass(frozen=True)
class Reply:
    """A child's answer: a small JSON object, and raw bytes."""

    header: dict[str, object]  # JSON from a process that may have been taken over: each value is checked at use
    body: bytearray


def decode_fenced(data: bytes, format: str, limits: Limits, *, allow_truncated: bool = False) -> Decoded:
    """The frames of `data`, decoded in a child; raises the `MediaError` that the child met, or met with."""
    options = {"format": format, "limits": asdict(limits), "allow_truncated": allow_truncated}
    reply = run_fenced("veridical.media._decode_child", data, options, limits)
    if "error" in reply.header:
        raise _read_error(reply.header)
    try:
        return _read_frames(reply, limits)
    except (KeyError, TypeError, ValueError) as error:
        raise MediaError("The decoder's answer makes no sense.", code="decode_crashed") from error


def run_fenced(module: str, data: bytes, options: dict[str, object], limits: Limits) -> Reply:
    """The answer of `module.run(data, options)` in a fenced child; `module.load(options)` imports for it first.

    Raises `MediaError` `decode_timeout`, `decode_oom` or `decode_crashed` when there is no answer.
    """
    request = {"module": module, "options": options, "limits": asdict(limits), "bytes": len(data)}
    with tempfile.TemporaryDirectory(prefix="veridical-") as empty:
        try:
            child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", "-c", _BOOT, json.dumps(_import_path())],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=empty,
                env=_environment(),
            )
        except OSError as error:
            raise MediaError(
                f"No decoder process could be started: {error}", code="decode_crashed", retryable=True
            ) from error
        with child:
            return _talk(child, json.dumps(request).encode() + b"\n", data, limits)


def _talk(child: subprocess.Popen[bytes], request: bytes, data: bytes, limits: Limits) -> Reply:
    expired = threading.Event()

    def stop() -> None:
        expired.set()
        child.kill()

    timer = threading.Timer(limits.child_wall_seconds, stop)
    timer.start()
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        with suppress(BrokenPipeError):  # it died early; its exit status says how
            child.stdin.write(request)
            child.stdin.write(data)  # apart: joined they would be in memory twice
            child.stdin.close()
        reply = _read_reply(child.stdout, limits)
        child.stdout.close()  # a child that is still writing nonsense ends here
        status = child.wait()
    finally:
        timer.cancel()
        child.kill()
    if reply is not None:
        return reply
    raise _explain_death(status, is_expired=expired.is_set(), limits=limits)


def _read_reply(stream: IO[bytes], limits: Limits) -> Reply | None:
    """The whole answer, or `None` where it is cut, oversized, or no answer at all."""
    try:
        header = json.loads(stream.readline(65536))
        size = header["bytes"]
    except (ValueError, KeyError, TypeError):
        return None
    most = 3 * limits.max_pixels + 2 * limits.max_text_bytes + limits.max_icc_bytes
    if not isinstance(size, int) or not 0 <= size <= most:
        return None
    body = bytearray(size)
    view, filled = memoryview(body), 0
    while filled < size:
        count = stream.readinto(view[filled:])  # type: ignore[attr-defined]  # a BufferedReader; Popen says IO
        if not count:
            return None
        filled += count
    return Reply(header, body)


def _explain_death(status: int, *, is_expired: bool, limits: Limits) -> MediaError:
    if is_expired or status == -signal.SIGXCPU:
        return MediaError(
            f"Decoding took longer than {limits.child_cpu_seconds} s of CPU time or "
            f"{limits.child_wall_seconds:g} s in all.",
            code="decode_timeout",
        )
    # The system itself kills what it has no memory for.
    if status in (OUT_OF_MEMORY, -signal.SIGKILL):
        return MediaError("Decoding needs more memory than is allowed.", code="decode_oom")
    return MediaError("The decoder crashed on this file.", code="decode_crashed")


def _read_error(header: dict[str, object]) -> MediaError:
    code, hint = header["error"], header.get("hint")
    return MediaError(
        str(header.get("message")),
        code=str(code) if code in _CODES else "decode_crashed",
        hint=str(hint) if hint else None,
    )


def _read_frames(reply: Reply, limits: Limits) -> Decoded:
    from veridical.media.formats._pixels import Decoded

    header = reply.header
    shapes, indices, count = header["shapes"], header["frame_indices"], header["frame_count"]
    warnings = header["warnings"]
    if not (isinstance(shapes, list) and isinstance(indices, list) and isinstance(warnings, list)):
        raise TypeError("lists expected")
    if not isinstance(count, int) or not 0 < len(shapes) == len(indices) <= max(1, limits.max_frames):
        raise ValueError("frames and indices do not agree")
    pixels = np.frombuffer(reply.body, np.uint8)
    frames: list[NDArray[np.uint8]] = []
    for height, width in shapes:
        size = int(height) * int(width) * 3
        frames.append(pixels[:size].reshape(int(height), int(width), 3))
        pixels = pixels[size:]
    return Decoded(
        tuple(frames),
        tuple(int(i) for i in indices),
        count,
        tuple(str(w) for w in warnings),
        _read_blocks(header["metadata"], pixels.tobytes()),
    )


def _read_blocks(sizes: object, data: bytes) -> MetadataBlocks:
    """The blocks that follow the frames, in the order of the fields; `sizes` are their lengths by name."""
    from veridical.media.formats._pixels import MetadataBlocks

    if not isinstance(sizes, dict):
        raise TypeError("an object expected")
    blocks: dict[str, bytes] = {}
    for name in ("exif", "xmp", "icc"):
        if (size := sizes[name]) is not None:
            blocks[name], data = data[: int(size)], data[int(size) :]
    return MetadataBlocks(**blocks)


def _import_path() -> list[str]:
    """The child's import path: this process's own, the current directory left out."""
    package_root = str(Path(__file__).resolve().parents[2])
    return [package_root, *(entry for entry in sys.path if os.path.isabs(entry))]  # noqa: PTH117 - entries are strings


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "SYSTEMROOT") if name in os.environ}
    return _ENVIRONMENT | kept
