"""Items become entries of a report: several at a time, in order, in bounded memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from veridical.analysis import judge
from veridical.cli._interruption import Interruption
from veridical.errors import ErrorInfo, ModelError, VeridicalError
from veridical.media.limits import DEFAULT_LIMITS
from veridical.reports import Entry
from veridical.reports.escaping import portable_name, visible
from veridical.reports.summary import Summary
from veridical.results import Report, Verdict

if TYPE_CHECKING:
    from veridical.detectors import Detector
    from veridical.media.sources import Item

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Judge:
    """Judges one item; what is wrong with it becomes an entry: one bad file never stops the others."""

    detector: Detector
    threshold: float | None = None
    allow_truncated: bool = False
    with_thumbnail: bool = False

    def __call__(self, item: Item) -> Entry:
        """The entry for one item. Raises `ModelError`, which no other file would escape either."""
        name = portable_name(item.name)
        try:
            return self._judge(item, name)
        except ModelError:
            raise
        except VeridicalError as error:
            info = error.info
        except Exception as error:  # noqa: BLE001  A mistake of ours on one file must not cost the other million.
            info = ErrorInfo(
                code="internal_error",
                message=f"Veridical failed on this file: {type(error).__name__}: {error}",
                hint="Please report this, if you can with the file.",
            )
        # The message may repeat a name that JSON cannot carry.
        safe = ErrorInfo(info.code, visible(info.message), info.hint and visible(info.hint), info.retryable)
        return Entry(Report(path=name, verdict=Verdict.ERROR, error=safe))

    def _judge(self, item: Item, name: str) -> Entry:
        judged = judge(
            item.read(DEFAULT_LIMITS),
            path=name,
            detector=self.detector,
            threshold=self.threshold,
            allow_truncated=self.allow_truncated,
        )
        if not self.with_thumbnail or judged.image is None:
            return Entry(judged.report)
        from veridical.reports.thumbnail import data_uri

        # Here, in the worker, so that no more decoded pictures are held than there are workers.
        return Entry(judged.report, thumbnail=data_uri(judged.image))


@dataclass
class Stream:
    """The entries of one run, once; afterwards, what became of it.

    It ends early on Ctrl-C and on an error that stops the run, instead of raising, so that a report of what was
    finished can be closed properly; `failure` is then to be raised.
    """

    judge: Judge
    items: Iterable[Item]
    jobs: int
    interruption: Interruption
    summary: Summary = field(default_factory=Summary)
    failure: VeridicalError | None = None

    def __iter__(self) -> Iterator[Entry]:
        try:
            for entry in self.interruption.guard(map_in_order(self.judge, self.items, jobs=self.jobs)):
                self.summary.add(entry.report)
                yield entry
        except VeridicalError as error:
            self.failure = error


def map_in_order(function: Callable[[T], R], items: Iterable[T], *, jobs: int) -> Iterator[R]:
    """`map` with threads: results in the order of the items, each as soon as those before it are given.

    At most twice `jobs` items are taken ahead. Threads are enough, because decoders and networks leave Python.
    """
    items = iter(items)
    first = list(itertools.islice(items, 2))
    items = itertools.chain(first, items)
    if jobs == 1 or len(first) < 2:
        yield from map(function, items)
        return
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(jobs)
    try:
        ahead: deque[Future[R]] = deque()
        for item in items:
            ahead.append(pool.submit(function, item))
            while ahead and (len(ahead) >= 2 * jobs or ahead[0].done()):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
