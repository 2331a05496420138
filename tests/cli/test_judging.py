from __future__ import annotations

from collections.abc import Iterator

import pytest

from veridical.cli._judging import map_in_order


@pytest.mark.parametrize("jobs", [1, 4])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    assert list(map_in_order(lambda n: n * n, range(100), jobs=jobs)) == [n * n for n in range(100)]


@pytest.mark.parametrize("jobs", [1, 4])
def test_only_so_many_items_are_taken_ahead_as_memory_can_hold(jobs: int) -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = map_in_order(lambda n: n, endless(), jobs=jobs)
    for given, result in zip(range(1, 50), results, strict=False):
        assert result == given
        assert taken <= given + 2 * jobs


@pytest.mark.parametrize("jobs", [1, 4])
def test_an_error_comes_where_its_item_stands(jobs: int) -> None:
    results = map_in_order(lambda n: 1 // (3 - n), range(10), jobs=jobs)
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
