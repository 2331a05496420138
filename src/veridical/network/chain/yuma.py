"""Yuma consensus: what validators' weights become in incentives, dividends, bonds and emission.

The epoch of Bittensor's subtensor (spec 425, `epoch_mechanism`), in its three kinds: classic, Yuma 3, and
Yuma 3 with liquid alpha. Differences: float64 here, saturating fixed point (I32F32) there, so that a stored
proportion can differ by one unit of 65535; and an emission that sums up exactly, where the chain truncates each
share.

Letters are those of the chain's documentation: S stake, A active stake, W weights, C consensus, I incentive,
B bonds, D dividends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]

U16_MAX = 65535

# The chain's arithmetic has 32 fractional bits; on that grid sums of stake are exact in float64 too, so that a
# vote of exactly half the stake is decided here as it is there.
_FRACTION_BITS = 32
_SHARE_BITS = 40


@dataclass(frozen=True)
class YumaRules:
    """The hyperparameters of an epoch, as fractions.

    `kappa`: majority of stake that consensus needs. `bonds_moving_average`: how much of a bond stays from one
    epoch to the next. `bonds_penalty`: 1 makes bonds of clipped weights, 0 of the weights as they were set.
    `alpha_low`, `alpha_high`, `alpha_steepness`: the range and the slope of liquid alpha, for Yuma 3 alone.
    """

    kappa: float = 32767 / U16_MAX
    bonds_moving_average: float = 0.9
    bonds_penalty: float = 1.0
    activity_cutoff: int = 5000
    max_validators: int = 128
    stake_threshold: int = 0
    yuma3: bool = False
    liquid_alpha: bool = False
    alpha_low: float = 45875 / U16_MAX
    alpha_high: float = 58982 / U16_MAX
    alpha_steepness: float = 10.0


@dataclass(frozen=True)
class Subnet:
    """A subnet before an epoch; vectors are (n,), matrices (n, n) with a validator's row.

    `entries` marks which weights are set at all: a weight of zero that is set keeps its bond under liquid
    alpha, one that is absent loses it. `weights` are relative within a row, `bonds` proportions (u16 / 65535).
    `committed` is the block of a validator's earliest commitment that is still open, or None where the mask
    against inherited weights does not apply (commit-reveal off); validators without one have a very late block.
    `bonded_until`: bonds to neurons registered at that block or later are dropped.
    """

    block: int
    stake: Integers
    last_update: Integers
    registered: Integers
    permit: Booleans
    weights: Floats
    entries: Booleans
    bonds: Floats
    bonded_until: int
    committed: Integers | None = None
    owner: int | None = None


@dataclass(frozen=True)
class Epoch:
    """Decisions of an epoch; every vector is (n,) and in [0, 1], bonds are (n, n).

    `permit` holds from the next epoch on. `stake` and `active_stake` are shares of the total.
    """

    active: Booleans
    permit: Booleans
    stake: Floats
    active_stake: Floats
    consensus: Floats
    validator_trust: Floats
    incentive: Floats
    dividends: Floats
    bonds: Floats


def run_epoch(subnet: Subnet, rules: YumaRules) -> Epoch:
    """One epoch of a subnet."""
    active = subnet.last_update + rules.activity_cutoff >= subnet.block
    stake = _normalise(_counted_stake(subnet, rules))
    permit = _with_owner(subnet.permit, subnet.owner)
    new_permit = _with_owner(_largest(stake, rules.max_validators), subnet.owner)
    active_stake = _normalise(np.where(active & permit, stake, 0.0))

    entries = subnet.entries & valid_weights(subnet)
    weights = _normalise_rows(np.where(entries, subnet.weights, 0.0))
    agreed = consensus(weights, active_stake, rules.kappa)
    clipped = np.minimum(weights, agreed)
    incentive = _normalise(active_stake @ clipped)

    bond_weights = weights + rules.bonds_penalty * (clipped - weights)
    old_bonds = np.where(subnet.bonded_until <= subnet.registered, 0.0, subnet.bonds)
    if rules.yuma3:
        kept = entries & ~((weights > agreed) & (agreed == 0) & (rules.bonds_penalty == 1))
        bonds = _bonds_yuma3(bond_weights, kept, old_bonds, agreed, rules)
        dividends = _normalise(active_stake * (_normalise_columns(bonds) @ incentive))
    else:
        bonds = _bonds_classic(bond_weights, active_stake, old_bonds, rules)
        dividends = _normalise(bonds @ incentive)
        bonds = _upscale_columns(bonds)
    lost = (permit & ~new_permit)[:, None]
    never = (~permit & ~new_permit)[:, None]
    return Epoch(
        active=active,
        permit=new_permit,
        stake=stake,
        active_stake=active_stake,
        consensus=agreed,
        validator_trust=clipped.sum(axis=1),
        incentive=incentive,
        dividends=dividends,
        bonds=np.where(lost, 0.0, np.where(never, subnet.bonds, bonds)),
    )


def valid_weights(subnet: Subnet) -> Booleans:
    """Weights that count, (n, n): set by a permitted validator, for another neuron that it can have known.

    A weight for a neuron that registered after the weight was set, or after it was committed, was meant for
    whoever had the uid before.
    """
    valid = np.repeat(_with_owner(subnet.permit, subnet.owner)[:, None], len(subnet.stake), axis=1)
    own = np.eye(len(subnet.stake), dtype=np.bool_)
    if subnet.owner is not None:
        own[subnet.owner, subnet.owner] = False
    valid &= ~own
    valid &= subnet.last_update[:, None] > subnet.registered[None, :]
    if subnet.committed is not None:
        valid &= subnet.committed[:, None] >= subnet.registered[None, :]
    return valid


def consensus(weights: Floats, active_stake: Floats, kappa: float) -> Floats:
    """The highest weight of each neuron, (n,), that more than a share `kappa` of active stake supports.

    The stake-weighted quantile of each column: the smallest weight v such that more than the minority,
    1 - kappa, of the stake set v or less. Zero where a majority set nothing.
    """
    voters = active_stake > 0
    if not voters.any():
        return np.zeros(weights.shape[1])
    votes, power = weights[voters], _on_grid(active_stake[voters] / active_stake[voters].sum())
    minority = power.sum() - _on_grid(np.array(kappa))
    order = np.argsort(votes, axis=0, kind="stable")
    beneath = np.cumsum(power[order], axis=0)
    first = np.argmax(beneath > minority, axis=0)
    # With kappa 0 nobody is beyond the minority: the largest vote wins, as in the chain's search.
    first = np.where((beneath > minority).any(axis=0), first, len(power) - 1)
    found: Floats = np.take_along_axis(np.take_along_axis(votes, order, axis=0), first[None, :], axis=0)[0]
    return found


def split_emission(epoch: Epoch, amount: int) -> tuple[list[int], list[int]]:
    """Pay of each neuron for serving and for validating; together exactly `amount`.

    Half goes by incentive, half by dividends, as long as both exist. When nobody has either, all goes to
    validators by active stake, or by stake when none is active; when there is no stake, nothing is paid.
    Units left over by rounding go to the largest remainders, of equal ones to the lowest uid, servers first.
    """
    server, validator = epoch.incentive, epoch.dividends
    if not server.any() and not validator.any():
        validator = epoch.active_stake if epoch.active_stake.any() else epoch.stake
    paid = _apportion(np.concatenate([server, validator]), amount)
    return paid[: len(server)], paid[len(server) :]


def to_u16(proportions: Floats) -> Integers:
    """Proportions as the chain stores them, 0 to 65535; truncated, not rounded."""
    # A proportion that was stored before (k / 65535) may come back a hair beneath k.
    return np.floor(np.clip(proportions, 0.0, 1.0) * U16_MAX + 1e-7).astype(np.int64)


def _counted_stake(subnet: Subnet, rules: YumaRules) -> Floats:
    enough = subnet.stake >= rules.stake_threshold
    return np.where(_with_owner(enough, subnet.owner), subnet.stake, 0).astype(np.float64)


def _with_owner(flags: Booleans, owner: int | None) -> Booleans:
    if owner is None:
        return flags
    flags = flags.copy()
    flags[owner] = True
    return flags


def _largest(stake: Floats, count: int) -> Booleans:
    """The `count` largest that are not zero; of equal ones the later."""
    chosen = np.zeros(len(stake), dtype=np.bool_)
    chosen[np.argsort(stake, kind="stable")[max(0, len(stake) - count) :]] = True
    return chosen & (stake > 0)


def _bonds_classic(bond_weights: Floats, active_stake: Floats, old: Floats, rules: YumaRules) -> Floats:
    alpha = 1 - rules.bonds_moving_average
    change = _normalise_columns(active_stake[:, None] * bond_weights)
    return _normalise_columns(alpha * change + (1 - alpha) * _normalise_columns(old))


def _bonds_yuma3(
    bond_weights: Floats, entries: Booleans, old: Floats, agreed: Floats, rules: YumaRules
) -> Floats:
    if not (rules.liquid_alpha and agreed.any()):
        alpha = 1 - rules.bonds_moving_average
        return np.clip(alpha * bond_weights + (1 - alpha) * old, 0.0, 1.0)
    liquid = _liquid_alpha(bond_weights, old, agreed, rules)
    # As the chain's sparse form does: a pair without an entry in the new weights has no bond any more.
    return np.where(entries, np.clip(liquid * bond_weights + (1 - liquid) * old, 0.0, 1.0), 0.0)


def _liquid_alpha(bond_weights: Floats, old: Floats, agreed: Floats, rules: YumaRules) -> Floats:
    """Speed of each bond: the higher, the farther a weight is above consensus or beneath its bond."""
    buying = np.clip(bond_weights - agreed, 0.0, 1.0)
    selling = np.clip(old - bond_weights, 0.0, 1.0)
    distance = np.where(bond_weights >= old, buying, selling)
    sigmoid = 1 / (1 + np.exp(-rules.alpha_steepness * (distance - 0.5)))
    alpha = rules.alpha_low + sigmoid * (rules.alpha_high - rules.alpha_low)
    return np.clip(alpha, rules.alpha_low, rules.alpha_high)


def _apportion(shares: Floats, amount: int) -> list[int]:
    """`amount` in whole units by `shares`, exactly; Hamilton's method of largest remainders."""
    # In Python's integers: neither the products nor the sums can overflow or round.
    parts = [int(part) for part in np.round(shares * 2**_SHARE_BITS)]
    total = sum(parts)
    if total == 0:
        return [0] * len(parts)
    paid = [part * amount // total for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda index: (-(parts[index] * amount % total), index))
    for index in by_remainder[: amount - sum(paid)]:
        paid[index] += 1
    return paid


def _on_grid(values: Floats) -> Floats:
    snapped: Floats = np.floor(values * 2**_FRACTION_BITS) / 2**_FRACTION_BITS
    return snapped


def _normalise(vector: Floats) -> Floats:
    total = vector.sum()
    normalised: Floats = vector / total if total > 0 else np.zeros_like(vector)
    return normalised


def _normalise_rows(matrix: Floats) -> Floats:
    return _normalise_columns(matrix.T).T


def _normalise_columns(matrix: Floats) -> Floats:
    totals = matrix.sum(axis=0)
    normalised: Floats = np.divide(matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    return normalised


def _upscale_columns(matrix: Floats) -> Floats:
    if not len(matrix):
        return matrix
    largest = matrix.max(axis=0)
    upscaled: Floats = np.divide(matrix, largest, out=np.zeros_like(matrix), where=largest > 0)
    return upscaled
