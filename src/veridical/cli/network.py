"""`veridical network`: a subnet on this machine, or what can be seen of one on Bittensor."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._network_options import (
    LOCAL,
    SubnetChoice,
    WalletChoice,
    json_option,
    ledger_option,
    network_options,
    wallet_options,
)
from veridical.cli._replay import replay
from veridical.cli._simulate import simulate
from veridical.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from veridical.network.chain import Chain, Hyperparameters, Neuron
    from veridical.network.chain.ledger import EpochRecord, LocalLedger

_RAO = 1_000_000_000


@click.group()
def network() -> None:
    """A subnet: its neurons, stakes, weights and epochs.

    On a local network the chain is one file, the ledger, made by 'init' and shared by all processes.
    """


network.add_command(simulate)
network.add_command(replay)


@network.command()
@click.option("--netuid", type=click.IntRange(1, 65535), default=1, show_default=True, help="Its number.")
@ledger_option
@click.option(
    "--block-seconds",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Seconds from block to block (12 on Bittensor).",
)
@click.option("--manual", is_flag=True, help="No clock: blocks come by 'veridical network epoch' alone.")
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="NAME=VALUE",
    help="A hyperparameter (tempo=360, commit_reveal=off, yuma3_enabled=true); 'status --json' shows all.",
)
@click.option("--owner", metavar="SS58", help="A hotkey that always validates and is never pruned.")
def init(
    netuid: int,
    ledger: Path | None,
    block_seconds: float,
    manual: bool,
    changes: tuple[str, ...],
    owner: str | None,
) -> None:
    """Make the ledger of a local subnet."""
    from veridical.network.chain.connect import ledger_path
    from veridical.network.chain.ledger import QUICK, LocalLedger

    path = ledger or ledger_path(netuid)
    with LocalLedger.create(
        path,
        netuid=netuid,
        hyperparameters=_changed(QUICK, changes),
        block_seconds=None if manual else block_seconds,
        owner=owner,
    ) as made:
        pace = "by 'veridical network epoch'" if manual else f"every {block_seconds:g} s"
        click.echo(f"{path}: subnet {netuid}, a block {pace}, an epoch every {made.hyperparameters().tempo}.")


@network.command()
@network_options
@wallet_options
@click.option("--create", is_flag=True, help="Make the keys first, without a password, if there are none.")
@json_option
def register(
    subnet: SubnetChoice,
    wallet: WalletChoice,
    create: bool,
    as_json: bool,
) -> None:
    """Register the hotkey, signed by its coldkey too; on Bittensor that pays for it."""
    if create and subnet.network != LOCAL:
        raise UsageError(
            "Keys without a password are for the local ledger.", hint="Make them with 'btcli wallet create'."
        )
    chain = subnet.open()
    keys = wallet.open(create=create)
    uid = chain.register(keys)
    _answer(
        {"uid": uid, "hotkey": keys.hotkey.ss58_address, "netuid": chain.netuid},
        f"{keys.hotkey.ss58_address} is uid {uid} of subnet {chain.netuid}.",
        as_json=as_json,
    )


@network.command()
@click.argument("amount")
@network_options
@wallet_options
@json_option
def stake(
    amount: str,
    subnet: SubnetChoice,
    wallet: WalletChoice,
    as_json: bool,
) -> None:
    """Add a stake of AMOUNT to the hotkey.

    On the local ledger it comes out of nothing, on Bittensor it is the coldkey's TAO.
    """
    rao = _rao(amount)
    chain = subnet.open()
    keys = wallet.open()
    chain.stake(keys, rao)
    neuron = chain.metagraph().by_hotkey(keys.hotkey.ss58_address)
    total = neuron.stake if neuron else 0
    _answer(
        {"hotkey": keys.hotkey.ss58_address, "added": rao, "stake": total},
        f"{keys.hotkey.ss58_address} has a stake of {_tokens(total)}.",
        as_json=as_json,
    )


@network.command()
@network_options
@json_option
def status(subnet: SubnetChoice, as_json: bool) -> None:
    """Show who is registered, and how they stand."""
    import dataclasses

    from veridical.cli._printing import print_json, print_table
    from veridical.network.chain.ledger import LocalLedger

    chain = subnet.open()
    graph, rules, epoch = chain.metagraph(), chain.hyperparameters(), chain.epoch()
    # No chain but the ledger keeps a coldkey from registering.
    penalties = chain.penalties() if isinstance(chain, LocalLedger) else {}
    if as_json:
        print_json(
            {
                "network": subnet.network,
                "netuid": graph.netuid,
                "block": graph.block,
                "epoch": epoch,
                "hyperparameters": dataclasses.asdict(rules),
                "penalties": penalties,
                "neurons": [
                    {**vars(one), "address": one.address and str(one.address)} for one in graph.neurons
                ],
            }
        )
        return
    where = f"Subnet {graph.netuid} ({subnet.network})"
    print(f"{where}, block {graph.block:,}, epoch {epoch:,} of {rules.tempo} blocks.")
    print(f"Weights: {_how_weights_are_set(rules)}")
    for coldkey, until in penalties.items():
        print(f"Penalty: {coldkey} may register no new hotkey before block {until:,}.")
    if not graph.neurons:
        print("Nobody is registered.")
        return
    print()
    heading = "UID STAKE PERMIT ACTIVE INCENTIVE DIVIDENDS EMISSION UPDATED ADDRESS HOTKEY".split()
    print_table([heading, *map(_neuron_row, graph.neurons)])


@network.command()
@network_options
@json_option
def weights(subnet: SubnetChoice, as_json: bool) -> None:
    """The weights in force, and those still hidden."""
    import dataclasses

    from veridical.cli._printing import print_json, print_table

    chain = subnet.open()
    shares = chain.weights()
    commits = {
        neuron.uid: chain.open_commits(neuron.hotkey) for neuron in chain.metagraph().neurons if neuron.permit
    }
    if as_json:
        waiting = {
            uid: [{**dataclasses.asdict(commit), "hash": commit.hash.hex()} for commit in each]
            for uid, each in commits.items()
            if each
        }
        print_json({"netuid": chain.netuid, "weights": shares, "commits": waiting})
        return
    rows = [
        (str(uid), str(target), f"{share:.4f}") for uid, row in shares.items() for target, share in row.items()
    ]
    if rows:
        print_table([("VALIDATOR", "UID", "WEIGHT"), *rows])
    else:
        print("No weights are in force.")
    for uid, each in commits.items():
        for commit in each:
            print(f"{uid} committed to others in block {commit.block}, for epoch {commit.reveal_epoch}.")


@network.command()
@network_options
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How many epochs.")
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait for each.")
@json_option
def epoch(subnet: SubnetChoice, count: int, timeout: float, as_json: bool) -> None:
    """Go on to the end of the epoch.

    At once where blocks come by hand; else this waits for it.
    """
    chain = _ledger(subnet)
    for _ in range(count):
        if chain.is_manual:
            chain.advance(chain.next_epoch_block() - chain.block())
        else:
            chain.wait_for_epoch(timeout)
    _print_epochs(chain, chain.history(last=count), as_json=as_json)


@network.command()
@network_options
@click.option("--last", type=click.IntRange(1), help="Only so many.")
@json_option
def history(subnet: SubnetChoice, last: int | None, as_json: bool) -> None:
    """Show what each epoch decided and paid, the oldest first."""
    chain = _ledger(subnet)
    _print_epochs(chain, chain.history(last=last), as_json=as_json)


def _ledger(subnet: SubnetChoice) -> LocalLedger:
    from veridical.network.chain.ledger import LocalLedger

    chain = subnet.open()
    if not isinstance(chain, LocalLedger):
        raise UsageError("Only the local ledger keeps its epochs.", hint="Use --network local.")
    return chain


def _changed(rules: Hyperparameters, changes: Sequence[str]) -> Hyperparameters:
    import dataclasses

    values: dict[str, int | str] = {}
    known = vars(rules)
    for change in changes:
        name, separator, text = change.partition("=")
        if name not in known or not separator:
            raise UsageError(f"{change!r} sets no hyperparameter.", hint=did_you_mean(name, known))
        values[name] = _parsed(name, text, known[name])
    return dataclasses.replace(rules, **values)  # type: ignore[arg-type]  # each parsed by its default's type


def _parsed(name: str, text: str, default: int | str) -> int | str:
    from veridical.network.chain import CommitReveal

    if isinstance(default, CommitReveal):
        choices: dict[str, int | str] = {choice.value: choice for choice in CommitReveal}
    elif isinstance(default, bool):
        choices = {"true": True, "false": False}
    else:
        try:
            return int(text)
        except ValueError:
            raise UsageError(f"{name} is a whole number, not {text!r}.") from None
    if text.lower() not in choices:
        raise UsageError(f"{name} is one of {', '.join(choices)}, not {text!r}.")
    return choices[text.lower()]


def _rao(amount: str) -> int:
    try:
        rao = Decimal(amount) * _RAO
        if rao.is_finite() and rao == int(rao):
            return int(rao)
    except InvalidOperation:
        pass
    raise UsageError(
        f"{amount!r} is no amount.", hint="Give a number with at most nine decimals, such as 100.5."
    )


def _tokens(rao: int) -> str:
    return f"{rao / _RAO:,.4f}"


def _how_weights_are_set(rules: Hyperparameters) -> str:
    told = {
        "off": "set in the open",
        "hash": f"committed, and revealed {rules.commit_reveal_period} epoch(s) later",
        "timelock": "encrypted until the chain reveals them",
    }
    return f"{told[rules.commit_reveal]}; at most every {rules.weights_rate_limit} blocks."


def _neuron_row(neuron: Neuron) -> tuple[str, ...]:
    return (
        str(neuron.uid),
        _tokens(neuron.stake),
        "yes" if neuron.permit else "",
        "yes" if neuron.active else "",
        f"{neuron.incentive:.4f}",
        f"{neuron.dividends:.4f}",
        _tokens(neuron.emission),
        str(neuron.last_update),
        str(neuron.address or ""),
        neuron.hotkey,
    )


def _print_epochs(chain: Chain, records: Sequence[EpochRecord], *, as_json: bool) -> None:
    import dataclasses

    from veridical.cli._printing import print_json, print_table

    if as_json:
        print_json({"netuid": chain.netuid, "epochs": [dataclasses.asdict(record) for record in records]})
        return
    if not records:
        print("No epoch has ended.")
    for record in records:
        print(f"Epoch {record.epoch}, ended in block {record.block:,}: {_tokens(record.emission)} paid.")
        heading = "UID STAKE PERMIT TRUST CONSENSUS INCENTIVE DIVIDENDS SERVING VALIDATING HOTKEY".split()
        rows = [
            (
                str(row.uid),
                _tokens(row.stake),
                "yes" if row.permit else "",
                f"{row.validator_trust:.4f}",
                f"{row.consensus:.4f}",
                f"{row.incentive:.4f}",
                f"{row.dividends:.4f}",
                _tokens(row.server_emission),
                _tokens(row.validator_emission),
                row.hotkey,
            )
            for row in record.neurons
        ]
        print_table([heading, *rows])
        print()


def _answer(facts: dict[str, object], words: str, *, as_json: bool) -> None:
    from veridical.cli._printing import print_json

    if as_json:
        print_json(facts)
    else:
        click.echo(words)
