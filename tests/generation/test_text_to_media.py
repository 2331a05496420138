"""Every pipeline that a model of the tables has, with random parameters: loaded and run for two steps."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs the extra 'generate'")

import diffusers
import safetensors.torch
import torch
import transformers

from veridical.errors import MissingExtraError, ModelError, SourceError, UnknownModelError
from veridical.extras import install_command
from veridical.generation import text_to_image, text_to_video
from veridical.generation.diffusion import Diffusion, DiffusionModel, Motion, arguments, find
from veridical.models import pretrained

TABLES = text_to_image.MODELS | text_to_video.MODELS
PROMPT = "a cat on a mat, photo"

# Of the libraries, at numpy 2.4 and without a GPU.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:In CPU autocast, but the target dtype is not supported:UserWarning"),
]

Part = Any  # of diffusers and transformers, whose types are not read

LETTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)]
CLIP_TOKENS = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]


def clip_tokenizer() -> Part:
    vocabulary = {token: place for place, token in enumerate(CLIP_TOKENS)}
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def clip(kind: str = "CLIPTextModel") -> Part:
    config = transformers.CLIPTextConfig(
        vocab_size=len(CLIP_TOKENS),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=0,
        eos_token_id=1,
    )
    return getattr(transformers, kind)(config)


def t5_tokenizer() -> Part:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -1.0)]
    pieces += [(letter, -2.0) for letter in LETTERS if letter != "▁"]
    return transformers.T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=64)


def t5() -> Part:
    config = transformers.T5Config(
        vocab_size=128, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, pad_token_id=0, eos_token_id=1
    )
    return transformers.T5EncoderModel(config)


def autoencoder(channels: int = 4, **more: object) -> Part:
    return diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=channels,
        **more,
    )


def unet(**more: object) -> Part:
    given = {"cross_attention_dim": 16, "attention_head_dim": 4} | more
    return diffusers.UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        **given,
    )


def ddim() -> Part:
    return diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1)


def stable_diffusion() -> Part:
    return diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=unet(),
        scheduler=ddim(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> Part:
    return diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=clip(),
        text_encoder_2=clip("CLIPTextModelWithProjection"),
        tokenizer=clip_tokenizer(),
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=16 + 6 * 8,
            cross_attention_dim=32,
        ),
        scheduler=diffusers.EulerDiscreteScheduler(),
    )


def flux() -> Part:
    return diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=autoencoder(1, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=t5_tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=[4, 4, 8],
            guidance_embeds=True,
        ),
    )


def mochi() -> Part:
    return diffusers.MochiPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKLMochi(
            encoder_block_out_channels=(32,) * 4,
            decoder_block_out_channels=(32,) * 4,
            layers_per_block=(1,) * 5,
        ),
        text_encoder=t5(),
        tokenizer=t5_tokenizer(),
        transformer=diffusers.MochiTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            pooled_projection_dim=16,
            text_embed_dim=16,
            time_embed_dim=4,
        ),
    )


def cogvideox() -> Part:
    return diffusers.CogVideoXPipeline(
        tokenizer=t5_tokenizer(),
        text_encoder=t5(),
        vae=diffusers.AutoencoderKLCogVideoX(
            block_out_channels=(8,) * 4, latent_channels=4, layers_per_block=1, norm_num_groups=2
        ),
        transformer=diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=2,
            text_embed_dim=16,
            num_layers=1,
            sample_width=4,
            sample_height=2,
            sample_frames=9,
        ),
        scheduler=diffusers.CogVideoXDDIMScheduler(),
    )


def animatediff() -> Part:
    return diffusers.AnimateDiffPipeline(
        vae=autoencoder(),
        text_encoder=clip(),
        tokenizer=clip_tokenizer(),
        unet=unet(),
        motion_adapter=motion_adapter(),
        scheduler=ddim(),
    )


def motion_adapter() -> Part:
    return diffusers.MotionAdapter(block_out_channels=(8, 16), motion_norm_num_groups=4)


# For each class of pipeline how to make one, and how little it is asked for.
SMALL: dict[str, tuple[Callable[[], Part], dict[str, Any]]] = {
    "StableDiffusionPipeline": (stable_diffusion, {"size": (32, 64)}),
    "StableDiffusionXLPipeline": (stable_diffusion_xl, {"size": (32, 64)}),
    "FluxPipeline": (flux, {"size": (32, 64)}),
    "MochiPipeline": (mochi, {"size": (16, 32), "frames": 7}),
    "CogVideoXPipeline": (cogvideox, {"size": (16, 32), "frames": 9}),
    "AnimateDiffPipeline": (animatediff, {"size": (32, 64), "frames": 3}),
}


def saved(pipeline: str, folder: Path) -> DiffusionModel:
    """A tiny one on disk, as it is found again and asked for little."""
    make, little = SMALL[pipeline]
    torch.manual_seed(0)
    with pretrained.silently("diffusers", "transformers"):
        make().save_pretrained(folder)
    table = text_to_video.MODELS if "frames" in little else text_to_image.MODELS
    return dataclasses.replace(find(str(folder), table), steps=(2, 2), **little)


@pytest.mark.parametrize("pipeline", sorted({model.pipeline for model in TABLES.values()}))
def test_every_pipeline_runs_from_a_folder_and_a_seed_makes_the_same_again(
    pipeline: str, tmp_path: Path
) -> None:
    model = saved(pipeline, tmp_path / "tiny")
    assert model.name == "tiny"
    diffusion = Diffusion(model)
    made = diffusion.make(PROMPT, seed=1)
    assert made.dtype == np.uint8
    assert model.size is not None
    assert made.shape == (*((model.frames,) if model.frames else ()), *model.size, 3)
    assert made.std() > 1
    assert np.array_equal(made, Diffusion(model).make(PROMPT, seed=1))
    assert not np.array_equal(made, diffusion.make(PROMPT, seed=2))
    assert not np.array_equal(made, diffusion.make("two dogs", seed=1))


def test_pixels_are_those_that_the_pipeline_itself_would_save(tmp_path: Path) -> None:
    model = saved("StableDiffusionPipeline", tmp_path)
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline(
        PROMPT, num_inference_steps=2, height=32, width=64, generator=torch.Generator().manual_seed(5)
    ).images[0]
    assert np.array_equal(Diffusion(model).make(PROMPT, seed=5), np.asarray(picture))


def test_the_tables_name_the_models_of_the_subnet() -> None:
    assert {model.hub_id for model in text_to_image.MODELS.values()} == {
        "stabilityai/stable-diffusion-xl-base-1.0",
        "SG161222/RealVisXL_V4.0",
        "Corcelio/mobius",
        "black-forest-labs/FLUX.1-dev",
        "prompthero/openjourney-v4",
        "cagliostrolab/animagine-xl-3.1",
    }
    assert {model.hub_id for model in text_to_video.MODELS.values()} == {
        "genmo/mochi-1-preview",
        "THUDM/CogVideoX-5b",
        "ByteDance/AnimateDiff-Lightning",
    }
    assert all(hasattr(diffusers, model.pipeline) for model in TABLES.values())
    assert all(model.licence for model in TABLES.values())


def test_steps_are_drawn_by_the_seed_between_least_and_most() -> None:
    drawn = [arguments(text_to_image.MODELS["flux"], seed) for seed in range(200)]
    steps = [each["num_inference_steps"] for each in drawn]
    assert (min(steps), max(steps)) >= (50, 115)  # type: ignore[type-var]
    assert max(steps) <= 125  # type: ignore[type-var, operator]
    assert drawn[7] == arguments(text_to_image.MODELS["flux"], 7)
    assert (drawn[0]["guidance_scale"], drawn[0]["height"], drawn[0]["width"]) == (2.0, 512, 768)


def test_what_a_table_leaves_open_is_left_to_the_publisher() -> None:
    assert arguments(text_to_image.MODELS["sdxl"], 0) == {}


def in_cache(cache: Path, repository: str, fill: Callable[[Path], object]) -> None:
    """A repository as its client keeps it after a download."""
    folder = cache / "huggingface" / f"models--{repository.replace('/', '--')}"
    commit = "0" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    (folder / "snapshots" / commit).mkdir(parents=True)
    fill(folder / "snapshots" / commit)


@pytest.fixture
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_animatediff_joins_a_model_for_pictures_and_a_file_of_motion(offline_cache: Path) -> None:
    def save_motion(folder: Path) -> None:
        safetensors.torch.save_file(motion_adapter().state_dict(), folder / "motion.safetensors")

    in_cache(offline_cache, "owner/base", lambda folder: stable_diffusion().save_pretrained(folder))
    in_cache(offline_cache, "owner/motion", save_motion)
    model = dataclasses.replace(
        text_to_video.MODELS["animatediff"],
        hub_id="owner/motion",
        motion=Motion(base="owner/base", file="motion.safetensors", channels=(8, 16), groups=4),
        size=(32, 32),
        frames=2,
    )
    video = Diffusion(model)
    assert video.make(PROMPT, seed=0).shape == (2, 32, 32, 3)
    assert video._loaded.scheduler.config.timestep_spacing == "trailing"


def test_a_model_in_the_cache_of_its_hub_is_loaded_offline_in_the_variant_that_is_there(
    offline_cache: Path,
) -> None:
    in_cache(
        offline_cache,
        "owner/name",
        lambda folder: stable_diffusion().save_pretrained(folder, variant="fp16"),
    )
    model = dataclasses.replace(
        text_to_image.MODELS["openjourney"],
        hub_id="owner/name",
        variant="fp16",
        steps=(2, 2),
        size=(32, 32),
    )
    assert Diffusion(model).make(PROMPT, seed=0).shape == (32, 32, 3)


@pytest.mark.usefixtures("offline_cache")
@pytest.mark.parametrize("name", TABLES)
def test_what_was_not_downloaded_is_an_error_of_ours_while_offline(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        Diffusion(TABLES[name]).make(PROMPT, seed=0)
    assert caught.value.code == "offline"
    assert "VERIDICAL_OFFLINE" in (caught.value.hint or "")


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UnknownModelError) as caught:
        text_to_image.find_model("fluks")
    assert "Did you mean 'flux'?" in (caught.value.hint or "")


def test_a_folder_must_hold_a_pipeline_that_makes_what_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        text_to_image.find_model(str(tmp_path))
    assert caught.value.code == "malformed_checkpoint"
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "MochiPipeline"}))
    assert find(str(tmp_path), text_to_video.MODELS).rate == 30
    with pytest.raises(UnknownModelError, match="MochiPipeline"):
        text_to_image.find_model(str(tmp_path))


def test_parameters_as_pickle_are_not_opened(tmp_path: Path) -> None:
    model = saved("StableDiffusionPipeline", tmp_path)
    unet = tmp_path / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(safetensors.torch.load_file(unet), unet.with_suffix(".bin"))
    unet.unlink()
    with pytest.raises(ModelError) as caught:
        Diffusion(model).make(PROMPT, seed=0)
    assert caught.value.code == "unsafe_checkpoint"


def test_a_pipeline_without_one_of_its_networks_is_an_error_of_ours(tmp_path: Path) -> None:
    model = saved("StableDiffusionPipeline", tmp_path)
    (tmp_path / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ModelError) as caught:
        Diffusion(model).make(PROMPT, seed=0)
    assert caught.value.code == "malformed_checkpoint"


def test_numbers_that_are_not_finite_never_become_a_picture(tmp_path: Path) -> None:
    model = saved("StableDiffusionPipeline", tmp_path)
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors["decoder.conv_out.bias"][:] = float("nan")
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(ModelError) as caught:
        Diffusion(model).make(PROMPT, seed=0)
    assert caught.value.code == "non_finite_parameters"


def test_a_picture_that_the_model_withholds_is_not_taken_for_black(tmp_path: Path) -> None:
    diffusion = Diffusion(saved("StableDiffusionPipeline", tmp_path))

    def withhold(*_: object, **__: object) -> Part:
        black = np.zeros((1, 8, 8, 3), np.float32)
        return diffusers.pipelines.stable_diffusion.StableDiffusionPipelineOutput(black, [True])

    diffusion.__dict__["_loaded"] = withhold
    with pytest.raises(SourceError) as caught:
        diffusion.make(PROMPT, seed=0)
    assert caught.value.code == "blocked"


def test_a_missing_package_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError) as caught:
        text_to_image.find_model("sdxl")
    assert caught.value.hint == install_command("generate")


def test_half_precision_is_for_devices_that_compute_in_it() -> None:
    assert pretrained.number_format("cpu", "float16") is torch.float32
    assert pretrained.number_format("cpu", "bfloat16") is torch.float32
