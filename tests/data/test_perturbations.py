"""Perturbations keep what they promise: size, phase, seed, severity."""

import itertools
from collections.abc import Callable

import numpy as np
import PIL.Image
import PIL.ImageEnhance
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from veridical.data import perturbations
from veridical.data.perturbations import DELIVERIES, NAMED, Perturbation, Pixels, perturb
from veridical.errors import DataError

SIDES = st.integers(8, 70)
NAMES = st.sampled_from(list(NAMED))
KEEP_THE_SIZE = ("none", "jpeg", "webp", "resize", "blur", "noise", "colour")


def noise(height: int = 64, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("encode", [perturbations.jpeg, perturbations.webp])
def test_a_codec_keeps_the_size_and_loses_more_at_lower_quality(encode) -> None:  # type: ignore[no-untyped-def]
    pixels = noise()
    high, low = (np.abs(encode(pixels, q).astype(int) - pixels).mean() for q in (95, 30))
    assert encode(pixels, 80).shape == pixels.shape
    assert 0 < high < low


@given(height=st.integers(10, 90), width=st.integers(10, 90), seed=st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_every_crop_keeps_the_phase_of_the_grid(height: int, width: int, seed: int) -> None:
    rows, columns = np.indices((height, width)) % 2
    parity = np.stack([rows, columns, rows], axis=2).astype(np.uint8)
    crop = perturbations.aligned_crop(parity, 32, np.random.default_rng(seed))
    assert crop.shape == (32, 32, 3)
    assert (crop[0::2, :, 0] == 0).all()
    assert (crop[1::2, :, 0] == 1).all()
    assert (crop[:, 0::2, 1] == 0).all()
    assert (crop[:, 1::2, 1] == 1).all()


def test_a_large_picture_is_not_tiled() -> None:
    pixels = noise()
    assert perturbations.tile(pixels, 64) is pixels


def test_resize_by_one_changes_nothing_and_by_half_halves() -> None:
    pixels = noise()
    assert np.array_equal(perturbations.resize(pixels, 1.0), pixels)
    assert perturbations.resize(pixels, 0.5).shape == (32, 40, 3)


def test_reencoding_is_seeded_and_always_lossy() -> None:
    pixels = noise()
    for seed in range(8):
        once, twice = (perturbations.reencode(pixels, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(once, twice)
        assert not np.array_equal(once, pixels)


def picture(height: int = 96, width: int = 128) -> Pixels:
    """Smooth shapes under fine texture, in colours that no operation clips."""
    rows, columns = np.mgrid[:height, :width]
    waves = [60 * np.sin(rows / (7 + c)) * np.cos(columns / (9 + c)) for c in range(3)]
    texture = np.random.default_rng(0).normal(0, 12, (height, width, 3))
    return np.clip(np.stack(waves, axis=2) + texture + 128, 0, 255).astype(np.uint8)


def psnr(one: Pixels, other: Pixels) -> float:
    return float(10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_names_are_stored_in_files_and_so_never_change() -> None:
    assert list(NAMED) == [
        *("none", "jpeg_95", "jpeg_90", "jpeg_75", "jpeg_50", "jpeg_30", "webp_75"),
        *("resize_0.75", "resize_0.5", "resize_0.25", "crop_0.8", "blur_0.5", "blur_1", "blur_2"),
        *("noise_0.02", "noise_0.05", "noise_0.1", "colour_0.2", "screenshot", "chain_delivery"),
        *("half", "enlarged_1.5", "snip", "page", "messenger", "random_3", "random_5"),
    ]
    assert set(DELIVERIES) <= NAMED.keys()
    assert all(name == perturbation.name for name, perturbation in NAMED.items())


def test_operations_stand_together() -> None:
    operations = [operation for operation, _ in itertools.groupby(p.operation for p in NAMED.values())]
    assert len(operations) == len(set(operations))


@given(name=NAMES, height=SIDES, width=SIDES, seed=st.integers(0, 99))
@settings(deadline=None, max_examples=150)
def test_a_perturbed_picture_is_a_picture_and_the_given_one_stays(
    name: str, height: int, width: int, seed: int
) -> None:
    given_pixels = noise(height, width, seed)
    given_pixels.flags.writeable = False
    copy = given_pixels.copy()
    perturbed = perturb(given_pixels, name, sha256=f"{seed}")
    assert perturbed.dtype == np.uint8
    assert perturbed.ndim == 3
    assert perturbed.shape[2] == 3
    assert min(perturbed.shape) > 0
    assert np.array_equal(given_pixels, copy)
    if NAMED[name].operation in KEEP_THE_SIZE:
        assert perturbed.shape == given_pixels.shape


@given(
    names=st.lists(NAMES, min_size=2, max_size=4, unique=True), sha256=st.text("0123456789abcdef", min_size=1)
)
@settings(deadline=None, max_examples=40)
def test_a_sample_is_perturbed_alike_whatever_came_before(names: list[str], sha256: str) -> None:
    pixels = noise(40, 48)
    forward = {name: perturb(pixels, name, sha256=sha256) for name in names}
    backward = {name: perturb(pixels, name, sha256=sha256) for name in reversed(names)}
    assert all(np.array_equal(forward[name], backward[name]) for name in names)


def test_every_sample_has_chances_of_its_own() -> None:
    pixels = picture()
    for name in ("noise_0.02", "crop_0.8"):
        one, same, other = (perturb(pixels, name, sha256=sha256) for sha256 in ("a", "a", "b"))
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


@pytest.mark.parametrize(
    "unchanged",
    [
        lambda pixels: perturb(pixels, "none", sha256="a"),
        lambda pixels: perturbations.resize_and_back(pixels, 1.0),
        lambda pixels: perturbations.crop(pixels, 1.0, rng()),
        lambda pixels: perturbations.blur(pixels, 0),
        lambda pixels: perturbations.noise(pixels, 0, rng()),
        lambda pixels: perturbations.adjust_colour(pixels, brightness=1, contrast=1, saturation=1),
        lambda pixels: perturbations.random_chain(pixels, 0, rng()),
    ],
)
def test_with_no_strength_nothing_changes(unchanged: Callable[[Pixels], Pixels]) -> None:
    assert np.array_equal(unchanged(noise()), noise())


@pytest.mark.parametrize("operation", ["jpeg", "resize", "blur", "noise"])
def test_a_more_severe_perturbation_leaves_less_of_the_picture(operation: str) -> None:
    pixels = picture()
    family = [p.name for p in NAMED.values() if p.operation == operation]
    left = [psnr(pixels, perturb(pixels, name, sha256="a")) for name in family]
    assert len(left) >= 3
    assert all(milder > harder for milder, harder in itertools.pairwise(left))


@given(height=SIDES, width=SIDES, share=st.floats(0.05, 1), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_a_crop_is_a_part_of_the_picture_as_it_was(height: int, width: int, share: float, seed: int) -> None:
    places = np.stack([*np.indices((height, width)), np.zeros((height, width))], axis=2).astype(np.uint8)
    crop = perturbations.crop(places, share, rng(seed))
    assert crop.shape[:2] == (max(1, round(height * share)), max(1, round(width * share)))
    top, left, _ = crop[0, 0]
    assert np.array_equal(crop, places[top : top + crop.shape[0], left : left + crop.shape[1]])


@given(sigma=st.floats(0.3, 4), height=SIDES, width=SIDES)
@settings(deadline=None, max_examples=30)
def test_blur_is_the_gaussian_filter_of_scipy_rounded(sigma: float, height: int, width: int) -> None:
    pixels = noise(height, width)
    reach = int(np.ceil(4 * sigma))
    exact = ndimage.gaussian_filter(
        pixels.astype(float), (sigma, sigma, 0), mode="nearest", radius=(reach, reach, 0)
    )
    assert np.abs(perturbations.blur(pixels, sigma) - exact).max() < 0.501


def test_blur_sums_before_it_rounds() -> None:
    impulse = np.zeros((9, 9, 3), np.uint8)
    impulse[4, 4] = 255
    assert perturbations.blur(impulse, 1)[4, 2:7, 0].tolist() == [5, 25, 41, 25, 5]  # truncating: 4 24 40 24 4


@pytest.mark.parametrize("sigma", [0.02, 0.1])
def test_noise_has_its_standard_deviation_and_no_bias(sigma: float) -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    difference = perturbations.noise(grey, sigma, rng()) - 128.0
    assert difference.std() == pytest.approx(255 * sigma, rel=0.03)
    assert abs(difference.mean()) < 0.3


def test_colour_is_that_of_pillow_up_to_its_rounding() -> None:
    pixels = picture()
    image = PIL.Image.fromarray(pixels)
    cases = {
        "brightness": PIL.ImageEnhance.Brightness(image),
        "contrast": PIL.ImageEnhance.Contrast(image),
        "saturation": PIL.ImageEnhance.Color(image),
    }
    for name, pillow in cases.items():
        for factor in (0.8, 1.2):
            factors = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0} | {name: factor}
            ours = perturbations.adjust_colour(pixels, **factors).astype(int)
            assert np.abs(ours - np.asarray(pillow.enhance(factor))).max() <= 1


def test_without_saturation_or_contrast_a_picture_is_grey() -> None:
    grey = perturbations.adjust_colour(picture(), brightness=1, contrast=1, saturation=0)
    assert (grey == grey[..., :1]).all()
    flat = perturbations.adjust_colour(picture(), brightness=1, contrast=0, saturation=1)
    assert len(np.unique(flat)) == 1


@pytest.mark.parametrize(("height", "width"), [(50, 60), (3000, 200), (200, 4000)])
def test_a_screenshot_is_no_larger_than_a_screen_and_keeps_the_proportions(height: int, width: int) -> None:
    shown = perturb(np.zeros((height, width, 3), np.uint8), "screenshot", sha256="a")
    assert shown.shape[0] <= 1080
    assert shown.shape[1] <= 1920
    zoom = shown.shape[0] / height
    assert zoom <= 1.5
    assert shown.shape[1] == pytest.approx(width * zoom, abs=0.5 + 0.5 * width / height)


def test_delivery_is_half_the_size_and_three_codecs() -> None:
    pixels = picture()
    small = perturbations.resize(pixels, 0.5)
    chain = perturbations.jpeg(perturbations.webp(perturbations.jpeg(small, 55), 75), 80)
    assert np.array_equal(perturb(pixels, "chain_delivery", sha256="a"), chain)


@given(length=st.integers(0, 7), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=60)
def test_a_random_chain_takes_that_many_different_single_operations(length: int, seed: int) -> None:
    applied = []

    def recorded(name: str, operation: str) -> Perturbation:
        def apply(pixels: Pixels, rng: np.random.Generator) -> Pixels:
            applied.append(operation)
            return pixels

        return Perturbation(name, operation, "", apply)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(perturbations, "NAMED", {name: recorded(name, p.operation) for name, p in NAMED.items()})
        perturbations.random_chain(noise(), length, rng(seed))
    assert len(applied) == len(set(applied)) == length
    assert set(applied) <= {"jpeg", "webp", "resize", "crop", "blur", "noise", "colour"}


def test_a_picture_too_large_for_webp_is_said_to_be() -> None:
    with pytest.raises(DataError, match="16384 x 2") as caught:
        perturb(np.zeros((2, 16384, 3), np.uint8), "webp_75", sha256="a")
    assert caught.value.code == "unreadable_sample"


def test_a_page_shows_the_picture_whole_and_a_snip_leaves_a_margin_out() -> None:
    original = picture(200, 300)
    shown = NAMED["page"].apply(original, rng())
    margin = 50
    assert np.array_equal(shown[margin : margin + 200, margin : margin + 300], original)
    assert (shown[:margin] == 255).all()
    for seed in range(5):
        height, width = NAMED["snip"].apply(original, rng(seed)).shape[:2]
        assert 0.7 * 200 < height < 1.2 * 200
        assert width / height == pytest.approx(1.5, rel=0.03)


def test_a_messenger_makes_large_pictures_smaller_and_leaves_the_size_of_small_ones() -> None:
    assert NAMED["messenger"].apply(picture(900, 2000), rng()).shape == (576, 1280, 3)
    assert NAMED["messenger"].apply(picture(90, 200), rng()).shape == (90, 200, 3)
