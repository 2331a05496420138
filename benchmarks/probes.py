"""Linear probes on publishers they have not seen: what of CLIP carries the trace, seen how, learned from whom.

    python benchmarks/probes.py                     # every row, on the data of `clip_spread`
    python benchmarks/probes.py --rows gallery wide

Each row is the experiment `clip_spread` with some changes, fitted in folds that divide no publisher and judged
on all squares that a bundle looks at. `pooled`: AUROC of all pictures out of fold; `within`: its mean inside
the publishers of both classes with five pictures of each, where the style of a set is no help; `TPR`: AI found
at 5 % false alarms. Rows on less data are judged on the same pictures as the others. The split test is not
touched. Embeddings are cached (two to three hours on two cores the first time), after which a row takes some
minutes.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from veridical.data.samples import Sample, read_samples
from veridical.evaluation.benchmark import publishers_of_both, within
from veridical.evaluation.folds import grouped_folds
from veridical.evaluation.metrics import auroc, tpr_at_fpr
from veridical.training import heads
from veridical.training.experiment import Experiment, load_experiment, with_changes
from veridical.training.loop import Run

GALLERY = "../shared/data/images.csv"

# Of each row the changes of `clip_spread`, and whether the gallery alone is trained on.
ROWS: dict[str, tuple[tuple[str, ...], bool]] = {
    "gallery": (("blocks=[8]",), True),
    "centre": (("blocks=[8]", 'input.kind="crops"', "input.count=1"), False),
    "all data": (("blocks=[8]",), False),
    "chosen": ((), False),
    "weaker": (("inverse_penalty=0.02",), False),
    "stronger": (("inverse_penalty=0.0015",), False),
    "wide": (("blocks=[6,7,8]", "patches=[4,5,6,7,8]"), False),
    "rescaled": (("encoded=0",), False),
    "encoded": (("copies=0",), False),
    "alike": (('weigh_by="group"',), False),
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--folds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    experiment = load_experiment("clip_spread")
    samples = [sample for split in ("train", "val") for sample in read_samples(experiment.data, split)]
    of_gallery = {sample.name for split in ("train", "val") for sample in read_samples(GALLERY, split)}
    print("| row | changes | trained on | pooled | within | TPR |\n|---|---|---|---|---|---|")
    for name in chosen.rows:
        changes, gallery = ROWS[name]
        use = np.array([sample.name in of_gallery or not gallery for sample in samples])
        logits = out_of_fold(with_changes(experiment, changes), samples, use, chosen.folds)
        labels = np.array([int(sample.label) for sample in samples])
        inside = within(labels, logits, publishers_of_both([sample.group for sample in samples], labels))
        numbers = (auroc(labels, logits), inside, tpr_at_fpr(labels, logits, fpr=0.05))
        said = " | ".join(f"{number:.3f}" for number in numbers)
        print(f"| {name} | {', '.join(changes)} | {'gallery' if gallery else 'all'} | {said} |", flush=True)


def out_of_fold(
    experiment: Experiment, samples: Sequence[Sample], use: npt.NDArray[np.bool_], folds: int
) -> npt.NDArray[np.float64]:
    """The logit of each sample by a head that saw nothing of its publisher, of samples that are in `use`."""
    labels = np.array([int(sample.label) for sample in samples])
    logits = np.zeros(len(samples))
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder=Path(folder), say=lambda line: None)
        for rest, held in grouped_folds(labels, [s.group or s.stratum for s in samples], most=folds):
            seen = [samples[place] for place in rest if use[place]]
            judged = [samples[place] for place in held]
            head, _ = heads.fit(experiment, seen, (), run)
            logits[held] = heads.logits_of(head, experiment, judged, run)
    return logits


if __name__ == "__main__":
    main()
