"""Keys and ledgers; what signs skips where the extra `network` is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from veridical.network.identity import DevelopmentWallet, development_wallet
from veridical.network.ledger import LocalLedger

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
