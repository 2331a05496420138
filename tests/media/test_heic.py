"""HEIC: what its boxes say is done, on the one HEIC of the cases with boxes put in."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pi_heif
import pytest
from numpy.typing import NDArray
from PIL import ImageCms

from veridical.errors import MediaError
from veridical.media import Limits, open_media
from veridical.media.formats import heic as decoder
from veridical.media.formats._spaces import from_cicp

pytestmark = pytest.mark.shared


@pytest.fixture(scope="session")
def plain(shared: Path) -> bytes:
    path = shared / "cases" / "files" / "c08_p3_nclx.heic"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path.read_bytes()


def with_property(heic: bytes, name: bytes, body: bytes) -> bytes:
    """The case's HEIC, whose one item gets this box as its fourth property."""
    box = struct.pack(">I4s", 8 + len(body), name) + body
    data = bytearray(heic)
    end, size = data.index(b"ipma") - 4, len(box)
    for parent, more in ((b"meta", size + 1), (b"iprp", size + 1), (b"ipco", size), (b"ipma", 1)):
        at = data.index(parent) - 4
        struct.pack_into(">I", data, at, more + struct.unpack_from(">I", data, at)[0])
    at = data.index(b"iloc") + 16  # the base of the offsets
    struct.pack_into(">I", data, at, size + 1 + struct.unpack_from(">I", data, at)[0])
    last = data.index(b"ipma") + 18
    assert data[last - 4 : last] == b"\x03\x81\x02\x83"
    data[last - 4] = 4
    data[last:last] = b"\x04"
    data[end:end] = box
    return bytes(data)


def test_a_profile_is_converted(plain: bytes) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    swapped = open_media(with_property(plain, b"colr", b"prof" + profile))
    expected = open_media(plain).pixels[:, :, [1, 0, 2]]
    assert np.abs(swapped.pixels.astype(int) - expected).mean() < 1
    assert swapped.metadata.icc == bytes(profile)


@pytest.mark.parametrize("primaries", [9, 12])
def test_pq_of_a_heic_is_shown(plain: bytes, primaries: int) -> None:
    nclx = struct.pack(">4sHHHB", b"nclx", primaries, 16, 6, 0x80)
    shown = open_media(with_property(plain, b"colr", nclx)).pixels
    space = from_cicp(primaries, 16)
    assert space is not None
    assert np.array_equal(shown, space.to_srgb(open_media(plain).pixels, 255))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_irot_is_applied_once(plain: bytes, quarters: int) -> None:
    turned = open_media(with_property(plain, b"irot", bytes([quarters])))
    assert np.array_equal(turned.pixels, np.rot90(open_media(plain).pixels, quarters))


def test_a_heic_that_is_cut_is_truncated(plain: bytes) -> None:
    with pytest.raises(MediaError, match="ends in the middle") as caught:
        open_media(plain[: len(plain) * 7 // 10])
    assert caught.value.code == "truncated"


class Opened:
    """What pi-heif gives for a picture with alpha, of which there is no encoder here."""

    primary_index = 0

    def __init__(self, pixels: NDArray[np.uint8], mode: str) -> None:
        self.pixels, self.mode = pixels, mode
        self.size = pixels.shape[1], pixels.shape[0]
        self.info: dict[str, object] = {"bit_depth": 8}

    def __len__(self) -> int:
        return 1

    def __getitem__(self, place: int) -> Opened:
        return self

    def __array__(self, dtype: object = None, copy: object = None) -> NDArray[np.uint8]:
        return self.pixels


@pytest.mark.parametrize("mode", ["RGBA", "RGBa"])
def test_alpha_of_a_heic(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    colour, alpha = np.array([200, 100, 40]), 0.5
    stored = colour * alpha if mode == "RGBa" else colour
    pixels = np.tile(np.array([*stored, 255 * alpha]).astype(np.uint8), (40, 48, 1))
    monkeypatch.setattr(pi_heif, "open_heif", lambda *_, **__: Opened(pixels, mode))
    frame = decoder.decode(b"", Limits()).frames[0]
    assert np.abs(frame[0, 0] - (colour * alpha + 128 * (1 - alpha))).max() <= 2
