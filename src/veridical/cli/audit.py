"""`veridical audit`: what gives the labels of a set away, and what it holds twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import format_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from veridical.evaluation.audit import Audit, Duplicate, InTwoSplits
    from veridical.models.card import Estimate

# A table names so many of a kind; JSON names all.
_MOST_NAMED = 20


@click.command()
@click.argument("source")
@click.option("--split", help="Only this split of the data.")
@click.option(
    "--as-trained",
    metavar="EXPERIMENT",
    help="Audit what EXPERIMENT's network would see: pictures after its augmentation, not files.",
)
@click.option("--folds", type=click.IntRange(2), default=5, show_default=True, help="Of the cross-validation.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--workers", type=click.IntRange(1), default=2, show_default=True, help="Threads that read pictures."
)
@format_option
@click.pass_context
def audit(
    ctx: click.Context,
    source: str,
    split: str | None,
    as_trained: str | None,
    folds: int,
    seed: int,
    workers: int,
    format: str,
) -> None:
    """Can size, format, quantisation, metadata or colours alone tell the labels of SOURCE? What is in it twice?

    SOURCE is a manifest (.csv), a folder with real/ and fake/, REAL.txt,FAKE.txt, or NAME:PATH. A shortcut
    fails above a balanced accuracy of 60 % on pictures that its classifier did not see. Copies, publishers and
    prompts in two splits fail too, and samples that cannot be read. Exit 0: passed; 2: failed.
    """
    from veridical.cli._exit import ExitCode
    from veridical.data.samples import read_samples

    with needs_extra("bench", "audits"):
        from veridical.evaluation import audit as auditing

    samples = read_samples(source, split)
    if as_trained is None:
        found = auditing.audit(samples, folds=folds, seed=seed, workers=workers)
    else:
        from veridical.training.experiment import load_experiment
        from veridical.training.gate import views_of

        views = views_of(load_experiment(as_trained))
        found = auditing.audit_views(samples, views, folds=folds, seed=seed, workers=workers)
    if format == "json":
        click.echo(found.to_json().decode())
    else:
        _print_audit(found)
    if not found.passed:
        ctx.exit(ExitCode.SOME_FAILED)


def _print_audit(found: Audit) -> None:
    _print_counts(found)
    _print_shortcuts(found)
    _print_duplicates(found.duplicates)
    _print_in_two_splits("Publishers", found.groups_in_two_splits)
    _print_in_two_splits("Prompts", found.prompts_in_two_splits)
    _print_unreadable(found)
    for note in found.notes:
        print(f"Note: {note}")
    print(f"\nfailed: {', '.join(found.failures)}" if found.failures else "\npassed")


def _print_counts(found: Audit) -> None:
    from veridical.cli._printing import print_table

    counts = found.counts
    rows = [
        (split or "-", str(labels.get("real", 0)), str(labels.get("fake", 0)))
        for split, labels in counts.splits.items()
    ]
    print_table([("SPLIT", "REAL", "FAKE"), *rows])
    print(f"{counts.samples} samples, {len(counts.generators)} generators, {len(counts.sources)} sources\n")


def _print_shortcuts(found: Audit) -> None:
    from veridical.cli._printing import print_table

    rows = [
        (
            name,
            _in_words(shortcut.balanced_accuracy),
            _in_words(shortcut.grouped),
            "-" if shortcut.balanced_accuracy is None else "fails" if shortcut.failed else "passes",
            shortcut.note,
        )
        for name, shortcut in found.shortcuts.items()
    ]
    print("Balanced accuracy of a classifier that sees nothing but (95 % interval):")
    print_table([("WHAT", "SAME PUBLISHERS", "OTHER PUBLISHERS", "", "NOTE"), *rows])


def _in_words(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}] n={estimate.n}"


def _print_duplicates(duplicates: Sequence[Duplicate]) -> None:
    from veridical.reports.escaping import visible

    print(f"\nCopies in two splits or under two labels: {len(duplicates)}")
    for one in duplicates[:_MOST_NAMED]:
        distances = {"dHash": one.dhash_distance, "PDQ": one.pdq_distance}
        near = ", ".join(f"{name} {bits} bits" for name, bits in distances.items() if bits is not None)
        print(f"  {one.kind}{f' ({near})' if near else ''}")
        for copy in one.copies:
            box = f" [{copy.box}]" if copy.box else ""
            print(f"    {copy.split or '-'} {copy.label} {visible(copy.name)}{box}")
    _print_rest(len(duplicates))


def _print_in_two_splits(what: str, found: Sequence[InTwoSplits]) -> None:
    from veridical.reports.escaping import visible

    print(f"{what} in two splits: {len(found)}")
    for one in found[:_MOST_NAMED]:
        known = " (known by the source's name only: does not fail)" if one.source_only else ""
        print(f"  {visible(one.name)}: {one.samples} samples in {', '.join(one.splits)}{known}")
    _print_rest(len(found))


def _print_unreadable(found: Audit) -> None:
    from veridical.cli._printing import print_table

    by_label = ", ".join(f"{count} {label}" for label, count in found.counts.unreadable.items())
    print(f"Samples that cannot be read: {by_label or 0}")
    rows = [(one.label, one.split or "-", one.code, one.name) for one in found.unreadable]
    if rows:
        print_table([("LABEL", "SPLIT", "CODE", "SAMPLE"), *rows])


def _print_rest(count: int) -> None:
    if count > _MOST_NAMED:
        print(f"  and {count - _MOST_NAMED} more: --format json names all")
