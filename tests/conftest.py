"""Fixtures that more than one folder of tests needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Before anything imports torch: its threads wait for one another where another process has a core, and the
# last digits of a sum depend on their number.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of measuring data beside the checkout; tests that read it skip where it is absent."""
    folder = Path(os.environ.get("VERIDICAL_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data" / "images.csv").is_file():
        pytest.skip(f"needs the shared data folder at {folder} (set VERIDICAL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def tiny_captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BLIP-2 of random parameters, as `save_pretrained` writes it: it captions with noise."""
    transformers = pytest.importorskip("transformers", reason="needs the extra 'generate'")
    tokenizers = pytest.importorskip("tokenizers", reason="needs the extra 'generate'")
    torch = pytest.importorskip("torch", reason="needs the extra 'generate'")

    letters = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {token: place for place, token in enumerate(["<pad>", "</s>", *sorted(letters)])}
    spelling = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    spelling.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    spelling.decoder = tokenizers.decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=spelling, bos_token="</s>", eos_token="</s>", pad_token="<pad>"
    )
    images = transformers.BlipImageProcessorPil(size={"height": 32, "width": 32})
    processor = transformers.Blip2Processor(images, tokenizer, num_query_tokens=4)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.Blip2Config(
        vision_config={**small, "intermediate_size": 32, "image_size": 32, "patch_size": 16},
        qformer_config={**small, "intermediate_size": 32, "encoder_hidden_size": 16, "vocab_size": 8},
        text_config={
            **small,
            "model_type": "opt",
            "ffn_dim": 32,
            "word_embed_proj_dim": 16,
            "max_position_embeddings": 512,
            "vocab_size": len(processor.tokenizer),
            "bos_token_id": 1,
            "eos_token_id": 1,
            "pad_token_id": 0,
        },
        num_query_tokens=4,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    folder = tmp_path_factory.mktemp("hub") / "tiny-blip2"
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    transformers.Blip2ForConditionalGeneration(config).save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Stable Diffusion of random parameters, as `save_pretrained` writes it: pictures of 64 x 64 pixels."""
    diffusers = pytest.importorskip("diffusers", reason="needs the extra 'generate'")
    transformers = pytest.importorskip("transformers", reason="needs the extra 'generate'")
    torch = pytest.importorskip("torch", reason="needs the extra 'generate'")

    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    torch.manual_seed(0)
    pipeline = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=4,
        ),
        text_encoder=transformers.CLIPTextModel(
            transformers.CLIPTextConfig(
                vocab_size=len(tokens),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                bos_token_id=0,
                eos_token_id=1,
            )
        ),
        tokenizer=transformers.CLIPTokenizer(
            vocab={token: place for place, token in enumerate(tokens)}, merges=[], model_max_length=77
        ),
        unet=diffusers.UNet2DConditionModel(
            sample_size=32,
            block_out_channels=(8, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            norm_num_groups=4,
            cross_attention_dim=16,
            attention_head_dim=4,
        ),
        scheduler=diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    folder = tmp_path_factory.mktemp("hub") / "tiny-diffusion"
    pipeline.save_pretrained(folder)
    return folder
