"""A run of predictions that may be killed: the same again goes on, and ends with the same bytes.

Beside the output stands a journal while the run is unfinished: a line that says what the run does, then a line
for each sample, with all that was found about it. A line without its end counts for nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from veridical.data.samples import Sample
from veridical.detectors import Detector
from veridical.errors import DataError, UsageError
from veridical.evaluation.predictions import (
    Prediction,
    Unjudged,
    judge_sample,
    require_prediction,
    write_predictions,
    write_unjudged,
)


@dataclass(frozen=True)
class PredictionRun:
    """Which detectors judge which samples after which perturbations, and where that is written.

    `code` is the version of this package. A sample that cannot be judged ends the run, unless
    `allow_unreadable`: then it stands in `unjudged_path`.
    """

    output: Path
    detectors: Sequence[Detector]
    samples: Sequence[Sample]
    perturbations: Sequence[str]
    code: str
    allow_unreadable: bool = False

    @property
    def unjudged_path(self) -> Path:
        """A CSV of what could not be judged; not there when there is nothing."""
        return self.output.with_name(self.output.name + ".unjudged.csv")

    @property
    def journal_path(self) -> Path:
        """The file that is there while the run is unfinished."""
        return self.output.with_name(self.output.name + ".journal")

    def finish(self, on_progress: Callable[[int], None]) -> tuple[int, list[Unjudged]]:
        """Judge what is not yet judged and write the output; gives its rows' number, and the unjudged.

        `on_progress` is told how many samples are done, first those of an earlier run. Raises `UsageError` if
        the journal is that of another run or the output cannot be written, `DataError` with the path of a
        sample that cannot be judged.
        """
        try:
            return self._finish(on_progress)
        except OSError as error:
            raise UsageError(f"Cannot write {self.output}: {error.strerror or error}.") from error

    def _finish(self, on_progress: Callable[[int], None]) -> tuple[int, list[Unjudged]]:
        done = self._resume()
        on_progress(done)
        with self.journal_path.open("ab") as journal:
            for number, sample in enumerate(self.samples[done:], start=done):
                outcomes = list(judge_sample(sample, self.detectors, self.perturbations, code=self.code))
                self._check(outcomes)
                journal.write(_line({"sample": number, "outcomes": [asdict(o) for o in outcomes]}))
                journal.flush()
                on_progress(number + 1)
        return self._publish()

    def _resume(self) -> int:
        """How many samples the journal holds; it then ends behind the last of them."""
        if not self.journal_path.exists() or b"\n" not in self.journal_path.read_bytes():
            self.journal_path.write_bytes(_line(self._plan()))
            return 0
        with self.journal_path.open("r+b") as journal:
            self._require_same_plan(journal.readline())
            done, end = 0, journal.tell()
            while (line := journal.readline()).endswith(b"\n"):
                self._check(self._outcomes(line, number=done))
                done, end = done + 1, journal.tell()
            journal.truncate(end)
        return done

    def _publish(self) -> tuple[int, list[Unjudged]]:
        # In this order, so that whoever finds the output finds the list; a kill in between repeats the writing.
        unjudged = [outcome for outcome in self._journal() if isinstance(outcome, Unjudged)]
        if unjudged:
            write_unjudged(self.unjudged_path, unjudged)
        else:
            self.unjudged_path.unlink(missing_ok=True)
        predictions = (outcome for outcome in self._journal() if isinstance(outcome, Prediction))
        count = write_predictions(self.output, predictions)
        self.journal_path.unlink()
        return count, unjudged

    def _journal(self) -> Iterator[Prediction | Unjudged]:
        with self.journal_path.open("rb") as journal:
            journal.readline()
            for number, line in enumerate(journal):
                yield from self._outcomes(line, number=number)

    def _outcomes(self, line: bytes, *, number: int) -> list[Prediction | Unjudged]:
        try:
            read = json.loads(line)
            if read["sample"] != number:
                raise ValueError(f"sample {read['sample']} instead of {number}")
            return [Prediction(**o) if "score" in o else Unjudged(**o) for o in read["outcomes"]]
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(number + 2, error) from error

    def _damaged(self, line: int, error: Exception) -> DataError:
        return DataError(
            f"{self.journal_path}, line {line}: damaged, or written by two runs at once ({error}).",
            code="bad_predictions",
            hint="Delete it to start afresh.",
        )

    def _check(self, outcomes: Sequence[Prediction | Unjudged]) -> None:
        if not self.allow_unreadable:
            for outcome in outcomes:
                require_prediction(outcome)

    def _plan(self) -> dict[str, object]:
        """The settings that must be equal for rows of two runs to stand in one file."""
        samples = "\n".join(map(repr, self.samples))
        return {
            "detectors": [[d.name, d.sha256] for d in self.detectors],
            "perturbations": list(self.perturbations),
            "data": hashlib.sha256(samples.encode("utf-8", "surrogateescape")).hexdigest(),
            "code": self.code,
        }

    def _require_same_plan(self, line: bytes) -> None:
        try:
            found = dict(json.loads(line))
        except (TypeError, ValueError) as error:
            raise self._damaged(1, error) from error
        other = [name for name, value in self._plan().items() if found.get(name) != value]
        if other:
            raise UsageError(
                f"{self.journal_path} is of an unfinished run with other {', '.join(other)}.",
                hint="Give the command of that run to finish it, or delete the file to start afresh.",
            )


def _line(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode() + b"\n"
