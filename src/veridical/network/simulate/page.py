"""A simulation as one self-contained HTML page: it loads nothing, runs no script and holds no date."""

from __future__ import annotations

import jinja2

from veridical import __version__
from veridical.network.simulate import figures
from veridical.network.simulate.market import USUAL_REVEAL_PERIOD, Simulation
from veridical.reports import jinja


def render(simulation: Simulation) -> str:
    """The page; the same simulation gives the same bytes."""
    return _template().render(
        simulation=simulation,
        usual=USUAL_REVEAL_PERIOD,
        plots=figures.all_plots(simulation),
        paying=_paying(simulation),
        version=__version__,
    )


def _paying(simulation: Simulation) -> list[str]:
    """Cases, in words, of a cheat that earned as much as the weakest honest miner."""
    return [
        f"{name} under {rule}, reveal period {period}"
        for rule, markets in simulation.markets.items()
        for period, market in markets.items()
        for name in market.paying_cheats
    ]


def _template() -> jinja2.Template:
    return jinja.environment("veridical.network.simulate").get_template("simulation.html.j2")
