"""Calls of hotkeys to the local ledger, and its refusals; each inside a transaction.

The checks, their order and their names are those of subtensor's `do_set_weights`, `do_commit_weights`,
`do_reveal_weights`, `do_serve_axon` and `get_neuron_to_prune`. Different here: registration and stake cost
nothing; the chain's floor of non-immune uids is not kept; a reveal drops weights for uids that changed hands
after the commitment, which on the chain the newcomer inherits if the validator commits again in between; and a
coldkey one of whose neurons was pruned registers no new hotkey for a while, which the chain does not know.
"""

from __future__ import annotations

import ipaddress
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from veridical.network.chain import OPEN_COMMITS, RAO, U16_MAX, CommitReveal, WeightVector
from veridical.network.chain._ledger_file import SubnetRow
from veridical.network.chain._operations import is_owned
from veridical.network.chain.errors import (
    AmountTooLow,
    BadProof,
    ColdKeyInPenaltyWindow,
    CommitRevealDisabled,
    CommitRevealEnabled,
    CommittingWeightsTooFast,
    DuplicateUids,
    ExpiredWeightCommit,
    HotKeyAlreadyRegisteredInSubNet,
    HotKeyNotRegisteredInSubNet,
    IncorrectWeightVersionKey,
    InvalidIpAddress,
    InvalidPort,
    InvalidRevealCommitHashNotMatch,
    MaxWeightExceeded,
    NeuronNoValidatorPermit,
    NonAssociatedColdKey,
    NoNeuronIdAvailable,
    NotEnoughBalanceToStake,
    NotEnoughStakeToSetWeights,
    NoWeightsCommitFound,
    RevealTooEarly,
    ServingRateLimitExceeded,
    SettingWeightsTooFast,
    TooManyRegistrationsThisBlock,
    TooManyUnrevealedCommits,
    UidsLengthExceedUidsInSubNet,
    UidVecContainInvalidOne,
    WeightVecLengthIsLow,
    WeightVecNotEqualSize,
)
from veridical.network.identity import account_id

# What will ever be of the chain's token, in rao.
_SUPPLY = 21_000_000 * RAO


@dataclass(frozen=True)
class Caller:
    """The hotkey that signed a call, and the ledger in the state it is in."""

    connection: sqlite3.Connection
    subnet: SubnetRow
    hotkey: str

    def neuron(self) -> sqlite3.Row:
        """The caller's row; raises `HotKeyNotRegisteredInSubNet`."""
        row = self.connection.execute(
            "SELECT * FROM neurons JOIN accounts USING (hotkey) WHERE hotkey = ?", [self.hotkey]
        ).fetchone()
        if row is None:
            raise HotKeyNotRegisteredInSubNet(
                f"The hotkey {self.hotkey} is not registered on subnet {self.subnet.netuid}.",
                hint="Register it with 'veridical network register'.",
            )
        assert isinstance(row, sqlite3.Row)
        return row


def register(caller: Caller, *, coldkey: str, owned: str) -> None:
    """A uid for the caller; on a full subnet that of the neuron which earned least.

    `owned` is the coldkey's signature: whose hotkeys are penalised must not be for others to say.
    """
    connection, subnet = caller.connection, caller.subnet
    rules = subnet.hyperparameters
    account_id(coldkey)
    if not is_owned(caller.hotkey, coldkey, bytes.fromhex(owned), subnet.identity):
        raise BadProof(f"The coldkey {coldkey} has not signed that it owns the hotkey {caller.hotkey}.")
    uid_of = connection.execute("SELECT uid FROM neurons WHERE hotkey = ?", [caller.hotkey]).fetchone()
    if uid_of is not None:
        raise HotKeyAlreadyRegisteredInSubNet(f"The hotkey {caller.hotkey} has uid {uid_of['uid']} already.")
    (in_block,) = connection.execute(
        "SELECT count(*) FROM neurons WHERE registered = ?", [subnet.block]
    ).fetchone()
    if in_block >= rules.max_regs_per_block:
        raise TooManyRegistrationsThisBlock(f"{in_block} registered in block {subnet.block} already.")
    _check_owner(caller, coldkey)
    (uid,) = connection.execute("SELECT count(*) FROM neurons").fetchone()
    if uid >= rules.max_uids:
        uid = _neuron_to_prune(caller)
        _prune(caller, uid)
    # After the pruning, so that nobody replaces a neuron of its own by a new hotkey.
    _check_penalty(caller, coldkey)
    connection.execute(
        "INSERT OR IGNORE INTO accounts (hotkey, coldkey) VALUES (?, ?)", [caller.hotkey, coldkey]
    )
    connection.execute(
        "INSERT INTO neurons (uid, hotkey, registered, last_update) VALUES (?, ?, ?, ?)",
        [uid, caller.hotkey, subnet.block, subnet.block],
    )


def stake(caller: Caller, *, amount: int) -> None:
    """More stake for the caller, out of nothing."""
    if type(amount) is not int or amount <= 0:
        raise AmountTooLow(f"An amount of {amount} rao cannot be staked.")
    if caller.neuron()["stake"] + amount > _SUPPLY:
        raise NotEnoughBalanceToStake(f"There are no more than {_SUPPLY} rao in all.")
    caller.connection.execute("UPDATE accounts SET stake = stake + ? WHERE hotkey = ?", [amount, caller.hotkey])


def serve(caller: Caller, *, ip: str, port: int) -> None:
    """The caller's address, for all to read."""
    rules, block = caller.subnet.hyperparameters, caller.subnet.block
    neuron = caller.neuron()
    try:
        address = ipaddress.ip_address(ip)
    except ValueError as error:
        raise InvalidIpAddress(f"{ip!r} is not an IP address.") from error
    if address.is_unspecified or address.is_multicast:
        raise InvalidIpAddress(f"Nobody can be reached at {ip}.")
    if type(port) is not int or not 0 < port <= U16_MAX:
        raise InvalidPort(f"{port} is not a port.")
    if neuron["served"] is not None and block - neuron["served"] < rules.serving_rate_limit:
        raise ServingRateLimitExceeded(
            f"An address was published in block {neuron['served']}; "
            f"the next may be in {neuron['served'] + rules.serving_rate_limit}, now it is {block}."
        )
    caller.connection.execute(
        "UPDATE neurons SET ip = ?, port = ?, served = ? WHERE uid = ?",
        [str(address), port, block, neuron["uid"]],
    )


def set_weights(caller: Caller, *, uids: list[int], values: list[int], version_key: int) -> None:
    """The caller's weights, in the open."""
    block, rules = caller.subnet.block, caller.subnet.hyperparameters
    if rules.commit_reveal is not CommitReveal.OFF:
        raise CommitRevealEnabled("On this subnet weights are committed first and revealed later.")
    weights = WeightVector(tuple(uids), tuple(values), version_key)
    neuron = caller.neuron()
    _check_weights(caller, neuron, weights)
    if not _is_rested(caller, neuron):
        raise SettingWeightsTooFast(_too_fast(caller, neuron))
    _store_weights(caller.connection, neuron["uid"], weights)
    caller.connection.execute("UPDATE neurons SET last_update = ? WHERE uid = ?", [block, neuron["uid"]])


def commit_weights(caller: Caller, *, hash: str) -> None:
    """A commitment, open until the epoch of its reveal has passed."""
    connection, subnet = caller.connection, caller.subnet
    _needs_commit_reveal(subnet)
    neuron = caller.neuron()
    if not _is_rested(caller, neuron):
        raise CommittingWeightsTooFast(_too_fast(caller, neuron))
    connection.execute(
        "DELETE FROM commits WHERE hotkey = ? AND epoch < ?", [caller.hotkey, _oldest_open(subnet)]
    )
    (open_now,) = connection.execute(
        "SELECT count(*) FROM commits WHERE hotkey = ?", [caller.hotkey]
    ).fetchone()
    if open_now >= OPEN_COMMITS:
        raise TooManyUnrevealedCommits(f"{open_now} commitments wait for their reveal already.")
    connection.execute(
        "INSERT INTO commits (hotkey, hash, block, epoch) VALUES (?, ?, ?, ?)",
        [caller.hotkey, bytes.fromhex(hash), subnet.block, subnet.epoch],
    )
    connection.execute("UPDATE neurons SET last_update = ? WHERE uid = ?", [subnet.block, neuron["uid"]])


def reveal_weights(
    caller: Caller, *, uids: list[int], values: list[int], version_key: int, salt: list[int]
) -> None:
    """The caller's weights, as they were committed; older commitments that are still open are dropped."""
    connection, subnet = caller.connection, caller.subnet
    _needs_commit_reveal(subnet)
    weights = WeightVector(tuple(uids), tuple(values), version_key)
    commit = _matching_commit(caller, weights.commitment(caller.hotkey, subnet.netuid, salt))
    neuron = caller.neuron()
    _check_weights(caller, neuron, weights)
    connection.execute("DELETE FROM commits WHERE hotkey = ? AND id <= ?", [caller.hotkey, commit["id"]])
    _store_weights(connection, neuron["uid"], weights)
    connection.execute(
        "UPDATE weights SET value = 0 WHERE validator = ? "
        "AND target IN (SELECT uid FROM neurons WHERE registered > ?)",
        [neuron["uid"], commit["block"]],
    )


CALLS: Mapping[str, Callable[..., None]] = {
    call.__name__: call for call in (register, stake, serve, set_weights, commit_weights, reveal_weights)
}


def perform(caller: Caller, kind: str, arguments: Mapping[str, Any]) -> None:
    """The call of that name. Any: arguments are JSON, checked by the call itself."""
    CALLS[kind](caller, **arguments)


def _check_owner(caller: Caller, coldkey: str) -> None:
    account = caller.connection.execute(
        "SELECT coldkey FROM accounts WHERE hotkey = ?", [caller.hotkey]
    ).fetchone()
    if account is not None and account["coldkey"] != coldkey:
        raise NonAssociatedColdKey(f"The hotkey {caller.hotkey} belongs to the coldkey {account['coldkey']}.")


def _check_penalty(caller: Caller, coldkey: str) -> None:
    """Refuse a hotkey without a history for a coldkey that has just lost one with a history."""
    connection, subnet = caller.connection, caller.subnet
    known = connection.execute("SELECT 1 FROM accounts WHERE hotkey = ?", [caller.hotkey]).fetchone()
    (pruned,) = connection.execute("SELECT max(pruned) FROM accounts WHERE coldkey = ?", [coldkey]).fetchone()
    if known is not None or pruned is None:
        return
    until = pruned + subnet.hyperparameters.coldkey_penalty_period
    if subnet.block < until:
        raise ColdKeyInPenaltyWindow(
            f"The coldkey {coldkey} loses a neuron in block {pruned}; it may register a new hotkey from "
            f"{until} on, now it is {subnet.block}.",
            hint="A pruned hotkey may come back at any time, but none is replaced by a new one of its coldkey.",
        )


# A neuron is immune for a while after its registration, unless it came back within its coldkey's penalty.
_IS_IMMUNE = "(registered > :immune_since AND (pruned IS NULL OR registered >= pruned + :penalty))"


def _immunity(subnet: SubnetRow) -> dict[str, int]:
    rules = subnet.hyperparameters
    return {"immune_since": subnet.block - rules.immunity_period, "penalty": rules.coldkey_penalty_period}


def _neuron_to_prune(caller: Caller) -> int:
    """The uid of lowest emission, of equal ones the oldest; one that is immune only if all are."""
    row = caller.connection.execute(
        "SELECT uid FROM neurons JOIN accounts USING (hotkey) WHERE hotkey IS NOT :owner "
        f"ORDER BY {_IS_IMMUNE}, emission, registered, uid LIMIT 1",
        {"owner": caller.subnet.owner, **_immunity(caller.subnet)},
    ).fetchone()
    if row is None:
        raise NoNeuronIdAvailable("The subnet is full, and none of its neurons may be pruned.")
    return int(row["uid"])


def _prune(caller: Caller, uid: int) -> None:
    """Take a uid from its neuron; unless it was immune, its coldkey's penalty begins."""
    connection, subnet = caller.connection, caller.subnet
    connection.execute(
        "UPDATE accounts SET pruned = :block WHERE hotkey IN (SELECT hotkey FROM neurons JOIN accounts "
        f"USING (hotkey) WHERE uid = :uid AND NOT {_IS_IMMUNE})",
        {"block": subnet.block, "uid": uid, **_immunity(subnet)},
    )
    _clear(connection, uid)


def _clear(connection: sqlite3.Connection, uid: int) -> None:
    """Free a uid: no address, no bonds, no weights by it, and a weight of zero for it."""
    connection.execute("DELETE FROM commits WHERE hotkey = (SELECT hotkey FROM neurons WHERE uid = ?)", [uid])
    connection.execute("DELETE FROM neurons WHERE uid = ?", [uid])
    connection.execute("DELETE FROM bonds WHERE validator = ?", [uid])
    connection.execute("DELETE FROM weights WHERE validator = ?", [uid])
    connection.execute("UPDATE weights SET value = 0 WHERE target = ?", [uid])


def _check_weights(caller: Caller, neuron: sqlite3.Row, weights: WeightVector) -> None:
    subnet, rules = caller.subnet, caller.subnet.hyperparameters
    (count,) = caller.connection.execute("SELECT count(*) FROM neurons").fetchone()
    is_owner = subnet.owner == caller.hotkey
    only_itself = weights.uids == (neuron["uid"],)
    if len(weights.uids) != len(weights.values):
        raise WeightVecNotEqualSize(f"{len(weights.uids)} uids, but {len(weights.values)} weights.")
    if len(weights.uids) > count:
        raise UidsLengthExceedUidsInSubNet(f"{len(weights.uids)} weights for {count} neurons.")
    if neuron["stake"] < rules.stake_threshold and not is_owner:
        raise NotEnoughStakeToSetWeights(
            f"The stake is {neuron['stake']} rao; setting weights takes {rules.stake_threshold}."
        )
    if weights.version_key < rules.weights_version:
        raise IncorrectWeightVersionKey(
            f"The version key is {weights.version_key}; the subnet asks for {rules.weights_version}.",
            hint="Update this validator.",
        )
    if not (neuron["permit"] or is_owner or only_itself):
        raise NeuronNoValidatorPermit(
            f"The hotkey {caller.hotkey} has no validator permit in block {subnet.block}.",
            hint="Permits go to the largest stakes when an epoch ends.",
        )
    if len(set(weights.uids)) < len(weights.uids):
        raise DuplicateUids("A uid is there twice.")
    if any(uid >= count for uid in weights.uids):
        raise UidVecContainInvalidOne(f"Uid {max(weights.uids)} does not exist; there are {count}.")
    if only_itself:
        return
    if len(weights.uids) < min(rules.min_allowed_weights, count):
        raise WeightVecLengthIsLow(
            f"{len(weights.uids)} weights; the subnet wants {rules.min_allowed_weights}."
        )
    if max(weights.values, default=0) * U16_MAX > rules.max_weights_limit * sum(weights.values):
        raise MaxWeightExceeded(f"A weight is more than {rules.max_weights_limit / U16_MAX:.3f} of the sum.")


def _store_weights(connection: sqlite3.Connection, uid: int, weights: WeightVector) -> None:
    # As the chain does: the largest becomes 65535; zeros that were set are kept.
    largest = max(weights.values, default=0) or 1
    connection.execute("DELETE FROM weights WHERE validator = ?", [uid])
    connection.executemany(
        "INSERT INTO weights (validator, target, value) VALUES (?, ?, ?)",
        [
            (uid, target, value * U16_MAX // largest)
            for target, value in zip(weights.uids, weights.values, strict=True)
        ],
    )


def _matching_commit(caller: Caller, commitment: bytes) -> sqlite3.Row:
    """The open commitment with that hash; raises when it is not its time, or when there is none."""
    subnet = caller.subnet
    period = subnet.hyperparameters.commit_reveal_period
    commits = caller.connection.execute(
        "SELECT * FROM commits WHERE hotkey = ? ORDER BY id", [caller.hotkey]
    ).fetchall()
    is_open = [commit["epoch"] >= _oldest_open(subnet) for commit in commits]
    # Of equal ones the youngest: its epoch has certainly not passed if any's has not.
    match = next((commit for commit in reversed(commits) if commit["hash"] == commitment), None)
    if match is None:
        if any(is_open):
            raise InvalidRevealCommitHashNotMatch("These weights, salt and version key were not committed.")
        raise NoWeightsCommitFound(f"The hotkey {caller.hotkey} has no open commitment.")
    due = match["epoch"] + period
    if due < subnet.epoch:
        raise ExpiredWeightCommit(f"The commitment could be revealed in epoch {due}; this is {subnet.epoch}.")
    if due > subnet.epoch:
        raise RevealTooEarly(f"The commitment can be revealed in epoch {due}; this is {subnet.epoch}.")
    assert isinstance(match, sqlite3.Row)
    return match


def _oldest_open(subnet: SubnetRow) -> int:
    return subnet.epoch - subnet.hyperparameters.commit_reveal_period


def _needs_commit_reveal(subnet: SubnetRow) -> None:
    if subnet.hyperparameters.commit_reveal is not CommitReveal.HASH:
        raise CommitRevealDisabled("On this subnet weights are set in the open.")


def _is_rested(caller: Caller, neuron: sqlite3.Row) -> bool:
    return bool(caller.subnet.block - neuron["last_update"] >= caller.subnet.hyperparameters.weights_rate_limit)


def _too_fast(caller: Caller, neuron: sqlite3.Row) -> str:
    due = neuron["last_update"] + caller.subnet.hyperparameters.weights_rate_limit
    return (
        f"Weights were set, or the hotkey registered, in block {neuron['last_update']}; "
        f"the next may be set in {due}, now it is {caller.subnet.block}."
    )
