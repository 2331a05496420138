"""Which subnet and which wallet: the options that every command of the network has, named as in `btcli`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from veridical.cli._extras import needs_extra
from veridical.errors import UsageError

if TYPE_CHECKING:
    from veridical.network.chain import Chain
    from veridical.network.identity import WalletName

Command = TypeVar("Command", bound=Callable[..., Any])  # Any: whatever arguments a command has

LOCAL = "local"
_LOCAL_NETUID = 1

ledger_option = click.option(
    "--ledger",
    type=click.Path(path_type=Path),
    help="File of the local ledger. Default: $VERIDICAL_LEDGER, else one for each --netuid in the user's data.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object instead of tables.")


def network_options(command: Command) -> Command:
    """`--network`, `--netuid`, `--ledger`, as `network`, `netuid`, `ledger`."""
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
        command = option(command)
    return command


def wallet_options(command: Command) -> Command:
    """`--wallet`, `--wallet-hotkey`, `--wallet-path`, as `wallet`, `wallet_hotkey`, `wallet_path`."""
    for name, short, what in (
        ("--wallet-path", None, "Folder of the wallets; ~/.bittensor/wallets by default."),
        ("--wallet-hotkey", "-H", "Hotkey within the wallet; 'default' by default."),
        ("--wallet", "-w", "Wallet, by the name of its coldkey; 'default' by default."),
    ):
        names = [name, short] if short else [name]
        variable = "BT_" + name.removeprefix("--").replace("-", "_").upper()
        command = click.option(*names, envvar=variable, metavar="NAME", help=what)(command)
    return command


def _configured_network() -> str:
    """The network of `btcli config`, else the ledger. The file is read here: bittensor imports for a second."""
    path = Path(os.environ.get("BTCLI_CONFIG") or Path.home() / ".bittensor" / "btcli.json")
    try:
        config = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return LOCAL
    except (OSError, ValueError) as error:
        raise UsageError(f"The configuration of btcli, {path}, cannot be read: {error}.") from error
    return str(config.get("network", LOCAL)) if isinstance(config, dict) else LOCAL


def chosen_netuid(network: str, netuid: int | None) -> int:
    """The subnet; on a chain of Bittensor it must be said which."""
    if netuid is None and network != LOCAL:
        raise UsageError(f"Which subnet of {network}?", hint="Say it with --netuid.")
    return _LOCAL_NETUID if netuid is None else netuid


def open_chain(network: str, netuid: int | None, ledger: Path | None) -> Chain:
    """The chain that the options name."""
    with needs_extra("network", f"the network '{network}'"):
        from veridical.network.chain.connect import connect

        return connect(network, netuid=chosen_netuid(network, netuid), ledger=ledger)


def chosen_wallet(wallet: str | None, wallet_hotkey: str | None, wallet_path: str | None) -> WalletName:
    """The wallet that the options, the environment or `btcli config` name."""
    from veridical.network.identity import choose_wallet

    return choose_wallet(wallet, wallet_hotkey, wallet_path)
