"""Bittensor itself, by its SDK (version 11), as the `Chain` that miners and validators use.

It has been tested against a stand-in for the SDK's connection (its `Substrate` contract), beneath the SDK's own
code; **it has not been run on a live chain**. Reading needs no wallet; `register` and `stake` spend real money
of the wallet's coldkey and may ask for its password, the rest is signed by the hotkey.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from veridical.errors import MissingExtraError, NetworkError
from veridical.network.chain import (
    Address,
    Commit,
    CommitReveal,
    Hyperparameters,
    Metagraph,
    Neuron,
    WeightVector,
)
from veridical.network.chain.errors import (
    ChainError,
    CommitRevealDisabled,
    HotKeyNotRegisteredInSubNet,
    SettingWeightsTooFast,
    SubnetNotExists,
    chain_error,
)
from veridical.network.identity import Wallet

if TYPE_CHECKING:
    import bittensor

_RETRIES = 2  # Of a call that the pool of transactions turns away, a block apart.


class BittensorChain:
    """The `Chain` of one subnet of Bittensor; connects when it is first asked something.

    `network` is `finney`, `test`, or the `ws://` or `wss://` address of a node; `client` another connection.
    """

    def __init__(self, network: str, netuid: int, *, client: bittensor.SyncClient | None = None) -> None:
        try:
            import bittensor
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"the network '{network}'", extra="network") from error
        self.network = network
        self._netuid = netuid
        # Any: the SDK's namespaces make their methods when they are asked for them.
        with _told_as_ours():
            self._client: Any = client or bittensor.Subtensor(network)

    @property
    def netuid(self) -> int:
        """The subnet."""
        return self._netuid

    def epoch(self) -> int:
        """The subnet's epoch index."""
        from bittensor import storage

        with _told_as_ours():
            return int(self._client.query(storage.SubtensorModule.SubnetEpochIndex, [self._netuid]) or 0)

    def metagraph(self) -> Metagraph:
        """All neurons, and how they stand."""
        with _told_as_ours():
            graph = self._client.subnets.metagraph(self._netuid, commitments=False)
        if graph is None:
            raise SubnetNotExists(f"There is no subnet {self._netuid} on {self.network}.")
        return Metagraph(self._netuid, graph.block, tuple(_neuron(row) for row in graph.neurons))

    def weights(self) -> dict[int, dict[int, float]]:
        """The weights in force; those still encrypted are not among them."""
        with _told_as_ours():
            rows = self._client.read("weights", netuid=self._netuid)
        return {int(uid): dict(row) for uid, row in rows.items() if row}

    def hyperparameters(self) -> Hyperparameters:
        """The subnet's rules; what the runtime does not tell has the chain's default."""
        with _told_as_ours():
            told = self._client.read("subnet_hyperparameters", netuid=self._netuid)
        if told is None:
            raise SubnetNotExists(f"There is no subnet {self._netuid} on {self.network}.")
        names = {**told, "max_uids": told.get("max_allowed_uids")}
        is_hidden = bool(told.get("commit_reveal_weights_enabled"))
        known = {
            name: type(default)(names[name])
            for name, default in vars(Hyperparameters()).items()
            if names.get(name) is not None
        }
        return Hyperparameters(
            **{
                **known,
                "commit_reveal": CommitReveal.TIMELOCK if is_hidden else CommitReveal.OFF,
                "coldkey_penalty_period": 0,
            }
        )

    def register(self, wallet: Wallet) -> int:
        """Register the hotkey for the current price, paid by the coldkey; gives its uid."""
        from bittensor import BurnedRegister

        hotkey = wallet.hotkey.ss58_address
        self._execute(BurnedRegister(netuid=self._netuid, hotkey_ss58=hotkey), wallet)
        with _told_as_ours():
            uid = self._client.read("uid", hotkey_ss58=hotkey, netuid=self._netuid)
        if uid is None:
            raise HotKeyNotRegisteredInSubNet(f"The hotkey {hotkey} has no uid after its registration.")
        return int(uid)

    def stake(self, wallet: Wallet, amount: int) -> None:
        """Stake that many rao of the coldkey's TAO on the hotkey, at the current price."""
        from bittensor import AddStake, Balance

        hotkey = wallet.hotkey.ss58_address
        stake = AddStake(hotkey_ss58=hotkey, netuid=self._netuid, amount_tao=Balance.from_rao(amount))
        self._execute(stake, wallet)

    def serve(self, wallet: Wallet, address: Address) -> None:
        """Publish where the hotkey's server is reached."""
        from bittensor import ServeAxon

        self._execute(ServeAxon(netuid=self._netuid, ip=address.ip, port=address.port), wallet)

    def set_weights(self, wallet: Wallet, weights: WeightVector) -> None:
        """Set the hotkey's weights: in the open, or encrypted until the chain reveals them."""
        from bittensor import SetWeights

        intent = SetWeights(
            netuid=self._netuid,
            uids=list(weights.uids),
            weights=[float(value) for value in weights.values],
            version_key=weights.version_key,
        )
        self._execute(intent, wallet, retries=_RETRIES)

    def commit_weights(self, wallet: Wallet, commitment: bytes) -> None:
        """Refused: `set_weights` encrypts where weights are to be hidden."""
        raise CommitRevealDisabled("Bittensor reveals weights by itself; call set_weights.")

    def reveal_weights(self, wallet: Wallet, weights: WeightVector, salt: Sequence[int]) -> None:
        """Refused, as `commit_weights`."""
        raise CommitRevealDisabled("Bittensor reveals weights by itself; call set_weights.")

    def open_commits(self, hotkey: str) -> tuple[Commit, ...]:
        """None: there is nothing to reveal by hand."""
        return ()

    def _execute(self, intent: Any, wallet: Wallet, **options: int) -> None:  # Any: one of 72 intents
        with _told_as_ours():
            self._client.execute(intent, wallet, **options).raise_for_failure()


def _neuron(row: Any) -> Neuron:  # Any: bittensor.MetagraphNeuron
    return Neuron(
        uid=row.uid,
        hotkey=row.hotkey,
        coldkey=row.coldkey,
        stake=row.total_stake.rao,
        permit=row.validator_permit,
        active=row.active,
        incentive=row.incentive,
        dividends=row.dividends,
        emission=row.emission.rao,
        last_update=row.last_update,
        registered=row.block_at_registration,
        address=_address(row.axon),
    )


def _address(axon: str | None) -> Address | None:
    if axon is None:
        return None
    ip, _, port = axon.rpartition(":")
    return Address(ip.strip("[]"), int(port))


@contextmanager
def _told_as_ours() -> Iterator[None]:
    """The SDK's errors as ours, by the chain's name where there is one."""
    import bittensor

    try:
        yield
    except bittensor.ChainError as error:
        raise _chain_error(error) from error
    except (bittensor.RpcConnectionError, bittensor.ConnectionNotReady, ConnectionError) as error:
        raise NetworkError(
            f"The chain cannot be reached: {error}.", code="unreachable", retryable=True
        ) from error
    except bittensor.BittensorError as error:
        raise NetworkError(str(error)) from error
    except ValueError as error:  # What the SDK raises for a network that it does not know.
        raise NetworkError(str(error), code="usage") from error


def _chain_error(error: bittensor.ChainError) -> ChainError:
    from bittensor import ErrorCode

    if error.name is None:
        # Found by the SDK before anything was sent; only weights have such checks.
        if error.code is ErrorCode.NOT_REGISTERED:
            return HotKeyNotRegisteredInSubNet(error.message, hint=error.remediation)
        if error.code is ErrorCode.RATE_LIMITED:
            return SettingWeightsTooFast(error.message, hint=error.remediation)
    return chain_error(error.name, error.message, hint=error.remediation)
