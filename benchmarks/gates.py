"""What the gates of `veridical.detectors.gates` catch, rightly and wrongly, and how a detector errs there.

    .venv/bin/python benchmarks/gates.py ../shared/data/images.csv

Three tables: hits on pictures made to be caught (text, screens, charts, flat colours, photographs saved as JPEG
of each quality), false alarms on the splits train and val, and the errors of a detector on val behind each gate
and elsewhere, at the thresholds on its card. The split test is not read. Some ten minutes of one core.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from numpy.random import Generator
from PIL.Image import Resampling

from veridical.data.perturbations import Pixels, blur, jpeg, noise, resize, to_bytes, webp
from veridical.data.samples import Sample, load_pixels, read_samples
from veridical.data.splits import draw
from veridical.detectors import Detector, load_detector
from veridical.detectors.gates import FLAT_PICTURE, GATES, HEAVY_COMPRESSION, SCREENSHOT_OR_TEXT, look
from veridical.evaluation.intervals import wilson
from veridical.media.image import Image
from veridical.results import Label, Verdict

# How many pictures of each kind are made.
MADE = 60
PHOTOGRAPHS = 200

Colour = tuple[int, ...]


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="images.csv")
    parser.add_argument("--detector", default="default")
    arguments = parser.parse_args()
    matplotlib.use("Agg")
    samples = [sample for sample in read_samples(arguments.data) if sample.split in ("train", "val")]
    train = [sample for sample in samples if sample.split == "train"]
    val = [sample for sample in samples if sample.split == "val"]
    photographs = draw([s for s in train if s.label is Label.REAL], reals=PHOTOGRAPHS, seed=0)
    detector = load_detector(arguments.detector)
    print("## Hits on made pictures")
    made = list(make(photographs))
    print_hits(made)
    print("\n## Hits on photographs, by what was done to them (train)")
    print_compression(photographs)
    print("\n## False alarms")
    for split, label in (("train", Label.REAL), ("val", Label.REAL), ("val", Label.FAKE)):
        chosen = [s for s in samples if s.split == split and s.label is label]
        print_alarms(f"{split} {label.name.lower()}", chosen)
    print(f"\n## {detector.name} on made pictures")
    print_verdicts(made, detector)
    print(f"\n## Errors of {detector.name} on val, behind gates and elsewhere")
    print_errors(val, detector)


# Pictures made to be caught


@dataclass(frozen=True)
class Made:
    """A picture that is no photograph: the gate that should fire, what it shows, how it was saved."""

    gate: str
    kind: str
    saved: str
    pixels: Pixels


def make(photographs: Sequence[Sample]) -> Iterator[Made]:
    """Every kind, each saved losslessly, as JPEG 80, and at 60 % of its size as JPEG 75."""
    rng = np.random.default_rng(0)
    kinds: dict[str, tuple[str, Callable[[], Pixels]]] = {
        "text": (SCREENSHOT_OR_TEXT.code, lambda: page(rng)),
        "screen": (SCREENSHOT_OR_TEXT.code, lambda: screen(rng)),
        "screen with photo": (
            SCREENSHOT_OR_TEXT.code,
            lambda: screen(rng, load_pixels(photographs[int(rng.integers(len(photographs)))])),
        ),
        "chart": (SCREENSHOT_OR_TEXT.code, lambda: chart(rng)),
        "flat shapes": (SCREENSHOT_OR_TEXT.code, lambda: shapes(rng)),
        "colour or gradient": (FLAT_PICTURE.code, lambda: plain(rng)),
    }
    for kind, (gate, draws) in kinds.items():
        for _ in range(MADE):
            pixels = np.ascontiguousarray(draws())
            yield Made(gate, kind, "lossless", pixels)
            yield Made(gate, kind, "JPEG 80", jpeg(pixels, 80))
            yield Made(gate, kind, "60 %, JPEG 75", jpeg(resize(pixels, 0.6), 75))


_WORDS = (
    "the picture was made by a machine that saw many others and no one can say which it was like 12.5 %".split()
)


@functools.cache
def _font(name: str, size: int) -> PIL.ImageFont.FreeTypeFont:
    folder = Path(matplotlib.get_data_path(), "fonts", "ttf")  # the same fonts on every machine
    return PIL.ImageFont.truetype(folder / f"{name}.ttf", size)


def _draw_font(rng: Generator, size: int) -> PIL.ImageFont.FreeTypeFont:
    return _font(str(rng.choice(["DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "DejaVuSans-Bold"])), size)


def _words(rng: Generator, count: int) -> str:
    return " ".join(rng.choice(_WORDS, count))


def _grey(level: int) -> Colour:
    return (level, level, level)


def _colour(rng: Generator) -> Colour:
    return tuple(int(value) for value in rng.integers(20, 240, 3))


def page(rng: Generator) -> Pixels:
    """Lines of text, dark on light or light on dark."""
    width, height = (int(side) for side in rng.integers(400, 1400, 2))
    ground, ink = rng.integers(235, 256), rng.integers(0, 80)
    if rng.random() < 0.3:
        ground, ink = rng.integers(0, 45), rng.integers(190, 256)
    image = PIL.Image.new("RGB", (width, height), _grey(int(ground)))
    pen = PIL.ImageDraw.Draw(image)
    size = int(rng.integers(11, 34))
    font, margin = _draw_font(rng, size), int(rng.integers(10, 80))
    for top in range(margin, height - size, int(1.4 * size)):
        length = int((width - 2 * margin) / (0.55 * size) * (1 if rng.random() < 0.8 else rng.random()))
        if rng.random() < 0.9:
            pen.text((margin, top), _words(rng, 40)[: max(3, length)], font=font, fill=_grey(int(ink)))
    return np.asarray(image)


def screen(rng: Generator, photograph: Pixels | None = None) -> Pixels:
    """A window with a bar, buttons and text; a photograph fills up to a third of it."""
    sizes = [(1280, 720), (1080, 1920), (750, 1334), (1440, 900), (1366, 768), (828, 1792)]
    width, height = sizes[rng.integers(len(sizes))]
    is_dark = rng.random() < 0.35
    ground, ink = (int(rng.integers(15, 45)), 230) if is_dark else (int(rng.integers(235, 256)), 30)
    accent = _colour(rng)
    image = PIL.Image.new("RGB", (width, height), _grey(ground))
    pen = PIL.ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, 56), fill=accent)
    pen.text((20, 14), _words(rng, 3), font=_draw_font(rng, 22), fill="white")
    top = 80
    if photograph is not None:
        shown = PIL.Image.fromarray(np.ascontiguousarray(photograph))
        scale = min(rng.uniform(0.3, 0.8) * width / shown.width, 0.4 * height / shown.height)
        size = (int(scale * shown.width), int(scale * shown.height))
        image.paste(shown.resize(size, Resampling.BILINEAR), (30, top))
        top += size[1] + 20
    while top < height - 60:
        if rng.random() < 0.25:
            pen.rounded_rectangle((30, top, 30 + int(rng.integers(100, 240)), top + 44), 10, fill=accent)
            pen.text((46, top + 10), _words(rng, 1), font=_draw_font(rng, 17), fill="white")
            top += 64
        else:
            line = _words(rng, 30)[: width // 12]
            pen.text((30, top), line, font=_draw_font(rng, int(rng.integers(13, 20))), fill=_grey(ink))
            top += 26
    return np.asarray(image)


def chart(rng: Generator) -> Pixels:
    """Lines, bars, points or a pie."""
    figure, axes = plt.subplots(
        figsize=(rng.uniform(4, 9), rng.uniform(3, 7)), dpi=int(rng.choice([72, 100, 150]))
    )
    match rng.integers(4):
        case 0:
            axes.plot(rng.normal(size=(20, 3)).cumsum(axis=0))
        case 1:
            axes.bar(np.arange(8), rng.random(8))
        case 2:
            axes.scatter(
                rng.normal(size=200), rng.normal(size=200), s=rng.uniform(4, 60, 200), c=rng.random(200)
            )
        case _:
            axes.pie(rng.random(5) + 0.1, labels=[_words(rng, 1) for _ in range(5)])
    axes.set_title(_words(rng, 4))
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()  # type: ignore[attr-defined] # Agg's canvas
    plt.close(figure)
    return pixels


def shapes(rng: Generator) -> Pixels:
    """Ellipses and polygons in few colours, with or without outlines, antialiased."""
    width, height = (int(side) for side in rng.integers(400, 1100, 2))
    palette = [_colour(rng) for _ in range(int(rng.integers(4, 9)))]
    image = PIL.Image.new("RGB", (2 * width, 2 * height), palette[0])
    pen = PIL.ImageDraw.Draw(image)
    outline = 2 * int(rng.integers(0, 7))
    for _ in range(int(rng.integers(8, 50))):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        reach = rng.uniform(20, width / 2)
        style = {"fill": palette[rng.integers(len(palette))], "outline": _grey(20) if outline else None}
        if rng.random() < 0.5:
            pen.ellipse((x - reach, y - reach / 2, x + reach, y + reach / 2), **style, width=max(1, outline))
        else:
            turns = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
            corners = [(float(x + reach * np.cos(t)), float(y + reach * np.sin(t))) for t in turns]
            pen.polygon(corners, **style, width=max(1, outline))
    return np.asarray(image.resize((width, height), Resampling.LANCZOS))


def plain(rng: Generator) -> Pixels:
    """One colour, or a gradient along a line or around a point; a third of them with a little noise."""
    height, width = (int(side) for side in rng.integers(200, 1000, 2))
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    ramps = [np.zeros((height, width)), down + rng.uniform(-1, 1) * across, np.hypot(down - 0.5, across - 0.5)]
    ramp = ramps[rng.integers(3)]
    start, end = rng.uniform(0, 255, (2, 3))
    values = start + (end - start) * (ramp / max(1e-9, np.ptp(ramp)))[..., None]
    if rng.random() < 1 / 3:
        values = values + rng.normal(0, rng.uniform(0.3, 1), values.shape)
    return to_bytes(values.clip(0, 255))


# Tables


def print_hits(made: Sequence[Made]) -> None:
    """Of each kind and way to save, how many are caught by the gate they were made for."""
    for kind, saved in dict.fromkeys((each.kind, each.saved) for each in made):
        chosen = [each for each in made if (each.kind, each.saved) == (kind, saved)]
        hits = sum(each.gate in look(each.pixels) for each in chosen)
        print(f"{kind:20} {saved:14} {chosen[0].gate:20} {share(hits, len(chosen))}")


def print_compression(photographs: Sequence[Sample]) -> None:
    """Of photographs after each change, how many each gate catches."""
    rng = np.random.default_rng(0)
    changes: dict[str, Callable[[Pixels], Pixels]] = {
        "as they are": lambda pixels: pixels,
        **{f"JPEG {q}": functools.partial(jpeg, quality=q) for q in (95, 75, 60, 50, 40, 30, 20, 10)},
        "JPEG 20, then 90": lambda pixels: jpeg(jpeg(pixels, 20), 90),
        "JPEG 20, cropped, 90": lambda pixels: jpeg(jpeg(pixels, 20)[3:, 5:], 90),
        "JPEG 20, half size": lambda pixels: resize(jpeg(pixels, 20), 0.5),
        "WebP 20": lambda pixels: webp(pixels, 20),
        "blur 2": lambda pixels: blur(pixels, 2),
        "noise 0.05": lambda pixels: noise(pixels, 0.05, rng),
    }
    pictures = [centre(load_pixels(sample), 768) for sample in photographs]
    for name, change in changes.items():
        fired = [look(change(pixels)) for pixels in pictures]
        cells = [f"{code} {share(count(code, fired), len(fired))}" for code in _OF_PICTURES]
        print(f"{name:22} " + "   ".join(cells))


_OF_PICTURES = (FLAT_PICTURE.code, SCREENSHOT_OR_TEXT.code, HEAVY_COMPRESSION.code)


def print_alarms(title: str, samples: Sequence[Sample]) -> None:
    """How often each gate fires, and on which sources or generators most."""
    fired = [look(load_pixels(sample)) for sample in samples]
    for code in _OF_PICTURES:
        strata = [sample.stratum for sample, codes in zip(samples, fired, strict=True) if code in codes]
        most = sorted(set(strata), key=lambda name: (-strata.count(name), name))[:3]
        told = ", ".join(f"{name} {strata.count(name)}" for name in most)
        print(f"{title:11} {code:20} {share(len(strata), len(fired))}  {told}")


def print_verdicts(made: Iterable[Made], detector: Detector) -> None:
    """What it would say of each kind without gates."""
    verdicts: dict[str, list[Verdict]] = {}
    for each in made:
        if each.saved == "lossless":
            verdicts.setdefault(each.kind, []).append(_verdict(each.pixels, detector)[0])
    for kind, given in verdicts.items():
        print(f"{kind:20} " + "   ".join(f"{v} {share(given.count(v), len(given))}" for v in _ANSWERS))


_ANSWERS = (Verdict.AI, Verdict.REAL)


def print_errors(samples: Sequence[Sample], detector: Detector) -> None:
    """Share of reals called AI and of fakes called real, behind each gate and where none fires."""
    changes: dict[str, Callable[[Pixels], Pixels]] = {
        "as they are": lambda pixels: pixels,
        "JPEG 30": lambda pixels: jpeg(pixels, 30),
        "centre 160": lambda pixels: centre(pixels, 160),
        "blur 2": lambda pixels: blur(pixels, 2),
    }
    pictures = [np.ascontiguousarray(load_pixels(sample)) for sample in samples]
    for name, change in changes.items():
        judged = [_verdict(change(pixels), detector) for pixels in pictures]
        print_rates(f"{name}, all", samples, [verdict for verdict, _ in judged])
        for code in ("", *GATES):
            places = [
                place for place, (_, codes) in enumerate(judged) if (code in codes if code else not codes)
            ]
            if places:
                chosen = [samples[place] for place in places]
                print_rates(
                    f"{name}, {code or 'no gate fires'}", chosen, [judged[place][0] for place in places]
                )


def print_rates(title: str, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> None:
    """A row of `print_errors`."""
    reals = [v for s, v in zip(samples, verdicts, strict=True) if s.label is Label.REAL]
    fakes = [v for s, v in zip(samples, verdicts, strict=True) if s.label is Label.FAKE]
    called_ai, called_real = reals.count(Verdict.AI), fakes.count(Verdict.REAL)
    print(
        f"{title:36} reals called ai {share(called_ai, len(reals))}   "
        f"fakes called real {share(called_real, len(fakes))}"
    )


def _verdict(pixels: Pixels, detector: Detector) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict without gates, and the gates that fire."""
    score = detector.detect(Image.of(pixels))
    return detector.thresholds.decide(score.probability), (*look(pixels), *score.warnings)


def centre(pixels: Pixels, side: int) -> Pixels:
    """At most `side` pixels of each side, from even offsets."""
    top, left = (max(0, length - side) // 4 * 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def count(code: str, fired: Iterable[Sequence[str]]) -> int:
    """How many of the pictures a gate fires on."""
    return sum(code in codes for codes in fired)


def share(hits: int, n: int) -> str:
    """A rate with its interval, per cent."""
    if not n:
        return "none"
    rate = wilson(hits, n)
    return f"{100 * rate.value:5.1f} % [{100 * rate.low:.1f}, {100 * rate.high:.1f}] of {n}"


if __name__ == "__main__":
    main()
