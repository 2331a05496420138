"""Split-conformal prediction sets: {real}, {fake}, both or neither, with a promised coverage for each class.

Vladimir Vovk: Conditional validity of inductive conformal predictors, ACML 2012 (label-conditional, that is
Mondrian). The promise holds for pictures drawn like those of the fit; pictures of other publishers are not, so
the coverage on a second set is what counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from veridical.evaluation.intervals import wilson
from veridical.evaluation.metrics import Labels, Scores
from veridical.models.card import Estimate

ALPHA = 0.1


@dataclass(frozen=True)
class PredictionSets:
    """`fake` is in the set of a picture whose raw logit is at least `fake_from`, `real` at most `real_to`.

    Where a class had too few pictures for `alpha`, it is in every set and its limit is infinite.
    """

    alpha: float
    fake_from: float
    real_to: float


def fit_sets(labels: Labels, logits: Scores, *, alpha: float = ALPHA) -> PredictionSets:
    """Sets that hold the label of a new picture with probability 1 - `alpha` at least, in each class.

    On raw logits: every calibration keeps their order, so the sets are the same, and the promise does not
    suffer from a calibration that was fitted on the same pictures.
    """
    fakes, reals = logits[labels == 1], logits[labels == 0]
    return PredictionSets(alpha, fake_from=-_limit(-fakes, alpha), real_to=_limit(reals, alpha))


def set_summary(labels: Labels, logits: Scores, sets: PredictionSets) -> dict[str, Estimate]:
    """How many sets hold the label (`covered_real` of reals, `covered_fake` of fakes), and how many hold what.

    `one_label`, `both_labels` and `no_label` are shares of all pictures.
    """
    with_fake, with_real = logits >= sets.fake_from, logits <= sets.real_to
    real, every = labels == 0, np.ones(len(labels), dtype=bool)
    shares = {
        "covered_real": (with_real, real),
        "covered_fake": (with_fake, ~real),
        "one_label": (with_fake != with_real, every),
        "both_labels": (with_fake & with_real, every),
        "no_label": (~with_fake & ~with_real, every),
    }
    return {name: wilson(int((hit & of).sum()), int(of.sum())) for name, (hit, of) in shares.items()}


def _limit(nonconformity: Scores, alpha: float) -> float:
    """The smallest value that at least ceil((n + 1) * (1 - alpha)) of n reach from below."""
    # Less a little: 0.9 * 10 may come out just above 9.
    rank = math.ceil((len(nonconformity) + 1) * (1 - alpha) - 1e-9)
    return float(np.sort(nonconformity)[rank - 1]) if rank <= len(nonconformity) else math.inf
