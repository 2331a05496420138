"""Ctrl-C ends a run between two results, never inside of one."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Self, TypeVar

T = TypeVar("T")


class Interruption:
    """While entered: the first Ctrl-C ends `guard`, a second one the program.

    An interrupt that comes while a result is being written waits until it is written, so that what was
    finished is valid output in every format.
    """

    def __init__(self) -> None:
        self.requested = False
        self._waiting = False

    def __enter__(self) -> Self:
        self._in_main = threading.current_thread() is threading.main_thread()
        if self._in_main:
            self._previous = signal.signal(signal.SIGINT, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._in_main:
            signal.signal(signal.SIGINT, self._previous)

    def guard(self, items: Iterator[T]) -> Iterator[T]:
        """The items, until Ctrl-C."""
        while not self.requested:
            try:
                self._waiting = True
                item = next(items)
            except StopIteration:
                return
            except KeyboardInterrupt:
                self.requested = True
                return
            finally:
                self._waiting = False
            yield item

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.requested or self._waiting:
            raise KeyboardInterrupt
        self.requested = True
