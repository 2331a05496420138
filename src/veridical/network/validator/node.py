"""A validator's node: chain, pictures, history and miners put together, until it is told to stop."""

from __future__ import annotations

import contextlib
import fcntl
import random
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from veridical.errors import NetworkError
from veridical.network.chain import Chain
from veridical.network.chain.ledger import LocalLedger
from veridical.network.identity import Wallet
from veridical.network.validator.history import History
from veridical.network.validator.loop import Round, Validator, ValidatorSettings, asking, run
from veridical.network.validator.media_cache import CacheLimits, MediaCache, Refilling
from veridical.network.validator.sources import MediaSources, open_sources
from veridical.results import Label

# Pictures of each label from which the first challenge is drawn.
_LEAST_TO_START = 20


@dataclass(frozen=True)
class ValidatorNode:
    """Settings of a validator's node.

    A challenge is sent every `interval` seconds, `rounds` in all; None is until SIGTERM or Ctrl-C. Weights are
    set if it `publishes`. `state` is the folder of what must survive a restart, by default in the user's data.
    """

    sources: MediaSources
    settings: ValidatorSettings
    cache: CacheLimits
    interval: float
    rounds: int | None = None
    publishes: bool = True
    state: Path | None = None


@contextlib.contextmanager
def running(node: ValidatorNode, chain: Chain, wallet: Wallet) -> Iterator[tuple[Validator, Iterator[Round]]]:
    """A validator and its rounds, done as they are taken, while its files and connections are open.

    Raises `NetworkError` (`state_in_use`), `UsageError`.
    """
    folder = node.state or _state_folder(chain, wallet.hotkey.ss58_address)
    rng = random.SystemRandom()
    sources = open_sources(node.sources, rng)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sole_user(folder))
        stop = stack.enter_context(_stopped_by_signals())
        history = stack.enter_context(History(folder / "history.sqlite"))
        cache = stack.enter_context(contextlib.closing(MediaCache(folder, node.cache, rng)))
        stack.enter_context(Refilling(cache, sources))
        _wait_for_media(cache, stop)
        ask = stack.enter_context(asking(wallet.hotkey, local=isinstance(chain, LocalLedger)))
        validator = Validator(
            chain=chain, wallet=wallet, cache=cache, history=history, ask=ask, settings=node.settings, rng=rng
        )
        rounds = run(validator, interval=node.interval, stop=stop, rounds=node.rounds, publishes=node.publishes)
        yield validator, rounds


def _state_folder(chain: Chain, hotkey: str) -> Path:
    # A ledger that is made anew is another chain: its epochs count from zero again.
    ledger = f"-{chain.identity[:8]}" if isinstance(chain, LocalLedger) else ""
    return Path(platformdirs.user_data_dir("veridical")) / f"validator-{chain.netuid}{ledger}-{hotkey[:12]}"


@contextlib.contextmanager
def _sole_user(folder: Path) -> Iterator[None]:
    """Holds the folder, so that no second validator writes into it; a kill lets go of it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NetworkError(
                f"Another validator uses {folder}.", code="state_in_use", hint="Name another with --state."
            ) from None
        yield


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set: the round that is going on is finished."""
    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_media(cache: MediaCache, stop: threading.Event) -> None:
    """Wait until both labels have something to choose from, or nothing more comes."""

    def is_waited_for(label: Label) -> bool:
        return label not in cache.dry and cache.ready(label) < _LEAST_TO_START

    while any(map(is_waited_for, Label)) and not stop.is_set():
        stop.wait(0.05)
