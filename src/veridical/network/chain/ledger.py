"""A chain in one SQLite file: the whole network on one machine, for as many processes as share the file.

The rules are the chain's: registration, stake, permits, rate limits, commit-reveal, immunity and pruning, Yuma
consensus at the end of each epoch. What participants write is signed by their hotkey and verified before it is
written; the signed operations stay in the file, refused ones with the reason, so that none counts twice. Blocks
follow the clock, or come by `advance` alone, and then equal calls make equal ledgers.

A process that is killed leaves the ledger as it was before the call or after it, never in between.
"""

from __future__ import annotations

import dataclasses
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from veridical.errors import NetworkError
from veridical.network.chain import (
    OPEN_COMMITS,
    RAO,
    U16_MAX,
    Address,
    Commit,
    CommitReveal,
    Hyperparameters,
    Metagraph,
    Neuron,
    WeightVector,
)
from veridical.network.chain._ledger_calls import CALLS, Caller, perform
from veridical.network.chain._ledger_epoch import run_epoch
from veridical.network.chain._ledger_file import (
    SubnetRow,
    create_file,
    open_file,
    read_subnet,
    snapshot,
    transaction,
)
from veridical.network.chain._operations import Operation, sign_operation, sign_ownership
from veridical.network.chain.errors import BadProof, Stale, SubnetNotExists
from veridical.network.identity import Wallet, coldkey_of

_FIRST_BLOCK = 1
_POLL_SECONDS = 0.05

# For a network that one watches: an epoch of twenty blocks, limits to match.
QUICK = Hyperparameters(
    tempo=20,
    immunity_period=60,
    coldkey_penalty_period=60,
    activity_cutoff=280,
    weights_rate_limit=5,
    serving_rate_limit=0,
)


@dataclass(frozen=True)
class EpochNeuron:
    """A neuron's result of an epoch; shares in [0, 1], amounts in rao."""

    uid: int
    hotkey: str
    stake: int
    active: bool
    permit: bool
    consensus: float
    validator_trust: float
    incentive: float
    dividends: float
    server_emission: int
    validator_emission: int


@dataclass(frozen=True)
class EpochRecord:
    """An epoch that has run: its index, the block at which it ran, and what it paid."""

    epoch: int
    block: int
    emission: int
    neurons: tuple[EpochNeuron, ...]


class LocalLedger(AbstractContextManager["LocalLedger"]):
    """The `Chain` of one subnet in an SQLite file. Threads may share one, processes open one each.

    Raises `NetworkError` (`no_ledger`, `ledger_corrupt`, `ledger_version`) when the file cannot be used, and
    `SubnetNotExists` when it holds another subnet than `netuid`.
    """

    def __init__(
        self, path: Path, *, netuid: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.RLock()
        self._connection = open_file(path)
        subnet = read_subnet(self._connection)
        self._identity = subnet.identity
        self._netuid = subnet.netuid
        self._is_manual = subnet.block_seconds is None
        if netuid is not None and netuid != subnet.netuid:
            self.close()
            raise SubnetNotExists(f"The ledger {path} holds subnet {subnet.netuid}, not {netuid}.")

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        netuid: int = 1,
        hyperparameters: Hyperparameters = QUICK,
        block_seconds: float | None = None,
        emission_per_block: int = RAO,
        owner: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> LocalLedger:
        """Make a ledger. Without `block_seconds` its blocks come by `advance` alone.

        `owner` is the hotkey that validates whatever its stake, may weight itself, and is never pruned.
        """
        if hyperparameters.commit_reveal is CommitReveal.TIMELOCK:
            raise NetworkError(
                "A ledger cannot reveal by itself; commit_reveal is 'hash' or 'off'.", code="bad_rules"
            )
        is_hidden = hyperparameters.commit_reveal is CommitReveal.HASH
        if is_hidden and not 1 <= hyperparameters.commit_reveal_period <= OPEN_COMMITS:
            raise NetworkError(
                f"A commit_reveal_period is from 1 to {OPEN_COMMITS}: who commits in every epoch may have no "
                "more open.",
                code="bad_rules",
            )
        if hyperparameters.tempo < 1 or (block_seconds is not None and block_seconds <= 0):
            raise NetworkError("Tempo and seconds per block must be above zero.", code="bad_rules")
        create_file(
            path,
            {
                "netuid": netuid,
                "identity": secrets.token_hex(16),
                "owner": owner,
                "started": clock(),
                "block_seconds": block_seconds,
                "emission_per_block": emission_per_block,
                "hyperparameters": json.dumps(dataclasses.asdict(hyperparameters)),
                "block": _FIRST_BLOCK,
                "epoch": 0,
                "last_epoch_block": _FIRST_BLOCK,
            },
        )
        return cls(path, clock=clock)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def netuid(self) -> int:
        """The subnet."""
        return self._netuid

    @property
    def identity(self) -> str:
        """A random name; what is signed for one ledger is nothing on another."""
        return self._identity

    @property
    def is_manual(self) -> bool:
        """True if blocks come by `advance` alone, instead of by the clock."""
        return self._is_manual

    def block(self) -> int:
        """The number of the current block."""
        return self._state().block

    def epoch(self) -> int:
        """Number of epochs that have been run; the index of the one going on."""
        return self._state().epoch

    def next_epoch_block(self) -> int:
        """The block at which the epoch that is going on ends."""
        return self._state().next_epoch_block

    def hyperparameters(self) -> Hyperparameters:
        """The subnet's rules."""
        return self._state().hyperparameters

    def metagraph(self) -> Metagraph:
        """All neurons, and how they stand."""
        with self._reading() as subnet:
            rows = self._connection.execute(
                "SELECT * FROM neurons JOIN accounts USING (hotkey) ORDER BY uid"
            ).fetchall()
        return Metagraph(
            netuid=subnet.netuid,
            block=subnet.block,
            neurons=tuple(_neuron(row, subnet) for row in rows),
        )

    def weights(self) -> dict[int, dict[int, float]]:
        """The weights in force, {validator uid: {uid: share}}; committed ones only once they are revealed."""
        with self._reading():
            rows = self._connection.execute(
                "SELECT * FROM weights WHERE value > 0 ORDER BY validator, target"
            ).fetchall()
        values: dict[int, dict[int, int]] = {}
        for row in rows:
            values.setdefault(row["validator"], {})[row["target"]] = row["value"]
        return {
            uid: {target: value / sum(row.values()) for target, value in row.items()}
            for uid, row in values.items()
        }

    def open_commits(self, hotkey: str) -> tuple[Commit, ...]:
        """The hotkey's commitments that are neither revealed nor expired, oldest first."""
        with self._reading() as subnet:
            period = subnet.hyperparameters.commit_reveal_period
            rows = self._connection.execute(
                "SELECT * FROM commits WHERE hotkey = ? AND epoch >= ? ORDER BY id",
                [hotkey, subnet.epoch - period],
            ).fetchall()
        return tuple(Commit(row["hash"], row["block"], row["epoch"] + period) for row in rows)

    def penalties(self) -> dict[str, int]:
        """The coldkeys that may not register a new hotkey now, with the block from which on they may again."""
        with self._reading() as subnet:
            period = subnet.hyperparameters.coldkey_penalty_period
            rows = self._connection.execute(
                "SELECT coldkey, max(pruned) + ? AS until FROM accounts GROUP BY coldkey HAVING until > ? "
                "ORDER BY coldkey",
                [period, subnet.block],
            ).fetchall()
        return {row["coldkey"]: row["until"] for row in rows}

    def history(self, last: int | None = None) -> tuple[EpochRecord, ...]:
        """The epochs that have run, oldest first; all, or the `last` so many."""
        with self._reading() as subnet:
            first = 0 if last is None else max(0, subnet.epoch - last)
            epochs = self._connection.execute(
                "SELECT * FROM epochs WHERE epoch >= ? ORDER BY epoch", [first]
            ).fetchall()
            rows = self._connection.execute(
                "SELECT * FROM epoch_neurons WHERE epoch >= ? ORDER BY epoch, uid", [first]
            ).fetchall()
        neurons: dict[int, list[EpochNeuron]] = {}
        for row in rows:
            neurons.setdefault(row["epoch"], []).append(_epoch_neuron(row))
        return tuple(
            EpochRecord(row["epoch"], row["block"], row["emission"], tuple(neurons.get(row["epoch"], ())))
            for row in epochs
        )

    def register(self, wallet: Wallet) -> int:
        """Register the hotkey; gives its uid. On a full subnet the neuron that earned least loses its own.

        The coldkey signs too, that it owns the hotkey. For `coldkey_penalty_period` blocks after one of its
        neurons was pruned, new hotkeys of a coldkey are refused (`ColdKeyInPenaltyWindow`); the pruned one may
        come back, but is not immune again.
        """
        coldkey = coldkey_of(wallet)
        owned = sign_ownership(coldkey, self._identity, wallet.hotkey.ss58_address)
        self._call(wallet, "register", {"coldkey": coldkey.ss58_address, "owned": owned.hex()})
        neuron = self.metagraph().by_hotkey(wallet.hotkey.ss58_address)
        if neuron is None:
            raise NetworkError("The new neuron was pruned at once.", code="HotKeyNotRegisteredInSubNet")
        return neuron.uid

    def stake(self, wallet: Wallet, amount: int) -> None:
        """Add stake, in rao, to the hotkey; on this ledger it costs nothing."""
        self._call(wallet, "stake", {"amount": amount})

    def serve(self, wallet: Wallet, address: Address) -> None:
        """Publish where the hotkey's server is reached."""
        self._call(wallet, "serve", {"ip": address.ip, "port": address.port})

    def set_weights(self, wallet: Wallet, weights: WeightVector) -> None:
        """Set the hotkey's weights in the open; refused (`CommitRevealEnabled`) under commit-reveal."""
        self._call(wallet, "set_weights", dataclasses.asdict(weights))

    def commit_weights(self, wallet: Wallet, commitment: bytes) -> None:
        """Commit to weights by their `WeightVector.commitment`."""
        self._call(wallet, "commit_weights", {"hash": commitment.hex()})

    def reveal_weights(self, wallet: Wallet, weights: WeightVector, salt: Sequence[int]) -> None:
        """Reveal committed weights, in the commitment's `reveal_epoch` and in no other."""
        self._call(wallet, "reveal_weights", {**dataclasses.asdict(weights), "salt": list(salt)})

    def submit(self, operation: Operation) -> None:
        """Write what a hotkey has signed; every call that writes comes this way.

        Raises `BadProof` for a signature that is not the hotkey's over exactly this, on exactly this ledger,
        `Stale` when it was submitted before, and what the call itself is refused for.
        """
        if operation.ledger != self._identity or operation.kind not in CALLS or not operation.is_genuine():
            raise BadProof(f"The signature is not one of {operation.hotkey} on a call of this ledger.")
        self._catch_up()
        with self._lock, transaction(self._connection, self.path):
            subnet = self._write_block()
            self._record(operation, subnet.block)
            refusal = self._attempt(Caller(self._connection, subnet, operation.hotkey), operation)
        if refusal is not None:
            raise refusal

    def advance(self, blocks: int = 1) -> None:
        """Let so many blocks pass, with the epochs that end in them; only where no clock does so."""
        with self._lock, transaction(self._connection, self.path):
            subnet = read_subnet(self._connection)
            if subnet.block_seconds is not None:
                raise NetworkError(
                    f"The blocks of {self.path} follow the clock, every {subnet.block_seconds:g} s.",
                    code="ledger_clock",
                    hint="Make a ledger with --manual to advance it by hand.",
                )
            self._go_to(subnet.block + blocks)

    def wait_for_epoch(self, timeout: float) -> int:
        """Wait until an epoch has run; gives the new `epoch()`. Raises `NetworkError` (`no_epoch`)."""
        before = self.epoch()
        deadline = time.monotonic() + timeout
        while (now := self.epoch()) == before:
            if time.monotonic() > deadline:
                raise NetworkError(f"No epoch has ended in {timeout:g} s.", code="no_epoch", retryable=True)
            time.sleep(_POLL_SECONDS)
        return now

    def _call(self, wallet: Wallet, kind: str, arguments: Mapping[str, object]) -> None:
        # object: what JSON holds
        self.submit(sign_operation(wallet.hotkey, self._identity, kind, arguments))

    def _record(self, operation: Operation, block: int) -> None:
        try:
            self._connection.execute(
                "INSERT INTO operations (hotkey, nonce, block, kind, arguments, signature) "
                "VALUES (:hotkey, :nonce, :block, :kind, :arguments, :signature)",
                {**vars(operation), "block": block},
            )
        except sqlite3.IntegrityError as error:
            raise Stale(f"This call of {operation.hotkey} was submitted before.") from error

    def _attempt(self, caller: Caller, operation: Operation) -> NetworkError | None:
        """Perform the operation; one that is refused changes nothing, but stays on record, and used."""
        self._connection.execute("SAVEPOINT attempt")
        try:
            perform(caller, operation.kind, json.loads(operation.arguments))
        except NetworkError as refusal:
            self._connection.execute("ROLLBACK TO attempt")
            self._connection.execute(
                "UPDATE operations SET error = ? WHERE hotkey = ? AND nonce = ?",
                [refusal.code, operation.hotkey, operation.nonce],
            )
            return refusal
        return None

    @contextmanager
    def _reading(self) -> Iterator[SubnetRow]:
        self._catch_up()
        with self._lock, snapshot(self._connection, self.path):
            subnet = read_subnet(self._connection)
            yield dataclasses.replace(subnet, block=self._current_block(subnet))

    def _state(self) -> SubnetRow:
        with self._reading() as subnet:
            return subnet

    def _current_block(self, subnet: SubnetRow) -> int:
        if subnet.block_seconds is None:
            return subnet.block
        by_clock = _FIRST_BLOCK + int((self._clock() - subnet.started) / subnet.block_seconds)
        # A clock that was set back stops the blocks; they never go back.
        return max(subnet.block, by_clock)

    def _catch_up(self) -> None:
        """Run the epochs that the clock has passed, one transaction each, so that others get their turn."""
        while True:
            with self._lock, snapshot(self._connection, self.path):
                subnet = read_subnet(self._connection)
            if self._current_block(subnet) < subnet.next_epoch_block:
                return
            with self._lock, transaction(self._connection, self.path):
                # Another process may have run it in the meantime; then this goes nowhere.
                self._go_to(subnet.next_epoch_block)

    def _write_block(self) -> SubnetRow:
        return self._go_to(self._current_block(read_subnet(self._connection)))

    def _go_to(self, block: int) -> SubnetRow:
        """Run what epochs end up to `block`, and make it the current one. Inside a transaction."""
        subnet = read_subnet(self._connection)
        while subnet.next_epoch_block <= block:
            run_epoch(self._connection, subnet, subnet.next_epoch_block)
            subnet = read_subnet(self._connection)
        self._connection.execute("UPDATE subnet SET block = max(block, ?)", [block])
        return read_subnet(self._connection)


def _neuron(row: sqlite3.Row, subnet: SubnetRow) -> Neuron:
    return Neuron(
        uid=row["uid"],
        hotkey=row["hotkey"],
        coldkey=row["coldkey"],
        stake=row["stake"],
        permit=bool(row["permit"]),
        active=row["last_update"] + subnet.hyperparameters.activity_cutoff >= subnet.block,
        incentive=row["incentive"] / U16_MAX,
        dividends=row["dividends"] / U16_MAX,
        emission=row["emission"],
        last_update=row["last_update"],
        registered=row["registered"],
        address=None if row["ip"] is None else Address(row["ip"], row["port"]),
    )


def _epoch_neuron(row: sqlite3.Row) -> EpochNeuron:
    return EpochNeuron(
        uid=row["uid"],
        hotkey=row["hotkey"],
        stake=row["stake"],
        active=bool(row["active"]),
        permit=bool(row["permit"]),
        consensus=row["consensus"] / U16_MAX,
        validator_trust=row["validator_trust"] / U16_MAX,
        incentive=row["incentive"] / U16_MAX,
        dividends=row["dividends"] / U16_MAX,
        server_emission=row["server_emission"],
        validator_emission=row["validator_emission"],
    )
