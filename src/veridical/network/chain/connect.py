"""The chain that `--network` and `--netuid` name: the ledger on this machine, or Bittensor."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from veridical.network.chain import Chain
from veridical.network.chain.ledger import LocalLedger

LOCAL = "local"


def connect(network: str, *, netuid: int, ledger: Path | None = None) -> Chain:
    """The subnet `netuid` of a network: `local` is the ledger, anything else is Bittensor's.

    `btcli` means by `local` a node on this machine; here that is `ws://127.0.0.1:9944`.
    """
    if network == LOCAL:
        return LocalLedger(ledger or ledger_path(netuid), netuid=netuid)
    from veridical.network.chain.bittensor import BittensorChain

    return BittensorChain(network, netuid)


def ledger_path(netuid: int) -> Path:
    """Path of a subnet's ledger if nothing else is said; `VERIDICAL_LEDGER` names another file."""
    if named := os.environ.get("VERIDICAL_LEDGER"):
        return Path(named)
    return Path(platformdirs.user_data_dir("veridical")) / f"subnet-{netuid}.ledger"
