"""A chain to miners and validators: one small protocol, and the data that cross it.

Two implement it: `ledger.LocalLedger`, for whole networks on one machine, and `bittensor.BittensorChain`.
All calls block; those that write are signed by the wallet's hotkey and raise `chain_errors.ChainError` when the
chain refuses. Amounts are whole rao, 1e-9 of the subnet's token.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from veridical.errors import NetworkError
from veridical.network.identity import Wallet, account_id

U16_MAX = 65535
RAO = 1_000_000_000

# How many commitments of a hotkey may wait for their reveal.
OPEN_COMMITS = 10


@dataclass(frozen=True)
class Address:
    """An IP address and a port at which a miner answers."""

    ip: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Neuron:
    """A registered miner or validator; its row of the metagraph.

    `permit`: may set weights for others, as one of the largest stakes did at the last epoch. `active`: has set
    weights not too long ago. `incentive`, `dividends` (shares in [0, 1]) and `emission` (rao) are those of the
    last epoch; `last_update` and `registered` are blocks.
    """

    uid: int
    hotkey: str
    coldkey: str
    stake: int
    permit: bool
    active: bool
    incentive: float
    dividends: float
    emission: int
    last_update: int
    registered: int
    address: Address | None


@dataclass(frozen=True)
class Metagraph:
    """A subnet at one block; `neurons[uid]` has that uid."""

    netuid: int
    block: int
    neurons: tuple[Neuron, ...]

    def by_hotkey(self, hotkey: str) -> Neuron | None:
        """The neuron of a hotkey, or None if it is not registered."""
        return next((neuron for neuron in self.neurons if neuron.hotkey == hotkey), None)


class CommitReveal(StrEnum):
    """Ways to keep weights from copiers.

    `off`: `set_weights` shows them at once. `hash`: `commit_weights`, then `reveal_weights` in the right epoch.
    `timelock`: `set_weights` encrypts them, and the chain itself reveals them.
    """

    OFF = "off"
    HASH = "hash"
    TIMELOCK = "timelock"


@dataclass(frozen=True)
class Hyperparameters:
    """The rules of a subnet, by the chain's names and in its units; the defaults are the chain's, but for two.

    Fractions are u16 (65535 is 1), `bonds_moving_avg` millionths, `alpha_sigmoid_steepness` hundredths; times
    are blocks, `commit_reveal_period` is epochs. The chain's `min_allowed_weights` is 1024 and its
    `max_regs_per_block` is 1, which no small network could meet. `coldkey_penalty_period` is the local
    ledger's alone: for so long after one of its neurons was pruned a coldkey registers no other hotkey. 0 is
    never.
    """

    tempo: int = 360
    immunity_period: int = 4096
    coldkey_penalty_period: int = 4096
    activity_cutoff: int = 5000
    max_uids: int = 256
    max_validators: int = 128
    max_regs_per_block: int = 256
    min_allowed_weights: int = 1
    max_weights_limit: int = U16_MAX
    weights_rate_limit: int = 100
    weights_version: int = 0
    serving_rate_limit: int = 50
    commit_reveal: CommitReveal = CommitReveal.HASH
    commit_reveal_period: int = 1
    stake_threshold: int = 0
    kappa: int = 32767
    bonds_moving_avg: int = 900_000
    bonds_penalty: int = U16_MAX
    yuma3_enabled: bool = False
    liquid_alpha_enabled: bool = False
    alpha_low: int = 45875
    alpha_high: int = 58982
    alpha_sigmoid_steepness: int = 1000


@dataclass(frozen=True)
class WeightVector:
    """Weights as a validator sets them: u16, of distinct uids, the largest 65535, with its version key."""

    uids: tuple[int, ...]
    values: tuple[int, ...]
    version_key: int = 0

    def __post_init__(self) -> None:
        if not all(type(number) is int and 0 <= number <= U16_MAX for number in (*self.uids, *self.values)):
            raise NetworkError("A uid or a weight is not a whole number from 0 to 65535.", code="bad_weights")

    @classmethod
    def from_shares(cls, shares: Mapping[int, float], *, version_key: int = 0) -> WeightVector:
        """The weights in these proportions; uids whose weight is or rounds to zero are left out.

        Raises `NetworkError` (`bad_weights`) unless all are finite and none is negative, and one is positive.

        >>> WeightVector.from_shares({7: 0.25, 3: 0.5, 4: 0.0})
        WeightVector(uids=(3, 7), values=(65535, 32768), version_key=0)
        """
        if any(not math.isfinite(share) or share < 0 for share in shares.values()):
            raise NetworkError("A weight is negative or not finite.", code="bad_weights")
        largest = max(shares.values(), default=0.0)
        if largest == 0:
            raise NetworkError("No weight is above zero; there is nothing to set.", code="bad_weights")
        values = {uid: round(share / largest * U16_MAX) for uid, share in sorted(shares.items())}
        kept = {uid: value for uid, value in values.items() if value > 0}
        return cls(tuple(kept), tuple(kept.values()), version_key)

    def commitment(self, hotkey: str, netuid: int, salt: Sequence[int]) -> bytes:
        """The hash that commits `hotkey` to these weights: BLAKE2b-256 of the SCALE encoding of all of it.

        `salt` is secret u16 numbers, at least eight of them, that must be kept for the reveal.
        """
        encoded = [account_id(hotkey), struct.pack("<H", netuid)]
        encoded += [_scale_u16s(numbers) for numbers in (self.uids, self.values, salt)]
        encoded.append(struct.pack("<Q", self.version_key))
        return hashlib.blake2b(b"".join(encoded), digest_size=32).digest()


@dataclass(frozen=True)
class Commit:
    """An open commitment: its hash, when it was made, and the one epoch in which it can be revealed."""

    hash: bytes
    block: int
    reveal_epoch: int


class Chain(Protocol):
    """One subnet of a chain, or a ledger that plays one."""

    @property
    def netuid(self) -> int:
        """The subnet."""

    def epoch(self) -> int:
        """Number of epochs that have been run; the index of the one going on."""

    def metagraph(self) -> Metagraph:
        """All neurons, and how they stand."""

    def weights(self) -> dict[int, dict[int, float]]:
        """Weights that everyone can see: {validator uid: {uid: share}}, each row of sum 1."""

    def hyperparameters(self) -> Hyperparameters:
        """The subnet's rules."""

    def register(self, wallet: Wallet) -> int:
        """Register the hotkey; gives its uid."""

    def stake(self, wallet: Wallet, amount: int) -> None:
        """Add stake, in rao, to the hotkey."""

    def serve(self, wallet: Wallet, address: Address) -> None:
        """Publish where the hotkey's server is reached."""

    def set_weights(self, wallet: Wallet, weights: WeightVector) -> None:
        """Set the hotkey's weights; refused (`CommitRevealEnabled`) where they must be committed by hash."""

    def commit_weights(self, wallet: Wallet, commitment: bytes) -> None:
        """Commit to weights by their `WeightVector.commitment`."""

    def reveal_weights(self, wallet: Wallet, weights: WeightVector, salt: Sequence[int]) -> None:
        """Reveal committed weights, in the commitment's `reveal_epoch` and in no other."""

    def open_commits(self, hotkey: str) -> tuple[Commit, ...]:
        """The hotkey's commitments that are neither revealed nor expired, oldest first."""


def _scale_u16s(numbers: Sequence[int]) -> bytes:
    """SCALE's Vec<u16>: a compact length, then little-endian numbers."""
    length = len(numbers)
    if length < 1 << 6:
        prefix = struct.pack("<B", length << 2)
    elif length < 1 << 14:
        prefix = struct.pack("<H", length << 2 | 1)
    else:
        prefix = struct.pack("<I", length << 2 | 2)
    return prefix + struct.pack(f"<{length}H", *numbers)
