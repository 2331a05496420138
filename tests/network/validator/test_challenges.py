"""Challenges and the cache behind them: what they may tell of the label, and what they may not."""

from __future__ import annotations

import io
import logging
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import read_samples
from veridical.errors import DataError, ModelError, NetworkError, SourceError
from veridical.media import open_media
from veridical.network.validator.challenges import ChallengeRecipe, make_challenge
from veridical.network.validator.media_cache import CacheLimits, MediaCache, Pool, Refilling, refill
from veridical.network.validator.offers import (
    Offer,
    by_turns,
    canaries,
    fakes_in,
    offers_of,
    reconstructions,
    shuffled,
)
from veridical.results import Label

SIDE = 64
SMALL = CacheLimits(megabytes=100, ready=1000, uses=2, least_side=SIDE, private=0.0)


def offer(number: int, label: Label, *, side: int = 96, is_known: bool = False) -> Offer:
    return Offer(
        origin=f"{label.name}{number}",
        label=label,
        generator="g" if label is Label.FAKE else "",
        source="s",
        load=lambda: picture(number, side),
        is_known=is_known,
    )


def picture(seed: int, side: int = 96) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(PIL.Image.fromarray(coarse).resize((side, side), PIL.Image.Resampling.BICUBIC))


@pytest.fixture
def make_cache(tmp_path: Path) -> Iterator[Callable[..., MediaCache]]:
    made = []

    def make(limits: CacheLimits = SMALL, *, each: int = 0, seed: int = 0) -> MediaCache:
        cache = MediaCache(tmp_path / "state", limits, random.Random(seed))
        made.append(cache)
        for label in Label:
            for number in range(each):
                cache.add(offer(number, label))
        return cache

    yield make
    for cache in made:
        cache.close()


MakeCache = Callable[..., MediaCache]


def any_origin(origin: str) -> bool:
    return True


def test_the_label_is_a_fair_coin_and_everything_else_is_drawn_alike(make_cache: MakeCache) -> None:
    cache = make_cache(SMALL, each=160)
    rng = random.Random(1)
    recipe = ChallengeRecipe(side=SIDE, variants=0, canaries=0)
    seen: dict[Label, list[tuple[float, ...]]] = {label: [] for label in Label}
    formats = Counter[str]()
    for _ in range(300):
        challenge = make_challenge(cache, recipe, rng, is_fresh=any_origin)
        body = challenge.body("anyone")
        assert open_media(body.data).pixels.shape[0] >= 32
        formats[body.media_type] += 1
        seen[challenge.label].append(container_features(body.data))
    assert 120 <= len(seen[Label.FAKE]) <= 180, "2 in 10,000 chance of a fair coin outside"
    assert set(formats) == {"image/jpeg", "image/webp", "image/png"}
    assert abs(balanced_accuracy(seen) - 0.5) < 0.12


def container_features(data: bytes) -> tuple[float, ...]:
    with PIL.Image.open(io.BytesIO(data)) as opened:
        assert not opened.getexif()
        assert set(opened.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background"}
        tables = getattr(opened, "quantization", {})
        return (
            ["JPEG", "WEBP", "PNG"].index(opened.format or ""),
            opened.width,
            opened.height,
            len(data),
            float(sum(tables[0])) if tables else 0.0,
        )


def balanced_accuracy(seen: dict[Label, list[tuple[float, ...]]]) -> float:
    """Of a forest that sees nothing but the container, on the half that it was not grown on."""
    ensemble = pytest.importorskip("sklearn.ensemble", reason="needs the extra 'bench'")
    halves = [{label: rows[start::2] for label, rows in seen.items()} for start in (0, 1)]
    x, y = ([row for rows in halves[0].values() for row in rows], [k for k, v in halves[0].items() for _ in v])
    forest = ensemble.RandomForestClassifier(100, random_state=0, n_jobs=1).fit(x, [int(label) for label in y])
    return float(np.mean([np.mean(forest.predict(rows) == int(label)) for label, rows in halves[1].items()]))


def test_originals_of_different_kinds_become_alike(tmp_path: Path, make_cache: MakeCache) -> None:
    """Reals are large JPEGs with EXIF, fakes small PNGs with a text: the classic shortcuts."""
    for number in range(40):
        for name in ("real/camera", "fake/model"):
            (tmp_path / "set" / name).mkdir(parents=True, exist_ok=True)
        exif = PIL.Image.Exif()
        exif[0x010F] = "Camera"
        large = PIL.Image.fromarray(picture(number, 160))
        large.save(tmp_path / f"set/real/camera/{number}.jpg", quality=95, exif=exif)
        png = PIL.Image.fromarray(picture(1000 + number, 80))
        png.save(tmp_path / f"set/fake/model/{number}.png")
    cache = make_cache()
    for made in offers_of(read_samples(str(tmp_path / "set"))):
        cache.add(made)
    rng = random.Random(3)
    recipe = ChallengeRecipe(side=SIDE, variants=0)
    sizes: dict[Label, list[float]] = {label: [] for label in Label}
    for _ in range(80):
        challenge = make_challenge(cache, recipe, rng, is_fresh=any_origin)
        with PIL.Image.open(io.BytesIO(challenge.body("x").data)) as opened:
            assert not opened.getexif()
            assert max(opened.size) <= SIDE
            sizes[challenge.label].append(opened.width)
    assert abs(np.mean(sizes[Label.REAL]) - np.mean(sizes[Label.FAKE])) < 3


def test_nothing_that_is_printed_or_named_tells_the_label(
    make_cache: MakeCache, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    cache = make_cache(SMALL, each=3)
    challenge = make_challenge(cache, ChallengeRecipe(side=SIDE), random.Random(0), is_fresh=any_origin)
    shown = f"{challenge!r} {challenge.body('x')!r} {caplog.text}"
    names = [path.name for path in (tmp_path / "state" / "media").iterdir()]
    assert len(names) == 6
    for text in (shown.replace(challenge.origin, ""), *names):
        assert not {"label", "fake", "real", "generator"} & set(text.lower().replace("=", " ").split())


def test_a_picture_is_made_anew_each_time_and_for_each_miner_if_wanted(make_cache: MakeCache) -> None:
    cache = make_cache(CacheLimits(uses=9, least_side=SIDE, private=0), each=1)
    rng = random.Random(0)
    recipes = [ChallengeRecipe(side=SIDE, variants=share) for share in (0.0, 1.0)]
    common, own = (make_challenge(cache, recipe, rng, is_fresh=any_origin) for recipe in recipes)
    assert common.body("a") == common.body("b")
    assert own.body("a") != own.body("b")
    assert own.body("a") == own.body("a"), "who doubts a score can make the file again"
    again = [make_challenge(cache, recipes[0], rng, is_fresh=any_origin).body("a").data for _ in range(6)]
    assert len(set(again)) == 6


def test_each_picture_is_sent_a_limited_number_of_times_and_a_private_one_once(make_cache: MakeCache) -> None:
    cache = make_cache(CacheLimits(uses=3, least_side=SIDE, private=0), each=2)
    taken = Counter(cache.take(Label.REAL, pool=Pool.OPEN).origin for _ in range(6))
    assert taken == {"REAL0": 3, "REAL1": 3}
    with pytest.raises(NetworkError) as raised:
        cache.take(Label.REAL, pool=Pool.OPEN)
    assert raised.value.code == "no_media"
    assert not cache.add(offer(0, Label.REAL)), "its source cannot bring it back"
    cache.limits = CacheLimits(uses=3, least_side=SIDE, private=1.0)
    cache.add(offer(7, Label.REAL))
    assert cache.take(Label.REAL, pool=Pool.PRIVATE).pool is Pool.PRIVATE
    assert cache.ready(Label.REAL) == 0


def test_what_was_sent_stays_sent_over_a_restart(make_cache: MakeCache, tmp_path: Path) -> None:
    cache = make_cache(SMALL, each=1)
    cache.take(Label.REAL, pool=Pool.OPEN)
    cache.close()
    left_behind = tmp_path / "state" / "media" / ".half-written.png"
    left_behind.write_bytes(b"half")
    cache = make_cache(SMALL)
    assert not left_behind.exists()
    cache.take(Label.REAL, pool=Pool.OPEN)
    assert (cache.ready(Label.REAL), cache.ready(Label.FAKE)) == (0, 1)


def test_a_picture_that_the_miners_know_is_passed_over_and_the_label_stays(make_cache: MakeCache) -> None:
    cache = make_cache(CacheLimits(uses=30, least_side=SIDE, private=0), each=4)
    rng = random.Random(4)
    challenges = [
        make_challenge(cache, ChallengeRecipe(side=SIDE), rng, is_fresh=lambda origin: origin != "FAKE1")
        for _ in range(40)
    ]
    assert 10 <= sum(challenge.label for challenge in challenges) <= 30
    assert {challenge.origin for challenge in challenges} == {
        f"{label.name}{number}" for label in Label for number in range(4)
    } - {"FAKE1"}


def test_the_coin_is_not_thrown_until_both_sides_can_be_sent(make_cache: MakeCache) -> None:
    """Else a label that is scarce would be sent less often, and miners could bet on the other."""
    cache = make_cache(SMALL)
    for number in range(5):
        cache.add(offer(number, Label.REAL))
    for seed in range(8):
        with pytest.raises(NetworkError) as raised:
            make_challenge(cache, ChallengeRecipe(side=SIDE), random.Random(seed), is_fresh=any_origin)
        assert (raised.value.code, raised.value.retryable) == ("no_media", True)
    assert cache.ready(Label.REAL) == 5
    cache.dry.add(Label.FAKE)
    with pytest.raises(NetworkError) as raised:
        make_challenge(cache, ChallengeRecipe(side=SIDE), random.Random(0), is_fresh=any_origin)
    assert not raised.value.retryable


def test_a_damaged_file_is_dropped_with_a_line_in_the_log(
    make_cache: MakeCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make_cache(SMALL)
    cache.add(offer(0, Label.REAL))
    (path,) = (tmp_path / "state" / "media").iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(NetworkError):
        cache.take(Label.REAL, pool=Pool.OPEN)
    assert "damaged" in caplog.text
    assert not path.exists()


def test_the_cache_keeps_within_its_size_and_both_labels(make_cache: MakeCache, tmp_path: Path) -> None:
    cache = make_cache(SMALL, each=20)
    size = cache.size()
    assert size == sum(path.stat().st_size for path in (tmp_path / "state" / "media").iterdir())
    cache.close()
    cache = make_cache(CacheLimits(megabytes=0, least_side=SIDE))
    assert cache.size() == 0
    assert cache.add(offer(0, Label.REAL)), "what was never sent may come back"


def test_refilling_keeps_both_labels_level_and_says_when_it_is_dry(make_cache: MakeCache) -> None:
    cache = make_cache(CacheLimits(ready=5, least_side=SIDE))
    offers = [offer(number, label) for label in Label for number in range(8 if label else 6)]
    sources = {label: shuffled(offers, label, random.Random(0)) for label in Label}
    refill(cache, sources, threading.Event())
    assert [cache.ready(label) for label in Label] == [5, 5]
    assert not cache.dry
    cache.limits = CacheLimits(ready=50, least_side=SIDE)
    with Refilling(cache, sources):
        while cache.dry != set(Label):
            threading.Event().wait(0.01)
    assert [cache.ready(label) for label in Label] == [6, 8]


def test_what_cannot_be_read_is_left_out_and_said(
    make_cache: MakeCache, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        raise DataError("x.png cannot be read", code="unreadable_sample")

    def failing() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        raise ModelError("no autoencoder")

    cache = make_cache(SMALL)
    assert not cache.add(Offer("a", Label.REAL, "", "s", broken))
    assert not cache.add(offer(0, Label.REAL, side=40))
    assert "x.png cannot be read" in caplog.text
    assert "40 x 40" in caplog.text
    sources = {Label.FAKE: iter([Offer("b", Label.FAKE, "g", "s", failing)])}
    with Refilling(cache, sources) as refilling:
        refilling._thread.join()
    assert isinstance(refilling.error, ModelError)


def test_large_pictures_are_kept_in_part(make_cache: MakeCache) -> None:
    cache = make_cache(SMALL)
    sizes = [(1500, 1300), (80, 2000)]
    for number, (height, width) in enumerate(sizes):
        flat = np.zeros((height, width, 3), np.uint8)
        cache.add(Offer(str(number), Label.REAL, "", str(number), lambda flat=flat: flat))  # type: ignore[misc]
    shapes = {cache.take(Label.REAL, pool=Pool.OPEN).pixels.shape for _ in range(4)}
    assert shapes == {(1024, 1024, 3), (80, 1024, 3)}


def test_canaries_are_a_real_and_a_fake_of_each_known_picture(make_cache: MakeCache) -> None:
    known = [offer(number, Label.REAL, side=128) for number in range(2)]
    made = canaries(known, lambda pixels: 255 - pixels, "inverted")
    assert [made_offer.label for made_offer in made] == [Label.REAL, Label.REAL, Label.FAKE, Label.FAKE]
    assert len({made_offer.origin for made_offer in [*known, *made]}) == 6
    cache = make_cache(SMALL, each=3)
    for made_offer in made:
        assert cache.add(made_offer)
    recipe = ChallengeRecipe(side=SIDE, canaries=1.0)
    rng = random.Random(0)
    pools = [make_challenge(cache, recipe, rng, is_fresh=any_origin).pool for _ in range(2)]
    assert pools == [Pool.CANARY, Pool.CANARY]


def test_a_pool_that_lacks_a_label_is_passed_over(make_cache: MakeCache) -> None:
    cache = make_cache(SMALL, each=3)
    cache.add(offer(9, Label.FAKE, is_known=True))
    challenge = make_challenge(
        cache, ChallengeRecipe(side=SIDE, canaries=1.0), random.Random(0), is_fresh=any_origin
    )
    assert challenge.pool is Pool.OPEN


def test_a_folder_of_fakes_is_a_source_and_so_is_what_is_made_of_reals(tmp_path: Path) -> None:
    (tmp_path / "f" / "sdxl").mkdir(parents=True)
    PIL.Image.fromarray(picture(0)).save(tmp_path / "f" / "sdxl" / "a.png")
    PIL.Image.fromarray(picture(1)).save(tmp_path / "f" / "b.png")
    found = fakes_in(tmp_path / "f")
    assert {(each.label, each.generator) for each in found} == {(Label.FAKE, "f"), (Label.FAKE, "sdxl")}
    with pytest.raises(SourceError):
        fakes_in(tmp_path / "nothing")
    (fake,) = reconstructions([offer(0, Label.REAL)], lambda pixels: pixels[::-1], "upside-down")
    assert (fake.load() == picture(0)[::-1]).all()
    assert [each.origin for each in by_turns(iter(found), iter([fake]))][1] == fake.origin


def test_video_has_its_place_but_cannot_be_made_yet(make_cache: MakeCache) -> None:
    with pytest.raises(NetworkError) as raised:
        make_challenge(
            make_cache(SMALL, each=1),
            ChallengeRecipe(modalities={"video": 1.0}),
            random.Random(0),
            is_fresh=any_origin,
        )
    assert "video" in raised.value.message
