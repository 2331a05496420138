"""Metrics by name: one row for each that a card, a table or a file can hold, read by all who show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class MetricKind:
    """A metric's `heading` for a column and its `words` for a lay reader.

    `is_rate`: a share, shown in per cent. `better`: which way is better. `ranks`: it depends on the order
    alone, so that it is computed from raw logits: a flat stretch of a calibration must not erase an order.
    `hub` is its name in Hugging Face's front matter; `is_lay`: it means something to any reader of a card.
    """

    heading: str
    words: str
    is_rate: bool = False
    better: Literal["high", "low"] = "high"
    ranks: bool = False
    hub: str = ""
    is_lay: bool = True


_AT_OWN = "at own threshold"

METRIC_KINDS: dict[str, MetricKind] = {
    "auroc": MetricKind("AUROC", "AUROC (0.5 is guessing, 1 is perfect)", ranks=True, hub="roc_auc"),
    "ap": MetricKind("AP", "Average precision", ranks=True, hub="average_precision"),
    "tpr_at_fpr_1": MetricKind(
        "TPR at 1 % FPR",
        "AI-generated pictures found if 1 % of real ones may be called AI-generated",
        is_rate=True,
        ranks=True,
    ),
    "tpr_at_fpr_5": MetricKind(
        "TPR at 5 % FPR",
        "AI-generated pictures found if 5 % of real ones may be called AI-generated",
        is_rate=True,
        ranks=True,
        hub="recall",
    ),
    "eer": MetricKind("EER", "Equal error rate", is_rate=True, better="low", ranks=True),
    "accuracy": MetricKind("accuracy at 0.5", "Right answers at one half", is_rate=True, is_lay=False),
    "real_accuracy": MetricKind(
        "accuracy on reals at 0.5", "Real pictures below one half", is_rate=True, is_lay=False
    ),
    "fake_accuracy": MetricKind(
        "accuracy on fakes at 0.5", "AI-generated pictures above one half", is_rate=True, is_lay=False
    ),
    "accuracy_at_threshold": MetricKind(
        f"accuracy {_AT_OWN}", "Right answers at its own threshold", is_rate=True, is_lay=False
    ),
    "balanced_accuracy": MetricKind("balanced accuracy at 0.5", "Balanced accuracy", is_rate=True),
    "f1": MetricKind("F1 at 0.5", "F1 of the AI-generated at one half", is_rate=True, is_lay=False),
    "mcc": MetricKind("MCC at 0.5", "Matthews' correlation at one half", is_lay=False),
    "brier": MetricKind("Brier", "Brier score", better="low"),
    "ece": MetricKind("ECE", "Calibration error (ECE)", better="low", hub="expected_calibration_error"),
    "sn34": MetricKind("SN34 score", "Score of BitMind's subnet 34", is_lay=False),
    "within": MetricKind(
        "mean AUROC inside publishers", "AUROC inside publishers of both kinds, on average", ranks=True
    ),
    "fpr": MetricKind(
        f"FPR {_AT_OWN}",
        "Real pictures called AI-generated",
        is_rate=True,
        better="low",
        hub="false_positive_rate",
    ),
    "tpr": MetricKind(f"TPR {_AT_OWN}", "AI-generated pictures called AI-generated", is_rate=True),
    "reals_called_real": MetricKind(f"reals called real {_AT_OWN}", "Real pictures called real", is_rate=True),
    "fakes_called_real": MetricKind(
        f"fakes called real {_AT_OWN}", "AI-generated pictures called real", is_rate=True, better="low"
    ),
    "unsure": MetricKind("unsure", "Pictures answered with unsure", is_rate=True, better="low"),
}


def metric_kind(name: str) -> MetricKind:
    """The row of a metric; for one without a row (`risk_at_coverage_80`) what its name says: a rate.

    >>> metric_kind("risk_at_coverage_80").heading
    'risk at coverage 80'
    """
    known = METRIC_KINDS.get(name)
    return known or MetricKind(name.replace("_", " "), name.replace("_", " "), is_rate=True)
