"""The metagraph as a server sees it: read every few seconds, and kept for a while when the chain is silent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from veridical.errors import NetworkError
from veridical.network.chain import Chain, Metagraph
from veridical.web.refusals import Refusal

_MOST_AGE = 600.0

_log = logging.getLogger(__name__)


class MetagraphView:
    """The subnet: at most `seconds` old while the chain answers, and ten minutes while it does not."""

    def __init__(self, chain: Chain, *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._chain = chain
        self._seconds = seconds
        self._clock = clock
        self._refreshing = asyncio.Lock()
        self._graph: Metagraph | None = None
        self._read = -float("inf")
        self._tried = -float("inf")

    @property
    def age(self) -> float:
        """Seconds since it was read; infinite before it was."""
        return self._clock() - self._read

    async def current(self) -> Metagraph:
        """The subnet; raises `Refusal` (`no_metagraph`) if it has not been heard of for too long."""
        async with self._refreshing:
            if self._clock() - self._tried >= self._seconds:
                await self._refresh()
        if self._graph is None or self.age > _MOST_AGE:
            raise Refusal("no_metagraph", "The chain does not answer.", retry_after=self._seconds)
        return self._graph

    async def _refresh(self) -> None:
        self._tried = self._clock()
        try:
            self._graph = await asyncio.to_thread(self._chain.metagraph)
            self._read = self._clock()
        except NetworkError as error:
            _log.warning("the metagraph, %.0f s old, cannot be read again: %s", self.age, error.message)
