from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from veridical.errors import NetworkError
from veridical.network.chain import RAO, Address, CommitReveal, Hyperparameters, WeightVector
from veridical.network.chain import errors as refused
from veridical.network.chain._operations import sign_operation, sign_ownership
from veridical.network.chain.ledger import QUICK, LocalLedger
from veridical.network.identity import DevelopmentWallet

MakeWallet = Callable[[str], DevelopmentWallet]

SALT = tuple(range(100, 108))
OPEN = dataclasses.replace(QUICK, commit_reveal=CommitReveal.OFF)


def hotkey(wallet: DevelopmentWallet) -> str:
    return wallet.hotkey.ss58_address


def populate(ledger: LocalLedger, wallets: list[DevelopmentWallet], stakes: list[int]) -> None:
    """Register all, stake, and let an epoch pass, so that permits are given."""
    for wallet, stake in zip(wallets, stakes, strict=True):
        ledger.register(wallet)
        if stake:
            ledger.stake(wallet, stake * RAO)
    ledger.advance(ledger.hyperparameters().tempo)


def commit(ledger: LocalLedger, wallet: DevelopmentWallet, weights: WeightVector) -> None:
    ledger.commit_weights(wallet, weights.commitment(hotkey(wallet), ledger.netuid, SALT))


@pytest.fixture
def four(wallet: MakeWallet) -> list[DevelopmentWallet]:
    """Two validators and two miners."""
    return [wallet(name) for name in ("val-a", "val-b", "miner-c", "miner-d")]


@pytest.fixture
def open_ledger(tmp_path: Path) -> LocalLedger:
    """One on which weights are set in the open."""
    return LocalLedger.create(tmp_path / "open.ledger", hyperparameters=OPEN)


def earned_of(ledger: LocalLedger) -> dict[str, int]:
    """All that every hotkey was ever paid, in rao; also of those that are not registered any more."""
    return dict(tuple(row) for row in ledger._connection.execute("SELECT hotkey, earned FROM accounts"))


def test_registered_neurons_show_in_the_metagraph(ledger: LocalLedger, four: list[DevelopmentWallet]) -> None:
    assert [ledger.register(wallet) for wallet in four] == [0, 1, 2, 3]
    ledger.stake(four[0], 5 * RAO)
    ledger.stake(four[0], 2 * RAO)
    ledger.serve(four[2], Address("127.0.0.1", 8091))
    graph = ledger.metagraph()
    assert [neuron.hotkey for neuron in graph.neurons] == [hotkey(wallet) for wallet in four]
    assert graph.neurons[0].stake == 7 * RAO
    assert graph.neurons[2].coldkey == four[2].coldkeypub.ss58_address
    assert str(graph.neurons[2].address) == "127.0.0.1:8091"
    assert graph.by_hotkey(hotkey(four[3])) == graph.neurons[3]
    assert graph.by_hotkey("5F") is None
    with pytest.raises(refused.HotKeyAlreadyRegisteredInSubNet):
        ledger.register(four[0])


def test_calls_of_strangers_and_nonsense_are_refused(ledger: LocalLedger, wallet: MakeWallet) -> None:
    weights = WeightVector((0,), (1,))
    stranger = wallet("stranger")
    calls: list[Callable[[], None]] = [
        lambda: ledger.stake(stranger, 5),
        lambda: ledger.serve(stranger, Address("127.0.0.1", 1)),
        lambda: commit(ledger, stranger, weights),
    ]
    for call in calls:
        with pytest.raises(refused.HotKeyNotRegisteredInSubNet):
            call()
    with pytest.raises(refused.NoWeightsCommitFound):
        ledger.reveal_weights(stranger, weights, SALT)
    ledger.register(stranger)
    for ip in ("localhost", "0.0.0.0", "224.0.0.1", "1.2.3"):
        with pytest.raises(refused.InvalidIpAddress):
            ledger.serve(stranger, Address(ip, 8091))
    for port in (0, 65536):
        with pytest.raises(refused.InvalidPort):
            ledger.serve(stranger, Address("127.0.0.1", port))
    for amount in (0, -1):
        with pytest.raises(refused.AmountTooLow):
            ledger.stake(stranger, amount)
    with pytest.raises(refused.NotEnoughBalanceToStake):
        ledger.stake(stranger, 10**17)


def test_an_address_may_not_change_too_often(tmp_path: Path, wallet: MakeWallet) -> None:
    rules = dataclasses.replace(QUICK, serving_rate_limit=50)
    miner = wallet("miner")
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        ledger.register(miner)
        ledger.serve(miner, Address("127.0.0.1", 1))
        ledger.advance(49)
        with pytest.raises(refused.ServingRateLimitExceeded):
            ledger.serve(miner, Address("127.0.0.1", 2))
        ledger.advance(1)
        ledger.serve(miner, Address("::1", 2))
        assert str(ledger.metagraph().neurons[0].address) == "[::1]:2"


def test_what_is_wrong_with_weights_is_told_as_on_the_chain(
    tmp_path: Path, four: list[DevelopmentWallet]
) -> None:
    rules = dataclasses.replace(
        OPEN, weights_version=3, min_allowed_weights=2, max_weights_limit=40000, stake_threshold=RAO
    )
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        for wallet in four:
            ledger.register(wallet)
        ledger.stake(four[0], 9 * RAO)
        ledger.advance(5)
        good = WeightVector((2, 3), (65535, 65535), version_key=3)
        with pytest.raises(refused.NeuronNoValidatorPermit):
            ledger.set_weights(four[0], good)
        ledger.advance(15)
        wrong = [
            (refused.WeightVecNotEqualSize, dataclasses.replace(good, values=(1,))),
            (
                refused.UidsLengthExceedUidsInSubNet,
                dataclasses.replace(good, uids=tuple(range(5)), values=(1,) * 5),
            ),
            (refused.IncorrectWeightVersionKey, dataclasses.replace(good, version_key=2)),
            (refused.DuplicateUids, dataclasses.replace(good, uids=(2, 2))),
            (refused.UidVecContainInvalidOne, dataclasses.replace(good, uids=(2, 4))),
            (refused.WeightVecLengthIsLow, WeightVector((2,), (1,), 3)),
            (refused.MaxWeightExceeded, dataclasses.replace(good, values=(65535, 100))),
        ]
        for error, weights in wrong:
            with pytest.raises(error) as raised:
                ledger.set_weights(four[0], weights)
            assert raised.value.code == error.__name__
        with pytest.raises(refused.NotEnoughStakeToSetWeights):
            ledger.set_weights(four[1], good)
        with pytest.raises(refused.CommitRevealDisabled):
            ledger.commit_weights(four[0], bytes(32))
        assert ledger.weights() == {}
        ledger.set_weights(four[0], good)
        assert ledger.weights() == {0: {2: 0.5, 3: 0.5}}


def test_weights_may_not_change_too_often(open_ledger: LocalLedger, four: list[DevelopmentWallet]) -> None:
    populate(open_ledger, four, [9, 1, 0, 0])
    weights = WeightVector((2,), (1,))
    open_ledger.set_weights(four[0], weights)
    open_ledger.advance(OPEN.weights_rate_limit - 1)
    with pytest.raises(refused.SettingWeightsTooFast):
        open_ledger.set_weights(four[0], weights)
    open_ledger.advance(1)
    open_ledger.set_weights(four[0], weights)
    assert open_ledger.metagraph().neurons[0].last_update == open_ledger.block()


def test_only_the_largest_stakes_get_permits_and_all_may_weight_themselves(
    tmp_path: Path, four: list[DevelopmentWallet]
) -> None:
    rules = dataclasses.replace(OPEN, max_validators=1)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        populate(ledger, four, [1, 9, 0, 0])
        assert [neuron.permit for neuron in ledger.metagraph().neurons] == [False, True, False, False]
        with pytest.raises(refused.NeuronNoValidatorPermit):
            ledger.set_weights(four[0], WeightVector((2, 3), (1, 1)))
        ledger.set_weights(four[0], WeightVector((0,), (1,)))


def test_committed_weights_are_hidden_until_their_epoch(
    ledger: LocalLedger, four: list[DevelopmentWallet]
) -> None:
    populate(ledger, four, [9, 1, 0, 0])
    validator, weights = four[0], WeightVector.from_shares({2: 0.75, 3: 0.25})
    with pytest.raises(refused.CommitRevealEnabled):
        ledger.set_weights(validator, weights)
    commit(ledger, validator, weights)
    (opened,) = ledger.open_commits(hotkey(validator))
    assert (opened.block, opened.reveal_epoch) == (ledger.block(), ledger.epoch() + 1)
    with pytest.raises(refused.RevealTooEarly):
        ledger.reveal_weights(validator, weights, SALT)
    with pytest.raises(refused.CommittingWeightsTooFast):
        commit(ledger, validator, weights)
    with pytest.raises(refused.NoWeightsCommitFound):
        ledger.reveal_weights(four[1], weights, SALT)

    ledger.advance(20)
    assert ledger.epoch() == opened.reveal_epoch
    assert ledger.weights() == {}
    for other, salt in ((weights, SALT[1:]), (WeightVector((2,), (65535,)), SALT)):
        with pytest.raises(refused.InvalidRevealCommitHashNotMatch):
            ledger.reveal_weights(validator, other, salt)
    ledger.reveal_weights(validator, weights, SALT)
    assert ledger.weights()[0] == pytest.approx({2: 0.75, 3: 0.25}, abs=1e-4)
    assert ledger.open_commits(hotkey(validator)) == ()
    with pytest.raises(refused.NoWeightsCommitFound):
        ledger.reveal_weights(validator, weights, SALT)


def test_a_reveal_that_comes_too_late_is_refused(tmp_path: Path, four: list[DevelopmentWallet]) -> None:
    rules = dataclasses.replace(QUICK, commit_reveal_period=2)
    weights = WeightVector((2,), (1,))
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        populate(ledger, four, [9, 1, 0, 0])
        commit(ledger, four[0], weights)
        ledger.advance(39)
        with pytest.raises(refused.RevealTooEarly):
            ledger.reveal_weights(four[0], weights, SALT)
        ledger.advance(21)
        with pytest.raises(refused.ExpiredWeightCommit):
            ledger.reveal_weights(four[0], weights, SALT)
        assert ledger.open_commits(hotkey(four[0])) == ()
        assert ledger.weights() == {}


def test_ten_commitments_may_be_open(tmp_path: Path, four: list[DevelopmentWallet]) -> None:
    rules = dataclasses.replace(QUICK, weights_rate_limit=0)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        populate(ledger, four, [9, 1, 0, 0])
        for number in range(1, 11):
            commit(ledger, four[0], WeightVector((2, 3), (number, 1)))
        with pytest.raises(refused.TooManyUnrevealedCommits):
            commit(ledger, four[0], WeightVector((2,), (1,)))
        ledger.advance(20)
        # A reveal drops the older ones, and keeps the younger.
        ledger.reveal_weights(four[0], WeightVector((2, 3), (7, 1)), SALT)
        assert len(ledger.open_commits(hotkey(four[0]))) == 3
        ledger.advance(20)
        commit(ledger, four[0], WeightVector((2,), (1,)))
        assert len(ledger.open_commits(hotkey(four[0]))) == 1


def test_with_the_longest_reveal_period_weights_are_committed_in_every_epoch(
    tmp_path: Path, four: list[DevelopmentWallet]
) -> None:
    rules = dataclasses.replace(QUICK, commit_reveal_period=10)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        populate(ledger, four, [9, 1, 0, 0])
        for epoch in range(14):
            if epoch >= 10:
                ledger.reveal_weights(four[0], WeightVector((2, 3), (epoch - 9, 1)), SALT)
            commit(ledger, four[0], WeightVector((2, 3), (epoch + 1, 1)))
            ledger.advance(20)
        assert len(ledger.open_commits(hotkey(four[0]))) == 10
        assert ledger.weights()[0][2] == pytest.approx(4 / 5, abs=1e-4)


def test_an_epoch_pays_by_weights_and_keeps_a_record(
    ledger: LocalLedger, four: list[DevelopmentWallet]
) -> None:
    populate(ledger, four, [6, 4, 0, 0])
    weights = WeightVector.from_shares({2: 0.75, 3: 0.25})
    for validator in four[:2]:
        commit(ledger, validator, weights)
    ledger.advance(20)
    for validator in four[:2]:
        ledger.reveal_weights(validator, weights, SALT)
    earned = earned_of(ledger)
    ledger.advance(20)

    record = ledger.history(last=1)[0]
    assert (record.epoch, record.block, record.emission) == (2, 61, 20 * RAO)
    assert [row.incentive for row in record.neurons] == pytest.approx([0, 0, 0.75, 0.25], abs=1e-4)
    assert [row.dividends for row in record.neurons] == pytest.approx([0.6, 0.4, 0, 0], abs=1e-4)
    assert sum(row.server_emission for row in record.neurons) == pytest.approx(10 * RAO, abs=1)
    for wallet, row, neuron in zip(four, record.neurons, ledger.metagraph().neurons, strict=True):
        paid = row.server_emission + row.validator_emission
        assert neuron.emission == paid
        assert earned_of(ledger)[hotkey(wallet)] - earned[hotkey(wallet)] == paid
    assert [record.epoch for record in ledger.history()] == [0, 1, 2]
    assert sum(earned_of(ledger).values()) == sum(record.emission for record in ledger.history()) == 60 * RAO


def test_without_stake_nothing_is_paid(ledger: LocalLedger, wallet: MakeWallet) -> None:
    ledger.advance(20)
    ledger.register(wallet("miner"))
    ledger.advance(20)
    assert [record.emission for record in ledger.history()] == [0, 0]


def test_the_neuron_that_earned_least_makes_room_after_its_immunity(
    tmp_path: Path, four: list[DevelopmentWallet], wallet: MakeWallet
) -> None:
    rules = dataclasses.replace(OPEN, max_uids=4, immunity_period=30)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        populate(ledger, four, [6, 4, 0, 0])
        for validator in four[:2]:
            ledger.set_weights(validator, WeightVector((2, 3), (65535, 20000)))
        ledger.serve(four[3], Address("127.0.0.1", 1))
        ledger.advance(20)
        newcomer = wallet("newcomer")
        assert ledger.register(newcomer) == 3
        neuron = ledger.metagraph().neurons[3]
        assert (neuron.hotkey, neuron.emission, neuron.address, neuron.permit) == (
            hotkey(newcomer),
            0,
            None,
            False,
        )
        assert neuron.registered == neuron.last_update == ledger.block()
        assert ledger.weights() == {0: {2: 1.0}, 1: {2: 1.0}}, "the newcomer does not inherit weights"
        # Of the rest all are past their immunity; the newcomer, who earned nothing, is not.
        assert ledger.register(wallet("another")) != 3
        with pytest.raises(refused.HotKeyNotRegisteredInSubNet):
            ledger.set_weights(four[3], WeightVector((3,), (1,)))
        assert earned_of(ledger)[hotkey(four[3])] > 0, "what was earned stays"


def test_when_all_are_immune_the_oldest_of_the_poorest_goes_but_never_the_owner(
    tmp_path: Path, four: list[DevelopmentWallet], wallet: MakeWallet
) -> None:
    rules = dataclasses.replace(OPEN, max_uids=2)
    owner = four[0]
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules, owner=hotkey(owner)) as ledger:
        ledger.register(owner)
        ledger.register(four[1])
        assert ledger.register(four[2]) == 1
        assert ledger.metagraph().neurons[0].hotkey == hotkey(owner)
    rules = dataclasses.replace(OPEN, max_uids=1)
    with LocalLedger.create(tmp_path / "m", hyperparameters=rules, owner=hotkey(owner)) as ledger:
        ledger.register(owner)
        with pytest.raises(refused.NoNeuronIdAvailable):
            ledger.register(four[1])


def owned_by(owner: DevelopmentWallet, hotkey: DevelopmentWallet) -> DevelopmentWallet:
    """Another hotkey of the owner's coldkey."""
    return DevelopmentWallet(hotkey=hotkey.hotkey, coldkey=owner.coldkey)


@pytest.fixture
def full(tmp_path: Path, wallet: MakeWallet) -> Iterator[LocalLedger]:
    """Of its miners `good` earned and `bad` did not; there is no room for a third, and none is immune."""
    rules = dataclasses.replace(OPEN, max_uids=3, immunity_period=30, coldkey_penalty_period=100)
    with LocalLedger.create(tmp_path / "full", hyperparameters=rules) as ledger:
        populate(ledger, [wallet(name) for name in ("validator", "good", "bad")], [9, 0, 0])
        ledger.set_weights(wallet("validator"), WeightVector((1,), (65535,)))
        ledger.advance(20)
        yield ledger


def test_a_coldkey_that_lost_a_neuron_registers_no_new_hotkey_for_a_while(
    full: LocalLedger, wallet: MakeWallet
) -> None:
    bad, laundered = wallet("bad"), owned_by(wallet("bad"), wallet("laundered"))
    # Nor does it prune its own: a new hotkey would take the place, and a new immunity, of the old one.
    with pytest.raises(refused.ColdKeyInPenaltyWindow) as raised:
        full.register(laundered)
    assert raised.value.code == "ColdKeyInPenaltyWindow"
    assert full.penalties() == {}, "what is refused changes nothing"
    assert full.register(wallet("newcomer")) == 2
    pruned = full.block()
    assert full.penalties() == {bad.coldkeypub.ss58_address: pruned + 100}
    full.advance(99)
    with pytest.raises(refused.ColdKeyInPenaltyWindow, match=f"from {pruned + 100} on"):
        full.register(laundered)
    full.advance(1)
    assert full.penalties() == {}
    assert full.register(laundered) == 2
    assert full.metagraph().neurons[2].coldkey == bad.coldkeypub.ss58_address


def test_a_pruned_hotkey_comes_back_with_its_history_and_without_immunity(
    full: LocalLedger, wallet: MakeWallet
) -> None:
    full.register(wallet("newcomer"))
    full.advance(31)
    assert full.register(wallet("bad")) == 2
    full.advance()
    assert full.register(wallet("another")) == 2, "a newcomer would have been immune, and the poorest spared"
    full.advance(131)
    assert full.register(wallet("bad")) == 2
    full.advance()
    assert full.register(wallet("last")) != 2, "after the penalty it is a newcomer again"


def test_who_is_pruned_while_immune_is_not_penalised(tmp_path: Path, four: list[DevelopmentWallet]) -> None:
    with LocalLedger.create(tmp_path / "l", hyperparameters=dataclasses.replace(OPEN, max_uids=1)) as ledger:
        ledger.register(four[0])
        ledger.register(four[1])
        assert ledger.penalties() == {}
        ledger.register(owned_by(four[0], four[2]))
    rules = dataclasses.replace(OPEN, max_uids=1, immunity_period=0, coldkey_penalty_period=0)
    with LocalLedger.create(tmp_path / "m", hyperparameters=rules) as ledger:
        ledger.register(four[0])
        ledger.register(owned_by(four[0], four[2]))
        assert ledger.penalties() == {}, "the window can be closed"


def test_whose_a_hotkey_is_only_its_coldkey_can_say_and_only_once(
    ledger: LocalLedger, four: list[DevelopmentWallet]
) -> None:
    signer, victim = four[0].hotkey, four[1].coldkey.ss58_address
    wrong = {
        "another's coldkey": sign_ownership(four[0].coldkey, ledger.identity, hotkey(four[0])),
        "another hotkey": sign_ownership(four[1].coldkey, ledger.identity, hotkey(four[1])),
        "another ledger": sign_ownership(four[1].coldkey, "another", hotkey(four[0])),
    }
    for what, owned in wrong.items():
        claim = {"coldkey": victim, "owned": owned.hex()}
        with pytest.raises(refused.BadProof):
            ledger.submit(sign_operation(signer, ledger.identity, "register", claim))
        assert ledger.metagraph().neurons == (), what
    ledger.register(four[0])
    ledger.advance()
    with LocalLedger(ledger.path) as again:
        again._connection.execute("DELETE FROM neurons")
        with pytest.raises(refused.NonAssociatedColdKey):
            again.register(owned_by(four[1], four[0]))


def test_revealed_weights_do_not_reach_whoever_took_the_uid_since(
    tmp_path: Path, four: list[DevelopmentWallet], wallet: MakeWallet
) -> None:
    rules = dataclasses.replace(QUICK, max_uids=4, immunity_period=0)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        populate(ledger, four, [6, 4, 0, 0])
        weights = WeightVector((2, 3), (65535, 65535))
        commit(ledger, four[0], weights)
        ledger.advance(6)
        taken = ledger.register(wallet("sniper"))
        assert taken in (2, 3)
        commit(ledger, four[0], WeightVector((2,), (1,)))  # So that it was last heard of after the change.
        ledger.advance(20)
        ledger.reveal_weights(four[0], weights, SALT)
        ledger.advance(20)
        incentive = [neuron.incentive for neuron in ledger.metagraph().neurons]
        assert incentive[taken] == 0
        assert incentive[5 - taken] == 1


def test_registrations_per_block_are_limited(tmp_path: Path, four: list[DevelopmentWallet]) -> None:
    rules = dataclasses.replace(QUICK, max_regs_per_block=1)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules) as ledger:
        ledger.register(four[0])
        with pytest.raises(refused.TooManyRegistrationsThisBlock):
            ledger.register(four[1])
        ledger.advance()
        ledger.register(four[1])


def test_forged_replayed_and_misdirected_operations_are_refused(
    tmp_path: Path, ledger: LocalLedger, four: list[DevelopmentWallet]
) -> None:
    signer = four[0].hotkey
    ledger.register(four[0])
    stake = sign_operation(signer, ledger.identity, "stake", {"amount": 5})
    forgeries = [
        dataclasses.replace(stake, arguments='{"amount":500}'),
        dataclasses.replace(stake, kind="register"),
        dataclasses.replace(stake, nonce="0" * 32),
        dataclasses.replace(stake, hotkey=hotkey(four[1])),
        dataclasses.replace(stake, signature=bytes(64)),
        dataclasses.replace(stake, signature=b""),
        sign_operation(signer, "another ledger", "stake", {"amount": 5}),
        sign_operation(signer, ledger.identity, "mint", {"amount": 5}),
    ]
    for forgery in forgeries:
        with pytest.raises(refused.BadProof):
            ledger.submit(forgery)
    ledger.submit(stake)
    with pytest.raises(refused.Stale):
        ledger.submit(stake)
    with LocalLedger(ledger.path) as reopened:
        with pytest.raises(refused.Stale):
            reopened.submit(stake)
        assert reopened.metagraph().neurons[0].stake == 5


def test_a_refused_operation_cannot_be_tried_again_later(
    open_ledger: LocalLedger, four: list[DevelopmentWallet]
) -> None:
    populate(open_ledger, four, [9, 1, 0, 0])
    open_ledger.set_weights(four[0], WeightVector((2,), (1,)))
    arguments = dataclasses.asdict(WeightVector((3,), (1,)))
    hasty = sign_operation(four[0].hotkey, open_ledger.identity, "set_weights", arguments)
    with pytest.raises(refused.SettingWeightsTooFast):
        open_ledger.submit(hasty)
    open_ledger.advance(50)
    with pytest.raises(refused.Stale):
        open_ledger.submit(hasty)
    assert open_ledger.weights() == {0: {2: 1.0}}
    with sqlite3.connect(open_ledger.path) as connection:
        kept = connection.execute("SELECT error FROM operations WHERE nonce = ?", [hasty.nonce]).fetchall()
    connection.close()
    assert kept == [("SettingWeightsTooFast",)]


def test_blocks_follow_the_clock_and_epochs_are_caught_up(tmp_path: Path, wallet: MakeWallet) -> None:
    now = [1000.0]
    path = tmp_path / "l"
    with LocalLedger.create(path, block_seconds=2.0, clock=lambda: now[0]) as ledger:
        assert ledger.block() == 1
        validator = wallet("validator")
        ledger.register(validator)
        ledger.stake(validator, RAO)
        now[0] += 39.9
        assert (ledger.block(), ledger.epoch()) == (20, 0)
        now[0] += 0.1
        assert (ledger.block(), ledger.epoch()) == (21, 1)
        with pytest.raises(NetworkError) as raised:
            ledger.advance()
        assert raised.value.code == "ledger_clock"
    # Nobody looks for a while.
    now[0] += 400.0
    with LocalLedger(path, clock=lambda: now[0]) as ledger:
        assert ledger.metagraph().neurons[0].emission == 20 * RAO
        assert [record.block for record in ledger.history()] == [21 + 20 * i for i in range(11)]
        ledger.stake(validator, 1)
        now[0] -= 1000.0
        assert ledger.block() == 221, "a clock that is set back does not take blocks back"


def test_waiting_for_an_epoch_ends_with_it_or_with_patience(tmp_path: Path) -> None:
    rules = dataclasses.replace(QUICK, tempo=2)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules, block_seconds=0.05) as ledger:
        assert ledger.wait_for_epoch(timeout=30) >= 1
    with LocalLedger.create(tmp_path / "m") as ledger:
        with pytest.raises(NetworkError) as raised:
            ledger.wait_for_epoch(timeout=0.1)
        assert raised.value.code == "no_epoch"


def test_equal_calls_make_equal_histories(tmp_path: Path, four: list[DevelopmentWallet]) -> None:
    histories = []
    for name in ("one", "two"):
        with LocalLedger.create(tmp_path / name, hyperparameters=OPEN) as ledger:
            populate(ledger, four, [6, 4, 0, 0])
            for step in range(5):
                for validator in four[:2]:
                    ledger.set_weights(validator, WeightVector((2, 3), (65535, 9000 * step)))
                ledger.advance(20)
            histories.append((ledger.history(), ledger.metagraph(), earned_of(ledger)))
    assert histories[0] == histories[1]


def test_advancing_in_one_step_or_in_many_is_the_same(tmp_path: Path, four: list[DevelopmentWallet]) -> None:
    outcomes = []
    for steps in ([50], [1] * 50, [19, 2, 29]):
        with LocalLedger.create(tmp_path / str(len(steps)), hyperparameters=OPEN) as ledger:
            populate(ledger, four, [6, 4, 0, 0])
            for step in steps:
                ledger.advance(step)
            outcomes.append((ledger.block(), ledger.history()))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_ledger_is_never_replaced_and_holds_one_subnet(tmp_path: Path, ledger: LocalLedger) -> None:
    with pytest.raises(NetworkError) as raised:
        LocalLedger.create(ledger.path)
    assert raised.value.code == "ledger_exists"
    assert sorted(tmp_path.glob(".*")) == []
    with pytest.raises(refused.SubnetNotExists):
        LocalLedger(ledger.path, netuid=2)


def test_a_file_that_is_no_ledger_is_told(tmp_path: Path, ledger: LocalLedger) -> None:
    ledger.advance(100)
    ledger.close()
    whole = ledger.path.read_bytes()
    damaged = tmp_path / "damaged"
    damaged.write_bytes(whole[:5000] + bytes(3000) + whole[8000:])
    text = tmp_path / "text"
    text.write_text("not a database" * 500)
    other = tmp_path / "other"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (a)")
    connection.close()
    expected = {
        tmp_path / "absent": "no_ledger",
        damaged: "ledger_corrupt",
        text: "ledger_corrupt",
        other: "ledger_version",
    }
    for path, code in expected.items():
        with pytest.raises(NetworkError) as raised:
            LocalLedger(path)
        assert raised.value.code == code, path


def test_rules_that_cannot_be_are_refused(tmp_path: Path) -> None:
    timelock = dataclasses.replace(QUICK, commit_reveal=CommitReveal.TIMELOCK)
    endless = [dataclasses.replace(QUICK, commit_reveal_period=period) for period in (0, 11)]
    wrong = [timelock, dataclasses.replace(QUICK, tempo=0), *endless]
    for rules, seconds in (*((each, None) for each in wrong), (QUICK, 0.0)):
        with pytest.raises(NetworkError) as raised:
            LocalLedger.create(tmp_path / "l", hyperparameters=rules, block_seconds=seconds)
        assert raised.value.code == "bad_rules"


def test_rules_survive_the_file(tmp_path: Path) -> None:
    rules = Hyperparameters(tempo=7, yuma3_enabled=True, commit_reveal=CommitReveal.OFF)
    with LocalLedger.create(tmp_path / "l", hyperparameters=rules, netuid=34) as ledger:
        assert (ledger.hyperparameters(), ledger.netuid) == (rules, 34)
