"""Admission when more ask than can be served: a token bucket for each caller, and a queue by rank."""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from veridical.web.refusals import Refusal

_MOST_BUCKETS = 4096


class TokenBuckets:
    """At most `rate` requests a second for each caller in the long run, and `burst` at once."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens left, and when that was

    def take(self, caller: str) -> None:
        """One request of this caller; raises `Refusal` (`rate_limited`) when there is no token left."""
        now = self._clock()
        tokens = self._tokens(caller, now)
        if tokens < 1:
            raise Refusal(
                "rate_limited",
                f"More than {self._rate:g} requests a second.",
                retry_after=(1 - tokens) / self._rate,
            )
        if len(self._buckets) >= _MOST_BUCKETS:
            self._forget_full(now)
        self._buckets[caller] = (tokens - 1, now)

    def _tokens(self, caller: str, now: float) -> float:
        tokens, then = self._buckets.get(caller, (self._burst, now))
        return min(self._burst, tokens + (now - then) * self._rate)

    def _forget_full(self, now: float) -> None:
        full = [caller for caller in self._buckets if self._tokens(caller, now) >= self._burst]
        for caller in full:
            del self._buckets[caller]


@dataclass(order=True)
class _Waiter:
    """Somebody who waits; first in order is the highest rank, of equals the longest waiting."""

    minus_rank: int
    arrival: int
    turn: asyncio.Future[None] = field(compare=False)


class RankedQueue:
    """So many are served at a time, and so many wait; when it is full, the lowest rank has to go."""

    def __init__(self, *, served: int, waiting: int) -> None:
        self._free = served
        self._most_waiting = waiting
        self._waiting: list[_Waiter] = []
        self._arrivals = 0

    @property
    def waiting(self) -> int:
        """Number of those who wait now."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def place(self, rank: int) -> AsyncIterator[None]:
        """Wait for a place and hold it; raises `Refusal` (`queue_full`), also after a while in the queue."""
        await self._enter(rank)
        try:
            yield
        finally:
            self._leave()

    async def _enter(self, rank: int) -> None:
        if self._free:
            self._free -= 1
            return
        self._arrivals += 1
        newcomer = _Waiter(-rank, self._arrivals, asyncio.get_running_loop().create_future())
        bisect.insort(self._waiting, newcomer)
        if len(self._waiting) > self._most_waiting:
            self._turn_away(self._waiting.pop())
        try:
            await newcomer.turn
        except asyncio.CancelledError:
            self._give_up(newcomer)
            raise

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.turn.done() and not waiter.turn.cancelled() and waiter.turn.exception() is None:
            self._leave()  # Its turn came in the same moment.

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.pop(0).turn
            if not turn.done():  # One that has just been cancelled has not left the queue yet.
                turn.set_result(None)
                return
        self._free += 1

    def _turn_away(self, waiter: _Waiter) -> None:
        if not waiter.turn.done():
            waiter.turn.set_exception(
                Refusal("queue_full", "Others, of the same rank or higher, are served first.", retry_after=1)
            )
