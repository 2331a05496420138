"""`veridical predict`: a labelled set and detectors become stored predictions."""

from __future__ import annotations

from pathlib import Path

import click

from veridical.cli._extras import needs_extra
from veridical.cli._options import data_option_help


@click.command()
@click.argument("detectors", nargs=-1, required=True)
@click.option("--data", required=True, help=data_option_help)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="The predictions file (.csv)."
)
@click.option("--split", help="Only this split of the data.")
def predict(detectors: tuple[str, ...], data: str, output: Path, split: str | None) -> None:
    """Judge every sample of a labelled set with DETECTORS (names or folders) and store the scores.

    A sample that cannot be read stops the run with its path.
    """
    import veridical

    with needs_extra("bench", "predictions"):
        from veridical.data.samples import read_samples
        from veridical.detectors import load_detector
        from veridical.evaluation.predictions import predict as predict_samples
        from veridical.evaluation.predictions import write_predictions

    samples = read_samples(data, split)
    loaded = [load_detector(name) for name in detectors]
    rows = (row for d in loaded for row in predict_samples(d, samples, code=veridical.__version__))
    count = write_predictions(output, rows)
    click.echo(f"{count} predictions in {output}", err=True)
