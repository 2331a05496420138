"""Any image-classification checkpoint of the Hugging Face hub, with its labels named explicitly.

`hub:owner/name?fake=LABEL` or `hub:owner/name@revision?fake=LABEL,LABEL`: the labels, as in the checkpoint's
own `config.json`, that mean AI-generated; all others mean real. There is no guessing, since such checkpoints
disagree on the order and the names. A folder written by `save_pretrained` is named by a path that begins with
`.` or `/`.

The logit is the logarithm of the odds of those labels under the checkpoint's softmax. The number is not
calibrated and has no thresholds, so the verdict is always `unsure`; `fusion` can calibrate it, also as its
only member.

Needs the extras `hub` and `train` (PyTorch). Only safetensors are read, and no code of the repository is run.
`VERIDICAL_OFFLINE` and `HF_HUB_OFFLINE` allow only what was downloaded before.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from veridical.detectors.base import require_size, score_frames, score_of_logits
from veridical.errors import MissingExtraError, ModelError, UnknownModelError, did_you_mean
from veridical.media.image import Image, Pixels
from veridical.media.limits import DEFAULT_LIMITS
from veridical.models.parameters import refuse_pickle
from veridical.models.pretrained import load_pretrained
from veridical.models.snapshots import find_snapshot, is_path, parse_repository
from veridical.results import Score, Thresholds

if TYPE_CHECKING:
    import torch

FAMILY = "hub"
NEEDS = "the extras hub and train, and a checkpoint in safetensors"

_CONFIG, _PREPROCESSOR = "config.json", "preprocessor_config.json"
_WANTED = [_CONFIG, _PREPROCESSOR, "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"]
_SYNTAX = re.compile(r"(?P<source>[^?]+)\?fake=(?P<fake>[^?]+)")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint by name: a repository or folder, its revision, and which labels mean fake."""

    source: str
    revision: str
    fake: tuple[str, ...]


class HubDetector:
    """Runs a checkpoint in PyTorch, one picture at a time, with the preprocessing it was published with."""

    version = "1"
    thresholds = Thresholds(ai=None, real=None)
    calibrated = False
    card = None
    minimum = DEFAULT_LIMITS.min_side

    def __init__(self, folder: Path, fake: Sequence[str], name: str) -> None:
        """Raises `ModelError`, and `MissingExtraError` without transformers or PyTorch."""
        self.name = name
        files = _files(folder)
        self._is_fake = _which_are_fake(folder, fake)
        self.sha256 = _hash(files, fake)
        self._model, self._processor = _load_checkpoint(folder)

    def detect(self, medium: Image) -> Score:
        """See `Detector.detect`."""
        return score_frames(medium, self._score, self.card)

    def _score(self, image: Pixels) -> Score:
        import torch

        require_size(image, self.minimum)
        inputs = self._processor(
            images=np.ascontiguousarray(image), return_tensors="pt", input_data_format="channels_last"
        )
        with torch.inference_mode():
            logits = self._model(**inputs).logits[0]
        fake = torch.tensor(self._is_fake)
        odds = torch.logsumexp(logits[fake], 0) - torch.logsumexp(logits[~fake], 0)
        return score_of_logits([float(odds)], None)


def parse(argument: str) -> Checkpoint:
    """The parts of what stands after `hub:`. Raises `UnknownModelError` for another syntax.

    >>> parse("owner/name@v1?fake=Fake,artificial")
    Checkpoint(source='owner/name', revision='v1', fake=('Fake', 'artificial'))
    """
    parts = _SYNTAX.fullmatch(argument)
    try:
        source, revision = _parse_source(parts["source"] if parts else "")
    except UnknownModelError as error:
        raise UnknownModelError(
            f"'{FAMILY}:{argument}' names no checkpoint.",
            hint="Write hub:owner/name?fake=LABEL or hub:owner/name@revision?fake=LABEL,LABEL.",
        ) from error
    assert parts is not None  # nothing is no source
    return Checkpoint(source, revision, tuple(parts["fake"].split(",")))


def _parse_source(source: str) -> tuple[str, str]:
    return (source, "main") if is_path(source) else parse_repository(source)


def load(argument: str) -> HubDetector:
    """The detector of `owner/name@revision?fake=LABEL`. Raises `ModelError`, `MissingExtraError`."""
    checkpoint = parse(argument)
    name = f"{FAMILY}:{argument}"
    if is_path(checkpoint.source):
        return HubDetector(Path(checkpoint.source), checkpoint.fake, name)
    folder = find_snapshot(f"{checkpoint.source}@{checkpoint.revision}", _WANTED)
    return HubDetector(folder, checkpoint.fake, name)


def names() -> list[str]:
    """None: a checkpoint needs its labels named, which its files cannot say."""
    return []


def _files(folder: Path) -> list[Path]:
    """The files that decide a score, sorted; refuses a checkpoint without safetensors."""
    found = sorted({path for pattern in _WANTED for path in folder.glob(pattern)})
    present = {path.name for path in found}
    if missing := {_CONFIG, _PREPROCESSOR} - present:
        raise ModelError(f"{folder} lacks {' and '.join(sorted(missing))}.", code="malformed_checkpoint")
    parameters = [path for path in found if path.suffix == ".safetensors"]
    if not parameters:
        raise ModelError(
            f"{folder} holds no parameters in safetensors.",
            code="unsafe_checkpoint",
            hint="Pickles (pytorch_model.bin) are not opened; use a revision with model.safetensors.",
        )
    for path in parameters:
        refuse_pickle(path)
    return found


def _which_are_fake(folder: Path, fake: Sequence[str]) -> list[bool]:
    """For each of the checkpoint's labels, in its order, whether it means fake."""
    try:
        config = json.loads((folder / _CONFIG).read_bytes())
        labels = [str(config["id2label"][str(place)]) for place in range(len(config["id2label"]))]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / _CONFIG} names no labels: {error!r}", code="malformed_checkpoint"
        ) from error
    for label in fake:
        if label not in labels:
            raise UnknownModelError(f"The checkpoint has no label {label!r}.", hint=did_you_mean(label, labels))
    if set(labels) <= set(fake):
        raise UnknownModelError("All of the checkpoint's labels mean fake; none is left for real.")
    return [label in fake for label in labels]


def _hash(files: Sequence[Path], fake: Sequence[str]) -> str:
    digest = hashlib.sha256(f"veridical hub {HubDetector.version} {sorted(fake)}".encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(f"\n{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return digest.hexdigest()


def _load_checkpoint(folder: Path) -> tuple[torch.nn.Module, Any]:  # Any: one class for each architecture
    try:
        import torch
        import transformers  # noqa: F401 # what loads it says which extra is missing, not which module
    except ImportError as error:
        raise MissingExtraError("checkpoints from a hub", extra="hub,train") from error
    return load_pretrained(
        folder, "AutoModelForImageClassification", "AutoImageProcessor", dtype=torch.float32, backend="pil"
    )
