"""Facts about a data set before it is read."""

from __future__ import annotations

from dataclasses import dataclass

from veridical.results import Label


@dataclass(frozen=True)
class SetInfo:
    """One set of a collection. `label` is that of all its pictures; `None`: each states its own."""

    name: str
    about: str
    licence: str
    label: Label | None = Label.REAL
    generator: str = ""


@dataclass(frozen=True)
class SourceInfo:
    """`where` to get it, and the `layout` that `read` expects; `paper` is empty for what is no publication.

    A collection lists its `sets`.
    """

    title: str
    about: str
    licence: str
    where: str
    layout: str
    paper: str = ""
    sets: tuple[SetInfo, ...] = ()
