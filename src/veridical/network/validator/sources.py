"""A validator's pictures: the labelled sets, folders, generators and canaries that it was told to use."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from veridical.data.samples import read_samples
from veridical.errors import UsageError
from veridical.network.validator import offers
from veridical.network.validator.offers import Offer, Remake
from veridical.results import Label


@dataclass(frozen=True)
class MediaSources:
    """Names of what to take pictures from.

    `data` (its `split`) is a labelled set; `fakes` are folders. Of each real picture in `data` fakes are made
    by the `autoencoder` in a folder, by the networks that `upscale`, and by the models that `generate`, with
    their `captioner` and writer of `prompts` on a `device`. `known` is a set of public pictures, for canaries.
    """

    data: str | None = None
    split: str | None = None
    fakes: Sequence[Path] = ()
    autoencoder: Path | None = None
    upscale: Sequence[str] = ()
    generate: Sequence[str] = ()
    captioner: str = ""
    prompts: str = ""
    device: str = "cpu"
    known: str | None = None


def open_sources(chosen: MediaSources, rng: random.Random) -> Mapping[Label, Iterator[Offer]]:
    """Offers of both labels, each kind in random order and by turns; raises `UsageError` if one has none."""
    pipelines = (
        offers.text_to_image(
            chosen.generate, captioner=chosen.captioner, prompts=chosen.prompts, device=chosen.device
        )
        if chosen.generate
        else []
    )
    remakes = _remakes(chosen)
    own = offers.offers_of(read_samples(chosen.data, chosen.split)) if chosen.data else []
    reals = [offer for offer in own if offer.label is Label.REAL]
    sets = [own, *(offers.fakes_in(folder) for folder in chosen.fakes)]
    sets += [offers.generated(reals, pipeline, rng) for pipeline in pipelines]
    sets += [offers.reconstructions(reals, remake, name) for name, remake in remakes.items()]
    if chosen.known:
        if not remakes:
            raise UsageError(
                "Canaries need something that makes fakes.", hint="Give --autoencoder or --upscale too."
            )
        # One kind of fake is enough for a trap, and no known picture should come twice.
        name, remake = next(iter(remakes.items()))
        sets.append(offers.canaries(offers.offers_of(read_samples(chosen.known)), remake, name))
    if {offer.label for each in sets for offer in each} != set(Label):
        raise UsageError(
            "Challenges need real pictures and fakes.",
            hint="Give --data with both, or add --fakes, --autoencoder, --upscale or --generate.",
        )
    return {label: offers.by_turns(*(offers.shuffled(each, label, rng) for each in sets)) for label in Label}


def _remakes(chosen: MediaSources) -> Mapping[str, Remake]:
    """Makers of fakes from real pictures, by the name that is written down as their generator."""
    folder = chosen.autoencoder
    remakes = {folder.name: offers.autoencoder(folder)} if folder else {}
    return remakes | {f"realesrgan-{name}": offers.upscaler(name) for name in chosen.upscale}
