from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from veridical.data.samples import file_sha256
from veridical.evaluation.benchmark import measure
from veridical.evaluation.comparison import compare
from veridical.evaluation.predictions import Prediction
from veridical.models.card import Estimate
from veridical.reports.benchmark import figures
from veridical.reports.benchmark.measured import Results, results
from veridical.reports.benchmark.outcomes import look_at, outcomes, write_lists
from veridical.reports.benchmark.page import render
from veridical.reports.benchmark.table_formats import to_csv, to_latex, to_markdown, write_tables
from veridical.reports.benchmark.tables import Table, all_tables

HOSTILE = '<script>alert(1)</script> "& $x^2$ \x1b[2J'
VOID = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """What a browser would find: tags with their attributes, and whether every tag is closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def rows(
    detector: str, *, skill: float, n: int = 40, thresholds: tuple[float, float] = (0.8, 0.2)
) -> list[Prediction]:
    """`n` reals of two sources and `n` fakes of two generators, the fakes scoring `skill` higher."""
    rng = np.random.default_rng(7)
    found = []
    for index in range(2 * n):
        label = "fake" if index % 2 else "real"
        score = float(np.clip(rng.normal(0.4 + skill * (label == "fake"), 0.15), 0, 1))
        found.append(
            Prediction(
                detector=detector, bundle="b" * 64, path=f"set/{index}.png", sha256=f"{index:064x}", box="",
                label=label, generator=f"gen{index % 4 // 2}" if label == "fake" else "",
                source=f"src{index % 4 // 2}", group=f"g{index % 6}", score=score, logit=score,
                threshold_ai=thresholds[0], threshold_real=thresholds[1], code="1",
            )
        )  # fmt: skip
    return found


def measured(*detectors: Sequence[Prediction], rounds: int = 100) -> Results:
    plain = {own[0].detector: [row for row in own if row.perturbation == "none"] for own in detectors}
    every_row = [row for own in detectors for row in own]
    benchmarks = {name: measure(own, rounds=rounds) for name, own in plain.items()}
    return results(plain, benchmarks, every_row=every_row, rounds=rounds, by_group=False)


def with_score(row: Prediction, score: float, *, perturbation: str = "none", detector: str = "") -> Prediction:
    detector = detector or row.detector
    return replace(row, score=score, logit=score, perturbation=perturbation, detector=detector)


def perturbed(plain: Sequence[Prediction]) -> list[Prediction]:
    weaker = [with_score(row, 0.5 + 0.7 * (row.score - 0.5), perturbation="jpeg_75") for row in plain]
    flipped = [with_score(row, 1 - row.score, perturbation="blur_1") for row in plain]
    return [*plain, *weaker, *flipped]


@pytest.fixture(scope="module")
def three() -> Results:
    constant = [with_score(row, 0.5, detector="constant") for row in rows("", skill=0)]
    return measured(
        rows("weak", skill=0.1, thresholds=(math.nan, math.nan)), perturbed(rows("strong", skill=0.4)), constant
    )


@pytest.fixture(scope="module")
def text(three: Results) -> str:
    return render(three)


def table(results: Results, name: str) -> Table:
    return next(t for t in all_tables(results) if t.name == name)


def cell(results: Results, name: str, row: str, column: str) -> object:
    found = table(results, name)
    return next(r for r in found.rows if r[0] == row)[found.columns.index(column)]


def test_the_same_predictions_give_the_same_bytes(three: Results, text: str) -> None:
    assert render(three) == text
    assert not re.search(r"Matplotlib|20\d\d-\d\d-\d\d", text)


def test_the_users_own_style_has_no_part_in_a_figure(three: Results) -> None:
    import matplotlib

    plain = figures.roc(three.detectors)
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "svg.fonttype": "path"}):
        assert figures.roc(three.detectors) == plain


def test_every_tag_is_closed_and_no_id_occurs_twice(text: str) -> None:
    page = Page(text)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    pointed = re.findall(r'(?:href="#|url\(#|labelledby="|describedby=")([^")]+)', text)
    assert set(pointed) <= set(ids)


def test_the_page_needs_nothing_from_elsewhere(text: str) -> None:
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "image"}
    assert all((a["href"] or "").startswith("#") for a in page.all("a"))
    assert all((u["xlink:href"] or "").startswith("#") for u in page.all("use"))
    assert not re.search(r"@import|url\([^#]", text)
    [policy] = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert (policy or "").startswith("default-src 'none'; img-src data:")


def test_hostile_names_stay_text_in_every_format() -> None:
    hostile = [replace(row, source=HOSTILE, generator=HOSTILE) for row in rows(HOSTILE, skill=0.4)]
    found = measured([replace(row, path=f"{HOSTILE}{i}") for i, row in enumerate(hostile)])
    page = render(found)
    assert not Page(page).all("script")
    assert "\x1b" not in page
    assert "$x^2$" in page
    latex = to_latex(table(found, "auroc_by_generator"))
    assert r"\textless{}script\textgreater{}" in latex
    assert r"\& \$x\textasciicircum{}2\$" in latex
    assert r"\<script\>" in to_markdown(table(found, "auroc_by_generator"))


def test_every_figure_says_its_numbers_in_words(three: Results, text: str) -> None:
    plots = [d["aria-label"] or "" for d in Page(text).all("div") if d.get("class") == "plot"]
    assert len(plots) == 4 + 2 * len(three.detectors)
    assert all(re.search(r"\d\.\d\d", told) for told in plots)
    area = three.detectors[0].metrics["auroc"]
    assert f"strong: {area.value:.3f} ({area.low:.3f} to {area.high:.3f})" in plots[0]


def test_lines_differ_in_dashes_and_not_in_colour_alone(three: Results) -> None:
    lines = figures.leaders(three.detectors)
    assert len({line.dashes for line in lines}) == len({line.colour for line in lines}) == len(lines) == 3


def test_more_detectors_than_kinds_of_line_are_thin_lines_that_the_caption_counts() -> None:
    many = measured(*(rows(f"d{i}", skill=0.05 * i, n=12) for i in range(7)))
    assert len(figures.leaders(many.detectors)) == 5
    assert "The thin lines are the other 2." in figures.roc(many.detectors).caption


def test_text_and_lines_are_visible_on_their_ground_in_every_scheme(text: str) -> None:
    style = text[text.index("<style>") : text.index("</style>")]
    blocks = [dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", b)) for b in style.split("@media")]
    schemes = [block for block in blocks if "ink" in block]
    assert len(schemes) == 3
    for colours in schemes:
        for ink in ("ink", "quiet", "link"):
            assert min(contrast(colours[ink], colours[ground]) for ground in ("page", "surface")) >= 4.5
        for drawn in ("ai", "real", *(f"series-{i}" for i in range(1, 6))):
            assert contrast(colours[drawn], colours["surface"]) >= 3


def test_letters_stand_out_from_every_shade_of_a_heat_map(text: str) -> None:
    cells = re.findall(r"background:(#[0-9a-f]{6});color:(#[0-9a-f]{6})", text)
    assert len(cells) > 5
    assert min(contrast(ground, ink) for ground, ink in cells) >= 4.5


def test_the_leaderboard_is_sorted_and_has_the_measured_numbers(three: Results) -> None:
    assert [row[0] for row in table(three, "leaderboard").rows] == ["strong", "weak", "constant"]
    area = cell(three, "leaderboard", "strong", "AUROC")
    assert area == measure(three.detectors[0].rows, rounds=100).metrics["auroc"]
    assert cell(three, "leaderboard", "strong", "fakes") == 40


def test_a_detector_without_a_threshold_is_not_shown_as_faultless(three: Results) -> None:
    assert cell(three, "leaderboard", "weak", "FPR at own threshold") == "no threshold"
    assert cell(three, "fpr_by_source", "src0", "weak") == "no threshold"
    assert isinstance(cell(three, "fpr_by_source", "src0", "strong"), Estimate)


def test_groups_have_their_n_and_the_mean_of_all(three: Results) -> None:
    found = table(three, "auroc_by_generator")
    assert [(row[0], row[1]) for row in found.rows] == [("gen0", "20"), ("gen1", "20"), ("mean of all", "2")]
    first, second, mean = (row[found.columns.index("strong")] for row in found.rows)
    assert isinstance(first, Estimate)
    assert isinstance(second, Estimate)
    assert isinstance(mean, Estimate)
    assert mean.value == pytest.approx((first.value + second.value) / 2)


def test_the_best_is_compared_with_each_other_on_the_pictures_of_both(three: Results) -> None:
    strong, weak, _ = three.detectors
    expected = compare(strong.rows, weak.rows, rounds=100)
    assert cell(three, "comparison_with_best", "weak", "AUROC difference") == expected.differences["auroc"]
    right = cell(three, "comparison_with_best", "weak", "only strong right")
    assert right == expected.verdicts_at_half.only_first_right


def test_detectors_of_different_sets_stand_in_one_table_and_the_comparison_says_why_not() -> None:
    elsewhere = [
        replace(row, path=f"other/{row.path}", sha256="") for row in rows("elsewhere", skill=0.1, n=10)
    ]
    found = measured(rows("here", skill=0.4), elsewhere)
    assert "no sample in common" in str(cell(found, "comparison_with_best", "elsewhere", "n"))
    assert cell(found, "auroc_by_generator", "gen0", "n") == "5 to 20"
    assert "no sample in common" in render(found)


def test_perturbed_rows_become_a_heat_map_and_nothing_else(three: Results, text: str) -> None:
    assert cell(three, "robustness_auroc", "none", "strong") == three.detectors[0].metrics["auroc"]
    change = cell(three, "robustness_auroc_change", "jpeg quality 75", "strong")
    assert isinstance(change, Estimate)
    assert change.value == 0  # the order of the scores is the same
    flipped = cell(three, "robustness_auroc", "blur sigma 1", "strong")
    assert isinstance(flipped, Estimate)
    assert flipped.value == pytest.approx(1 - three.detectors[0].metrics["auroc"].value)
    assert "AUROC of strong by perturbation and generator" in text


def test_without_perturbed_rows_there_is_no_heat_map() -> None:
    found = measured(rows("only", skill=0.3))
    assert not [t.name for t in all_tables(found) if t.name.startswith("robustness")]
    assert "perturbation" not in re.sub(r"<style>.*</style>", "", render(found), flags=re.DOTALL)


def test_one_class_alone_gives_a_page_without_curves() -> None:
    reals = [row for row in rows("only", skill=0.3) if row.label == "real"]
    page = render(measured(reals))
    assert 'id="curves"' not in page
    assert "40 reals and 0 fakes" in page


def test_csv_has_every_digit_and_n(three: Results) -> None:
    first = next(iter(csv.DictReader(io.StringIO(to_csv(table(three, "leaderboard"))))))
    area = three.detectors[0].metrics["auroc"]
    assert (first["detector"], first["AUROC n"]) == ("strong", str(area.n))
    assert float(first["AUROC"]) == area.value
    assert float(first["AUROC high"]) == area.high


def test_a_table_in_markdown_and_latex() -> None:
    small = Table(
        name="small",
        title="Small",
        caption="5 % of it.",
        columns=("a_b", "AUROC"),
        rows=(("x|y", Estimate(0.5, 0.25, 0.75, 8)), ("z", Estimate(math.nan, math.nan, math.nan, 0))),
    )
    assert to_markdown(small) == (
        "## Small\n\n5 % of it.\n\n| a\\_b | AUROC |\n|---|---:|\n"
        "| x\\|y | 0.500 (0.250 to 0.750) |\n| z | not defined |\n"
    )
    assert to_latex(small) == (
        "\\begin{table}\n\\caption{5 \\% of it.}\n\\begin{tabular}{lr}\n\\hline\na\\_b & AUROC \\\\\n\\hline\n"
        "x|y & 0.500 {\\scriptsize (0.250 to 0.750)} \\\\\nz & not defined \\\\\n"
        "\\hline\n\\end{tabular}\n\\end{table}\n"
    )


def test_each_table_is_written_in_three_formats(three: Results, tmp_path: Path) -> None:
    write_tables(tmp_path / "new" / "folder", all_tables(three))
    written = {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    assert written == {f"{t.name}.{suffix}" for t in all_tables(three) for suffix in ("md", "csv", "tex")}


def test_the_lists_hold_each_picture_once_the_surest_errors_first(three: Results, tmp_path: Path) -> None:
    write_lists(tmp_path, three.detectors)
    strong = three.detectors[0]
    lines = {
        name: (tmp_path / "strong" / f"{name}.txt").read_text().splitlines()
        for name in ("tp", "fp", "tn", "fn")
    }
    assert {name: len(paths) for name, paths in lines.items()} == vars(strong.benchmark.confusion)
    assert sorted(sum(lines.values(), [])) == sorted(row.path for row in strong.rows)
    scores = {row.path: row.score for row in strong.rows}
    assert [scores[path] for path in lines["fp"]] == sorted((scores[p] for p in lines["fp"]), reverse=True)
    assert [scores[path] for path in lines["fn"]] == sorted(scores[p] for p in lines["fn"])


@pytest.mark.parametrize("name", ["../../out", "..", "/etc/out", "a/b"])
def test_no_detectors_name_leads_out_of_the_folder_of_lists(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "lists"
    write_lists(folder, measured(rows(name, skill=0.3, n=4)).detectors)
    assert len(list(folder.glob("*/fp.txt"))) == 1
    assert [path for path in tmp_path.rglob("*.txt") if folder not in path.parents] == []


def test_a_region_is_listed_and_shown_as_its_region(tmp_path: Path) -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[10:30, 20:60] = (255, 0, 0)
    PIL.Image.fromarray(pixels).save(tmp_path / "a.png")
    row = replace(rows("d", skill=0)[0], path=str(tmp_path / "a.png"), sha256="", box="20,10,40,20")
    [picture] = look_at([row])
    assert picture.thumbnail is not None
    shown = decoded(picture.thumbnail)
    assert shown.size == (40, 20)
    assert np.abs(np.asarray(shown, dtype=int) - (255, 0, 0)).max() < 10
    write_lists(tmp_path, measured([row]).detectors)
    assert "a.png\t20,10,40,20\n" in "".join(p.read_text() for p in tmp_path.glob("d/*.txt"))


def test_a_picture_that_cannot_be_shown_says_why(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (40, 40)).save(tmp_path / "changed.png")
    (tmp_path / "text.png").write_text("no picture")
    one = rows("d", skill=0)[0]
    sha256 = file_sha256(tmp_path / "changed.png")
    cases = {
        "": replace(one, path=str(tmp_path / "changed.png"), sha256=sha256),
        "The file is not the one that was judged.": replace(one, path=str(tmp_path / "changed.png")),
        "The file is not here.": replace(one, path=str(tmp_path / "gone.png")),
        "The file cannot be read.": replace(one, path=str(tmp_path / "text.png")),
        "The box 'left' cannot be understood.": replace(one, path=str(tmp_path / "changed.png"), box="left"),
    }
    shown = look_at(list(cases.values()))
    assert [picture.note for picture in shown] == list(cases)
    assert [picture.thumbnail is None for picture in shown] == [False, True, True, True, True]


def test_a_file_that_is_not_here_leaves_its_path_and_a_sentence(text: str) -> None:
    assert "The file is not here." in text
    assert "set/" in text


def test_outcomes_are_those_at_a_half() -> None:
    own = rows("d", skill=0.3)
    found = outcomes([replace(own[0], score=0.5), replace(own[1], score=0.5), replace(own[1], score=0.49)])
    assert [len(part) for part in vars(found).values()] == [1, 1, 0, 1]


def decoded(uri: str) -> PIL.Image.Image:
    import base64

    return PIL.Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("RGB")


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two colours (#rrggbb)."""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
