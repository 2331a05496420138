"""`veridical proxy`: a REST endpoint over the best miners of a subnet."""

from __future__ import annotations

from pathlib import Path

import click

from veridical.cli._extras import needs_extra
from veridical.cli._network_options import (
    SubnetChoice,
    WalletChoice,
    log_to_stderr,
    network_options,
    wallet_options,
)


@click.command()
@network_options
@wallet_options
@click.option(
    "--keys",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="File of the clients' keys, hashed; a line that is removed is a key that is revoked.",
)
@click.option("--new-key", metavar="NAME", help="Add a key for this client to --keys, print it, and end.")
@click.option("--miners", type=click.IntRange(1, 64), default=5, show_default=True, help="How many are asked.")
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Requests a second with each key.",
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; TLS is nginx's part."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8092, show_default=True, help="0 is any free one."
)
def proxy(
    subnet: SubnetChoice,
    wallet: WalletChoice,
    keys: Path,
    new_key: str | None,
    miners: int,
    rate: float,
    host: str,
    port: int,
) -> None:
    """Ask the best miners for clients who have a key, until SIGTERM or Ctrl-C.

    The hotkey asks the miners, so it must be a validator's with a permit.

    A client sends POST /v1/detect with 'Authorization: Bearer KEY' and the file, as body or as 'file' of a
    form. It gets the median of the answers, weighted by incentive, and how far they disagree; with ?rich=true
    also who said what.
    """
    if new_key:
        from veridical.web.api_keys import new_key as make_key

        click.echo(make_key(keys, new_key))
        return
    log_to_stderr()
    chain = subnet.open()
    with needs_extra("network", "the proxy"):
        from veridical.network.proxy import ProxyRules, run_proxy

    rules = ProxyRules(miners=miners, rate=rate)
    run_proxy(rules, chain, wallet.open(), keys=keys, host=host, port=port, announce=click.echo)
