"""`veridical network simulate`: the same seed gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

from veridical.network.validator.scoring import RULES

Run = Callable[..., CompletedProcess[str]]


def test_the_same_seed_prints_the_same_json(run: Run, tmp_path: Path) -> None:
    command = ("network", "simulate", "--epochs", "6", "--seed", "3", "--json")
    first, second = run(*command, "-o", tmp_path / "sim.html"), run(*command)
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    told = json.loads(first.stdout)
    assert list(told["rules"]) == list(RULES)
    for rule in told["rules"].values():
        assert set(rule["earnings"]) == set(told["miners"])
        assert rule["spearman"] == rule["reveal_periods"]["1"]["spearman"]
    assert "Does the market pay for skill?" in (tmp_path / "sim.html").read_text()


def test_the_tables_name_every_miner_and_rule(run: Run) -> None:
    printed = run("network", "simulate", "--epochs", "4").stdout
    for name in (*RULES, "honest_0.95", "copies_neighbour", "MINER", "SPEARMAN"):
        assert name in printed
