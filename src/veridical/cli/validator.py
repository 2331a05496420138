"""`veridical validator`: challenges the miners of a subnet, scores them, and sets their weights."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._extras import needs_extra
from veridical.cli._generation_options import generation_options, refuse_video
from veridical.cli._network_options import (
    LOCAL,
    chosen_wallet,
    network_options,
    open_chain,
    wallet_options,
)
from veridical.cli._options import data_option_help
from veridical.cli._replay import RULES
from veridical.errors import NetworkError, UsageError

if TYPE_CHECKING:
    import random
    import threading
    from collections.abc import Mapping, Sequence

    from veridical.generation.pipeline import Pipeline
    from veridical.network.chain import Chain
    from veridical.network.validator.loop import Round, Validator
    from veridical.network.validator.media_cache import MediaCache
    from veridical.network.validator.offers import Offer, Remake
    from veridical.results import Label

# Pictures of each label from which the first challenge is drawn.
_LEAST_TO_START = 20

_folder = click.Path(path_type=Path, file_okay=False)


@click.command()
@network_options
@wallet_options
@click.option("--data", help=f"Real pictures, and fakes if it has any. {data_option_help}")
@click.option("--split", help="Only this split of --data.")
@click.option("--fakes", type=_folder, multiple=True, help="Folder of known fakes; may be given several times.")
@click.option(
    "--autoencoder",
    type=_folder,
    help="Folder of a generator's autoencoder: makes a fake of every real picture.",
)
@click.option(
    "--upscale",
    metavar="NAME",
    multiple=True,
    help="Real-ESRGAN network (animevideov3-x2 or -x4, x4plus, x4plus-anime) that makes a fake of every real "
    "picture from a small copy; may be given several times. x4plus takes 25 s a megapixel, animevideov3 1 s.",
)
@click.option(
    "--generate",
    metavar="NAME",
    multiple=True,
    help="Text-to-image model (a name of 'veridical generate --list', or a folder) that makes a fake of what "
    "every real picture shows; may be given several times, and all stay in memory.",
)
@generation_options
@click.option(
    "--known", help="Public real pictures, for canaries against look-up; needs --autoencoder or --upscale."
)
@click.option("--rule", type=click.Choice(RULES), default="mcc_acc", show_default=True, help="Of the rewards.")
@click.option(
    "--sample-size", type=click.IntRange(1), default=50, show_default=True, help="Miners asked at a time."
)
@click.option(
    "--interval",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    help="Seconds between challenges.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 10),
    default=10.0,
    show_default=True,
    help="Seconds a miner has to answer.",
)
@click.option("--rounds", type=click.IntRange(1), help="Stop after so many challenges.")
@click.option(
    "--first-weights",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Challenges before weights are set, at first and after a day's silence.",
)
@click.option(
    "--uses", type=click.IntRange(1), default=2, show_default=True, help="How often a picture is sent."
)
@click.option(
    "--side", type=click.IntRange(64), default=256, show_default=True, help="Longest side of what is sent."
)
@click.option(
    "--variants",
    type=click.FloatRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of challenges in which each miner gets its own version.",
)
@click.option(
    "--video",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Share of challenges that are videos; they cannot be made yet.",
)
@click.option(
    "--cache-size",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Megabytes of pictures kept.",
)
@click.option(
    "--state", type=_folder, help="Folder of what must survive a restart; by default in the user's data."
)
@click.option("--dry-run", is_flag=True, help="Set no weights; print what they would be.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def validator(
    network: str,
    netuid: int | None,
    ledger: Path | None,
    wallet: str | None,
    wallet_hotkey: str | None,
    wallet_path: str | None,
    data: str | None,
    split: str | None,
    fakes: tuple[Path, ...],
    autoencoder: Path | None,
    upscale: tuple[str, ...],
    generate: tuple[str, ...],
    captioner: str,
    prompts: str,
    device: str,
    known: str | None,
    rule: str,
    sample_size: int,
    interval: float,
    timeout: float,
    rounds: int | None,
    first_weights: int,
    uses: int,
    side: int,
    variants: float,
    video: float,
    cache_size: int,
    state: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Challenge the miners of a subnet and set weights, until SIGTERM or Ctrl-C.

    The hotkey must be registered and have a permit, which goes to the largest stakes. Pictures come from --data
    and --fakes, and fakes of those in --data from --autoencoder and --generate; real and fake are cropped,
    perturbed and encoded alike. Which is which stays in the history, which --state holds with everything else
    that must survive a restart.
    """
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # A line for each request says nothing new.
    if video:
        raise UsageError("Challenges of video cannot be made yet.", hint="Leave --video at 0.")
    chain = open_chain(network, netuid, ledger)
    with needs_extra("network", "validating"):
        import random

        from veridical.network.identity import open_wallet
        from veridical.network.validator.challenges import ChallengeRecipe
        from veridical.network.validator.history import History
        from veridical.network.validator.loop import Validator, ValidatorSettings, asking, run
        from veridical.network.validator.media_cache import CacheLimits, MediaCache, Refilling
        from veridical.network.validator.scoring import Scoring

    keys = open_wallet(chosen_wallet(wallet, wallet_hotkey, wallet_path))
    hotkey = keys.hotkey.ss58_address
    folder = state or _state_folder(chain, hotkey)
    rng = random.SystemRandom()
    settings = ValidatorSettings(
        scoring=Scoring(rule=rule),
        recipe=ChallengeRecipe(side=side, variants=variants, canaries=0.05 if known else 0.0),
        sample_size=sample_size,
        timeout=timeout,
        least_rounds=first_weights,
    )
    pipelines = _pipelines(generate, captioner, prompts, device)
    remakes = _remakes(autoencoder, upscale)
    sources = _sources(data, split, fakes, remakes, pipelines, known, rng)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_sole_user(folder))
        stop = stack.enter_context(_stopped_by_signals())
        history = stack.enter_context(History(folder / "history.sqlite"))
        limits = CacheLimits(megabytes=cache_size, uses=uses, least_side=side)
        cache = stack.enter_context(contextlib.closing(MediaCache(folder, limits, rng)))
        stack.enter_context(Refilling(cache, sources))
        _wait_for_media(cache, stop)
        ask = stack.enter_context(asking(keys.hotkey, local=network == LOCAL))
        working = Validator(
            chain=chain, wallet=keys, cache=cache, history=history, ask=ask, settings=settings, rng=rng
        )
        closed = run(working, interval=interval, stop=stop, rounds=rounds, publishes=not dry_run)
        for number, each in enumerate(closed, start=1):
            _print_round(number, each, as_json=as_json)
        if dry_run:
            _print_weights(working, as_json=as_json)


def _state_folder(chain: Chain, hotkey: str) -> Path:
    import platformdirs

    from veridical.network.chain.ledger import LocalLedger

    # A ledger that is made anew is another chain: its epochs count from zero again.
    ledger = f"-{chain.identity[:8]}" if isinstance(chain, LocalLedger) else ""
    return Path(platformdirs.user_data_dir("veridical")) / f"validator-{chain.netuid}{ledger}-{hotkey[:12]}"


def _pipelines(models: Sequence[str], captioner: str, prompts: str, device: str) -> list[Pipeline]:
    from veridical.network.validator import offers

    for name in models:
        refuse_video(name)
    return offers.text_to_image(models, captioner=captioner, prompts=prompts, device=device) if models else []


def _remakes(autoencoder: Path | None, upscalers: Sequence[str]) -> Mapping[str, Remake]:
    """Makers of fakes from real pictures, by the name that is written down as their generator."""
    from veridical.network.validator import offers

    remakes = {}
    if autoencoder:
        with needs_extra("train", "making fakes with an autoencoder"):
            remakes[autoencoder.name] = offers.autoencoder(autoencoder)
    return remakes | {f"realesrgan-{name}": offers.upscaler(name) for name in upscalers}


def _sources(
    data: str | None,
    split: str | None,
    fakes: tuple[Path, ...],
    remakes: Mapping[str, Remake],
    pipelines: Sequence[Pipeline],
    known: str | None,
    rng: random.Random,
) -> Mapping[Label, Iterator[Offer]]:
    from veridical.network.validator import offers
    from veridical.results import Label

    own = offers.labelled(data, split) if data else []
    reals = [offer for offer in own if offer.label is Label.REAL]
    sets = [own, *(offers.fakes_in(folder) for folder in fakes)]
    sets += [offers.generated(reals, pipeline, rng) for pipeline in pipelines]
    sets += [offers.reconstructions(reals, remake, name) for name, remake in remakes.items()]
    if known:
        if not remakes:
            raise UsageError(
                "Canaries need something that makes fakes.", hint="Give --autoencoder or --upscale too."
            )
        # One kind of fake is enough for a trap, and no known picture should come twice.
        name, remake = next(iter(remakes.items()))
        sets.append(offers.canaries(offers.labelled(known), remake, name))
    labels = {offer.label for each in sets for offer in each}
    if labels != set(Label):
        raise UsageError(
            "Challenges need real pictures and fakes.",
            hint="Give --data with both, or add --fakes, --autoencoder, --upscale or --generate.",
        )
    return {label: offers.by_turns(*(offers.shuffled(each, label, rng) for each in sets)) for label in Label}


@contextlib.contextmanager
def _sole_user(folder: Path) -> Iterator[None]:
    """Holds the folder, so that no second validator writes into it; a kill lets go of it."""
    import fcntl

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
    """Set by SIGTERM and Ctrl-C: the round that is going on is finished."""
    import signal
    import threading

    stop = threading.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _wait_for_media(cache: MediaCache, stop: threading.Event) -> None:
    """Until both labels have something to choose from, or nothing more comes."""
    from veridical.results import Label

    def is_waited_for(label: Label) -> bool:
        return label not in cache.dry and cache.ready(label) < _LEAST_TO_START

    while any(map(is_waited_for, Label)) and not stop.is_set():
        stop.wait(0.05)


def _print_round(number: int, closed: Round, *, as_json: bool) -> None:
    given = [answer for answer in closed.answers if answer.score is not None]
    if as_json:
        errors = {answer.hotkey: answer.error for answer in closed.answers if answer.score is None}
        facts = {
            "event": "round",
            "round": number,
            "challenge": closed.challenge,
            "modality": closed.modality,
            "epoch": closed.epoch,
            "asked": len(closed.answers),
            "answered": len(given),
            "errors": errors,
            "rewards": closed.rewards,
        }
        click.echo(json.dumps(facts))
    else:
        click.echo(f"{number}: {len(given)} of {len(closed.answers)} answered, in epoch {closed.epoch}.")


def _print_weights(working: Validator, *, as_json: bool) -> None:
    from veridical.network.validator.scoring import NoWeightsError

    try:
        weights = working.weights()
    except NoWeightsError as error:
        weights = {}
        if not as_json:
            click.echo(f"No weights: {error.message}")
    if as_json:
        click.echo(json.dumps({"event": "weights", "weights": weights}))
        return
    for hotkey, share in sorted(weights.items(), key=lambda item: -item[1]):
        click.echo(f"{share:.4f}  {hotkey}")
