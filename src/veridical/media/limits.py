"""Every limit on what is opened, in one place."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """How much of an untrusted file is read, decoded and kept.

    A file beyond a limit of size is refused with a `MediaError`; beyond a limit of frames or metadata it is
    judged all the same and the `Image` says so in its `warnings`.

    `max_pixels` is for one frame: the photographs of 200 megapixels that phones take, and no more than 3 bytes
    for each of them in memory, twice while they are turned. `max_kept_pixels` is for all frames kept of an
    animation together, and `max_animation_pixels` bounds the work: an animation is stepped through for at
    most so many pixels of canvas. `max_file_bytes` holds the largest picture uncompressed; files of
    strangers are read with `UPLOAD_LIMITS`. `min_side` is the one minimum: below it nothing is judged.
    """

    max_file_bytes: int = 650_000_000
    max_pixels: int = 205_000_000
    max_side: int = 65_535
    min_side: int = 32

    max_frames: int = 16
    max_kept_pixels: int = 50_000_000
    max_animation_pixels: int = 400_000_000
    max_jpeg_scans: int = 500

    max_text_bytes: int = 1 * MIB
    max_text_bytes_in_all: int = 64 * MIB
    max_icc_bytes: int = 4 * MIB

    child_address_bytes: int = 3072 * MIB
    child_cpu_seconds: int = 30
    child_wall_seconds: float = 60.0


DEFAULT_LIMITS = Limits()

# For bytes that strangers send: smaller, since several are decoded at a time.
UPLOAD_LIMITS = Limits(
    max_file_bytes=25_000_000,
    max_pixels=50_000_000,
    child_address_bytes=2048 * MIB,
    child_cpu_seconds=15,
    child_wall_seconds=60.0,
)
