"""The chain's own test vectors: subtensor `pallets/subtensor/src/tests/epoch.rs` at 14bc6f9f9 (Unlicense)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from veridical.network.chain.yuma import Epoch, Subnet, YumaRules, consensus, run_epoch, split_emission, to_u16

BILLION = 1_000_000_000


def new_subnet(stake: Sequence[int], *, block: int = 0) -> Subnet:
    """Everyone registered at `block`, permitted, without weights."""
    n = len(stake)
    return Subnet(
        block=block,
        stake=np.array(stake, np.int64),
        last_update=np.full(n, block),
        registered=np.full(n, block),
        permit=np.ones(n, np.bool_),
        weights=np.zeros((n, n)),
        entries=np.zeros((n, n), np.bool_),
        bonds=np.zeros((n, n)),
        bonded_until=block,
    )


@dataclass
class Replay:
    """A subnet on which the chain's tests are replayed: bonds and permits go from one epoch to the next."""

    subnet: Subnet
    rules: YumaRules

    def set_weights(self, uid: int, targets: Sequence[int], values: Sequence[int]) -> None:
        weights, entries = self.subnet.weights.copy(), self.subnet.entries.copy()
        last_update = self.subnet.last_update.copy()
        weights[uid], entries[uid] = 0, False
        weights[uid, targets], entries[uid, targets] = values, True
        last_update[uid] = self.subnet.block
        self.subnet = replace(self.subnet, weights=weights, entries=entries, last_update=last_update)

    def go_to(self, block: int) -> None:
        self.subnet = replace(self.subnet, block=block)

    def run(self) -> Epoch:
        epoch = run_epoch(self.subnet, self.rules)
        self.subnet = replace(
            self.subnet,
            bonds=to_u16(epoch.bonds) / 65535,
            permit=epoch.permit,
            bonded_until=self.subnet.block + 1,
        )
        return epoch


def u16_bonds(replay: Replay) -> np.ndarray:
    return np.round(replay.subnet.bonds * 65535).astype(int)


def test_bonds() -> None:
    replay = Replay(new_subnet([1, 2, 3, 4, 0, 0, 0, 0]), YumaRules(max_validators=8))
    replay.run()
    replay.go_to(1)
    for uid in range(4):
        replay.set_weights(uid, [4, 5, 6, 7], [16383, 32767, 49149, 65535])

    first = replay.run()
    assert_allclose(first.dividends[:4], [0.1, 0.2, 0.3, 0.4], atol=1e-3)
    assert_array_equal(u16_bonds(replay)[:4, 4], [16383, 32767, 49151, 65535])
    server, validator = split_emission(first, BILLION)
    assert_allclose(validator[:4], [49999998, 99999999, 150000000, 200000001], atol=3)
    assert_allclose(server[4:], [49998779, 100000610, 149996337, 200004272], atol=3)
    assert sum(server) + sum(validator) == BILLION

    # One validator after the other weights only itself, until consensus is lost.
    steps: list[tuple[int, int, list[int], list[float]]] = [
        (0, 4, [14582, 32767, 49151, 65535], [0.0899967, 0.2022211, 0.3033344, 0.4044477]),
        (1, 4, [12603, 28321, 49151, 65535], [0.0809936, 0.1819996, 0.3158593, 0.4211475]),
        (2, 7, [12602, 28320, 49150, 65535], [0, 0, 0, 0]),
    ]
    for uid, column, bonds, dividends in steps:
        replay.set_weights(uid, [uid], [65535])
        replay.go_to(replay.subnet.block + 1)
        epoch = replay.run()
        assert_allclose(epoch.dividends[:4], dividends, atol=1e-6)
        assert_allclose(u16_bonds(replay)[:4, column], bonds, atol=1)
    server, validator = split_emission(epoch, BILLION)
    assert (server, validator[:4]) == ([0] * 8, [100_000_000, 200_000_000, 300_000_000, 400_000_000])

    replay.set_weights(2, [7], [65535])
    for bonds, dividends in [
        ([10951, 24609, 49150, 65535], [0.0728875, 0.1637973, 0.3271310, 0.4361843]),
        ([9559, 21482, 49150, 65535], [0.0655989, 0.1474132, 0.3372763, 0.4497117]),
        ([8376, 18824, 49150, 65535], [0.0590361, 0.1326723, 0.3464063, 0.4618853]),
    ]:
        replay.go_to(replay.subnet.block + 1)
        epoch = replay.run()
        assert_allclose(epoch.dividends[:4], dividends, atol=1e-5)
        assert_allclose(u16_bonds(replay)[:4, 7], bonds, atol=1)
        assert epoch.incentive[7] == 1


def test_active_stake() -> None:
    replay = Replay(new_subnet([1, 1, 1, 1]), YumaRules(max_validators=4))
    replay.run()
    replay.go_to(1)
    for uid in (0, 1):
        replay.set_weights(uid, [2, 3], [32767, 32767])
    epoch = replay.run()
    assert_array_equal(to_u16(epoch.dividends), [32767, 32767, 0, 0])
    server, validator = split_emission(epoch, BILLION)
    assert_array_equal(np.add(server, validator), [250_000_000] * 4)
    assert_array_equal(u16_bonds(replay)[:2], [[0, 0, 65535, 65535]] * 2)

    replay.go_to(5002)
    replay.set_weights(0, [2, 3], [32767, 32767])
    epoch = replay.run()
    assert_array_equal(epoch.active, [True, False, False, False])
    assert_array_equal(to_u16(epoch.dividends)[:2], [36044, 29490])
    assert_array_equal(u16_bonds(replay)[:2, 2], [65535, 53619])

    replay.set_weights(1, [2, 3], [32767, 32767])
    replay.go_to(5003)
    epoch = replay.run()
    assert_array_equal(to_u16(epoch.dividends)[:2], [35716, 29818])
    assert_array_equal(u16_bonds(replay)[:2, 2], [65535, 54712])


def test_outdated_weights() -> None:
    replay = Replay(new_subnet([1, 1, 1, 1]), YumaRules(max_validators=4))
    replay.run()
    replay.go_to(1)
    for uid in (0, 1):
        replay.set_weights(uid, [2, 3], [65535, 32768])
    for uid in (2, 3):
        replay.set_weights(uid, [uid], [65535])
    epoch = replay.run()
    assert_allclose(epoch.incentive, [0, 0, 0.6666632756, 0.3333367242], atol=1e-6)
    assert_array_equal(to_u16(epoch.dividends), [32767, 32767, 0, 0])

    # Someone else gets uid 3 in block 1; only validator 0 weights it again, which is no majority.
    fresh = np.array([False, False, False, True])
    replay.subnet = replace(
        replay.subnet,
        registered=np.where(fresh, 1, replay.subnet.registered),
        stake=np.where(fresh, 0, replay.subnet.stake),
        permit=replay.subnet.permit & ~fresh,
        bonded_until=1,
    )
    replay.go_to(2)
    replay.set_weights(0, [2, 3], [65535, 32768])
    epoch = replay.run()
    assert_allclose(epoch.incentive, [0, 0, 1, 0], atol=1e-6)
    assert to_u16(epoch.dividends)[0] == 32767
    server, validator = split_emission(epoch, BILLION)
    assert_array_equal(np.add(server, validator), [250_000_000, 250_000_000, 500_000_000, 0])
    assert u16_bonds(replay)[0, 2] == 65535


def test_self_weights_only_pay_by_stake() -> None:
    replay = Replay(new_subnet([100] * 10), YumaRules(max_validators=10))
    replay.go_to(1)
    for uid in range(10):
        replay.set_weights(uid, [uid], [65535])
    epoch = replay.run()
    for vector in (epoch.consensus, epoch.incentive, epoch.dividends, epoch.validator_trust):
        assert not vector.any()
    assert split_emission(epoch, BILLION) == ([0] * 10, [100_000_000] * 10)


YUMA3 = YumaRules(
    bonds_moving_average=0.975,
    bonds_penalty=0.0,
    max_validators=3,
    yuma3=True,
    liquid_alpha=True,
    alpha_low=0.1,
    alpha_high=0.3,
    alpha_steepness=10.0,
)
FIRST, SECOND = [65535, 0], [0, 65535]

KAPPA_STAKE = [8, 1, 1, 0, 0]
EVEN_STAKE = [33, 33, 34, 0, 0]
SWITCH = [[FIRST] * 3, [FIRST] * 3, [FIRST, FIRST, SECOND], [FIRST] * 3, [FIRST] * 3, [FIRST] * 3]
HALF = 32767

# Name: rules, stake, weights of validators A, B, C epoch by epoch (the last stay), dividends, bonds.
Scenario = tuple[YumaRules, list[int], list[list[list[int]]], list[list[float]], list[list[list[float]]]]
SCENARIOS: dict[str, Scenario] = {
    "kappa moves first": (
        YUMA3,
        KAPPA_STAKE,
        [[FIRST] * 3, [SECOND, FIRST, FIRST], [SECOND, SECOND, FIRST], [SECOND] * 3],
        [
            [0.8, 0.1, 0.1],
            [1, 0, 0],
            [0.9382, 0.0618, 0],
            [0.8819, 0.0773, 0.0407],
            [0.8564, 0.0844, 0.0592],
            [0.8418, 0.0884, 0.0697],
        ],
        [
            [[0.1013, 0], [0.1013, 0], [0.1013, 0]],
            [[0.0908, 0.1013], [0.3697, 0], [0.3697, 0]],
            [[0.0815, 0.1924], [0.3170, 0.1013], [0.5580, 0]],
            [[0.0731, 0.2742], [0.2765, 0.1924], [0.4306, 0.1013]],
            [[0.0656, 0.3478], [0.2435, 0.2742], [0.3589, 0.1924]],
            [[0.0588, 0.4139], [0.2157, 0.3478], [0.3089, 0.2742]],
        ],
    ),
    "kappa moves second": (
        YUMA3,
        KAPPA_STAKE,
        [[FIRST] * 3, [FIRST, SECOND, FIRST], [SECOND, SECOND, FIRST], [SECOND] * 3],
        [
            [0.8, 0.1, 0.1],
            [0.8446, 0.0498, 0.1056],
            [0.6868, 0.3132, 0],
            [0.7421, 0.2090, 0.0489],
            [0.7625, 0.1706, 0.0669],
            [0.7730, 0.1508, 0.0762],
        ],
        [
            [[0.1013, 0], [0.1013, 0], [0.1013, 0]],
            [[0.1924, 0], [0.0908, 0.2987], [0.1924, 0]],
            [[0.1715, 0.1013], [0.0815, 0.3697], [0.4336, 0]],
            [[0.1531, 0.1924], [0.0731, 0.4336], [0.3608, 0.1013]],
            [[0.1369, 0.2742], [0.0656, 0.4910], [0.3103, 0.1924]],
            [[0.1225, 0.3478], [0.0588, 0.5426], [0.2712, 0.2742]],
        ],
    ),
    "kappa moves last": (
        YUMA3,
        KAPPA_STAKE,
        [[FIRST] * 3, [FIRST, SECOND, FIRST], [FIRST, SECOND, SECOND], [SECOND] * 3],
        [
            [0.8, 0.1, 0.1],
            [0.8446, 0.0498, 0.1056],
            [0.8966, 0.0333, 0.0701],
            [0.4663, 0.3210, 0.2127],
            [0.5976, 0.2340, 0.1683],
            [0.6592, 0.1932, 0.1475],
        ],
        [
            [[0.1013, 0], [0.1013, 0], [0.1013, 0]],
            [[0.1924, 0], [0.0908, 0.2987], [0.1924, 0]],
            [[0.2742, 0], [0.0815, 0.5081], [0.1715, 0.2987]],
            [[0.2416, 0.1013], [0.0731, 0.5580], [0.1531, 0.3697]],
            [[0.2141, 0.1924], [0.0656, 0.6028], [0.1369, 0.4336]],
            [[0.1903, 0.2742], [0.0588, 0.6430], [0.1225, 0.4910]],
        ],
    ),
    "one epoch switch": (
        YUMA3,
        EVEN_STAKE,
        SWITCH,
        [
            [0.33, 0.33, 0.34],
            [0.33, 0.33, 0.34],
            [0.3782, 0.3782, 0.2436],
            [0.3628, 0.3628, 0.2745],
            [0.3541, 0.3541, 0.2917],
            [0.3487, 0.3487, 0.3026],
        ],
        [
            [[0.1013, 0], [0.1013, 0], [0.1013, 0]],
            [[0.1924, 0], [0.1924, 0], [0.1924, 0]],
            [[0.2742, 0], [0.2742, 0], [0.1715, 0.2987]],
            [[0.3478, 0], [0.3478, 0], [0.2554, 0.2618]],
            [[0.4139, 0], [0.4139, 0], [0.3309, 0.2312]],
            [[0.4733, 0], [0.4733, 0], [0.3987, 0.2051]],
        ],
    ),
    "liquid alpha disabled": (
        replace(YUMA3, liquid_alpha=False),
        EVEN_STAKE,
        SWITCH,
        [
            [0.33, 0.33, 0.34],
            [0.33, 0.33, 0.34],
            [0.3734, 0.3734, 0.2532],
            [0.3611, 0.3611, 0.2779],
            [0.3541, 0.3541, 0.2919],
            [0.3495, 0.3495, 0.3009],
        ],
        [
            [[0.0250, 0], [0.0250, 0], [0.0250, 0]],
            [[0.0494, 0], [0.0494, 0], [0.0494, 0]],
            [[0.0731, 0], [0.0731, 0], [0.0481, 0.0250]],
            [[0.0963, 0], [0.0963, 0], [0.0719, 0.0244]],
            [[0.1189, 0], [0.1189, 0], [0.0951, 0.0238]],
            [[0.1409, 0], [0.1409, 0], [0.1178, 0.0232]],
        ],
    ),
    "stable miner": (
        YUMA3,
        [8, 1, 1, 0, 0, 0],
        [
            [[HALF, 0, HALF]] * 3,
            [[HALF, 0, HALF], [0, HALF, HALF], [HALF, 0, HALF]],
            [[0, HALF, HALF], [0, HALF, HALF], [HALF, 0, HALF]],
            [[0, HALF, HALF]] * 3,
        ],
        [
            [0.8, 0.1, 0.1],
            [0.8226, 0.0745, 0.1028],
            [0.7750, 0.1685, 0.0565],
            [0.7864, 0.1372, 0.0764],
            [0.7912, 0.1241, 0.0847],
            [0.7937, 0.1173, 0.0890],
        ],
        [
            [[0.0507, 0, 0.0507]] * 3,
            [[0.0962, 0, 0.0962], [0.0455, 0.1000, 0.0962], [0.0962, 0, 0.0962]],
            [[0.0863, 0.0507, 0.1371], [0.0408, 0.1405, 0.1371], [0.1770, 0, 0.1371]],
            [[0.0774, 0.0962, 0.1739], [0.0367, 0.1770, 0.1739], [0.1579, 0.0507, 0.1739]],
            [[0.0694, 0.1371, 0.2069], [0.0329, 0.2097, 0.2069], [0.1411, 0.0962, 0.2069]],
            [[0.0623, 0.1739, 0.2366], [0.0296, 0.2391, 0.2366], [0.1263, 0.1371, 0.2366]],
        ],
    ),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_yuma_3(name: str) -> None:
    rules, stake, moves, dividends, bonds = SCENARIOS[name]
    replay = Replay(new_subnet(stake), rules)
    replay.go_to(1)
    replay.run()
    for step, (expected_dividends, expected_bonds) in enumerate(zip(dividends, bonds, strict=True)):
        if step < len(moves):
            for uid, values in enumerate(moves[step]):
                replay.set_weights(uid, range(3, len(stake)), values)
        replay.go_to(replay.subnet.block + 1)
        epoch = replay.run()
        assert_allclose(epoch.dividends[:3], expected_dividends, atol=1e-3)
        assert_allclose(replay.subnet.bonds[:3, 3:], expected_bonds, atol=1e-3)


def test_yuma_3_bonds_reset() -> None:
    replay = Replay(new_subnet(KAPPA_STAKE), YUMA3)
    replay.go_to(1)
    replay.run()
    expected = {
        0: [0.8, 0.1, 0.1],
        1: [0.8944, 0.0528, 0.0528],
        2: [0.5230, 0.2385, 0.2385],
        19: [0.7919, 0.1040, 0.1040],
        20: [0.7928, 0.1036, 0.1036],
        21: [0.8467, 0.0766, 0.0766],
        40: [0.7928, 0.1036, 0.1036],
    }
    for step in range(41):
        if step == 0 or step > 21:
            rows = [FIRST] * 3
        elif step in (1, 21):
            rows = [FIRST, SECOND, SECOND] if step == 1 else [SECOND, FIRST, FIRST]
        else:
            rows = [SECOND] * 3
        for uid, values in enumerate(rows):
            replay.set_weights(uid, [3, 4], values)
        if step == 20:
            bonds = replay.subnet.bonds.copy()
            bonds[:, 3] = 0
            replay.subnet = replace(replay.subnet, bonds=bonds)
        replay.go_to(replay.subnet.block + 1)
        epoch = replay.run()
        if step in expected:
            assert_allclose(epoch.dividends[:3], expected[step], atol=1e-3)


def test_liquid_alpha_between_equal_bounds_is_the_plain_average() -> None:
    plain = replace(YUMA3, bonds_moving_average=0.9, liquid_alpha=False)
    liquid = replace(YUMA3, alpha_low=0.1, alpha_high=0.1)
    dividends = []
    for rules in (plain, liquid):
        replay = Replay(new_subnet(KAPPA_STAKE), rules)
        for rows in ([FIRST] * 3, [SECOND, FIRST, FIRST], [SECOND] * 3):
            replay.go_to(replay.subnet.block + 1)
            for uid, values in enumerate(rows):
                replay.set_weights(uid, [3, 4], values)
            dividends.append(replay.run().dividends)
    assert_allclose(dividends[:3], dividends[3:], atol=1e-9)


def test_an_absent_weight_loses_its_liquid_bond_and_a_zero_one_keeps_it() -> None:
    remaining = []
    for targets, values in (([3, 4], [0, 65535]), ([4], [65535])):
        replay = Replay(new_subnet(KAPPA_STAKE), YUMA3)
        replay.go_to(1)
        for uid in range(3):
            replay.set_weights(uid, [3, 4], [30000, 65535])
        replay.run()
        replay.set_weights(0, targets, values)
        replay.run()
        remaining.append(replay.subnet.bonds[0, 3])
    assert remaining[0] > 0.02
    assert remaining[1] == 0


def test_a_permit_goes_to_the_largest_stakes_and_counts_from_the_next_epoch() -> None:
    replay = Replay(new_subnet([5, 30, 20, 0]), YumaRules(max_validators=2))
    replay.go_to(1)
    replay.set_weights(0, [3], [65535])
    epoch = replay.run()
    assert_array_equal(epoch.permit, [False, True, True, False])
    assert replay.subnet.bonds[0, 3] == 0, "bonds go with the permit"
    replay.subnet = replace(replay.subnet, stake=np.array([90, 30, 20, 0]))
    epoch = replay.run()
    assert epoch.active_stake[0] == 0
    assert_array_equal(epoch.permit, [True, True, False, False])


def test_the_owner_validates_without_stake_and_may_weight_itself() -> None:
    subnet = replace(new_subnet([0, 10, 0]), owner=1, permit=np.zeros(3, np.bool_))
    replay = Replay(subnet, YumaRules(max_validators=0, stake_threshold=100))
    replay.go_to(1)
    replay.set_weights(1, [1, 2], [65535, 65535])
    epoch = replay.run()
    assert_allclose(epoch.incentive, [0, 0.5, 0.5])
    assert_array_equal(epoch.permit, [False, True, False])


def test_weights_committed_before_a_registration_are_not_inherited() -> None:
    subnet = replace(new_subnet([10, 0, 0]), registered=np.array([0, 0, 7]), block=9)
    replay = Replay(subnet, YumaRules())
    replay.set_weights(0, [1, 2], [65535, 65535])
    assert_allclose(run_epoch(replay.subnet, replay.rules).incentive, [0, 0.5, 0.5])
    late = np.iinfo(np.int64).max
    masked = replace(replay.subnet, committed=np.array([6, late, late]))
    assert_allclose(run_epoch(masked, replay.rules).incentive, [0, 1, 0])
    on_time = replace(replay.subnet, committed=np.array([7, late, late]))
    assert_allclose(run_epoch(on_time, replay.rules).incentive, [0, 0.5, 0.5])


# From the chain's test_math_weighted_median.
@pytest.mark.parametrize(
    ("stake", "score", "expected"),
    [
        ([0.51], [1.0], 1.0),
        ([0.49, 0.51], [0.5, 1.0], 1.0),
        ([0.51, 0.49], [0.5, 1.0], 0.5),
        ([0.49, 0.0, 0.51], [0.5, 0.7, 1.0], 1.0),
        ([0.49, 0.01, 0.5], [0.5, 0.7, 1.0], 0.7),
        ([0.49, 0.51, 0.0], [0.5, 0.7, 1.0], 0.7),
        ([0.0, 0.49, 0.0, 0.51, 0.0], [0.5, 0.5, 1.0, 1.0, 0.5], 1.0),
        ([0.2] * 5, [0.8, 0.2, 1.0, 0.6, 0.4], 0.6),
        ([0.1] * 10, [0.8, 0.8, 0.2, 0.2, 1.0, 1.0, 0.6, 0.6, 0.4, 0.4], 0.6),
    ],
)
def test_consensus_is_the_stake_weighted_quantile(
    stake: list[float], score: list[float], expected: float
) -> None:
    assert consensus(np.array(score)[:, None], np.array(stake), 0.51)[0] == expected


@st.composite
def subnets(draw: st.DrawFn) -> Subnet:
    n = draw(st.integers(2, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    subnet = new_subnet(rng.integers(0, 50, n).tolist())
    return replace(
        subnet,
        block=10,
        last_update=rng.integers(0, 10, n),
        registered=rng.integers(0, 6, n),
        permit=rng.random(n) < 0.7,
        weights=rng.integers(0, 65536, (n, n)).astype(float),
        entries=rng.random((n, n)) < 0.6,
        bonds=rng.integers(0, 65536, (n, n)) / 65535,
        bonded_until=3,
    )


all_rules = st.sampled_from([YumaRules(), YUMA3, replace(YUMA3, liquid_alpha=False, bonds_penalty=1.0)])


@settings(max_examples=60, deadline=None)
@given(subnets(), all_rules)
def test_shares_sum_to_one_or_nothing_and_emission_sums_up_exactly(subnet: Subnet, rules: YumaRules) -> None:
    epoch = run_epoch(subnet, rules)
    for vector in (epoch.incentive, epoch.dividends, epoch.active_stake):
        assert vector.sum() == pytest.approx(1) or not vector.any()
        assert (vector >= 0).all()
    for amount in (1, 7, 360 * BILLION):
        server, validator = split_emission(epoch, amount)
        assert min(server + validator) >= 0
        assert sum(server) + sum(validator) == (amount if epoch.stake.any() else 0)


@settings(max_examples=60, deadline=None)
@given(subnets(), all_rules)
def test_nobody_gains_by_another_uid(subnet: Subnet, rules: YumaRules) -> None:
    n = len(subnet.stake)
    # Distinct stakes: of equal ones the higher uid gets the last permit.
    subnet = replace(subnet, stake=subnet.stake * n + np.arange(n))
    order = np.random.default_rng(n).permutation(n)
    moved = replace(
        subnet,
        **{name: getattr(subnet, name)[order] for name in ("stake", "last_update", "registered", "permit")},
        **{name: getattr(subnet, name)[order][:, order] for name in ("weights", "entries", "bonds")},
    )
    before, after = run_epoch(subnet, rules), run_epoch(moved, rules)
    for name in ("incentive", "dividends", "consensus", "permit"):
        assert_allclose(getattr(after, name), getattr(before, name)[order], atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(subnets(), all_rules)
def test_weights_without_stake_change_nothing(subnet: Subnet, rules: YumaRules) -> None:
    stake = subnet.stake.copy()
    stake[0] = 0
    subnet = replace(subnet, stake=stake)
    entries = subnet.entries.copy()
    entries[0] = False
    before, after = run_epoch(subnet, rules), run_epoch(replace(subnet, entries=entries), rules)
    assert_allclose(before.incentive, after.incentive, atol=1e-9)
    assert_allclose(before.consensus, after.consensus, atol=1e-9)
