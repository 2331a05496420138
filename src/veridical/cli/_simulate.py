"""`veridical network simulate`: what each kind of miner and validator earns, with nothing at stake."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._network_options import json_option
from veridical.cli._output import opened

if TYPE_CHECKING:
    from veridical.network.simulate.market import Market, Simulation

# Printed numbers are the same on machines whose last digits differ.
_DIGITS = 6


@click.command()
@click.option("--epochs", type=click.IntRange(1), default=100, show_default=True, help="How many.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="The same seed gives the same numbers."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Also write a page with figures (.html).")
@json_option
def simulate(epochs: int, seed: int, output: Path | None, as_json: bool) -> None:
    """Run a whole market in memory, under every scoring rule.

    Honest miners of several skills, cheats, and validators, one of which copies the others' weights. Nothing is
    sent anywhere, and no wallet is needed.
    """
    from veridical.cli._printing import print_json

    with needs_extra("bench", "simulations"):
        from veridical.network.simulate.market import simulate as run

    simulation = run(epochs, seed)
    if output is not None:
        with needs_extra("bench", "the figures of a page"):
            from veridical.network.simulate.page import render

        text = render(simulation)
        with opened(output) as page:
            page.write(text)
    if as_json:
        print_json(_as_json(simulation))
    else:
        _print(simulation)


def _as_json(simulation: Simulation) -> dict[str, object]:
    # object: what JSON holds
    from veridical.network.simulate.market import USUAL_REVEAL_PERIOD

    return {
        "epochs": simulation.epochs,
        "seed": simulation.seed,
        "reveal_period": USUAL_REVEAL_PERIOD,
        "rules": {
            rule: {
                **_market_as_json(markets[USUAL_REVEAL_PERIOD]),
                "reveal_periods": {str(period): _market_as_json(market) for period, market in markets.items()},
            }
            for rule, markets in simulation.markets.items()
        },
        "miners": {
            miner.name: {
                "kind": miner.kind,
                "about": miner.about,
                "skill": None if miner.auroc is None else round(miner.skill, _DIGITS),
            }
            for miner in simulation.miners
        },
        "validators": {
            validator.name: {"kind": validator.kind, "about": validator.about, "stake": validator.stake}
            for validator in simulation.validators
        },
    }


def _market_as_json(market: Market) -> dict[str, object]:
    return {
        "spearman": round(market.spearman, _DIGITS),
        "earnings": {name: round(share, _DIGITS) for name, share in market.earnings.items()},
        "dividend_ratios": {name: round(ratio, _DIGITS) for name, ratio in market.dividend_ratios.items()},
        "paying_cheats": list(market.paying_cheats),
    }


def _print(simulation: Simulation) -> None:
    from veridical.cli._printing import print_table
    from veridical.network.simulate.market import USUAL_REVEAL_PERIOD

    usual = {rule: markets[USUAL_REVEAL_PERIOD] for rule, markets in simulation.markets.items()}
    print(f"Per cent of all miners' pay in {simulation.epochs} epochs, reveal period {USUAL_REVEAL_PERIOD}:")
    rows = [("MINER", *usual, "WHAT IT DOES")]
    for miner in simulation.miners:
        shares = (f"{100 * market.earnings[miner.name]:.2f}" for market in usual.values())
        rows.append((miner.name, *shares, miner.about))
    print_table(rows)
    print()
    print("Spearman's correlation of skill and pay:")
    print_table([("RULE", "SPEARMAN"), *((rule, f"{market.spearman:.3f}") for rule, market in usual.items())])
    print()
    print("Dividend of the weight-copier for its stake, honest validators = 1, by reveal period:")
    periods = [str(period) for period in next(iter(simulation.markets.values()))]
    rows = [("RULE", *periods)]
    for rule, markets in simulation.markets.items():
        ratios = (f"{market.dividend_ratios['weight_copier']:.3f}" for market in markets.values())
        rows.append((rule, *ratios))
    print_table(rows)
    for rule, market in usual.items():
        for name in market.paying_cheats:
            print(f"Cheating pays: {name} under {rule}.")
