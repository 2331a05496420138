"""Embeddings are computed once, found again, and never mistaken for others."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from veridical.data.loader import Augmentation
from veridical.data.samples import Sample
from veridical.errors import DataError, UnknownModelError
from veridical.models.card import PixelInput
from veridical.results import Box, Label
from veridical.training import embeddings
from veridical.training.backbones import load_backbone
from veridical.training.embeddings import Matrix, Views, embed_views

CENTRE = Views(PixelInput(kind="crops", size=224))
RANDOM = Views(PixelInput(kind="crops", size=224), Augmentation(crop=224), copies=2, seed=3)


def embed(samples: Sequence[Sample], backbone: str, **options: Any) -> Matrix:
    """The embedding of each sample's centre view."""
    return embed_views(samples, backbone, CENTRE, **options).vectors


# Of bfloat16, on machines that have it; entries of the tiny backbone's embeddings are about 1.
ROUNDING = 0.02


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Five pictures, one of them smaller than a view."""
    found = []
    for index, side in enumerate((224, 240, 100, 224, 230)):
        path = tmp_path / f"{index}.png"
        pixels = np.random.default_rng(index).integers(0, 256, (side, side + 2, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(path)
        found.append(Sample(path, Label(index % 2), generator="", source="s", group="g"))
    return found


class Listener:
    """What was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str) -> None:
        self.lines.append(line)


def computed(samples: Sequence[Sample], views: Views, blocks: Sequence[int] = ()) -> int:
    """How many samples a call had to embed."""
    said = Listener()
    embed_views(samples, "clip-tiny", views, blocks=blocks, say=said)
    return int(said.lines[0].split()[1]) if said.lines else 0


def test_a_row_is_the_towers_embedding_of_the_picture(tiny_backbone: str, samples: list[Sample]) -> None:
    rows = embed(samples, tiny_backbone, blocks=[1, 3], say=Listener())
    tower = load_backbone(tiny_backbone, [1, 3])
    assert rows.shape == (5, 64)
    assert rows.dtype == np.float32
    for sample, row in zip(samples, rows, strict=True):
        with PIL.Image.open(sample.path) as picture:
            expected = tower(torch.from_numpy(np.array(picture)[None]))[0].numpy()
        np.testing.assert_allclose(row, expected, atol=ROUNDING)


def test_the_second_call_computes_nothing_and_gives_the_same(
    tiny_backbone: str, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embed(samples, tiny_backbone, say=Listener())
    monkeypatch.setattr(embeddings, "load_backbone", None)
    assert np.array_equal(embed(samples, tiny_backbone, say=Listener()), first)
    assert np.array_equal(embed(samples[::-1], tiny_backbone, say=Listener()), first[::-1])


def test_only_what_is_new_is_computed(tiny_backbone: str, samples: list[Sample]) -> None:
    assert computed(samples[:3], CENTRE) == 3
    assert computed(samples, CENTRE) == 2
    assert computed(samples, CENTRE) == 0


def test_an_interrupted_call_is_taken_up_where_it_stopped(
    tiny_backbone: str, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embeddings, "_SAMPLES_PER_SHARD", 2)
    whole = samples[2].path.read_bytes()
    samples[2] = dataclasses.replace(samples[2], sha256="0" * 64)
    samples[2].path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"2\.png"):
        computed(samples, CENTRE)
    samples[2].path.write_bytes(whole)
    assert computed(samples, CENTRE) == 3


@pytest.mark.parametrize(
    "views",
    [
        RANDOM,
        dataclasses.replace(RANDOM, seed=4),
        dataclasses.replace(RANDOM, augmentation=Augmentation(crop=224, least_quality=50)),
        Views(PixelInput(kind="crops", size=224, count=5)),
    ],
)
def test_other_views_are_other_embeddings(tiny_backbone: str, samples: list[Sample], views: Views) -> None:
    for other in (CENTRE, RANDOM):
        computed(samples[:1], other)
    assert computed(samples[:1], views) == (0 if views == RANDOM else 1)


def test_other_blocks_and_other_parameters_are_other_embeddings(
    tiny_backbone: str, samples: list[Sample], tmp_path: Path
) -> None:
    assert computed(samples[:1], CENTRE) == 1
    assert computed(samples[:1], CENTRE, blocks=[2]) == 1
    path = tmp_path / "cache" / "backbones" / "clip-tiny.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert computed(samples[:1], CENTRE) == 1


def test_a_changed_file_and_another_box_are_other_samples(tiny_backbone: str, samples: list[Sample]) -> None:
    assert computed(samples[:1], CENTRE) == 1
    boxed = dataclasses.replace(samples[0], box=Box(left=0, top=0, width=100, height=100))
    assert computed([boxed, samples[0]], CENTRE) == 1
    samples[0].path.write_bytes(samples[1].path.read_bytes())
    assert computed(samples[:1], CENTRE) == 1


def test_random_views_depend_on_the_picture_alone(tiny_backbone: str, samples: list[Sample]) -> None:
    found = embed_views(samples, tiny_backbone, RANDOM, say=Listener())
    assert found.owners.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert not np.array_equal(found.vectors[0], found.vectors[1])
    for path in embeddings._folder(tiny_backbone, 0, RANDOM, "cpu").iterdir():
        path.unlink()
    alone = embed_views(samples[3:4], tiny_backbone, RANDOM, say=Listener())
    np.testing.assert_allclose(alone.vectors, found.vectors[6:8], atol=ROUNDING)


def test_a_picture_has_as_many_rows_as_the_bundle_takes_views(
    tiny_backbone: str, samples: list[Sample]
) -> None:
    views = Views(PixelInput(kind="crops", size=224, count=5))
    found = embed_views(samples[1:3], tiny_backbone, views, say=Listener())
    assert found.owners.tolist() == [0, 0, 0, 0, 0, 1]
    assert found.per_sample(np.array([1.0, 2, 3, 4, 5, 7])).tolist() == [3.0, 7.0]


def test_one_record_serves_every_choice_of_blocks_that_ends_alike(
    tiny_backbone: str, samples: list[Sample]
) -> None:
    both = embed_views(samples, tiny_backbone, CENTRE, blocks=[1, 3], patches=[2], say=Listener()).vectors
    assert computed(samples, CENTRE, blocks=[3]) == 0
    assert np.array_equal(embed(samples, tiny_backbone, blocks=[3], say=Listener()), both[:, 32:64])
    means = embed_views(samples, tiny_backbone, CENTRE, patches=[2, 3], say=Listener()).vectors
    assert np.array_equal(means[:, :32], both[:, 64:])


def test_a_damaged_shard_is_computed_again(tiny_backbone: str, samples: list[Sample]) -> None:
    first = embed(samples, tiny_backbone, say=Listener())
    (shard,) = embeddings._folder(tiny_backbone, 0, CENTRE, "cpu").iterdir()
    shard.write_bytes(shard.read_bytes()[:100])
    assert np.array_equal(embed(samples, tiny_backbone, say=Listener()), first)


def test_an_unknown_backbone_is_refused(samples: list[Sample]) -> None:
    with pytest.raises(UnknownModelError, match="clip-vit-b16"):
        embed(samples, "clip-vit-b61")


def test_records_of_reconstructions_depend_on_the_parameters_and_not_on_where_they_lie(tmp_path: Path) -> None:
    for name in ("encoder", "decoder"):
        (tmp_path / f"{name}.safetensors").write_text(name)
    hashes = [hashlib.sha256(name.encode()).hexdigest() for name in ("decoder", "encoder")]
    # To the letter: with another key all that was embedded before would be embedded again.
    expected = f"{RANDOM.depends_on} reconstruct={hashes[0]},{hashes[1]}"
    assert dataclasses.replace(RANDOM, reconstruct=str(tmp_path)).depends_on == expected
    names = ["realesrgan:x4plus", "realesrgan:animevideov3-x4", f"{tmp_path};realesrgan:x4plus"]
    keys = {dataclasses.replace(RANDOM, reconstruct=name).depends_on for name in names}
    assert len(keys | {expected}) == 4
