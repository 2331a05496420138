"""Sample: one labelled picture, or one region of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from veridical.results import Box, Label


@dataclass(frozen=True)
class Sample:
    """One labelled picture. `group` is whoever published it: groups are never divided between splits.

    `generator` is empty for reals; `box` is the region that is the sample (`None`: the whole picture).
    `member` is the place within `path` of a picture that has no file of its own (CIFAR); such a sample states
    its `sha256`. `content` is what the picture shows, `prompt` what its generator was asked for and `licence`
    what its publisher allows, `photo_like` (yes, mixed or no) whether it looks like a photograph, where the set
    says so.
    """

    path: Path
    label: Label
    generator: str
    source: str
    group: str
    split: str = ""
    box: Box | None = None
    sha256: str = ""
    member: str = ""
    content: str = ""
    prompt: str = ""
    licence: str = ""
    photo_like: str = ""

    @property
    def name(self) -> str:
        """The picture's place: unlike `path`, different for the pictures of a file that holds many."""
        return f"{self.path}#{self.member}" if self.member else str(self.path)

    @property
    def stratum(self) -> str:
        """The group that balanced sampling balances over: the generator of a fake, the source of a real."""
        return self.generator if self.label is Label.FAKE else self.source
