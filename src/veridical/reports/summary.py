"""How many files got which answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field

from veridical.evaluation.intervals import wilson
from veridical.explanation.words import metric_value
from veridical.models.card import Estimate
from veridical.results import Report, Verdict

_WORDS = {
    Verdict.AI: "probably AI-generated",
    Verdict.REAL: "probably real",
    Verdict.UNSURE: "unsure",
    Verdict.ERROR: "could not be judged",
}
_GIVEN = (Verdict.AI, Verdict.REAL, Verdict.UNSURE)

# Of fewer, a share's interval spans almost half of everything.
_FEWEST_FOR_SHARES = 20


@dataclass
class Summary:
    """A running count of verdicts, and the greatest probability of fake so far."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    greatest: float | None = None

    def add(self, report: Report) -> None:
        """Count one more file."""
        self.verdicts[report.verdict] += 1
        if report.probability is not None:
            self.greatest = max(report.probability, self.greatest or 0.0)

    @property
    def files(self) -> int:
        """The number of files counted."""
        return self.verdicts.total()

    @property
    def failed(self) -> int:
        """The number of files without an answer."""
        return self.verdicts[Verdict.ERROR]

    def to_dict(self) -> dict[str, object]:
        """The JSON object (heterogeneous): `files`, a count per verdict, and under `shares` their shares."""
        counts = {verdict.value: self.verdicts[verdict] for verdict in Verdict}
        shares = {verdict.value: asdict(share) for verdict, share in self.shares().items()}
        return {"files": self.files, **counts, "shares": shares}

    def shares(self) -> dict[Verdict, Estimate]:
        """Of the files that were judged, the share of each verdict with Wilson's 95 % interval."""
        judged = self.files - self.failed
        return {verdict: wilson(self.verdicts[verdict], judged) for verdict in _GIVEN} if judged else {}

    def shares_sentence(self) -> str | None:
        """The shares in words for people; nothing of so few files that an interval would say nothing.

        >>> summary = Summary(Counter({Verdict.AI: 2, Verdict.REAL: 98}))
        >>> print(summary.shares_sentence())
        Of 100 judged, 2.0 % probably AI-generated (0.6–7.0 %), 98.0 % probably real (93.0–99.4 %), 0.0 % unsure
        (0.0–3.7 %). In brackets: the 95 % interval, if the files were drawn at random.
        """
        judged = self.files - self.failed
        if judged < _FEWEST_FOR_SHARES:
            return None
        shares = {verdict: metric_value("share", share) for verdict, share in self.shares().items()}
        parts = [f"{value} {_WORDS[verdict]} ({bounds})" for verdict, (value, bounds) in shares.items()]
        note = "In brackets: the 95 % interval, if the files were drawn at random."
        return f"Of {judged} judged, {', '.join(parts)}. {note}"

    def sentence(self) -> str:
        """The counts in words for people, without the answers that nobody got.

        >>> summary = Summary()
        >>> summary.add(Report(path="a.jpg", verdict=Verdict.UNSURE, probability=0.5))
        >>> summary.sentence()
        '1 file: 1 unsure'
        """
        counted = f"{self.files} file{'' if self.files == 1 else 's'}"
        parts = [f"{self.verdicts[verdict]} {_WORDS[verdict]}" for verdict in Verdict if self.verdicts[verdict]]
        return f"{counted}: {', '.join(parts)}" if parts else counted
