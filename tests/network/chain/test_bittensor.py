"""`BittensorChain` over the real SDK, whose connection to a node (its `Substrate` contract) is a stand-in."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from veridical.errors import NetworkError
from veridical.network.chain import RAO, Address, CommitReveal, WeightVector
from veridical.network.chain import errors as refused
from veridical.network.chain.bittensor import BittensorChain
from veridical.network.identity import development_wallet

bittensor = pytest.importorskip("bittensor", reason="needs the extra 'network'")

ALICE, BOB = development_wallet("//Alice"), development_wallet("//Bob")
NETUID = 34


class StandIn:
    """A chain with one subnet: Alice validates, Bob serves. Any: decoded values, as the contract has them."""

    def __init__(self) -> None:
        self.token_symbols: dict[int, str] = {}
        self.commit_reveal = False
        self.refusal: Exception | None = None
        self.submitted: list[tuple[str, str, dict[str, Any], str]] = []
        self.registered = {ALICE.hotkey.ss58_address: 0, BOB.hotkey.ss58_address: 1}
        self.last_update = [100, 7]
        self.last_epoch_block = 900

    def balance(self, rao: int, netuid: int = 0) -> Any:
        return bittensor.Balance.from_rao(rao, netuid)

    async def connect(self) -> None: ...

    async def close(self) -> None: ...

    async def block_number(self) -> int:
        return 1000

    async def block_hash(self, block: int | None = None) -> str:
        return "0x00"

    async def block_time(self) -> float:
        return 12.0

    async def spec_version(self) -> int:
        return 425

    async def query(self, module: str, item: str, params: Any = None, block_hash: str | None = None) -> Any:
        values = {
            "SubnetEpochIndex": 12,
            "CommitRevealWeightsEnabled": self.commit_reveal,
            "WeightsSetRateLimit": 100,
            "LastUpdate": self.last_update,
            "MinAllowedWeights": 1,
            "MaxWeightsLimit": 65535,
            "SubnetEpochConsensus": "Yuma",
            "Tempo": 360,
            "RevealPeriodEpochs": 1,
            "LastEpochBlock": self.last_epoch_block,
            "PendingEpochAt": 0,
            "BlocksSinceLastStep": 100,
        }
        if item == "Uids":
            return self.registered.get(params[1])
        return values.get(item)

    async def query_map(self, module: str, item: str, params: Any = None, block_hash: str | None = None) -> Any:
        return {"Weights": [(0, [(0, 65535), (1, 65535)]), (1, [])]}.get(item, [])

    async def runtime_call(self, api: str, method: str, params: Any, block_hash: str | None = None) -> Any:
        if params != [NETUID]:
            return None
        if method == "get_metagraph":
            return metagraph()
        if method == "get_subnet_hyperparams_v3":
            return [
                {"name": "tempo", "value": {"U16": 99}},
                {"name": "commit_reveal_weights_enabled", "value": {"Bool": self.commit_reveal}},
                {"name": "weights_version", "value": {"U64": 5}},
                {"name": "max_allowed_uids", "value": {"U16": 64}},
                {"name": "alpha_sigmoid_steepness", "value": {"I32F32": {"bits": 1000 << 32}}},
                {"name": "burn_half_life", "value": {"U16": 3}},
            ]
        raise AssertionError(method)

    async def blocks(self, *, finalized: bool = False) -> Any:
        while True:
            self.last_epoch_block += 360
            yield {"number": self.last_epoch_block, "header": {"number": self.last_epoch_block}}

    async def compose(self, call: Any) -> Any:
        return call

    async def estimate_fee(self, call: Any, keypair: Any) -> Any:
        return bittensor.Balance.from_rao(1)

    async def submit(self, call: Any, keypair: Any, **options: Any) -> Any:
        module, function, params = call
        self.submitted.append((module, function, params, keypair.ss58_address))
        if self.refusal is not None:
            return bittensor.ExtrinsicResult(success=False, message=str(self.refusal), error=self.refusal)
        return bittensor.ExtrinsicResult(success=True)


def metagraph() -> dict[str, Any]:
    columns: dict[str, list[Any]] = {
        "hotkeys": [ALICE.hotkey.ss58_address, BOB.hotkey.ss58_address],
        "coldkeys": [ALICE.coldkey.ss58_address, BOB.coldkey.ss58_address],
        "active": [True, False],
        "validator_permit": [True, False],
        "last_update": [100, 7],
        "block_at_registration": [3, 7],
        "rank": [0, 65535],
        "trust": [0, 0],
        "consensus": [0, 65535],
        "incentives": [0, 65535],
        "dividends": [65535, 0],
        "pruning_score": [0, 0],
        "emission": [5, 6],
        "alpha_stake": [RAO, 0],
        "tao_stake": [RAO, 0],
        "total_stake": [2 * RAO, 0],
        "identities": [None, None],
        "axons": [
            {"ip": 0, "port": 0, "ip_type": 4},
            {"ip": int(ipaddress.ip_address("203.0.113.7")), "port": 8091, "ip_type": 4},
        ],
    }
    facts: dict[str, Any] = {
        "netuid": NETUID,
        "name": "x",
        "symbol": "x",
        "block": 1000,
        "tempo": 360,
        "last_step": 900,
        "blocks_since_last_step": 100,
        "owner_hotkey": ALICE.hotkey.ss58_address,
        "owner_coldkey": ALICE.coldkey.ss58_address,
        "network_registered_at": 1,
    }
    return {**facts, **columns}


@contextmanager
def connected(node: StandIn, netuid: int = NETUID) -> Iterator[BittensorChain]:
    """A chain on that node; closes the event loop too, which the SDK leaves open."""
    client = bittensor.SyncClient("test", substrate=node)
    loop = client._loop
    try:
        yield BittensorChain("test", netuid, client=client)
    finally:
        client.close()
        loop._loop.close()


@pytest.fixture
def node() -> StandIn:
    return StandIn()


@pytest.fixture
def chain(node: StandIn) -> Iterator[BittensorChain]:
    with connected(node) as chain:
        yield chain


def test_the_metagraph_has_our_form(chain: BittensorChain) -> None:
    graph = chain.metagraph()
    assert (graph.netuid, graph.block, chain.epoch()) == (NETUID, 1000, 12)
    alice, bob = graph.neurons
    assert (alice.stake, alice.permit, alice.dividends, alice.address) == (2 * RAO, True, 1.0, None)
    assert (bob.incentive, bob.emission, bob.registered, bob.active) == (1.0, 6, 7, False)
    assert bob.address == Address("203.0.113.7", 8091)
    assert chain.weights() == {0: {0: 0.5, 1: 0.5}}


def test_hyperparameters_are_the_chains(chain: BittensorChain, node: StandIn) -> None:
    rules = chain.hyperparameters()
    assert (rules.tempo, rules.weights_version, rules.max_uids) == (99, 5, 64)
    assert (rules.alpha_sigmoid_steepness, rules.commit_reveal) == (1000, CommitReveal.OFF)
    node.commit_reveal = True
    assert chain.hyperparameters().commit_reveal is CommitReveal.TIMELOCK


def test_a_subnet_that_does_not_exist_is_told(node: StandIn) -> None:
    with connected(node, netuid=999) as other:
        for read in (other.metagraph, other.hyperparameters):
            with pytest.raises(refused.SubnetNotExists):
                read()


def test_weights_are_set_as_they_were_made_and_signed_by_the_hotkey(
    chain: BittensorChain, node: StandIn
) -> None:
    chain.set_weights(ALICE, WeightVector((0, 1), (65535, 13), version_key=5))
    ((_, function, params, signer),) = node.submitted
    assert function == "set_mechanism_weights"
    assert (params["dests"], params["weights"], params["version_key"]) == ([0, 1], [65535, 13], 5)
    assert signer == ALICE.hotkey.ss58_address


def test_under_commit_reveal_weights_are_encrypted_for_a_later_epoch(
    chain: BittensorChain, node: StandIn
) -> None:
    node.commit_reveal = True
    chain.set_weights(ALICE, WeightVector((1,), (65535,)))
    ((_, function, params, _),) = node.submitted
    assert function == "commit_timelocked_mechanism_weights"
    assert params["reveal_round"] > 0
    assert len(params["commit"]) > 100
    calls: list[Callable[[], None]] = [
        lambda: chain.commit_weights(ALICE, bytes(32)),
        lambda: chain.reveal_weights(ALICE, WeightVector((1,), (1,)), [1]),
    ]
    for call in calls:
        with pytest.raises(refused.CommitRevealDisabled):
            call()
    assert chain.open_commits(ALICE.hotkey.ss58_address) == ()


def test_the_address_of_a_miner_is_published(chain: BittensorChain, node: StandIn) -> None:
    chain.serve(BOB, Address("203.0.113.7", 8091))
    ((_, function, params, signer),) = node.submitted
    assert (function, params["port"], signer) == ("serve_axon", 8091, BOB.hotkey.ss58_address)
    assert params["ip"] == int(ipaddress.ip_address("203.0.113.7"))


def test_stake_is_paid_by_the_coldkey(chain: BittensorChain, node: StandIn, monkeypatch: Any) -> None:
    sent: list[tuple[Any, Any]] = []

    def execute(intent: Any, wallet: Any, **options: Any) -> Any:
        sent.append((intent, wallet))
        return bittensor.ExtrinsicResult(success=True)

    # What becomes of these two inside the SDK (encrypted against front-running) takes a real runtime.
    monkeypatch.setattr(chain._client, "execute", execute)
    chain.stake(ALICE, 3 * RAO)
    assert chain.register(BOB) == 1
    (stake, _), (registration, _) = sent
    assert (stake.op, stake.amount_tao.rao, stake.signer) == ("add_stake", 3 * RAO, "coldkey")
    assert (registration.op, registration.hotkey_ss58) == ("burned_register", BOB.hotkey.ss58_address)


def test_refusals_keep_the_chains_names(chain: BittensorChain, node: StandIn) -> None:
    weights = WeightVector((1,), (65535,))
    names = {"NeuronNoValidatorPermit": refused.NeuronNoValidatorPermit, "FaucetDisabled": refused.ChainError}
    for name, error in names.items():
        node.refusal = bittensor.ChainError("no", name=name)
        with pytest.raises(error) as raised:
            chain.set_weights(ALICE, weights)
        assert raised.value.code == name
    node.refusal = None
    node.last_update = [950, 7]
    with pytest.raises(refused.SettingWeightsTooFast, match="50 blocks"):
        chain.set_weights(ALICE, weights)
    with pytest.raises(refused.HotKeyNotRegisteredInSubNet):
        chain.set_weights(development_wallet("//Eve"), weights)


def test_a_node_that_cannot_be_reached_is_told(node: StandIn, monkeypatch: Any) -> None:
    async def connect() -> None:
        raise bittensor.RpcConnectionError("refused")

    monkeypatch.setattr(node, "connect", connect)
    with connected(node) as chain, pytest.raises(NetworkError) as raised:
        chain.epoch()
    assert (raised.value.code, raised.value.retryable) == ("unreachable", True)


def test_a_network_of_no_such_name_is_told() -> None:
    with pytest.raises(NetworkError, match="Unknown network 'nowhere'"):
        BittensorChain("nowhere", NETUID)
