"""Who is served when more ask than can be, and by which view of the subnet."""

from __future__ import annotations

import asyncio
import contextlib
from typing import cast

import pytest

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from veridical.errors import NetworkError
from veridical.network._metagraph_view import MetagraphView
from veridical.network.admission import StakeQueue, TokenBuckets
from veridical.network.chain import Chain, Metagraph
from veridical.network.protocol import Refusal


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


def test_larger_stakes_are_served_first_and_equal_ones_in_order() -> None:
    served: list[str] = []

    async def visit(queue: StakeQueue, name: str, stake: int) -> None:
        try:
            async with queue.place(stake):
                served.append(name)
                await asyncio.sleep(0)
        except Refusal as error:
            served.append(error.code)

    async def scenario() -> None:
        queue = StakeQueue(served=1, waiting=3)
        async with queue.place(0):
            visits = [("small", 1), ("first", 5), ("second", 5), ("large", 9), ("late", 1)]
            tasks = [asyncio.create_task(visit(queue, *each)) for each in visits]
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    asyncio.run(scenario())
    assert served == ["queue_full", "queue_full", "large", "first", "second"]


@pytest.mark.parametrize("comes_first", ["the end", "the cancelling"])
def test_whoever_gives_up_while_its_turn_comes_leaves_its_place_to_the_next(comes_first: str) -> None:
    async def hold(queue: StakeQueue) -> None:
        async with queue.place(0):
            pass

    async def scenario() -> None:
        queue = StakeQueue(served=1, waiting=2)
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


class FailingChain:
    """Answers while it is up."""

    is_up = True
    block = 0

    def metagraph(self) -> Metagraph:
        if not self.is_up:
            raise NetworkError("The node is down.", code="unreachable")
        self.block += 1
        return Metagraph(1, self.block, ())


def test_a_silent_chain_is_bridged_for_ten_minutes() -> None:
    async def scenario() -> None:
        clock, chain = Clock(), FailingChain()
        view = MetagraphView(cast(Chain, chain), seconds=12.0, clock=clock)  # it reads nothing else
        assert (await view.current()).block == 1
        clock.now += 11.0
        assert (await view.current()).block == 1
        clock.now += 2.0
        assert (await view.current()).block == 2
        chain.is_up = False
        clock.now += 590.0
        assert (await view.current()).block == 2
        assert view.age == 590.0
        clock.now += 20.0
        with pytest.raises(Refusal) as caught:
            await view.current()
        assert (caught.value.code, caught.value.retry_after) == ("no_metagraph", 12.0)
        chain.is_up = True
        clock.now += 12.0
        assert (await view.current()).block == 3

    asyncio.run(scenario())
