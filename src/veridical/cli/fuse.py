"""`veridical fuse`: stored predictions become a combination of the detectors that made them."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import format_option, rounds_option

if TYPE_CHECKING:
    from veridical.detectors.fusion import FusionRecipe
    from veridical.detectors.recipes import Recipe
    from veridical.evaluation.predictions import Prediction


@click.command()
@click.argument(
    "predictions", metavar="PREDICTIONS...", nargs=-1, required=True, type=click.Path(path_type=Path)
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write fusion.json to this folder.")
@click.option(
    "--member",
    "bundles",
    metavar="FOLDER",
    multiple=True,
    type=click.Path(path_type=Path),
    help="The bundle of a detector in PREDICTIONS: copied beside the recipe. Others are found by their name.",
)
@click.option("--name", default="fusion", show_default=True, help="What the combination is called.")
@click.option(
    "--mixture",
    type=click.Path(path_type=Path),
    help="Calibrate this mixture instead, in its file; PREDICTIONS are its own.",
)
@rounds_option
@format_option
def fuse(
    predictions: tuple[Path, ...],
    output: Path | None,
    bundles: tuple[Path, ...],
    name: str,
    mixture: Path | None,
    rounds: int,
    format: str,
) -> None:
    """Fit the calibrated combination of the detectors in PREDICTIONS, files of 'veridical predict'.

    None of the detectors may have been trained on what was judged. The combination is measured out of fold, and
    folds never divide a publisher; where it is no better than a member, it is that member alone. Afterwards:
    veridical detect --detector fusion:FOLDER/
    """
    with needs_extra("bench", "combinations"):
        from veridical.detectors.fusion import write_fusion
        from veridical.evaluation.predictions import read_predictions
        from veridical.evaluation.stacking import calibrate_mixture, fit_fusion, judged_sha256

    rows = [row for path in predictions for row in read_predictions(path)]
    data, sha256 = ", ".join(path.name for path in predictions), judged_sha256(rows)
    command = shlex.join(["veridical", "fuse", *map(str, predictions)])
    if mixture:
        recipe = calibrate_mixture(
            mixture,
            rows,
            data=data,
            data_sha256=sha256,
            command=f"{command} --mixture {mixture}",
            rounds=rounds,
        )
        _print(recipe, [], mixture, format)
        return
    fusion = fit_fusion(rows, name=name, data=data, data_sha256=sha256, command=command, rounds=rounds)
    written = write_fusion(fusion, output, bundles) if output else None
    _print(fusion, _members(fusion, rows), written, format)


def _members(fusion: FusionRecipe, rows: list[Prediction]) -> list[dict[str, str | float | None]]:
    """Each detector of the predictions, its weight (`None`: left out), and its own AUROC."""
    from veridical.evaluation.metrics import auroc
    from veridical.evaluation.predictions import as_arrays

    weights = {member.detector: member for member in fusion.members}
    told: list[dict[str, str | float | None]] = []
    for detector in dict.fromkeys(row.detector for row in rows):
        labels, _, logits = as_arrays([row for row in rows if row.detector == detector])
        member = weights.get(detector)
        told.append(
            {
                "detector": detector,
                "weight": member.weight if member else None,
                "missing_weight": member.missing_weight if member else None,
                "auroc": auroc(labels, logits),
            }
        )
    return told


def _print(
    recipe: Recipe, members: list[dict[str, str | float | None]], written: Path | None, format: str
) -> None:
    from veridical.cli._printing import print_json, print_table

    metrics = recipe.measured[0].metrics
    area = metrics["auroc"]
    if format == "json":
        facts = {"name": recipe.name, "description": recipe.description, "members": members}
        measured = {"value": area.value, "low": area.low, "high": area.high, "n": area.n}
        print_json({**facts, "auroc": measured, "path": str(written) if written else None})
        return
    if members:
        rows = [
            (str(m["detector"]), _number(m["weight"]), _number(m["missing_weight"]), _number(m["auroc"]))
            for m in members
        ]
        print_table([("MEMBER", "WEIGHT", "IF MISSING", "AUROC"), *rows])
        click.echo()
    click.echo(recipe.description)
    for metric in ("auroc", "tpr_at_fpr_5", "ece"):
        cell = metrics[metric]
        click.echo(f"{metric:<14} {cell.value:.3f}  [{cell.low:.3f}, {cell.high:.3f}]  n={cell.n}")
    click.echo(f"thresholds     ai {recipe.thresholds.ai}, real {recipe.thresholds.real}")
    if written:
        click.echo(f"written to     {written}")


def _number(value: str | float | None) -> str:
    return "left out" if value is None else f"{value:.3f}"
