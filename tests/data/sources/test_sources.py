"""Sources by name; the contract runs on each by itself."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import PIL.Image
import pytest

from veridical.data.samples import read_samples
from veridical.data.sources import SourceInfo, download_source, is_downloadable, list_sources, load_source
from veridical.errors import DataError, UsageError


@pytest.mark.parametrize("name", list_sources())
def test_every_source_says_what_it_is_and_can_be_read(name: str) -> None:
    source = load_source(name)
    assert isinstance(source.INFO, SourceInfo)
    optional = {"paper", "sets"}
    assert all(getattr(source.INFO, field.name) for field in fields(SourceInfo) if field.name not in optional)
    with pytest.raises(DataError):
        source.read("/absent/nothing")


def test_the_known_sources() -> None:
    published = {"agiri", "artifact", "cifake", "cifar10", "cifar100", "forensynths", "genimage", "hub"}
    assert set(list_sources()) == {"folder", "gallery", "lists", "manifest"} | published


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(DataError) as caught:
        read_samples("cifke:/data/cifake")
    assert caught.value.code == "unknown_source"
    assert str(caught.value.hint).startswith("Did you mean 'cifake'?")


def test_plain_forms_can_be_named_too(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "real" / "1.png")
    assert read_samples(f"folder:{tmp_path}") == read_samples(tmp_path)


def test_a_path_that_is_there_is_a_path_though_it_looks_like_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine:set" / "real").mkdir(parents=True)
    PIL.Image.new("RGB", (32, 32)).save(tmp_path / "mine:set" / "real" / "1.png")
    monkeypatch.chdir(tmp_path)
    assert len(read_samples("mine:set")) == 1


@pytest.mark.parametrize("name", ["folder", "genimage", "forensynths"])
def test_what_a_program_cannot_fetch_says_where_it_is(name: str, tmp_path: Path) -> None:
    assert not is_downloadable(name)
    with pytest.raises(UsageError) as caught:
        download_source(name, tmp_path / "set", most_bytes=1, say=print)
    assert load_source(name).INFO.where in str(caught.value.hint)


@pytest.mark.parametrize("name", ["hub", "cifake:mine"])
def test_a_collection_needs_a_name_and_a_single_set_has_none(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not one data set"):
        download_source(name, tmp_path / "set", most_bytes=1, say=print)
