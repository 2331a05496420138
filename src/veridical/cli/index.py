"""`veridical index`: the known pictures that the detector `retrieval` recognises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._options import format_option
from veridical.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from veridical.detectors.retrieval.index import KnownPicture, Match
    from veridical.results import Label

_index = click.option(
    "--index",
    "chosen",
    metavar="NAME|PATH",
    help="A name in the user's cache, or a file. Default: $VERIDICAL_INDEX, else 'default'.",
)
_paths = click.argument("paths", metavar="PATH...", nargs=-1, required=True)
_label = click.option(
    "--label",
    type=click.Choice(["real", "fake"]),
    help="What all of PATH... is. Without it, each PATH is a labelled data set.",
)
_pdq = click.option(
    "--pdq/--no-pdq", default=True, show_default=True, help="Also PDQ hashes; needs the extra 'retrieval'."
)
_embeddings = click.option(
    "--embeddings",
    is_flag=True,
    help="Also embeddings of CLIP ViT-B/16 (1 kB and 0.1 s a picture), by which pictures that show much the "
    "same are named; needs its wheel, see docs/combining.md.",
)


@click.group()
def index() -> None:
    """Make and ask indexes of pictures known to be real or AI-generated.

    `veridical detect --detector retrieval` asks the default index, `--detector retrieval:NAME` another.
    """


@index.command()
@_paths
@_label
@_index
@_pdq
@_embeddings
@click.option("--replace", is_flag=True, help="Also if there is an index of that name already.")
def build(
    paths: tuple[str, ...],
    label: str | None,
    chosen: str | None,
    pdq: bool,
    embeddings: bool,
    replace: bool,
) -> None:
    """Make an index of PATH...

    PATH is a labelled data set: a manifest (.csv), a folder with real/ and fake/, or REAL.txt,FAKE.txt. With
    --label it is a picture, a folder of pictures (and the folders below), or a list of dHashes (.txt), 16 hex
    digits a line. A picture that cannot be read stops it.
    """
    from veridical.detectors.retrieval.index import index_path, write_index

    path = index_path(chosen)
    if path.exists() and not replace:
        raise UsageError(f"There is an index at {path}.", hint="Use 'veridical index add', or --replace.")
    _say_how_many(path, write_index(path, _entries(paths, label, pdq=pdq, embeddings=embeddings)))


@index.command()
@_paths
@_label
@_index
@_pdq
@_embeddings
def add(paths: tuple[str, ...], label: str | None, chosen: str | None, pdq: bool, embeddings: bool) -> None:
    """Add PATH... to an index; what is in it already is not added again. PATH is as for 'build'."""
    import itertools

    from veridical.detectors.retrieval.index import index_path, read_index, write_index

    path = index_path(chosen)
    known = read_index(path).entries()
    _say_how_many(
        path, write_index(path, itertools.chain(known, _entries(paths, label, pdq=pdq, embeddings=embeddings)))
    )


@index.command()
@click.argument("others", metavar="NAME|PATH...", nargs=-1, required=True)
@_index
def merge(others: tuple[str, ...], chosen: str | None) -> None:
    """Add everything in other indexes to an index, which is made if there is none."""
    from veridical.detectors.retrieval.index import index_path, read_index, write_index

    path = index_path(chosen)
    sources = [*([path] if path.exists() else []), *map(index_path, others)]
    indexes = [read_index(source) for source in sources]
    _say_how_many(path, write_index(path, (entry for each in indexes for entry in each.entries())))


@index.command()
@click.argument("pictures", metavar="PICTURE...", nargs=-1, required=True)
@_index
@format_option
def query(pictures: tuple[str, ...], chosen: str | None, format: str) -> None:
    """Name the known pictures that look like PICTURE: a file, a folder or a glob."""
    from veridical.cli._printing import print_json, print_table
    from veridical.detectors.retrieval import Retrieval
    from veridical.detectors.retrieval.index import index_path, read_index
    from veridical.reports.escaping import portable_name

    detector = Retrieval(read_index(index_path(chosen)))
    found = [(portable_name(name), detector.find(pixels)) for name, pixels in _pictures(pictures)]
    if format == "json":
        print_json({"pictures": [{"path": name, **_answer(matches)} for name, matches in found]})
        return
    rows = [
        (name, str(_answer(matches)["answer"]), *row)
        for name, matches in found
        for row in [_match_row(match) for match in matches] or [("",) * 6]
    ]
    print_table(
        [("PICTURE", "ANSWER", "DHASH BITS", "PDQ BITS", "COSINE", "LABEL", "SOURCE", "KNOWN AS"), *rows]
    )


@index.command()
@_index
@format_option
def info(chosen: str | None, format: str) -> None:
    """Count the pictures that an index knows, by label and source."""
    from veridical.cli._printing import print_json, print_table
    from veridical.detectors.retrieval.index import index_path, read_index

    path = index_path(chosen)
    known = read_index(path)
    counts = [
        {"label": label.name.lower(), "source": source, "entries": number}
        for (label, source), number in sorted(known.counts().items())
    ]
    if format == "json":
        facts = {"path": str(path), "sha256": known.sha256, "entries": len(known), "has_pdq": known.has_pdq}
        facts["has_embeddings"] = known.has_embeddings
        print_json({**facts, "sources": counts})
        return
    print_table(
        [
            ("File", str(path)),
            ("Entries", f"{len(known):,}"),
            ("Hashes", "dHash and PDQ" if known.has_pdq else "dHash"),
            ("Embeddings", "CLIP ViT-B/16" if known.has_embeddings else "none"),
            ("SHA-256", known.sha256),
        ]
    )
    print()
    rows = [(str(c["label"]), f"{c['entries']:,}", str(c["source"])) for c in counts]
    print_table([("LABEL", "ENTRIES", "SOURCE"), *rows])


def _entries(
    paths: tuple[str, ...], label: str | None, *, pdq: bool, embeddings: bool
) -> Iterator[KnownPicture]:
    from veridical.detectors.retrieval.index import read_hash_list
    from veridical.results import Label

    for path in paths:
        if label is not None and path.endswith(".txt"):
            yield from read_hash_list(Path(path), Label[label.upper()])
            continue
        known = _of_data_set(path) if label is None else _of_pictures(path, Label[label.upper()])
        for entry, pixels in known:
            yield _fingerprinted(entry, pixels, pdq=pdq, embeddings=embeddings)


def _of_data_set(data: str) -> Iterator[tuple[KnownPicture, NDArray[np.uint8]]]:
    from veridical.data.samples import load_pixels, read_samples
    from veridical.detectors.retrieval.index import KnownPicture

    for sample in read_samples(data):
        name = str(sample.path)
        if sample.box:
            box = sample.box
            name = f"{name} [{box.left},{box.top},{box.width},{box.height}]"
        yield KnownPicture(0, sample.label, sample.stratum, name), load_pixels(sample)


def _of_pictures(path: str, label: Label) -> Iterator[tuple[KnownPicture, NDArray[np.uint8]]]:
    from veridical.detectors.retrieval.index import KnownPicture

    source = Path(path).resolve().name
    for name, pixels in _pictures((path,)):
        yield KnownPicture(0, label, source, name), pixels


def _fingerprinted(
    entry: KnownPicture, pixels: NDArray[np.uint8], *, pdq: bool, embeddings: bool
) -> KnownPicture:
    from veridical.detectors.retrieval.embedding import embed
    from veridical.media import fingerprint

    return entry._replace(
        dhash=fingerprint.dhash(pixels),
        pdq=fingerprint.pdq(pixels).hash if pdq else None,
        embedding=embed(pixels) if embeddings else None,
    )


def _pictures(names: tuple[str, ...]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Name and pixels of each; raises what is wrong with one, and says with which."""
    from veridical.errors import SourceError, VeridicalError
    from veridical.media import DEFAULT_LIMITS, find_items, open_media

    for item in find_items(names, recursive=True):
        try:
            yield item.name, open_media(item.read(DEFAULT_LIMITS)).pixels
        except SourceError:
            raise
        except VeridicalError as error:
            raise UsageError(f"{item.name}: {error.message}", code=error.code, hint=error.hint) from error


def _answer(matches: list[Match]) -> dict[str, object]:
    from veridical.results import Label

    # object: what JSON holds
    labels = {match.entry.label for match in matches if match.is_copy}
    answer = "unknown" if len(labels) != 1 else "known AI" if Label.FAKE in labels else "known real"
    return {
        "answer": answer,
        "matches": [
            {
                "label": match.entry.label.name.lower(),
                "source": match.entry.source,
                "name": match.entry.name,
                "dhash": f"{match.entry.dhash:016x}",
                "dhash_distance": match.dhash_distance,
                "pdq_distance": match.pdq_distance,
                "cosine": match.cosine,
            }
            for match in matches
        ],
    }


def _match_row(match: Match) -> tuple[str, ...]:
    bits = ["" if bits is None else str(bits) for bits in (match.dhash_distance, match.pdq_distance)]
    cosine = "" if match.cosine is None else f"{match.cosine:.3f}"
    return *bits, cosine, match.entry.label.name.lower(), match.entry.source, match.entry.name


def _say_how_many(path: Path, count: int) -> None:
    click.echo(f"{path}: {count:,} known pictures", err=True)
