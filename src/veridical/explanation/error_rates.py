"""Error rates of a verdict in both directions, from what a card says was measured.

`error_rate` is how often the other kind of picture gets the verdict: P(said real | AI). A reader who holds a
verdict in hand wants the other direction, P(AI | said real), which depends on how many pictures are AI to begin
with: `wrong_shares` states it for two such priors.
"""

from __future__ import annotations

from veridical.models.card import Card, Estimate, Measurement
from veridical.results import ErrorRate, Thresholds, Verdict, WrongShare

# As many AI pictures as real ones, which the calibration assumes too; and one in ten.
PRIORS = (0.5, 0.1)

# Of each verdict the rate at which pictures of the other kind get it, and that of the right kind.
_WRONG = {Verdict.AI: "fpr", Verdict.REAL: "fakes_called_real"}
_RIGHT = {Verdict.AI: "tpr", Verdict.REAL: "reals_called_real"}

# The best evidence first.
_ROLES = ("test", "out_of_fold", "fitted")


def measurement_of(verdict: Verdict, thresholds: Thresholds, card: Card | None) -> Measurement | None:
    """The measurement of a card that says most about this verdict.

    On a test set, else out of fold, else where it was fitted. None at other thresholds than those that were
    measured, and for `unsure`.
    """
    if card is None or thresholds != card.thresholds or verdict not in _WRONG:
        return None
    found = [each for each in card.measured if _WRONG[verdict] in each.metrics]
    return min(found, key=lambda each: _ROLES.index(each.role), default=None)


def error_rate(verdict: Verdict, measurement: Measurement) -> ErrorRate:
    """The share of the other kind of pictures that got this verdict."""
    rate = measurement.metrics[_WRONG[verdict]]
    return ErrorRate(rate.value, rate.low, rate.high, rate.n, measurement.role)


def wrong_shares(verdict: Verdict, measurement: Measurement) -> tuple[WrongShare, ...]:
    """The share of wrong ones among the pictures with this verdict, for each of `PRIORS`.

    Nothing where the measurement lacks a rate. See `WrongShare`.

    >>> of_fakes, of_reals = Estimate(0.1, 0.05, 0.2, 100), Estimate(0.4, 0.3, 0.5, 90)
    >>> metrics = {"fakes_called_real": of_fakes, "reals_called_real": of_reals}
    >>> measured = Measurement("test", "", "", metrics)
    >>> [round(share.value, 3) for share in wrong_shares(Verdict.REAL, measured)]
    [0.2, 0.027]
    """
    if _RIGHT[verdict] not in measurement.metrics:
        return ()
    wrong, right = (measurement.metrics[name[verdict]] for name in (_WRONG, _RIGHT))
    return tuple(_wrong_share(verdict, wrong, right, prior) for prior in PRIORS)


def _wrong_share(verdict: Verdict, wrong: Estimate, right: Estimate, prior: float) -> WrongShare:
    of_wrong = 1 - prior if verdict is Verdict.AI else prior

    def share(wrongly: float, rightly: float) -> float:
        all_said = of_wrong * wrongly + (1 - of_wrong) * rightly
        return of_wrong * wrongly / all_said if all_said else 1.0

    value = share(wrong.value, right.value)
    return WrongShare(prior, value, share(wrong.low, right.high), max(value, share(wrong.high, right.low)))
