"""Options that every command of the network has, named as in `btcli`: the subnet and the wallet."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from veridical.cli._extras import needs_extra
from veridical.errors import UsageError

if TYPE_CHECKING:
    from veridical.network.chain import Chain
    from veridical.network.identity import Wallet

Command = TypeVar("Command", bound=Callable[..., Any])  # Any: whatever arguments a command has

LOCAL = "local"
_LOCAL_NETUID = 1

ledger_option = click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="File of the local ledger. Default: $VERIDICAL_LEDGER, else one for each --netuid in the user's data.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")


@dataclass(frozen=True)
class SubnetChoice:
    """The subnet that the options name."""

    network: str
    netuid: int | None
    ledger: Path | None

    def open(self) -> Chain:
        """Its chain; on one of Bittensor it must be said which subnet."""
        if self.netuid is None and self.network != LOCAL:
            raise UsageError(f"Which subnet of {self.network}?", hint="Say it with --netuid.")
        with needs_extra("network", f"the network '{self.network}'"):
            from veridical.network.chain.connect import connect

            netuid = _LOCAL_NETUID if self.netuid is None else self.netuid
            return connect(self.network, netuid=netuid, ledger=self.ledger)


@dataclass(frozen=True)
class WalletChoice:
    """The wallet that the options, the environment or `btcli config` name."""

    wallet: str | None
    hotkey: str | None
    path: str | None

    def open(self, *, create: bool = False) -> Wallet:
        """Its keys; with `create` they are made if there are none."""
        with needs_extra("network", "wallets"):
            from veridical.network.identity import choose_wallet, create_wallet, open_wallet

        name = choose_wallet(self.wallet, self.hotkey, self.path)
        return create_wallet(name) if create else open_wallet(name)


def network_options(command: Command) -> Command:
    """`--network`, `--netuid`, `--ledger`, together as `subnet`, a `SubnetChoice`."""

    @functools.wraps(command)
    def gathered(*args: Any, network: str, netuid: int | None, ledger: Path | None, **others: Any) -> Any:
        return command(*args, subnet=SubnetChoice(network, netuid, ledger), **others)

    for option in (
        ledger_option,
        click.option(
            "--netuid",
            type=click.IntRange(0, 65535),
            envvar="BT_NETUID",
            help=f"The subnet; {_LOCAL_NETUID} by default on the local ledger.",
        ),
        click.option(
            "--network",
            "-n",
            envvar="BT_NETWORK",
            default=_configured_network,
            show_default=f"that of 'btcli config', else {LOCAL}",
            metavar="local|finney|test|ws://...",
            help="The ledger on this machine, or a chain of Bittensor.",
        ),
    ):
        gathered = option(gathered)
    return cast(Command, gathered)


def wallet_options(command: Command) -> Command:
    """`--wallet`, `--wallet-hotkey`, `--wallet-path`, together as `wallet`, a `WalletChoice`."""

    @functools.wraps(command)
    def gathered(
        *args: Any, wallet: str | None, wallet_hotkey: str | None, wallet_path: str | None, **others: Any
    ) -> Any:
        return command(*args, wallet=WalletChoice(wallet, wallet_hotkey, wallet_path), **others)

    for name, short, what in (
        ("--wallet-path", None, "Folder of the wallets; ~/.bittensor/wallets by default."),
        ("--wallet-hotkey", "-H", "Hotkey within the wallet; 'default' by default."),
        ("--wallet", "-w", "Wallet, by the name of its coldkey; 'default' by default."),
    ):
        names = [name, short] if short else [name]
        variable = "BT_" + name.removeprefix("--").replace("-", "_").upper()
        gathered = click.option(*names, envvar=variable, metavar="NAME", help=what)(gathered)
    return cast(Command, gathered)


def log_to_stderr() -> None:
    """Tell of what a server does, but not of each request that it sends."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)


def _configured_network() -> str:
    """The network that `btcli config` names, else the ledger; read here, since bittensor is slow to import."""
    path = Path(os.environ.get("BTCLI_CONFIG") or Path.home() / ".bittensor" / "btcli.json")
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return LOCAL
    except (OSError, ValueError) as error:
        raise UsageError(f"The configuration of btcli, {path}, cannot be read: {error}.") from error
    return str(config.get("network", LOCAL)) if isinstance(config, dict) else LOCAL
