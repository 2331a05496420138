"""`veridical data`: which labelled sets can be read, where they come from, and what is in one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._options import format_option
from veridical.cli._printing import print_json, print_table, to_stderr

if TYPE_CHECKING:
    from veridical.data.samples import Sample
    from veridical.data.sources import SetInfo, SourceInfo
    from veridical.data.statistics import Copies, Statistics

# A table names so many of a kind; JSON names all.
_MOST_NAMED = 20
_TOLD_EVERY = 5000


@click.group()
def data() -> None:
    """Data sets: what can be read, where to get it, and what is in it."""


@data.command("list")
@format_option
def list_data(format: str) -> None:
    """The sources that can be read as NAME:PATH."""
    from veridical.data.sources import is_downloadable, list_sources, load_source

    rows = [(name, load_source(name).INFO, is_downloadable(name)) for name in list_sources()]
    if format == "json":
        print_json(
            {"sources": [{"name": name, "title": info.title, "download": can} for name, info, can in rows]}
        )
        return
    print_table(
        [
            ("NAME", "DOWNLOAD", "WHAT"),
            *((name, "yes" if can else "no", info.about) for name, info, can in rows),
        ]
    )


@data.command()
@click.argument("name")
@format_option
def info(name: str, format: str) -> None:
    """Describe the source NAME: its licence, where to get it, and the layout that is expected."""
    from dataclasses import asdict

    from veridical.data.sources import is_downloadable, load_source

    found, can = load_source(name).INFO, is_downloadable(name)
    if format == "json":
        sets = [{**asdict(one), "label": _label(one)} for one in found.sets]
        print_json({"name": name, **asdict(found), "sets": sets, "download": can})
        return
    print_table(_facts(name, found, can_download=can))
    if found.sets:
        print()
        print_table([("SET", "LABEL", "LICENCE", "WHAT"), *map(_set_row, found.sets)])


@data.command()
@click.argument("name")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder for it.")
@click.option(
    "--most-gb",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Download no more than this. Of a hub's set what fits is taken, any other is refused whole.",
)
@click.option(
    "--cap", type=click.IntRange(0), default=0, help="Of a gallery, at most so many pictures of a publisher."
)
def download(name: str, output: Path, most_gb: float, cap: int) -> None:
    """Fetch NAME (cifake, cifar100, hub:owner/name, gallery:TABLE.tsv, ...) to a folder."""
    from veridical.data.sources import download_source

    download_source(name, output, most_bytes=round(most_gb * 1e9), say=to_stderr, cap=cap)
    click.echo(str(output))


@data.command()
@click.argument("source")
@click.option("--split", help="Only this split of the data.")
@format_option
@click.pass_context
def stats(ctx: click.Context, source: str, split: str | None, format: str) -> None:
    """Read every sample of SOURCE (a path, or NAME:PATH) and count; exit 2 if one cannot be read."""
    from dataclasses import asdict

    from veridical.cli._exit import ExitCode
    from veridical.data.samples import read_samples
    from veridical.data.statistics import examine

    found = examine(_told(read_samples(source, split)))
    if format == "json":
        print_json(asdict(found))
    else:
        _print_statistics(found)
    if found.unreadable:
        ctx.exit(ExitCode.SOME_FAILED)


@data.command()
@click.argument("source")
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--crop", type=click.IntRange(32), default=128, show_default=True, help="Side of the crops, in pixels."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--split", help="Only this split of the data.")
@click.pass_context
def align(ctx: click.Context, source: str, output: Path, crop: int, seed: int, split: str | None) -> None:
    """Copy SOURCE to a new folder OUTPUT with both classes cut and encoded alike, for 'veridical audit'.

    A sample that is smaller than the crop has no copy; it is named, and the command ends with 2.
    """
    from veridical.cli._exit import ExitCode
    from veridical.data.alignment import align as align_set
    from veridical.data.samples import counts, read_samples
    from veridical.reports.escaping import visible

    aligned = align_set(read_samples(source, split), output, crop=crop, seed=seed)
    for sample in aligned.too_small:
        to_stderr(f"smaller than {crop} pixels: {sample.label.name.lower()} {visible(sample.name)}")
    reals, fakes = counts(aligned.too_small)
    to_stderr(f"{aligned.written} samples written; too small: {reals} real, {fakes} fake")
    click.echo(str(aligned.manifest))
    if aligned.too_small:
        ctx.exit(ExitCode.SOME_FAILED)


def _told(samples: Sequence[Sample]) -> Iterator[Sample]:
    """The samples, with a line now and then on how many were read."""
    for place, sample in enumerate(samples):
        if place and place % _TOLD_EVERY == 0:
            to_stderr(f"{place} of {len(samples)} read")
        yield sample


def _facts(name: str, info: SourceInfo, *, can_download: bool) -> list[tuple[str, str]]:
    download = (
        f"veridical data download {name}{':SET' if info.sets else ''} -o DIR" if can_download else "by hand"
    )
    facts = [
        ("Name", f"{name}: {info.title}"),
        ("What", info.about),
        ("Paper", info.paper),
        ("Licence", info.licence),
        ("Where", info.where),
        ("Download", download),
        ("Layout", info.layout),
    ]
    return [(what, text) for what, text in facts if text]


def _label(info: SetInfo) -> str:
    return "both" if info.label is None else info.label.name.lower()


def _set_row(info: SetInfo) -> tuple[str, ...]:
    return info.name, _label(info), info.licence, info.about


def _print_statistics(found: Statistics) -> None:
    groups = [
        (g.split or "-", g.label, g.generator or "-", g.source or "-", str(g.samples), str(g.unreadable))
        for g in found.groups
    ]
    print_table([("SPLIT", "LABEL", "GENERATOR", "SOURCE", "SAMPLES", "UNREADABLE"), *groups])
    if found.content:
        print()
        print_table([("CONTENT", "SAMPLES"), *((name, str(count)) for name, count in found.content.items())])
    for one in found.appearance:
        formats = ", ".join(f"{count} {format}" for format, count in one.formats.items())
        sizes = ", ".join(f"{size.samples} of {size.width}x{size.height}" for size in one.sizes)
        print(f"\n{one.label.capitalize()}: {formats}\n  {one.different_sizes} sizes; the commonest: {sizes}")
    _print_copies("within a split", found.copies_within_splits)
    _print_copies("across splits", found.copies_across_splits)
    print(f"\n{len(found.unreadable)} of {found.samples} samples cannot be read")
    if found.unreadable:
        rows = [(one.label, one.split or "-", one.code, one.name) for one in found.unreadable]
        print_table([("LABEL", "SPLIT", "CODE", "SAMPLE"), *rows])


def _print_copies(where: str, copies: Sequence[Copies]) -> None:
    from veridical.reports.escaping import visible

    print(f"\nPictures with copies {where}: {len(copies)}")
    for one in copies[:_MOST_NAMED]:
        mixed = " (both real and fake!)" if len(one.labels) > 1 else ""
        print(f"  {' = '.join(map(visible, one.names))}{mixed}")
    if len(copies) > _MOST_NAMED:
        print(f"  and {len(copies) - _MOST_NAMED} more: --format json names all")
