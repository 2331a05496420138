"""The colour description in an HEVC stream: the VUI of its sequence parameter set (H.265, 7.3.2.2 and E.2).

HEIC files state their colours in a `colr` box; where there is none, here.
"""

from __future__ import annotations

_SPS = 33
_EXTENDED_SAR = 255
_MOST_SETS = 64


def read_colour_description(configuration: bytes) -> tuple[int, int] | None:
    """(primaries, transfer) by H.273 from an HEVCDecoderConfigurationRecord, `None` where none is stated."""
    try:
        unit = _find_sps(configuration)
        return None if unit is None else _read_sps(_Bits(unit[2:].replace(b"\x00\x00\x03", b"\x00\x00")))
    except (IndexError, ValueError):
        return None


def _find_sps(configuration: bytes) -> bytes | None:
    at = 23
    for _ in range(configuration[22]):
        kind, units = configuration[at] & 0x3F, int.from_bytes(configuration[at + 1 : at + 3], "big")
        at += 3
        for _ in range(units):
            size = int.from_bytes(configuration[at : at + 2], "big")
            if kind == _SPS:
                return configuration[at + 2 : at + 2 + size]
            at += 2 + size
    return None


def _read_sps(bits: _Bits) -> tuple[int, int] | None:
    bits.read(4)
    sub_layers = bits.read(3)
    bits.read(1)
    _skip_profile(bits, sub_layers)
    bits.read_golomb()
    if bits.read_golomb() == 3:
        bits.read(1)
    bits.skip_golombs(2)  # width, height
    if bits.read(1):
        bits.skip_golombs(4)  # cropping
    bits.skip_golombs(2)  # bit depths
    order_bits = bits.read_golomb() + 4
    bits.skip_golombs(3 * (sub_layers + 1 if bits.read(1) else 1))
    bits.skip_golombs(6)  # block sizes and depths
    if bits.read(1) and bits.read(1):
        _skip_scaling_lists(bits)
    bits.read(2)
    if bits.read(1):  # PCM
        bits.read(8)
        bits.skip_golombs(2)
        bits.read(1)
    _skip_reference_sets(bits)
    if bits.read(1):
        for _ in range(bits.read_golomb()):
            bits.read(order_bits + 1)
    bits.read(2)
    return _read_vui(bits) if bits.read(1) else None


def _read_vui(bits: _Bits) -> tuple[int, int] | None:
    if bits.read(1) and bits.read(8) == _EXTENDED_SAR:
        bits.read(32)
    if bits.read(1):
        bits.read(1)  # overscan
    if not bits.read(1):
        return None
    bits.read(4)  # video format, range
    if not bits.read(1):
        return None
    return bits.read(8), bits.read(8)


def _skip_profile(bits: _Bits, sub_layers: int) -> None:
    bits.read(96)
    present = [(bits.read(1), bits.read(1)) for _ in range(sub_layers)]
    if sub_layers:
        bits.read(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        bits.read(88 * has_profile + 8 * has_level)


def _skip_scaling_lists(bits: _Bits) -> None:
    for size in range(4):
        for _ in range(0, 6, 3 if size == 3 else 1):
            if not bits.read(1):
                bits.read_golomb()
            else:
                bits.skip_golombs(min(64, 1 << (4 + 2 * size)) + (size > 1))


def _skip_reference_sets(bits: _Bits) -> None:
    count = bits.read_golomb()
    if count > _MOST_SETS:
        raise ValueError("more sets than there can be")
    pictures = 0
    for number in range(count):
        if number and bits.read(1):  # told from the set before
            bits.read(1)
            bits.read_golomb()
            kept = [bits.read(1) or bits.read(1) for _ in range(pictures + 1)]
            pictures = sum(kept)
        else:
            pictures = bits.read_golomb() + bits.read_golomb()
            for _ in range(pictures):
                bits.read_golomb()
                bits.read(1)


class _Bits:
    """Reads big-endian bit fields; raises ValueError at the end."""

    def __init__(self, data: bytes) -> None:
        self.value = int.from_bytes(data, "big")
        self.left = 8 * len(data)

    def read(self, count: int) -> int:
        """The next `count` bits as a number."""
        if count > self.left:
            raise ValueError("the end of the set")
        self.left -= count
        return self.value >> self.left & ((1 << count) - 1)

    def read_golomb(self) -> int:
        """The next number in the Exp-Golomb code."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def skip_golombs(self, count: int) -> None:
        """Pass over `count` numbers."""
        for _ in range(count):
            self.read_golomb()
