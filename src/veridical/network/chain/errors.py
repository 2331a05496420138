"""Refusals of a chain, in its own names: subtensor's errors, of which the local ledger knows these.

Each is a `ChainError` whose `code` is the name, so that what a miner or validator reads, logs and looks up in
Bittensor's documentation is the same on every network. `ColdKeyInPenaltyWindow` alone is the ledger's own.
"""

from __future__ import annotations

from veridical.errors import NetworkError


class ChainError(NetworkError):
    """A call that the chain refused; the `code` is the chain's name for the reason."""

    def __init_subclass__(cls) -> None:
        cls.code = cls.__name__

    code = "ChainError"


class HotKeyNotRegisteredInSubNet(ChainError):
    """The hotkey has no uid here."""


class HotKeyAlreadyRegisteredInSubNet(ChainError):
    """The hotkey has a uid here already."""


class NonAssociatedColdKey(ChainError):
    """A hotkey that belongs to another coldkey, as it was registered first."""


class ColdKeyInPenaltyWindow(ChainError):
    """A new hotkey of a coldkey one of whose neurons was pruned not long ago."""


class NoNeuronIdAvailable(ChainError):
    """The subnet is full and nobody may be pruned."""


class TooManyRegistrationsThisBlock(ChainError):
    """More would register in this block than may."""


class SubnetNotExists(ChainError):
    """There is no such subnet on this chain."""


class AmountTooLow(ChainError):
    """An amount of stake that is not above zero."""


class NotEnoughBalanceToStake(ChainError):
    """An amount of stake that the owner does not have."""


class InvalidIpAddress(ChainError):
    """An address that is no IP address."""


class InvalidPort(ChainError):
    """A port outside 1 to 65535."""


class ServingRateLimitExceeded(ChainError):
    """An address published too soon after the last."""


class NeuronNoValidatorPermit(ChainError):
    """Weights for others by a neuron that is not, or not yet, among the validators."""


class NotEnoughStakeToSetWeights(ChainError):
    """Weights by a neuron beneath the stake threshold."""


class SettingWeightsTooFast(ChainError):
    """Weights set too soon after the last."""


class CommittingWeightsTooFast(ChainError):
    """Weights committed too soon after the last."""


class IncorrectWeightVersionKey(ChainError):
    """Weights by a validator older than the subnet allows."""


class WeightVecNotEqualSize(ChainError):
    """Not as many weights as uids."""


class WeightVecLengthIsLow(ChainError):
    """Fewer weights than the subnet wants."""


class UidsLengthExceedUidsInSubNet(ChainError):
    """More weights than there are neurons."""


class DuplicateUids(ChainError):
    """Two weights for one uid."""


class UidVecContainInvalidOne(ChainError):
    """A weight for a uid that does not exist."""


class MaxWeightExceeded(ChainError):
    """A weight with too large a share of the sum."""


class CommitRevealEnabled(ChainError):
    """Weights set in the open where they must be committed first."""


class CommitRevealDisabled(ChainError):
    """Weights committed or revealed where they are set in the open."""


class TooManyUnrevealedCommits(ChainError):
    """Another commitment while ten are open."""


class NoWeightsCommitFound(ChainError):
    """Weights revealed without a commitment."""


class InvalidRevealCommitHashNotMatch(ChainError):
    """Revealed weights, salt or version key other than those committed."""


class RevealTooEarly(ChainError):
    """Weights revealed before their epoch."""


class ExpiredWeightCommit(ChainError):
    """Weights revealed after their epoch."""


class BadProof(ChainError):
    """A signature that is not of these bytes by this hotkey."""


class Stale(ChainError):
    """A call that was made before: its nonce is used."""


_BY_NAME = {error.__name__: error for error in ChainError.__subclasses__()}


def chain_error(name: str | None, message: str, *, hint: str | None = None) -> ChainError:
    """The error that a chain calls `name`; a plain `ChainError` for one that is not listed here."""
    known = _BY_NAME.get(name or "")
    return known(message, hint=hint) if known else ChainError(message, code=name, hint=hint)
