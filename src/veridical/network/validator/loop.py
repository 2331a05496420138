"""The validator: sends challenges, scores the answers, and sets weights, once for each epoch.

Everything that must survive a kill is in two files, the media cache and the history; nothing else is state.
Weights are written down before the chain hears of them, and after a restart the chain is asked whether it has
them, so that they are neither lost nor set twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from veridical.errors import NetworkError
from veridical.network.chain import RAO, Chain, CommitReveal, Metagraph, Neuron, WeightVector
from veridical.network.chain.errors import ChainError
from veridical.network.client import Answer, Client, ask, open_client
from veridical.network.identity import Signer, Wallet
from veridical.network.protocol import ChallengeMessage
from veridical.network.validator.challenges import Challenge, ChallengeRecipe, make_challenge
from veridical.network.validator.history import History, Intent, IntentState
from veridical.network.validator.media_cache import MediaCache
from veridical.network.validator.scoring import NoWeightsError, Scoring
from veridical.results import Modality

# The rule's version, which the chain compares with the least that the subnet wants.
VERSION_KEY = 1

_SALT_NUMBERS = 16

log = logging.getLogger(__name__)

T = TypeVar("T")

# Asks all at once, each with its own file; the answers in any order, none for whoever gave none.
Ask = Callable[[ChallengeMessage, Sequence[tuple[Neuron, bytes]]], Sequence[Answer]]


@dataclass(frozen=True)
class ValidatorSettings:
    """Settings of a validator, which it cannot change while it runs.

    `sample_size` miners are asked at a time, never one that validates with a stake of `validator_stake` rao or
    more. No weights are set before `least_rounds` challenges are closed, counted anew when the newest is older
    than `stale_after` seconds. `timeout` seconds is what a miner has to answer.
    """

    scoring: Scoring = field(default_factory=Scoring)
    recipe: ChallengeRecipe = field(default_factory=ChallengeRecipe)
    sample_size: int = 50
    timeout: float = 10.0
    validator_stake: int = 4096 * RAO
    least_rounds: int = 20
    stale_after: float = 86_400.0


@dataclass(frozen=True)
class Round:
    """A challenge that was closed: who was asked, and what came; nothing of its label."""

    challenge: str
    modality: str
    epoch: int
    answers: tuple[Answer, ...]
    rewards: Mapping[str, float]


class Validator:
    """One hotkey's work on one subnet. `rng` must be one that nobody can guess: `random.SystemRandom()`."""

    def __init__(
        self,
        *,
        chain: Chain,
        wallet: Wallet,
        cache: MediaCache,
        history: History,
        ask: Ask,
        settings: ValidatorSettings,
        rng: random.Random,
    ) -> None:
        self._chain = chain
        self._wallet = wallet
        self._hotkey = wallet.hotkey.ss58_address
        self._cache = cache
        self._history = history
        self._ask = ask
        self._settings = settings
        self._rng = rng
        self._told: set[tuple[int, str]] = set()
        void = history.start(stale_after=settings.stale_after)
        if void:
            log.warning("%d challenges of the last run were not closed, and count for nobody", void)

    def round(self) -> Round:
        """Send one challenge and score what comes back.

        Raises `NetworkError`: `no_miners`, `no_media`, and what the chain cannot do.
        """
        miners, epoch = self._miners(self._chain.metagraph()), self._chain.epoch()
        challenge = self._next_challenge(miners)
        asked = self._history.asked(challenge.origin)
        fresh = [miner for miner in miners if miner.hotkey not in asked]
        chosen = self._rng.sample(fresh, min(self._settings.sample_size, len(fresh)))
        self._history.open_challenge(challenge, [miner.hotkey for miner in chosen])
        answers = self._answers(challenge, chosen)
        rewards = self._history.close_challenge(
            challenge.id, answers, epoch=epoch, settings=self._settings.scoring
        )
        return Round(challenge.id, challenge.modality, epoch, tuple(answers), rewards)

    def weights(self) -> dict[str, float]:
        """Weights by hotkey, as the scores are now: of those registered, above chance, sum 1.

        Raises `NoWeightsError` if nobody is left.
        """
        registered = {neuron.hotkey for neuron in self._chain.metagraph().neurons} - {self._hotkey}
        return self._history.standing(self._settings.scoring).weights(registered)

    def publish(self) -> None:
        """Do what is due on the chain: reveal, finish what a kill interrupted, set this epoch's weights.

        What the chain refuses is tried again at the next call, until the epoch has passed.
        """
        self._reveal()
        for intent in self._history.intents(IntentState.INTENDED):
            self._settle(intent)
        epoch = self._chain.epoch()
        if any(intent.epoch == epoch for intent in self._history.intents()):
            return
        if new := self._new_intent(epoch):
            self._history.intend(new)
            self._submit(new)

    def _miners(self, graph: Metagraph) -> list[Neuron]:
        miners = [
            neuron
            for neuron in graph.neurons
            if neuron.address is not None
            and neuron.hotkey != self._hotkey
            and not (neuron.permit and neuron.stake >= self._settings.validator_stake)
        ]
        if not miners:
            raise NetworkError("No miner has published an address.", code="no_miners", retryable=True)
        return miners

    def _next_challenge(self, miners: Sequence[Neuron]) -> Challenge:
        wanted = min(self._settings.sample_size, len(miners))
        hotkeys = {miner.hotkey for miner in miners}
        return make_challenge(
            self._cache,
            self._settings.recipe,
            self._rng,
            is_fresh=lambda origin: len(hotkeys - self._history.asked(origin)) >= wanted,
        )

    def _answers(self, challenge: Challenge, chosen: Sequence[Neuron]) -> Sequence[Answer]:
        message = ChallengeMessage(
            challenge.id, Modality(challenge.modality), round(self._settings.timeout * 1000)
        )
        answers = self._ask(message, [(miner, challenge.body(miner.hotkey).data) for miner in chosen])
        given = sum(answer.score is not None for answer in answers)
        log.info("challenge %s: %d of %d miners answered", challenge.id, given, len(chosen))
        if not given:
            log.error("nobody answered; is this machine on the network?")
        return answers

    def _reveal(self) -> None:
        for intent in self._history.intents(IntentState.COMMITTED):
            assert intent.salt is not None
            assert intent.reveal_epoch is not None
            epoch = self._chain.epoch()
            if epoch < intent.reveal_epoch:
                continue
            if self._open_reveal_epoch(intent) is not None:
                with self._refusals(intent):
                    self._chain.reveal_weights(self._wallet, intent.weights, intent.salt)
                    self._history.mark(intent, IntentState.SET)
            elif epoch == intent.reveal_epoch or self._is_in_force(intent):
                self._history.mark(intent, IntentState.SET)
            else:
                log.error("the weights of epoch %d were not revealed in time", intent.epoch)
                self._history.mark(intent, IntentState.EXPIRED)

    def _settle(self, intent: Intent) -> None:
        """Find out whether the chain has what was intended; if not, and it is not too late, send it."""
        if self._has_landed(intent):
            self._mark_sent(intent)
        elif self._chain.epoch() > intent.epoch:
            log.error("the weights of epoch %d were never accepted", intent.epoch)
            self._history.mark(intent, IntentState.ABANDONED)
        else:
            self._submit(intent)

    def _has_landed(self, intent: Intent) -> bool:
        if intent.commitment is not None:
            return self._open_reveal_epoch(intent) is not None
        neuron = self._chain.metagraph().by_hotkey(self._hotkey)
        # Registering counts as an update too.
        return (
            neuron is not None
            and neuron.last_update >= intent.block
            and neuron.last_update != neuron.registered
        )

    def _submit(self, intent: Intent) -> None:
        with self._refusals(intent):
            if intent.commitment is None:
                self._chain.set_weights(self._wallet, intent.weights)
            else:
                self._chain.commit_weights(self._wallet, intent.commitment)
            self._mark_sent(intent)

    def _mark_sent(self, intent: Intent) -> None:
        if intent.commitment is None:
            self._history.mark(intent, IntentState.SET)
            return
        reveal_epoch = self._open_reveal_epoch(intent)
        if reveal_epoch is not None:  # Else the chain does not show it yet; it is looked for again.
            self._history.mark(intent, IntentState.COMMITTED, reveal_epoch=reveal_epoch)

    def _open_reveal_epoch(self, intent: Intent) -> int | None:
        commits = self._chain.open_commits(self._hotkey)
        return next((commit.reveal_epoch for commit in commits if commit.hash == intent.commitment), None)

    def _is_in_force(self, intent: Intent) -> bool:
        neuron = self._chain.metagraph().by_hotkey(self._hotkey)
        shares = self._chain.weights().get(neuron.uid, {}) if neuron else {}
        return bool(shares) and WeightVector.from_shares(shares) == WeightVector(
            intent.weights.uids, intent.weights.values
        )

    def _new_intent(self, epoch: int) -> Intent | None:
        """Weights of this epoch, if there are any to set and we may set them now."""
        rounds = self._history.rounds_since_start()
        if rounds < self._settings.least_rounds:
            self._tell(
                epoch, "rounds", "no weights before %d rounds; %d so far", self._settings.least_rounds, rounds
            )
            return None
        graph, rules = self._chain.metagraph(), self._chain.hyperparameters()
        neuron = graph.by_hotkey(self._hotkey)
        if neuron is None or not neuron.permit:
            self._tell(
                epoch, "permit", "no weights in epoch %d: %s has no validator permit", epoch, self._hotkey
            )
            return None
        if graph.block - neuron.last_update < rules.weights_rate_limit:
            return None
        try:
            weights = self._vector(graph)
        except NoWeightsError as error:
            self._tell(epoch, "none", "no weights in epoch %d: %s", epoch, error.message)
            return None
        if rules.commit_reveal is not CommitReveal.HASH:
            return Intent(epoch, graph.block, weights)
        salt = tuple(self._rng.randrange(1 << 16) for _ in range(_SALT_NUMBERS))
        commitment = weights.commitment(self._hotkey, graph.netuid, salt)
        return Intent(epoch, graph.block, weights, salt, commitment)

    def _vector(self, graph: Metagraph) -> WeightVector:
        weights = self.weights()
        uids = {neuron.hotkey: neuron.uid for neuron in graph.neurons}
        return WeightVector.from_shares(
            {uids[hotkey]: share for hotkey, share in weights.items() if hotkey in uids},
            version_key=VERSION_KEY,
        )

    @contextlib.contextmanager
    def _refusals(self, intent: Intent) -> Iterator[None]:
        """Refusals of the chain are told once, and left for the next round."""
        try:
            yield
        except ChainError as error:
            self._tell(intent.epoch, error.code, "the chain refuses weights: %s: %s", error.code, error.message)

    def _tell(self, epoch: int, what: str, message: str, *arguments: object) -> None:  # object: as in logging
        if (epoch, what) not in self._told:
            self._told.add((epoch, what))
            log.warning(message, *arguments)


def run(
    validator: Validator,
    *,
    interval: float,
    stop: threading.Event,
    rounds: int | None = None,
    publishes: bool = True,
) -> Iterator[Round]:
    """Round after round, `interval` seconds apart, until `stop` is set or `rounds` are closed.

    What may pass by itself, as a chain that cannot be reached, is logged and tried again; other errors are
    raised.
    """
    done = 0
    while not stop.is_set() and (rounds is None or done < rounds):
        if closed := _unless_it_passes(validator.round):
            done += 1
            yield closed
        if publishes:
            _unless_it_passes(validator.publish)
        stop.wait(interval)


def _unless_it_passes(step: Callable[[], T]) -> T | None:
    try:
        return step()
    except NetworkError as error:
        if not error.retryable:
            raise
        log.warning("%s", error.message)
        return None


@contextlib.contextmanager
def asking(signer: Signer, *, local: bool) -> Iterator[Ask]:
    """Asks miners over HTTP, signed by `signer`; `local`: also on this machine and in private networks."""
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        connections = contextlib.AsyncExitStack()
        client = runner.run(connections.enter_async_context(open_client(local=local)))
        stack.callback(lambda: runner.run(connections.aclose()))
        yield lambda message, questions: runner.run(_ask_all(client, signer, message, questions))


async def _ask_all(
    client: Client, signer: Signer, message: ChallengeMessage, questions: Sequence[tuple[Neuron, bytes]]
) -> list[Answer]:
    timeout = message.deadline_ms / 1000
    return await asyncio.gather(
        *(ask(client, signer, neuron, message, body, timeout=timeout) for neuron, body in questions)
    )
