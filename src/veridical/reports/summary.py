"""How many files got which answer."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from veridical.results import Report, Verdict

_WORDS = {
    Verdict.AI: "probably AI-generated",
    Verdict.REAL: "probably real",
    Verdict.UNSURE: "unsure",
    Verdict.ERROR: "could not be judged",
}


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

    def to_dict(self) -> dict[str, int]:
        """The JSON object: `files`, and one count per verdict."""
        return {"files": self.files} | {verdict.value: self.verdicts[verdict] for verdict in Verdict}

    def sentence(self) -> str:
        """The same for people, without the answers that nobody got.

        >>> summary = Summary()
        >>> summary.add(Report(path="a.jpg", verdict=Verdict.UNSURE, probability=0.5))
        >>> summary.sentence()
        '1 file: 1 unsure'
        """
        counted = f"{self.files} file{'' if self.files == 1 else 's'}"
        parts = [f"{self.verdicts[verdict]} {_WORDS[verdict]}" for verdict in Verdict if self.verdicts[verdict]]
        return f"{counted}: {', '.join(parts)}" if parts else counted
