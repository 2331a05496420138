"""An epoch of the local ledger: its tables become matrices, Yuma runs, and the outcome is stored."""

from __future__ import annotations

import sqlite3

import numpy as np

from veridical.network.chain import U16_MAX, CommitReveal, Hyperparameters, yuma
from veridical.network.chain._ledger_file import SubnetRow

_NEVER = np.iinfo(np.int64).max


def run_epoch(connection: sqlite3.Connection, subnet: SubnetRow, block: int) -> None:
    """Run the epoch that ends at `block`: pay, give permits, move bonds, record it. Inside a transaction."""
    neurons = connection.execute("SELECT * FROM neurons JOIN accounts USING (hotkey) ORDER BY uid").fetchall()
    paid = 0
    outcome = None
    if neurons:
        state = _read_state(connection, subnet, neurons, block)
        outcome = yuma.run_epoch(state, _rules(subnet.hyperparameters))
        amount = subnet.emission_per_block * (block - subnet.last_epoch_block)
        servers, validators = yuma.split_emission(outcome, amount)
        paid = sum(servers) + sum(validators)
    connection.execute("INSERT INTO epochs VALUES (?, ?, ?)", [subnet.epoch, block, paid])
    if outcome is not None:
        _store(connection, subnet.epoch, neurons, outcome, servers, validators)
    connection.execute("UPDATE subnet SET epoch = epoch + 1, block = ?, last_epoch_block = ?", [block, block])


def _rules(chosen: Hyperparameters) -> yuma.YumaRules:
    return yuma.YumaRules(
        kappa=chosen.kappa / U16_MAX,
        bonds_moving_average=chosen.bonds_moving_avg / 1_000_000,
        bonds_penalty=chosen.bonds_penalty / U16_MAX,
        activity_cutoff=chosen.activity_cutoff,
        max_validators=chosen.max_validators,
        stake_threshold=chosen.stake_threshold,
        yuma3=chosen.yuma3_enabled,
        liquid_alpha=chosen.liquid_alpha_enabled,
        alpha_low=chosen.alpha_low / U16_MAX,
        alpha_high=chosen.alpha_high / U16_MAX,
        alpha_steepness=chosen.alpha_sigmoid_steepness / 100,
    )


def _read_state(
    connection: sqlite3.Connection, subnet: SubnetRow, neurons: list[sqlite3.Row], block: int
) -> yuma.Subnet:
    n = len(neurons)
    weights, bonds = np.zeros((n, n)), np.zeros((n, n))
    entries = np.zeros((n, n), np.bool_)
    for row in connection.execute("SELECT validator, target, value FROM weights"):
        weights[row["validator"], row["target"]] = row["value"]
        entries[row["validator"], row["target"]] = True
    for row in connection.execute("SELECT validator, target, value FROM bonds"):
        bonds[row["validator"], row["target"]] = row["value"] / U16_MAX
    uids = {row["hotkey"]: row["uid"] for row in neurons}

    def column(name: str) -> yuma.Integers:
        return np.array([row[name] for row in neurons], np.int64)

    return yuma.Subnet(
        block=block,
        stake=column("stake"),
        last_update=column("last_update"),
        registered=column("registered"),
        permit=column("permit").astype(np.bool_),
        weights=weights,
        entries=entries,
        bonds=bonds,
        bonded_until=subnet.last_epoch_block + 1,
        committed=_committed(connection, subnet, uids),
        owner=uids.get(subnet.owner) if subnet.owner else None,
    )


def _committed(connection: sqlite3.Connection, subnet: SubnetRow, uids: dict[str, int]) -> yuma.Integers | None:
    if subnet.hyperparameters.commit_reveal is CommitReveal.OFF:
        return None
    committed = np.full(len(uids), _NEVER)
    for row in connection.execute(
        "SELECT hotkey, min(block) AS first FROM commits WHERE epoch >= ? GROUP BY hotkey",
        [subnet.epoch - subnet.hyperparameters.commit_reveal_period],
    ):
        committed[uids[row["hotkey"]]] = row["first"]
    return committed


def _store(
    connection: sqlite3.Connection,
    epoch: int,
    neurons: list[sqlite3.Row],
    outcome: yuma.Epoch,
    servers: list[int],
    validators: list[int],
) -> None:
    stored = {
        name: yuma.to_u16(getattr(outcome, name)).tolist()
        for name in ("consensus", "validator_trust", "incentive", "dividends")
    }
    active, permit = outcome.active.tolist(), outcome.permit.tolist()
    for uid, neuron in enumerate(neurons):
        record = {name: values[uid] for name, values in stored.items()}
        connection.execute(
            "UPDATE neurons SET permit = ?, incentive = ?, dividends = ?, emission = ? WHERE uid = ?",
            [permit[uid], record["incentive"], record["dividends"], servers[uid] + validators[uid], uid],
        )
        connection.execute(
            "UPDATE accounts SET earned = earned + ? WHERE hotkey = ?",
            [servers[uid] + validators[uid], neuron["hotkey"]],
        )
        connection.execute(
            "INSERT INTO epoch_neurons VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [epoch, uid, neuron["hotkey"], neuron["stake"], active[uid], permit[uid], *record.values()]
            + [servers[uid], validators[uid]],
        )
    bonds = yuma.to_u16(outcome.bonds)
    connection.execute("DELETE FROM bonds")
    connection.executemany(
        "INSERT INTO bonds VALUES (?, ?, ?)",
        [(int(i), int(j), int(bonds[i, j])) for i, j in np.argwhere(bonds)],
    )
