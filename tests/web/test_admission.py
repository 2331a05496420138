"""Who is served when more ask than can be."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

pytest.importorskip("fastapi", reason="needs the extra 'serve'")

from veridical.web.admission import RankedQueue, TokenBuckets
from veridical.web.refusals import Refusal


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def takes(buckets: TokenBuckets, caller: str, count: int) -> int:
    """How many of `count` requests are let through."""
    through = 0
    for _ in range(count):
        with contextlib.suppress(Refusal):
            buckets.take(caller)
            through += 1
    return through


def test_a_bucket_fills_at_its_rate_and_no_further_than_its_burst() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate=2.0, burst=5, clock=clock)
    assert takes(buckets, "a", 9) == 5
    assert takes(buckets, "b", 9) == 5
    clock.now += 1.0
    assert takes(buckets, "a", 9) == 2
    clock.now += 1000.0
    assert takes(buckets, "a", 9) == 5


def test_whoever_is_refused_learns_when_to_come_back() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate=0.5, burst=1, clock=clock)
    buckets.take("a")
    with pytest.raises(Refusal) as caught:
        buckets.take("a")
    assert (caught.value.code, caught.value.retry_after) == ("rate_limited", 2.0)
    clock.now += 2.0
    buckets.take("a")


def test_many_callers_do_not_fill_the_memory_nor_empty_a_bucket() -> None:
    clock = Clock()
    buckets = TokenBuckets(rate=1.0, burst=2, clock=clock)
    for number in range(10_000):
        buckets.take(str(number))
        clock.now += 0.001
    assert len(buckets._buckets) <= 4096
    assert takes(buckets, "9999", 5) == 1


def test_higher_ranks_are_served_first_and_equal_ones_in_order() -> None:
    served: list[str] = []

    async def visit(queue: RankedQueue, name: str, rank: int) -> None:
        try:
            async with queue.place(rank):
                served.append(name)
                await asyncio.sleep(0)
        except Refusal as error:
            served.append(error.code)

    async def scenario() -> None:
        queue = RankedQueue(served=1, waiting=3)
        async with queue.place(0):
            visits = [("small", 1), ("first", 5), ("second", 5), ("large", 9), ("late", 1)]
            tasks = [asyncio.create_task(visit(queue, *each)) for each in visits]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert served == ["queue_full", "queue_full", "large", "first", "second"]


@pytest.mark.parametrize("comes_first", ["the end", "the cancelling"])
def test_whoever_gives_up_while_its_turn_comes_leaves_its_place_to_the_next(comes_first: str) -> None:
    async def hold(queue: RankedQueue) -> None:
        async with queue.place(0):
            pass

    async def scenario() -> None:
        queue = RankedQueue(served=1, waiting=2)
        place = queue.place(0)
        await place.__aenter__()
        gives_up, stays = asyncio.create_task(hold(queue)), asyncio.create_task(hold(queue))
        await asyncio.sleep(0)
        assert queue.waiting == 2
        if comes_first == "the cancelling":
            gives_up.cancel()
        await place.__aexit__(None, None, None)
        gives_up.cancel()
        await asyncio.wait_for(stays, 5)
        assert gives_up.cancelled() or (await asyncio.gather(gives_up, return_exceptions=True))
        await asyncio.wait_for(hold(queue), 5)
        assert queue.waiting == 0

    asyncio.run(scenario())
