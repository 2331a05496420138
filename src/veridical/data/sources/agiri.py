"""AGIRI: "AI Generated Images vs Real Images" of Tristan Zhang, 30,000 of each, of many sizes.

No paper. Fakes are of Stable Diffusion, Midjourney and DALL-E, and files do not say of which: the generator is
`unnamed`. Reals are photographs and paintings (Pexels, Unsplash, WikiArt).

It could not be obtained where this was written (Kaggle was out of reach), so it was only read in tiny sets of
the same layout. Some of its files are damaged, or pictures of up to 143 million pixels; a study that skipped
what did not open kept 8,606 of 12,000 test pictures, and what it lost were mostly fakes. Here every file is a
sample, and `veridical data stats` names those that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources import _kaggle
from veridical.data.sources._files import real_and_fake
from veridical.data.sources._info import SourceInfo

DATASET = "tristanzhang32/ai-generated-images-vs-real-images"

INFO = SourceInfo(
    title="AGIRI (AI Generated Images vs Real Images)",
    about="60,000 pictures of many sizes; train (48,000) and test (12,000); generators are not named.",
    licence="not verified: see its page",
    where=f"https://www.kaggle.com/datasets/{DATASET}",
    layout="train/real, train/fake, test/real, test/fake (in any case of letters)",
)


def read(data: str) -> list[Sample]:
    """Samples in the order of their paths."""
    return real_and_fake(Path(data), source="agiri", generator="unnamed")


def download(folder: Path, *, most_bytes: int, say: Callable[[str], None]) -> None:
    """Fetch it from Kaggle (about 50 GB)."""
    _kaggle.download(DATASET, folder, most_bytes=most_bytes, say=say)
