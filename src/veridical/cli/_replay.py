"""`veridical network replay`: what another rule would have made of a validator's history."""

from __future__ import annotations

from pathlib import Path

import click

from veridical.cli._extras import needs_extra
from veridical.cli._network_options import json_option
from veridical.errors import NetworkError

RULES = ("binary", "auc2", "mcc_acc", "sn34")


@click.command()
@click.argument("history", type=click.Path(path_type=Path))
@click.option("--rule", type=click.Choice(RULES), default="mcc_acc", show_default=True, help="Of the rewards.")
@json_option
def replay(history: Path, rule: str, as_json: bool) -> None:
    """Score HISTORY, the file of a validator's challenges, by another rule.

    It lies in the validator's --state, as history.sqlite. Nothing in it is changed.
    """
    from veridical.cli._printing import print_json, print_table

    with needs_extra("network", "histories"):
        from veridical.network.validator.history import History
        from veridical.network.validator.scoring import Scoring
        from veridical.network.validator.settlement import settle

    if not history.is_file():
        raise NetworkError(f"There is no history at {history}.", code="no_history")
    with History(history) as opened:
        rounds = list(opened.closed())
    settled = settle(rounds, Scoring(rule=rule))
    scores, weights = dict(settled.scores), dict(settled.weights)
    epochs = len({closed.epoch for closed in rounds})
    if as_json:
        print_json({"rule": rule, "epochs": epochs, "scores": scores, "weights": weights})
        return
    ranked = sorted(scores, key=lambda hotkey: -scores[hotkey])
    rows = [(f"{scores[hotkey]:.4f}", f"{weights.get(hotkey, 0.0):.4f}", hotkey) for hotkey in ranked]
    print_table([("SCORE", "WEIGHT", "HOTKEY"), *rows])
