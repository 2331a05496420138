"""The shares of verdicts have Wilson's interval, and count only what was judged."""

from __future__ import annotations

from collections import Counter

import pytest
from scipy.stats import binomtest

from veridical.reports.summary import Summary
from veridical.results import Verdict


def test_shares_are_of_what_was_judged_with_wilsons_interval() -> None:
    summary = Summary(Counter({Verdict.AI: 7, Verdict.REAL: 50, Verdict.UNSURE: 43, Verdict.ERROR: 20}))
    share = summary.shares()[Verdict.AI]
    expected = binomtest(7, 100).proportion_ci(method="wilson")
    assert (share.value, share.n) == (0.07, 100)
    assert (share.low, share.high) == pytest.approx((expected.low, expected.high))
    assert sum(share.value for share in summary.shares().values()) == pytest.approx(1)


def test_where_nothing_was_judged_there_is_no_share() -> None:
    summary = Summary(Counter({Verdict.ERROR: 30}))
    assert summary.shares() == {}
    assert summary.shares_sentence() is None


def test_of_few_files_no_share_is_told_to_people() -> None:
    assert Summary(Counter({Verdict.AI: 19})).shares_sentence() is None
    assert "100.0 % probably AI-generated (83.9–100.0 %)" in (
        Summary(Counter({Verdict.AI: 20})).shares_sentence() or ""
    )
