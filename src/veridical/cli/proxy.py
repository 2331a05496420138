"""`veridical proxy`: a REST endpoint over the best miners of a subnet."""

from __future__ import annotations

from pathlib import Path

import click

from veridical.cli._extras import needs_extra
from veridical.cli._network_options import (
    LOCAL,
    chosen_wallet,
    network_options,
    open_chain,
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
    network: str,
    netuid: int | None,
    ledger: Path | None,
    wallet: str | None,
    wallet_hotkey: str | None,
    wallet_path: str | None,
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
    import logging

    with needs_extra("network", "the proxy"):
        from veridical.web import api_keys

    if new_key:
        click.echo(api_keys.new_key(keys, new_key))
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # It tells of every request.
    chain = open_chain(network, netuid, ledger)
    with needs_extra("network", "the proxy"):
        from veridical.network.identity import open_wallet
        from veridical.network.proxy import Proxy, ProxyRules, proxy_app
        from veridical.web.server import listen, serve

    asking = Proxy(
        open_wallet(chosen_wallet(wallet, wallet_hotkey, wallet_path)).hotkey,
        chain,
        api_keys.ApiKeys(keys),
        ProxyRules(miners=miners, rate=rate),
        local=network == LOCAL,
    )
    with listen(host, port) as listener:
        own_host, own_port = listener.getsockname()[:2]
        click.echo(f"The proxy answers at {own_host}:{own_port}.")
        serve(proxy_app(asking), listener)
