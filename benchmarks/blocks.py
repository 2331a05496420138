"""Which blocks of CLIP carry the trace: linear probes, judged on publishers that they have not seen.

    python benchmarks/blocks.py ../shared/data/images.csv --reconstruct ../shared/models/taef2

Each row is a logistic regression on the class token (cN) or the mean of the patch tokens (mN) after block N, or
on several of them, as `clip_aligned` is fitted, with and without reconstructions among the fakes. `pooled`:
AUROC of all pictures of the splits train and val, out of fold, publishers apart; `TPR at 5 %` the same way;
`within`: mean AUROC inside the publishers of both classes, where the style of a set is no help. The split test
is not touched. Embeddings are cached: an hour on one core the first time, then minutes.
"""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression

from veridical.data.samples import Sample, read_samples
from veridical.evaluation.folds import grouped_folds
from veridical.evaluation.metrics import auroc, tpr_at_fpr
from veridical.training.embeddings import Embeddings, Views, embed_views
from veridical.training.experiment import load_experiment
from veridical.training.heads import Embedded, weights_of, with_forged

_BLOCKS, _PATCHES, _WIDTH = (5, 6, 7, 8, 9), (4, 6, 8), 768
_ROWS = (
    *(f"c{number}" for number in _BLOCKS),
    *(f"m{number}" for number in _PATCHES),
    "c8 m6",
    "c9 m6",
    "c8 m4 m6 m8",
)
_LEAST_OF_CLASS = 3

Matrix = npt.NDArray[np.float32]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("--reconstruct", required=True, help="What makes the aligned fakes.")
    parser.add_argument("--folds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    samples = [*read_samples(chosen.data, "train"), *read_samples(chosen.data, "val")]
    experiment = load_experiment("clip_aligned")
    views = Views(experiment.input, experiment.augmentation, 1, experiment.seed)
    reals = [sample for sample in samples if not sample.label]
    plain = _embed(samples, Views(experiment.input), chosen.threads)
    shown = _embed(samples, views, chosen.threads)
    forged = _embed(reals, dataclasses.replace(views, reconstruct=chosen.reconstruct), chosen.threads)
    print(f"{'features':14} {'reconstructions':16} pooled  TPR at 5 %  within")
    for row in _ROWS:
        for share in (0.0, experiment.reconstructed):
            parts = [_columns(each, row) for each in (plain, shown, forged)]
            logits = _out_of_fold(
                samples, *parts, share=share, folds=chosen.folds, inverse_penalty=experiment.inverse_penalty
            )
            numbers = _measures(samples, logits)
            said = "yes" if share else "no"
            print(f"{row:14} {said:16} {numbers[0]:.3f}   {numbers[1]:.3f}       {numbers[2]:.3f}", flush=True)


def _embed(samples: list[Sample], views: Views, threads: int) -> Matrix:
    found = embed_views(samples, "clip-vit-b16", views, blocks=_BLOCKS, patches=_PATCHES, workers=threads)
    return found.vectors


def _columns(vectors: Matrix, row: str) -> Matrix:
    """The summaries that a row names, of vectors that hold all of them."""
    names = [*(f"c{number}" for number in _BLOCKS), *(f"m{number}" for number in _PATCHES)]
    return np.concatenate(
        [vectors[:, _WIDTH * names.index(name) : _WIDTH * (names.index(name) + 1)] for name in row.split()],
        axis=1,
    )


def _out_of_fold(
    samples: list[Sample],
    plain: Matrix,
    shown: Matrix,
    forged: Matrix,
    *,
    share: float,
    folds: int,
    inverse_penalty: float,
) -> npt.NDArray[np.float64]:
    labels = np.array([int(sample.label) for sample in samples])
    of_reals = np.cumsum(labels == 0) - 1
    logits = np.zeros(len(samples))
    for rest, held in grouped_folds(labels, [sample.group for sample in samples], most=folds):
        training = _embedded([samples[place] for place in rest], shown[rest])
        weights = weights_of(training)
        if share:
            seen = rest[labels[rest] == 0]
            twins = _embedded([samples[place] for place in seen], forged[of_reals[seen]])
            training, weights = with_forged(training, weights, twins, share=share)
        vectors = training.embeddings.vectors
        mean, deviation = vectors.mean(axis=0), vectors.std(axis=0) + 1e-6
        model = LogisticRegression(C=inverse_penalty, max_iter=1000)
        model.fit((vectors - mean) / deviation, training.labels[training.embeddings.owners], weights)
        logits[held] = model.decision_function((plain[held] - mean) / deviation)
    return logits


def _embedded(samples: list[Sample], vectors: Matrix) -> Embedded:
    return Embedded(samples, Embeddings(vectors, np.arange(len(samples))))


def _measures(samples: list[Sample], logits: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    labels = np.array([int(sample.label) for sample in samples])
    groups = np.array([sample.group for sample in samples])
    of_both = [
        auroc(labels[groups == group], logits[groups == group])
        for group in np.unique(groups)
        if np.bincount(labels[groups == group], minlength=2).min() >= _LEAST_OF_CLASS
    ]
    return auroc(labels, logits), tpr_at_fpr(labels, logits, fpr=0.05), float(np.mean(of_both))


if __name__ == "__main__":
    main()
