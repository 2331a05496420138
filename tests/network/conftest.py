"""Keys and ledgers; what signs skips where the extra `network` is not installed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from veridical.network.chain.ledger import LocalLedger
from veridical.network.identity import DevelopmentWallet, development_wallet

if TYPE_CHECKING:
    from fastapi import FastAPI

# Nothing is timed: the machine may have other things to do.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

MakeWallet = Callable[[str], DevelopmentWallet]


@pytest.fixture
def wallet() -> MakeWallet:
    """The well-known keys of a name."""
    pytest.importorskip("bittensor_core", reason="needs the extra 'network'")
    return lambda name: development_wallet(f"//{name}")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LocalLedger]:
    """An empty ledger whose blocks come by `advance`, with an epoch every twenty."""
    with LocalLedger.create(tmp_path / "subnet.ledger") as made:
        yield made


@pytest.fixture
def serving() -> Iterator[Callable[[FastAPI], int]]:
    """Serve an application on loopback until the test ends; gives its port. The test must allow sockets."""
    pytest.importorskip("fastapi", reason="needs the extra 'network'")
    from veridical.web.server import listen, server_of

    with contextlib.ExitStack() as stack:

        def serve(app: FastAPI) -> int:
            listener = stack.enter_context(listen("127.0.0.1", 0))
            server = server_of(app)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join()

            stack.callback(stop)
            return int(listener.getsockname()[1])

        yield serve
