"""`veridical generate`: fakes of what real pictures show, and the models that make them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from veridical.cli._generation_options import generation_options, refuse_video
from veridical.errors import UsageError

if TYPE_CHECKING:
    from veridical.generation.pipeline import Fake


@click.command()
@click.argument("pictures", metavar="PICTURE...", nargs=-1)
@click.option("--model", metavar="NAME", help="Text-to-image model: a name of --list, or a folder.")
@generation_options
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the first; +1 for each more."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the PNG files to.",
)
@click.option("--list", "as_list", is_flag=True, help="Every model, where it is, and its licence.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def generate(
    pictures: tuple[str, ...],
    model: str | None,
    captioner: str,
    prompts: str,
    device: str,
    seed: int,
    output: Path | None,
    as_list: bool,
    as_json: bool,
) -> None:
    """Make a fake of what each real PICTURE shows: a caption, a prompt made of it, a new picture.

    Prints caption and prompt of each, and writes OUTPUT/STEM-MODEL-SEED.png. Models come from a hub, which
    VERIDICAL_OFFLINE=1 forbids: then only what was downloaded before, and folders, are used. Needs the extra
    'generate'.
    """
    if as_list:
        _print_list(as_json=as_json)
        return
    if not pictures or model is None or output is None:
        raise UsageError("PICTURE, --model and --output are needed.", hint="Or ask for --list.")
    refuse_video(model)
    from veridical.generation.captions import Captioner
    from veridical.generation.pipeline import Pipeline
    from veridical.generation.prompts import find_writer
    from veridical.generation.text_to_image import find_model
    from veridical.media.image import open_media
    from veridical.media.limits import DEFAULT_LIMITS
    from veridical.media.sources import find_items

    generator = find_model(model, device)
    pipeline = Pipeline(Captioner(captioner, device), find_writer(prompts, device), generator)
    output.mkdir(parents=True, exist_ok=True)
    for number, item in enumerate(find_items(pictures)):
        real = open_media(item.read(DEFAULT_LIMITS))
        fake = pipeline.make(real.pixels, seed=seed + number)
        _print_fake(item.name, _written(fake, item.name, output), fake, as_json=as_json)


def _written(fake: Fake, of: str, folder: Path) -> Path:
    import PIL.Image

    path = folder / f"{Path(of).stem}-{fake.model}-{fake.seed}.png"
    PIL.Image.fromarray(fake.pixels).save(path)
    return path


def _print_fake(of: str, path: Path, fake: Fake, *, as_json: bool) -> None:
    if as_json:
        facts = {
            "picture": of,
            "path": str(path),
            "model": fake.model,
            "seed": fake.seed,
            "caption": fake.caption,
            "prompt": fake.prompt,
        }
        click.echo(json.dumps(facts))
        return
    click.echo(f"{of} -> {path}")
    if fake.caption:
        click.echo(f"  caption: {fake.caption}")
    click.echo(f"  prompt:  {fake.prompt}")


def _print_list(*, as_json: bool) -> None:
    from veridical.generation import captions, prompts, text_to_image, text_to_video

    rows: list[tuple[str, str, str | None, str | None]] = [
        (kind, model.name, model.hub_id, model.licence)
        for kind, models in (("image", text_to_image.MODELS), ("video", text_to_video.MODELS))
        for model in models.values()
    ]
    rows += [("prompt", name, writer.hub_id, writer.licence) for name, writer in prompts.WRITERS.items()]
    rows.append(("caption", "", captions.DEFAULT, captions.LICENCE))
    for kind, name, hub_id, licence in rows:
        if as_json:
            click.echo(json.dumps({"kind": kind, "name": name, "hub_id": hub_id, "licence": licence}))
        else:
            click.echo(f"{kind:9}{name:16}{hub_id or '-':42}{licence or '-'}")
