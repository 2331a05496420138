"""`veridical miner`: a detector that answers the challenges of a subnet's validators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    "--detector",
    default="default",
    help="Name or folder of a detector; a folder's new content is used at once.",
)
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
    subnet: SubnetChoice,
    wallet: WalletChoice,
    minimum_stake: float,
    allow_unregistered: bool,
    blacklist: Path | None,
    rate: float,
    jobs: int,
    queue: int,
    **node: Any,  # the options of `MinerNode`, by its names
) -> None:
    """Answer the challenges of validators, until SIGTERM or Ctrl-C.

    The hotkey must be registered ('veridical network register'). The address is published on the chain; callers
    must be validators with a permit. A bundle that is replaced on disk answers from the next request on.

    GET /v1/info, /healthz and /metrics (Prometheus) are open to everybody.
    """
    log_to_stderr()
    chain = subnet.open()
    with needs_extra("network", "mining"):
        from veridical.network.chain import RAO
        from veridical.network.miner import MinerNode, MinerRules, run_miner

    rules = MinerRules(
        minimum_stake=round(minimum_stake * RAO),
        allow_unregistered=allow_unregistered,
        blacklist=_hotkeys(blacklist),
        rate=rate,
        jobs=jobs,
        queue=queue,
    )
    run_miner(MinerNode(rules, **node), chain, wallet.open(), announce=click.echo)


def _hotkeys(file: Path | None) -> frozenset[str]:
    if file is None:
        return frozenset()
    lines = (line.partition("#")[0].strip() for line in file.read_text("utf-8").splitlines())
    return frozenset(line for line in lines if line)
