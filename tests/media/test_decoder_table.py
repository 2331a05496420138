"""Each cell of the table in docs/decoder.md has a test that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "decoder.md"

ICC = "test_image.test_a_colour_profile_is_converted_to_srgb"
TURNS = "test_image.test_all_eight_orientations_give_the_same_upright_picture"
NO_ALPHA = "test_colour.test_alpha_that_is_zero_everywhere_is_none"
SAMPLED = "test_image.test_frames_are_sampled_evenly_from_the_first_to_the_last"
CUT = "test_damage.test_a_file_that_is_cut_is_truncated_in_every_format"
LOSSLESS = "test_image.test_lossless_formats_give_the_pixels_that_were_saved"
JXL_BITS = "test_colour.test_samples_of_a_jpeg_xl_are_scaled_by_the_bits_it_states"
CORPUS = "test_corpus.test_a_picture_gives_what_the_manifest_expects"
HEIC = "test_heic"

# "-" and "no" are what the format cannot say, or what is listed as not honoured; "untested" what no encoder
# here can write.
TESTS: dict[str, tuple[str | None, ...]] = {
    "JPEG": (
        ICC,
        None,
        "test_cases.test_a_jpeg_of_12_bits_is_decoded",
        TURNS,
        None,
        CORPUS,
        "test_damage.test_a_jpeg_cut_and_closed_with_an_end_marker_is_damaged",
    ),
    "PNG": (
        ICC,
        "test_colour.test_cicp_of_a_png_is_honoured",
        "test_image.test_16_bits_become_8_by_rounding",
        TURNS,
        "test_image.test_alpha_is_laid_over_mid_grey_with_rounding",
        SAMPLED,
        CUT,
    ),
    "WebP": (
        ICC,
        None,
        LOSSLESS,
        TURNS,
        "test_image.test_alpha_is_laid_over_mid_grey_with_rounding",
        SAMPLED,
        "test_damage.test_a_webp_that_is_cut_is_said_to_be_shorter_than_it_says",
    ),
    "GIF": (None, None, SAMPLED, None, "test_table_cells.test_a_transparent_colour_of_a_gif", SAMPLED, CUT),
    "BMP": (
        ICC,
        None,
        LOSSLESS,
        None,
        "test_colour.test_a_bmp_whose_fourth_byte_is_unused_is_opaque",
        None,
        CUT,
    ),
    "TIFF": (
        ICC,
        None,
        "test_tiff.test_grey_of_every_depth_has_its_level_and_its_sense",
        "test_tiff.test_pages_of_every_depth_are_turned_upright",
        "test_tiff.test_a_fourth_channel_is_alpha_only_where_it_is_said_to_be",
        "test_tiff.test_a_reduced_first_page_gives_way_to_the_picture",
        CUT,
    ),
    "ICO": (
        None,
        None,
        "test_image.test_the_largest_picture_of_an_icon_is_taken",
        None,
        NO_ALPHA,
        "test_image.test_the_largest_picture_of_an_icon_is_taken",
        CORPUS,
    ),
    "AVIF": (
        ICC,
        "test_colour.test_cicp_of_an_avif_is_honoured",
        "test_colour.test_cicp_of_an_avif_is_honoured",
        TURNS,
        NO_ALPHA,
        SAMPLED,
        CUT,
    ),
    "HEIC": (
        f"{HEIC}.test_a_profile_is_converted",
        "test_cases.test_heic_in_display_p3_is_converted_where_it_says_so",
        f"{HEIC}.test_pq_of_a_heic_is_shown",
        f"{HEIC}.test_irot_is_applied_once",
        f"{HEIC}.test_alpha_of_a_heic",
        CORPUS,
        f"{HEIC}.test_a_heic_that_is_cut_is_truncated",
    ),
    "JPEG XL": (
        "test_cases.test_a_stated_colour_space_is_converted",
        "test_cases.test_a_stated_colour_space_is_converted",
        JXL_BITS,
        None,
        NO_ALPHA,
        "test_image.test_an_animated_jpeg_xl_is_sampled_too",
        CUT,
    ),
}


def rows() -> dict[str, list[str]]:
    table = DOCUMENT.read_text().split("| format | ICC |")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {name: rest for name, *rest in cells}


def test_the_table_has_the_formats_that_are_tested() -> None:
    assert rows().keys() == TESTS.keys()


@pytest.mark.parametrize("name", TESTS)
def test_each_cell_has_a_test_that_is_there(name: str) -> None:
    for cell, test in zip(rows()[name], TESTS[name], strict=True):
        assert (test is None) == (cell in ("-", "no") or "untested" in cell), (name, cell)
        if test is not None:
            module, function = test.split(".")
            assert re.search(rf"^def {function}\b", (HERE / f"{module}.py").read_text(), re.MULTILINE), test
