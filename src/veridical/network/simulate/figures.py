"""The figures of a simulation."""

from __future__ import annotations

import numpy as np

from veridical.network.simulate.market import USUAL_REVEAL_PERIOD, Market, Simulation
from veridical.network.simulate.miners import Floats
from veridical.reports.svg import DASHES, INK, QUIET, SERIES, Plot, drawing, finished

# Whose pay is drawn over time.
_FOLLOWED = ("honest_0.95", "honest_0.75", "honest_0.55")

# Epochs that a point of a curve is the mean of.
_SMOOTHED = 5


def skill_and_pay(rule: str, market: Market) -> Plot:
    """Pay of each honest miner against its AUROC, and of the best paid cheat."""
    honest = [miner for miner in market.miners if miner.kind == "honest"]
    cheat, best = _best_paid_cheat(market)
    with drawing(height=3.2) as (figure, axes):
        axes.plot(
            [miner.skill for miner in honest],
            [100 * market.earnings[miner.name] for miner in honest],
            "o",
            color=SERIES[0],
            markersize=6,
        )
        axes.axhline(100 * best, color=SERIES[1], linestyle="--", linewidth=1.5)
        axes.annotate(
            f"best paid cheat: {cheat}",
            (1.0, 100 * best),
            (0, 4),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            ha="right",
            fontsize=9,
        )
        axes.set(xlabel="True skill: AUROC", ylabel="Per cent of all miners’ pay", ylim=(0, None), title=rule)
    told = " ".join(
        f"{miner.name}: AUROC {miner.skill:.3f}, {_percent(market.earnings[miner.name])}." for miner in honest
    )
    return finished(
        figure,
        f"skill-{rule}",
        alt=f"Pay against skill under {rule}. {told} Best paid cheat: {cheat}, {_percent(best)}.",
        caption=f"{rule}: Spearman’s correlation {market.spearman:.3f}. Each dot is an honest miner.",
    )


def pay_over_time(rule: str, market: Market) -> Plot:
    """The incentive of three honest miners, and of all cheats together, over the epochs."""
    names = [miner.name for miner in market.miners]
    lines = {name: market.incentive[:, names.index(name)] for name in _FOLLOWED}
    cheats = [place for place, miner in enumerate(market.miners) if miner.kind == "cheat"]
    lines[f"all {len(cheats)} cheats"] = market.incentive[:, cheats].sum(axis=1)
    smooth = {name: 100 * _smoothed(values) for name, values in lines.items()}
    with drawing(height=3.2) as (figure, axes):
        for (name, values), colour, dashes in zip(smooth.items(), SERIES, DASHES, strict=False):
            epochs = np.arange(len(values)) + len(market.incentive) - len(values) + 1
            style = (0, dashes) if dashes else "-"
            axes.plot(epochs, values, color=colour, linestyle=style, linewidth=1.8, label=name)
        axes.set(xlabel="Epoch", ylabel="Per cent of the epoch’s pay", ylim=(0, None), title=rule)
        axes.legend(loc="upper center", ncols=2, frameon=False, fontsize=8)
        axes.set_ylim(0, 1.35 * max(float(values.max()) for values in smooth.values()) or 1.0)
    told = " ".join(f"{name}: {values[-1]:.1f} % at the end." for name, values in smooth.items())
    return finished(
        figure,
        f"time-{rule}",
        alt=f"Pay over the epochs under {rule}. {told}",
        caption=f"{rule}: mean of {_SMOOTHED} epochs at each point. Skills change a little every ten epochs.",
    )


def copier(simulation: Simulation) -> Plot:
    """The weight-copier's dividends for its stake, against the reveal period, under each rule."""
    periods = list(next(iter(simulation.markets.values())))
    with drawing(height=3.4) as (figure, axes):
        axes.axhline(1.0, color=QUIET, linestyle="--", linewidth=1)
        told = []
        for (rule, markets), colour, dashes in zip(simulation.markets.items(), SERIES, DASHES, strict=False):
            ratios = [market.dividend_ratios["weight_copier"] for market in markets.values()]
            style = (0, dashes) if dashes else "-"
            axes.plot(periods, ratios, "o", color=colour, markersize=4)
            axes.plot(periods, ratios, color=colour, linestyle=style, linewidth=1.8, label=rule)
            values = ", ".join(
                f"{ratio:.3f} at {period}" for period, ratio in zip(periods, ratios, strict=True)
            )
            told.append(f"{rule}: {values}.")
        axes.set(xlabel="Reveal period, epochs (0: in the open)", ylabel="Dividend for each stake, honest = 1")
        axes.set_xticks(periods)
        axes.legend(frameon=False, fontsize=9)
        axes.tick_params(colors=INK)
    return finished(
        figure,
        "copier",
        alt=f"Dividend ratio of the weight-copier against the reveal period. {' '.join(told)}",
        caption="Above the dashed line copying pays better than asking miners. Second half of all epochs.",
    )


def all_plots(simulation: Simulation) -> dict[str, list[Plot]]:
    """The figures by the section of the page that shows them."""
    usual = {rule: markets[USUAL_REVEAL_PERIOD] for rule, markets in simulation.markets.items()}
    return {
        "skill": [skill_and_pay(rule, market) for rule, market in usual.items()],
        "time": [pay_over_time(rule, market) for rule, market in usual.items()],
        "copier": [copier(simulation)],
    }


def _best_paid_cheat(market: Market) -> tuple[str, float]:
    cheats = {miner.name: market.earnings[miner.name] for miner in market.miners if miner.kind == "cheat"}
    name = max(cheats, key=lambda cheat: cheats[cheat])
    return name, cheats[name]


def _smoothed(values: Floats) -> Floats:
    width = min(_SMOOTHED, len(values))
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
