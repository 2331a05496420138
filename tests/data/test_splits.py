"""A validation split that did not come with the set."""

from collections import Counter
from pathlib import Path

import pytest

from veridical.data.samples import Sample
from veridical.data.splits import draw, hold_out, truncate
from veridical.errors import DataError
from veridical.results import Box, Label


def samples() -> list[Sample]:
    made = [Sample(Path(f"real/{i}.png"), Label.REAL, "", "camera", "p") for i in range(50)]
    made += [Sample(Path(f"fake/{i}.png"), Label.FAKE, "sdxl", "s", "p") for i in range(20)]
    return made + [
        Sample(Path("fake/grid.png"), Label.FAKE, "sdxl", "s", "p", box=Box(x, 0, 8, 8)) for x in (0, 8, 16, 24)
    ]


def test_each_stratum_gives_its_share_and_nothing_is_lost_or_doubled() -> None:
    kept, held = hold_out(samples(), share=0.2, seed=0)
    assert sum(s.label is Label.REAL for s in held) == 10
    assert len(kept) + len(held) == len(samples())
    assert not {s.path for s in kept} & {s.path for s in held}


def test_regions_of_one_file_stay_together() -> None:
    for seed in range(10):
        _, held = hold_out(samples(), share=0.2, seed=seed)
        assert sum(s.path.name == "grid.png" for s in held) in (0, 4)


def test_the_seed_decides() -> None:
    assert hold_out(samples(), share=0.2, seed=1) == hold_out(samples(), share=0.2, seed=1)
    assert hold_out(samples(), share=0.2, seed=1) != hold_out(samples(), share=0.2, seed=2)


def lopsided() -> list[Sample]:
    sizes = {"sdxl": 60, "flux": 30, "gan": 10}
    made = [Sample(Path(f"real/{i}.png"), Label.REAL, "", "camera", "p") for i in range(40)]
    return made + [
        Sample(Path(f"fake/{name}/{i}.png"), Label.FAKE, name, name, name)
        for name, size in sizes.items()
        for i in range(size)
    ]


def test_a_draw_keeps_each_generators_share_and_everything_of_the_other_class() -> None:
    drawn = draw(lopsided(), fakes=20, seed=0)
    assert Counter(s.stratum for s in drawn) == {"camera": 40, "sdxl": 12, "flux": 6, "gan": 2}


def test_shares_that_do_not_come_out_even_still_give_the_number_asked_for() -> None:
    for count in range(1, 101):
        drawn = draw(lopsided(), reals=1, fakes=count, seed=0)
        assert sum(s.label is Label.FAKE for s in drawn) == count == len(set(drawn)) - 1


def test_a_draw_keeps_the_order_and_the_seed_decides() -> None:
    everything = lopsided()
    drawn = draw(everything, reals=10, fakes=10, seed=1)
    assert drawn == [s for s in everything if s in set(drawn)]
    assert drawn == draw(everything, reals=10, fakes=10, seed=1) != draw(everything, reals=10, fakes=10, seed=2)


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(DataError, match="41 real samples are wanted, and there are 40"):
        draw(lopsided(), reals=41, seed=0)


def test_truncation_cuts_the_larger_class_to_the_smaller() -> None:
    cut = truncate(lopsided(), seed=0)
    assert Counter(s.label for s in cut) == {Label.REAL: 40, Label.FAKE: 40}
    assert Counter(s.generator for s in cut if s.generator) == {"sdxl": 24, "flux": 12, "gan": 4}
