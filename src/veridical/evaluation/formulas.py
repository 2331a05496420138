"""Formulas that need numpy alone: for metrics of predictions, and for a market that scores every answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def matthews(labels: npt.NDArray[np.int_], called_fake: npt.NDArray[np.bool_]) -> float:
    """Matthews' correlation of labels and verdicts, in [-1, 1]; see `matthews_of`."""
    fakes = int(labels.sum())
    found = int((called_fake & (labels == 1)).sum())
    return float(matthews_of(found, int(called_fake.sum()) - found, fakes, len(labels) - fakes))


def matthews_of(found: Any, alarms: Any, fakes: Any, reals: Any) -> Any:  # Any: numbers, or arrays of one shape
    """Matthews' correlation of counts: `found` of the fakes and `alarms` of the reals are called fake.

    0 if all get the same verdict, as scikit-learn has it; `nan` where a class is missing, which leaves nothing
    to correlate.

    >>> float(matthews_of(3, 1, 4, 4)), float(matthews_of(4, 4, 4, 4)), float(matthews_of(4, 0, 4, 0))
    (0.5, 0.0, nan)
    """
    found, alarms, fakes, reals = (np.asarray(count, np.float64) for count in (found, alarms, fakes, reals))
    called = found + alarms
    spread = called * (fakes + reals - called) * fakes * reals
    product = found * (reals - alarms) - alarms * (fakes - found)
    return np.where(fakes * reals == 0, np.nan, product / np.sqrt(np.where(spread == 0, 1, spread)))


def sn34_of(correlation: Any, squared: Any) -> Any:  # Any: floats, or arrays of one shape
    """`sqrt(((MCC + 1) / 2)^1.2 * ((0.25 - Brier) / 0.25)^1.8)`, the score of BitMind's subnet 34 (gasbench).

    A Brier score above 0.25, worse than always saying 0.5, counts as 0.25; and the product is at least 1e-12.
    Both are the source's.

    >>> round(float(sn34_of(0.9, 0.05)), 7), round(float(sn34_of(0.0, 0.3)), 7)
    (0.7932593, 1e-06)
    """
    calibrated = np.maximum(0.0, 0.25 - squared) / 0.25
    return np.sqrt(np.maximum(1e-12, ((correlation + 1) / 2) ** 1.2 * calibrated**1.8))
