"""`veridical miner`: a detector that answers the challenges of a subnet's validators."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._network_options import (
    LOCAL,
    chosen_wallet,
    network_options,
    open_chain,
    wallet_options,
)
from veridical.errors import NetworkError, UsageError

if TYPE_CHECKING:
    from veridical.network.chain import Address, Chain
    from veridical.network.identity import Wallet


@click.command()
@network_options
@wallet_options
@click.option("--detector", help="Name or folder of a detector; a folder's new content is used at once.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8091, show_default=True, help="0 is any free one."
)
@click.option("--external-ip", help="Address to publish, if it is another than --host.")
@click.option("--external-port", type=click.IntRange(1, 65535), help="Port to publish, if another than --port.")
@click.option("--minimum-stake", type=click.FloatRange(0), default=0.0, show_default=True, help="Of callers.")
@click.option("--allow-unregistered", is_flag=True, help="Answer everybody: for trying it out.")
@click.option(
    "--blacklist",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of hotkeys that are never answered, one a line.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Requests a second from each caller.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Files judged at a time."
)
@click.option("--queue", type=click.IntRange(0), default=16, show_default=True, help="Files that wait at most.")
@click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of what must survive a restart; by default in the user's data.",
)
def miner(
    network: str,
    netuid: int | None,
    ledger: Path | None,
    wallet: str | None,
    wallet_hotkey: str | None,
    wallet_path: str | None,
    detector: str | None,
    host: str,
    port: int,
    external_ip: str | None,
    external_port: int | None,
    minimum_stake: float,
    allow_unregistered: bool,
    blacklist: Path | None,
    rate: float,
    jobs: int,
    queue: int,
    state: Path | None,
) -> None:
    """Answer the challenges of validators, until SIGTERM or Ctrl-C.

    The hotkey must be registered ('veridical network register'). The address is published on the chain; callers
    must be validators with a permit. A bundle that is replaced on disk answers from the next request on.

    GET /v1/info, /healthz and /metrics (Prometheus) are open to everybody.
    """
    import contextlib
    import logging

    from veridical.detectors import LiveDetector

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    chain = open_chain(network, netuid, ledger)
    with needs_extra("network", "mining"):
        from veridical.network.chain import RAO, Address
        from veridical.network.identity import open_wallet
        from veridical.network.miner import Miner, MinerRules, miner_app
        from veridical.network.protocol import NonceStore, nonces_path
        from veridical.web.server import listen, serve

    keys = open_wallet(chosen_wallet(wallet, wallet_hotkey, wallet_path))
    rules = MinerRules(
        minimum_stake=round(minimum_stake * RAO),
        allow_unregistered=allow_unregistered,
        blacklist=_hotkeys(blacklist),
        rate=rate,
        jobs=jobs,
        queue=queue,
    )
    live = LiveDetector(detector or "default")
    nonces = NonceStore(nonces_path(keys.hotkey.ss58_address, state))
    with contextlib.closing(nonces), listen(host, port) as listener:
        answering = Miner(live.current, keys.hotkey, chain, nonces, rules)
        own_port = listener.getsockname()[1]
        address = Address(_published_ip(host, external_ip), external_port or own_port)
        _publish(chain, keys, address, network)
        click.echo(f"{keys.hotkey.ss58_address} answers at {address} with {live.current().name}.")
        serve(miner_app(answering), listener)
        answering.close()


def _published_ip(host: str, external_ip: str | None) -> str:
    if external_ip:
        return external_ip
    if host in ("0.0.0.0", "::"):
        raise UsageError("Which address is to be published?", hint="Say it with --external-ip.")
    return host


def _publish(chain: Chain, wallet: Wallet, address: Address, network: str) -> None:
    """Write the address on the chain, unless it is there; raises `NetworkError` for an unknown hotkey."""
    hotkey = wallet.hotkey.ss58_address
    neuron = chain.metagraph().by_hotkey(hotkey)
    if neuron is None:
        where = "" if network == LOCAL else f" --network {network} --netuid {chain.netuid}"
        raise NetworkError(
            f"The hotkey {hotkey} is not registered on subnet {chain.netuid}.",
            code="HotKeyNotRegisteredInSubNet",
            hint=f"Use 'veridical network register{where}' with the same --wallet and --wallet-hotkey.",
        )
    if neuron.address != address:
        chain.serve(wallet, address)


def _hotkeys(file: Path | None) -> frozenset[str]:
    if file is None:
        return frozenset()
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return frozenset(line for line in lines if line)
