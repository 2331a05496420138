"""Embeddings of samples, computed once and kept in the user's cache under `embeddings/`.

A record holds the embeddings of all views of one sample, under the sha256 of its file and its box, in float16.
Of a tower that ends at a middle block it holds the class token and the mean of the patch tokens after every
block down there, so that one record serves every choice among them. Records lie in a folder named after
everything else that they depend on: the backbone's parameters, the last block, the views with their
augmentation, seed and what makes fakes of them, and whether the device computes in bfloat16 (four times as
fast, rounded to 0.4 %). They are written in shards of safetensors, each in one step, while the work goes on, so
that an interrupted call is taken up where it stopped; deleting the folder loses nothing but time.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors.numpy
import torch

from veridical.architectures.clip import Tower, TowerSettings, centre_view
from veridical.architectures.precision import has_bfloat16, mixed_precision
from veridical.data.loader import Augmentation, Forge
from veridical.data.samples import Sample, file_sha256, load_pixels
from veridical.detectors.bundle import crop_views
from veridical.errors import ModelError
from veridical.files import replace_file
from veridical.generation.forge import load_forge, parameters_of
from veridical.models.card import PixelInput
from veridical.models.parameters import read_parameters
from veridical.models.snapshots import cache_folder
from veridical.training.backbones import load_backbone, parameters_file, settings_of

# Part of every key: raise it when a tower or a view gives other numbers than before.
_VERSION = 3

_SAMPLES_PER_SHARD = 128
_VIEWS_PER_BATCH = 16

Matrix = npt.NDArray[np.float32]
Record = npt.NDArray[np.float16]


@dataclass(frozen=True)
class Views:
    """Views of a picture that are embedded: those that a bundle with `input` takes of it.

    With an `augmentation` it is `copies` random views instead, a function of `seed`, the file and the number
    of the copy, whatever else is embedded with it. `reconstruct` names what each crop goes through before it is
    re-encoded (see `generation.forge`): the same crop and the same encoding as without.
    """

    input: PixelInput
    augmentation: Augmentation | None = None
    copies: int = 1
    seed: int = 0
    reconstruct: str = ""

    @property
    def depends_on(self) -> str:
        """In words, what the views are a function of; options at their defaults are left out of it."""
        parts = [_changed(self.input)]
        if self.augmentation is not None:
            parts += [_changed(self.augmentation), f"copies={self.copies} seed={self.seed}"]
        if self.reconstruct:
            parts.append(f"reconstruct={parameters_of(self.reconstruct)}")
        return " ".join(parts)

    def forge(self, device: str) -> Forge | None:
        """The function that makes a fake of a crop."""
        return load_forge(self.reconstruct, device) if self.reconstruct else None

    def of(self, sample: Sample, key: str, forge: Forge | None = None) -> list[npt.NDArray[np.uint8]]:
        """The views of a sample, each uint8 (height, width, 3)."""
        pixels = load_pixels(sample)
        if self.augmentation is None:
            # Copies, or each crop would keep its whole picture in memory.
            return [view.copy() for view in crop_views(pixels, self.input)]
        places = [int(key[:15], 16), self.seed]
        return [
            self.augmentation.apply(pixels, np.random.default_rng([*places, copy]), forge)
            for copy in range(self.copies)
        ]


@dataclass(frozen=True)
class Embeddings:
    """`vectors` float32 (m, d), one row for each view; `owners` (m,): the index of the view's sample."""

    vectors: Matrix
    owners: npt.NDArray[np.int64]

    def per_sample(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The mean of `values` (m,) over the views of each sample."""
        means: npt.NDArray[np.float64] = np.bincount(self.owners, values) / np.bincount(self.owners)
        return means


def embed_views(
    samples: Sequence[Sample],
    backbone: str,
    views: Views,
    *,
    blocks: Sequence[int] = (),
    patches: Sequence[int] = (),
    device: str = "cpu",
    workers: int = 1,
    say: Callable[[str], None] = print,
) -> Embeddings:
    """The embeddings of all views of all samples, in order; what is not in the cache is computed first.

    Pictures are read by `workers` threads. Raises `DataError` with the path of a sample that cannot be read.
    """
    last = max((*blocks, *patches), default=0)
    folder = _folder(backbone, last, views, device)
    keys = [_key(sample) for sample in samples]
    records = _read_records(folder)
    missing = {key: sample for key, sample in zip(keys, samples, strict=True) if key not in records}
    if missing:
        say(f"embedding {len(missing)} of {len(samples)} samples by {backbone}; the others are in the cache")
        every = range(1, last + 1)
        tower = load_backbone(backbone, every, every, device=device)
        for shard in _compute(missing, tower, views, device=device, workers=workers):
            _write_shard(folder, shard)
            records |= shard
            say(f"{sum(key in records for key in missing)} of {len(missing)} embedded")
    owners = np.repeat(np.arange(len(keys)), [len(records[key]) for key in keys])
    columns = _columns(settings_of(backbone), last, blocks, patches)
    return Embeddings(np.concatenate([records[key][:, columns].astype(np.float32) for key in keys]), owners)


def _key(sample: Sample) -> str:
    sha256 = sample.sha256 or file_sha256(sample.path)
    return sha256 if sample.box is None else f"{sha256} {sample.box}"


def _columns(
    settings: TowerSettings, last: int, blocks: Sequence[int], patches: Sequence[int]
) -> slice | npt.NDArray[np.int64]:
    """The columns of `blocks`' and `patches`' summaries in a record that ends at the block `last`."""
    if not last:  # the tower's own embedding
        return slice(None)
    places = [*(number - 1 for number in blocks), *(last + number - 1 for number in patches)]
    return np.concatenate([np.arange(place * settings.width, (place + 1) * settings.width) for place in places])


def _folder(backbone: str, last: int, views: Views, device: str) -> Path:
    parameters = file_sha256(parameters_file(backbone))
    depends_on = f"{_VERSION} {parameters} {last} {views.depends_on}"
    if has_bfloat16(torch.device(device)):
        depends_on += " bfloat16"
    digest = hashlib.sha256(depends_on.encode()).hexdigest()
    return cache_folder() / "embeddings" / f"{backbone}-{digest[:16]}"


def _changed(part: PixelInput | Augmentation) -> str:
    """The fields that differ from their defaults, so that a new option leaves old records their names."""
    changed = [
        f"{field.name}={getattr(part, field.name)!r}"
        for field in dataclasses.fields(part)
        if getattr(part, field.name) != field.default
    ]
    return f"{type(part).__name__}({', '.join(changed)})"


def _read_records(folder: Path) -> dict[str, Record]:
    records: dict[str, Record] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            records |= read_parameters(path)
        except ModelError:  # a damaged shard of a cache is as good as none: its samples are embedded again
            path.unlink()
    return records


def _compute(
    missing: dict[str, Sample], tower: Tower, views: Views, *, device: str, workers: int
) -> Iterator[dict[str, Record]]:
    keys = list(missing)
    forge = views.forge(device)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for first in range(0, len(keys), _SAMPLES_PER_SHARD):
            chosen = keys[first : first + _SAMPLES_PER_SHARD]
            pictures = list(pool.map(lambda key: views.of(missing[key], key, forge), chosen))
            vectors = _run(tower, [view for some in pictures for view in some], device)
            ends = np.cumsum([len(some) for some in pictures])
            yield dict(zip(chosen, np.split(vectors, ends[:-1]), strict=True))


@torch.inference_mode()
def _run(tower: Tower, views: Sequence[npt.NDArray[np.uint8]], device: str) -> Record:
    size = tower.settings.size
    squares = [centre_view(torch.tensor(view)[None], size) for view in views]
    batches = (torch.cat(squares[i : i + _VIEWS_PER_BATCH]) for i in range(0, len(squares), _VIEWS_PER_BATCH))
    with mixed_precision(torch.device(device)):
        return np.concatenate([tower(batch.to(device)).half().cpu().numpy() for batch in batches])


def _write_shard(folder: Path, records: dict[str, Record]) -> None:
    name = hashlib.sha256(" ".join(sorted(records)).encode()).hexdigest()[:16]
    replace_file(folder / f"{name}.safetensors", safetensors.numpy.save(records))
