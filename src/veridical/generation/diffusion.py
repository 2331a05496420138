"""Diffusion models by name: where each is, under which licence, how it is asked; loaded by diffusers."""

from __future__ import annotations

import dataclasses
import functools
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from veridical.errors import ModelError, SourceError, UnknownModelError, did_you_mean
from veridical.models.pretrained import (
    LOADING_ERRORS,
    Half,
    number_format,
    refuse_pickles,
    require_device,
    require_extra,
    silently,
)
from veridical.models.snapshots import (
    find_snapshot,
    hub_cache,
    hub_errors,
    is_offline,
    is_path,
    parse_repository,
)

_INDEX = "model_index.json"


@dataclass(frozen=True)
class Motion:
    """A repository's file that moves the pictures of `base`, a model for them, and is none by itself.

    `channels` are those of the adapter's blocks, `groups` those of its normalisations.
    """

    base: str
    file: str
    channels: tuple[int, ...] = (320, 640, 1280, 1280)
    groups: int = 32


@dataclass(frozen=True)
class DiffusionModel:
    """A model of a hub. What is None is as its publisher's pipeline has it.

    `licence` is that of its page on the hub; `pipeline` the class of diffusers; `half` the 16-bit format it was
    published in, `variant` what the names of those files hold. `steps`: least and most, drawn for each picture.
    `size`: height and width in pixels. `frames` that are asked for, and frames a second, make it a video.
    """

    name: str
    hub_id: str
    licence: str
    pipeline: str
    half: Half
    variant: str | None = None
    guidance: float | None = None
    steps: tuple[int, int] | None = None
    size: tuple[int, int] | None = None
    frames: int | None = None
    rate: int | None = None
    motion: Motion | None = None


def find(name: str, models: Mapping[str, DiffusionModel]) -> DiffusionModel:
    """The model of that name, or the one in a folder written by `save_pretrained`, whose name is the folder's.

    A folder is asked in the way of the first model with its pipeline. Raises `UnknownModelError`, `ModelError`.
    """
    if name in models:
        return models[name]
    if not is_path(name):
        raise UnknownModelError(
            f"There is no model {name!r}.", hint=f"{did_you_mean(name, models)} A folder begins with . or /."
        )
    folder = find_snapshot(name, [])
    pipeline = _pipeline_of(folder)
    for model in models.values():
        if model.pipeline == pipeline:
            return dataclasses.replace(
                model, name=folder.resolve().name, hub_id=name, variant=None, motion=None, licence="unknown"
            )
    raise UnknownModelError(
        f"{folder} holds a {pipeline}, which is not known here.",
        hint=did_you_mean(pipeline, {model.pipeline for model in models.values()}),
    )


class Diffusion:
    """A diffusion model, loaded when it is first asked; `name` is its name or its folder's."""

    def __init__(self, model: DiffusionModel, device: str = "cpu") -> None:
        """Raises `MissingExtraError`, and `UsageError` for a device that is not there."""
        require_extra("text-to-image and text-to-video models")
        require_device(device)
        self.model = model
        self.name = model.name
        self._device = device

    def make(self, prompt: str, *, seed: int) -> npt.NDArray[np.uint8]:
        """The picture, (h, w, 3), or the frames, (t, h, w, 3), of a prompt; the same for the same seed.

        The noise is drawn on the CPU, so that a seed means the same picture on every device, but for rounding.
        Models with CLIP alone read the first 77 tokens of the prompt.
        Raises `ModelError` when the model cannot be loaded or gives numbers that are not finite, `SourceError`
        (`blocked`) for a picture that the model's own filter blackened.
        """
        import torch

        pipeline = self._loaded
        # The libraries print the end of a prompt that is too long, and so what a validator's fakes show.
        with silently("diffusers", "transformers"):
            output = pipeline(
                prompt,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
                **arguments(self.model, seed),
            )
        if any(getattr(output, "nsfw_content_detected", None) or []):
            raise SourceError(f"{self.name} withholds its picture of: {prompt}", code="blocked")
        made = np.asarray((output.frames if self.model.frames else output.images)[0])
        if not np.isfinite(made).all():
            raise ModelError(
                f"{self.name} made numbers that are not finite.",
                code="non_finite_parameters",
                hint="Run it on another --device.",
            )
        levels: npt.NDArray[np.uint8] = np.rint(255 * made).astype(np.uint8)
        return levels

    @functools.cached_property
    def _loaded(self) -> Any:  # Any: one class for each architecture
        with silently("diffusers", "transformers"):
            pipeline = _load(self.model, self._device)
        pipeline.set_progress_bar_config(disable=True)
        if self.model.frames:
            pipeline.vae.enable_slicing()
            if hasattr(pipeline.vae, "enable_tiling"):
                pipeline.vae.enable_tiling()
        return pipeline.to(self._device)


def arguments(model: DiffusionModel, seed: int) -> dict[str, object]:
    """Arguments of a pipeline beside the prompt; the seed draws the number of steps."""
    steps = random.Random(seed).randint(*model.steps) if model.steps else None
    height, width = model.size or (None, None)
    asked = {
        "num_inference_steps": steps,
        "guidance_scale": model.guidance,
        "height": height,
        "width": width,
        "num_frames": model.frames,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _pipeline_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / _INDEX).read_bytes())["_class_name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{folder / _INDEX} names no pipeline: {error!r}",
            code="malformed_checkpoint",
            hint="Name a folder that a pipeline's save_pretrained wrote.",
        ) from error


def _load(model: DiffusionModel, device: str) -> Any:
    import diffusers

    source = model.motion.base if model.motion else model.hub_id
    folder = find_snapshot(source, []) if is_path(source) else _download(source, model.variant)
    refuse_pickles(folder)
    dtype = number_format(device, model.half)
    try:
        passed = {"motion_adapter": _load_adapter(model.hub_id, model.motion).to(dtype)} if model.motion else {}
        pipeline = getattr(diffusers, model.pipeline).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            variant=model.variant,
            dtype=dtype,
            **passed,
        )
    except LOADING_ERRORS as error:
        raise ModelError(
            f"{folder} cannot be loaded as a {model.pipeline}: {error}", code="malformed_checkpoint"
        ) from error
    if model.motion:
        # As the adapter's page on the hub says; it was distilled for these time steps.
        pipeline.scheduler = diffusers.EulerDiscreteScheduler.from_config(
            pipeline.scheduler.config, timestep_spacing="trailing", beta_schedule="linear"
        )
    return pipeline


def _download(source: str, variant: str | None) -> Path:
    import diffusers

    repository, revision = parse_repository(source)
    with hub_errors(source):
        try:
            return Path(
                diffusers.DiffusionPipeline.download(
                    repository,
                    revision=revision,
                    cache_dir=hub_cache(),
                    use_safetensors=True,
                    variant=variant,
                    local_files_only=is_offline(),
                )
            )
        except OSError as error:
            if "safetensors" not in str(error):
                raise
            raise ModelError(
                f"{source} holds no parameters in safetensors.", code="unsafe_checkpoint"
            ) from error


def _load_adapter(source: str, motion: Motion) -> Any:
    import diffusers
    import safetensors.torch

    path = find_snapshot(source, [motion.file]) / motion.file
    adapter = diffusers.MotionAdapter(block_out_channels=motion.channels, motion_norm_num_groups=motion.groups)
    adapter.load_state_dict(safetensors.torch.load_file(path))
    return adapter
