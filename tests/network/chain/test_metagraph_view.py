"""The subnet as a server sees it, while its chain answers and while it does not."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

pytest.importorskip("bittensor", reason="needs the extra 'network'")

from veridical.errors import NetworkError
from veridical.network.chain import Chain, Metagraph
from veridical.network.chain.metagraph_view import MetagraphView
from veridical.web.refusals import Refusal


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


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
