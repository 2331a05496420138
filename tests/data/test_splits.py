"""A validation split that did not come with the set."""

from pathlib import Path

from veridical.data.samples import Box, Sample
from veridical.data.splits import hold_out
from veridical.results import Label


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
