"""`veridical detectors`: every detector there is, whether it runs now or has to be trained first."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from veridical.cli._options import format_option

if TYPE_CHECKING:
    from veridical.models.store import FoundBundle

# Without the punctuation after it; brackets within, as DOIs have them, belong to it.
_URL = re.compile(r"https?://[^\s,]+?(?=[).]*[\s,]|[).]*$)")


@dataclass(frozen=True)
class Known:
    """A detector as it is listed.

    `kind`: `bundle` and `built-in` run now, of a `family` those of `ready`; an `architecture` is to be trained.
    `parameters` are all, `trained` those that training changes; `variants` count those of other settings.
    """

    name: str
    kind: Literal["bundle", "built-in", "family", "architecture"]
    what: str
    papers: list[str]
    judges: str = "image"
    parameters: int | None = None
    trained: int | None = None
    variants: dict[str, int] = field(default_factory=dict)
    needs: str = ""
    ready: list[str] = field(default_factory=list)


@click.command()
@format_option
def detectors(format: str) -> None:
    """Every detector: those that run now, and the architectures that can be trained."""
    from veridical.cli._printing import print_json, print_table

    known = [*_bundles(), *_built_in(), *_families(), *_architectures()]
    if format == "json":
        print_json({"detectors": [asdict(each) for each in known]})
        return
    head = ("NAME", "KIND", "PARAMETERS", "JUDGES", "WHAT, PAPER, NEEDS")
    print_table([head, *(_row(each) for each in known)])


def _bundles() -> Iterator[Known]:
    from veridical.models.store import list_bundles

    for bundle in list_bundles():
        yield _bundle(bundle)


def _bundle(bundle: FoundBundle) -> Known:
    from veridical.errors import ModelError
    from veridical.models.bundle import CARD
    from veridical.models.card import parse_card

    try:
        card = parse_card((bundle.folder / CARD).read_bytes())
    except (OSError, ModelError) as error:
        return Known(bundle.name, "bundle", f"Its card cannot be read: {error}", papers=[])
    return Known(bundle.name, "bundle", card.description, papers=[card.paper.url], parameters=card.parameters)


def _built_in() -> Iterator[Known]:
    from veridical.detectors.constant import DETECTORS

    for name, detector in DETECTORS.items():
        what = (detector.__doc__ or "").split("\n")[0]
        yield Known(name, "built-in", what, papers=[], parameters=0)


def _families() -> Iterator[Known]:
    from veridical.detectors import families

    for name, family in families().items():
        what, papers = _told(family.__doc__ or "")
        ready = [f"{name}:{argument}" if argument else name for argument in family.names()]
        yield Known(name, "family", what, papers, needs=family.NEEDS, ready=ready)


def _architectures() -> Iterator[Known]:
    import veridical.architectures
    from veridical.architectures.facts import FACTS

    # Read and not imported: that would take PyTorch, which judging does without.
    (folder,) = veridical.architectures.__path__
    for name, facts in sorted(FACTS.items()):
        source = Path(folder, f"{name}.py").read_text(encoding="utf-8")
        what, papers = _told(ast.get_docstring(ast.parse(source)) or "")
        needs = "; ".join(part for part in ("the extra train", facts.needs) if part)
        yield Known(
            name,
            "architecture",
            what,
            papers,
            judges=facts.judges,
            parameters=facts.parameters,
            trained=facts.trained,
            variants=facts.variants,
            needs=needs,
        )


def _told(docstring: str) -> tuple[str, list[str]]:
    """The first line of a module's docstring, and the papers it links to."""
    return docstring.split("\n")[0], list(dict.fromkeys(_URL.findall(docstring)))


def _row(known: Known) -> tuple[str, ...]:
    parameters = "" if known.parameters is None else f"{known.parameters:,}"
    if known.trained is not None and known.trained != known.parameters:
        parameters += f" ({known.trained:,} trained)"
    told = [known.what, *known.papers[:1]]
    told += [f"Needs {known.needs}."] if known.needs else []
    told += [f"Ready: {', '.join(known.ready)}."] if known.ready else []
    return known.name, known.kind, parameters, known.judges, " ".join(told)
