"""`veridical validator`: challenges the miners of a subnet, scores them, and sets their weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from veridical.cli._extras import needs_extra
from veridical.cli._generation_options import generation_options, refuse_video
from veridical.cli._network_options import (
    SubnetChoice,
    WalletChoice,
    log_to_stderr,
    network_options,
    wallet_options,
)
from veridical.cli._options import data_option_help
from veridical.cli._replay import RULES
from veridical.errors import UsageError

if TYPE_CHECKING:
    from veridical.network.validator.loop import Round, Validator

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
    "--interval", type=click.FloatRange(0), default=10.0, show_default=True, help="Seconds between challenges."
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
    subnet: SubnetChoice,
    wallet: WalletChoice,
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
    **sources: Any,  # the options of `MediaSources`, by its names
) -> None:
    """Challenge the miners of a subnet and set weights, until SIGTERM or Ctrl-C.

    The hotkey must be registered and have a permit, which goes to the largest stakes. Pictures come from --data
    and --fakes, and fakes of those in --data from --autoencoder and --generate; real and fake are cropped,
    perturbed and encoded alike. Which is which stays in the history, which --state holds with everything else
    that must survive a restart.
    """
    if video:
        raise UsageError("Challenges of video cannot be made yet.", hint="Leave --video at 0.")
    for model in sources["generate"]:
        refuse_video(model)
    log_to_stderr()
    chain = subnet.open()
    with needs_extra("network", "validating"):
        from veridical.network.validator.challenges import ChallengeRecipe
        from veridical.network.validator.loop import ValidatorSettings
        from veridical.network.validator.media_cache import CacheLimits
        from veridical.network.validator.node import ValidatorNode, running
        from veridical.network.validator.scoring import Scoring
        from veridical.network.validator.sources import MediaSources

    media = MediaSources(**sources)
    node = ValidatorNode(
        sources=media,
        settings=ValidatorSettings(
            scoring=Scoring(rule=rule),
            recipe=ChallengeRecipe(side=side, variants=variants, canaries=0.05 if media.known else 0.0),
            sample_size=sample_size,
            timeout=timeout,
            least_rounds=first_weights,
        ),
        cache=CacheLimits(megabytes=cache_size, uses=uses, least_side=side),
        interval=interval,
        rounds=rounds,
        publishes=not dry_run,
        state=state,
    )
    with (
        needs_extra("train", "making fakes with an autoencoder"),
        running(node, chain, wallet.open()) as (
            working,
            rounds_closed,
        ),
    ):
        for number, each in enumerate(rounds_closed, start=1):
            _print_round(number, each, as_json=as_json)
        if dry_run:
            _print_weights(working, as_json=as_json)


def _print_round(number: int, closed: Round, *, as_json: bool) -> None:
    given = sum(answer.score is not None for answer in closed.answers)
    if not as_json:
        click.echo(f"{number}: {given} of {len(closed.answers)} answered, in epoch {closed.epoch}.")
        return
    facts = {
        "event": "round",
        "round": number,
        "challenge": closed.challenge,
        "modality": closed.modality,
        "epoch": closed.epoch,
        "asked": len(closed.answers),
        "answered": given,
        "errors": {answer.hotkey: answer.error for answer in closed.answers if answer.score is None},
        "rewards": closed.rewards,
    }
    click.echo(json.dumps(facts))


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
