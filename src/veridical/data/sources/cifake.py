"""CIFAKE: 60,000 CIFAR-10 pictures and 60,000 of Stable Diffusion 1.4 made to look like them, all 32 x 32.

Jordan J. Bird, Ahmad Lotfi: CIFAKE: Image Classification and Explainable Identification of AI-Generated
Synthetic Images. IEEE Access, 2024. https://arxiv.org/abs/2303.14126

It could not be obtained where this was written (Kaggle was out of reach), so it was only read in tiny sets of
the same layout. The reals are CIFAR-10: do not train on one and measure on the other. Near-duplicates are
known; `veridical data stats` finds the exact ones.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources import _kaggle
from veridical.data.sources._files import real_and_fake
from veridical.data.sources._info import SourceInfo

DATASET = "birdy654/cifake-real-and-ai-generated-synthetic-images"

INFO = SourceInfo(
    title="CIFAKE",
    about="60,000 real (CIFAR-10) and 60,000 fake (Stable Diffusion 1.4) pictures of 32 x 32; train and test.",
    licence="MIT, as stated on its page",
    where=f"https://www.kaggle.com/datasets/{DATASET}",
    layout="train/REAL, train/FAKE, test/REAL, test/FAKE (in any case of letters)",
    paper="Bird, Lotfi: CIFAKE. IEEE Access, 2024. https://arxiv.org/abs/2303.14126",
)


def read(data: str) -> list[Sample]:
    """Samples in the order of their paths."""
    return real_and_fake(Path(data), source="cifake", generator="stable-diffusion-1.4")


def download(folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Fetch it from Kaggle (about 110 MB)."""
    _kaggle.download(DATASET, folder, most_bytes=most_bytes, say=say)
