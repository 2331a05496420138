"""A real photo made small and scaled up again by Real-ESRGAN: an *aligned* fake of a GAN.

As in `generation.reconstruct`, content, size and position of every object stay, and only what the network
invents is added. Xintao Wang, Liangbin Xie, Chao Dong, Ying Shan: Real-ESRGAN: Training Real-World Blind
Super-Resolution with Pure Synthetic Data, ICCVW 2021, https://arxiv.org/abs/2107.10833. The networks run in
ncnn on the CPU, in float32; neither PyTorch nor a GPU is used.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image

from veridical.errors import MissingExtraError, ModelError, UnknownModelError, did_you_mean
from veridical.models.wheels import REALESRGAN

Pixels = npt.NDArray[np.uint8]

# Pixels that are scaled up and thrown away, so that no border shows. Around a tile, of the picture: 24 is exact
# for animevideov3 (18 convolutions of 3 x 3) and leaves steps of about half a level with x4plus, whose field is
# larger than any margin. Around the picture, of its mirror image: 10, as in the authors' code.
MARGIN = 24
BORDER = 10

# Of each network the scale, and the side of a tile. A pixel of a tile or its margin takes 3 kB of memory with
# animevideov3, and 50 kB with x4plus: 0.3 and 1.2 GB a call at most. A crop of 224 pixels is a single tile.
_SCALE_AND_TILE = {
    "animevideov3-x2": (2, 256),
    "animevideov3-x4": (4, 256),
    "x4plus": (4, 80),
    "x4plus-anime": (4, 80),
}


class Upscaler:
    """A network that gives `scale` times the height and width; may be called from several threads at once.

    `graph` is the text of an ncnn `.param` file whose blobs are `data` and `output`, `parameters` the bytes of
    its `.bin` file. Pictures are made in tiles of `tile` pixels a side, because memory grows with their area.
    Raises `ModelError` (`malformed_checkpoint`) for what ncnn cannot read, and `MissingExtraError`.
    """

    def __init__(self, graph: str, parameters: bytes, *, scale: int, tile: int = 80) -> None:
        try:
            import ncnn
        except ImportError as error:
            raise MissingExtraError("scaling up by a GAN", extra="generate") from error
        self.scale = scale
        self._tile = tile
        self._net = ncnn.Net()
        options = self._net.opt
        options.num_threads = 1  # whoever wants more calls from more threads
        # Half precision would make the result depend on the processor.
        options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "parameters.bin")  # ncnn copies a file, but would refer to our memory
            path.write_bytes(parameters)
            if self._net.load_param_mem(graph) or self._net.load_model(str(path)):
                raise ModelError("ncnn cannot read the network.", code="malformed_checkpoint")

    def __call__(self, pixels: Pixels) -> Pixels:
        """The picture, uint8 (h, w, 3), `scale` times as high and wide.

        Raises `ModelError` (`checkpoint_mismatch`) if the network does not do that.
        """
        scale, tile, around = self.scale, self._tile, (BORDER, BORDER)
        padded = np.pad(pixels, (around, around, (0, 0)), mode="reflect")
        height, width = padded.shape[:2]
        made = np.empty((scale * height, scale * width, 3), np.uint8)
        for top, left in itertools.product(range(0, height, tile), range(0, width, tile)):
            row, column = max(0, top - MARGIN), max(0, left - MARGIN)
            enlarged = self._run(padded[row : top + tile + MARGIN, column : left + tile + MARGIN])
            inner = enlarged[scale * (top - row) :, scale * (left - column) :]
            place = made[scale * top : scale * (top + tile), scale * left : scale * (left + tile)]
            place[:] = inner[: place.shape[0], : place.shape[1]]
        cut = slice(scale * BORDER, -scale * BORDER)
        return made[cut, cut]

    def _run(self, pixels: Pixels) -> Pixels:
        import ncnn

        x = np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32) / 255
        extractor = self._net.create_extractor()
        # A copy, because in ncnn's own memory each channel begins at a multiple of 16 bytes.
        is_refused = extractor.input("data", ncnn.Mat(x).clone())
        has_failed, out = (True, ncnn.Mat()) if is_refused else extractor.extract("output")
        # The shape is asked of ncnn, because an array of an empty result would end the process.
        if has_failed or (out.c, out.h, out.w) != (3, self.scale * x.shape[1], self.scale * x.shape[2]):
            raise ModelError(
                f"The network does not turn a blob 'data' into a blob 'output' {self.scale} times as large.",
                code="checkpoint_mismatch",
            )
        levels: Pixels = (255 * np.array(out)).clip(0, 255).round().astype(np.uint8).transpose(1, 2, 0)
        return levels


def load_upscaler(name: str = "animevideov3-x2", source: str | Path | None = None) -> Upscaler:
    """A published network: `animevideov3-x2`, `animevideov3-x4` (small), `x4plus` or `x4plus-anime` (large).

    It comes from the wheel `source` if given, else as `WheelFile` says. Raises `UnknownModelError`;
    `ModelError` (`missing_backbone`, `hash_mismatch`); `MissingExtraError`.
    """
    require_known(name)
    graph, parameters = (file.read(source) for file in REALESRGAN[name])
    scale, tile = _SCALE_AND_TILE[name]
    return Upscaler(graph.decode(), parameters, scale=scale, tile=tile)


def require_known(name: str) -> None:
    """Raises `UnknownModelError` if there is no upscaler of that name."""
    if name not in REALESRGAN:
        raise UnknownModelError(f"There is no upscaler '{name}'.", hint=did_you_mean(name, REALESRGAN))


def remake(pixels: Pixels, upscaler: Upscaler) -> Pixels:
    """The picture, uint8 (h, w, 3), made small by the upscaler's scale and scaled up again; the same shape.

    It is made small by antialiased bicubic interpolation. Sides that are not multiples of the scale are
    continued by their last row and column, and cut again, so that every pixel keeps its place.
    """
    height, width = pixels.shape[:2]
    scale = upscaler.scale
    padded = np.pad(pixels, ((0, -height % scale), (0, -width % scale), (0, 0)), mode="edge")
    size = padded.shape[1] // scale, padded.shape[0] // scale
    small = np.asarray(PIL.Image.fromarray(padded).resize(size, PIL.Image.Resampling.BICUBIC))
    return np.ascontiguousarray(upscaler(small)[:height, :width])
