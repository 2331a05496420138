"""From the caption of a real picture to the prompt of a generator, by one of several writers.

`llama`, `llama-official`, and any other chat model by OWNER/NAME or folder: rephrases the caption, without
names of people; for a video it adds motion. `smollm2`: the same by a model of 135 million parameters that comes
in a PyPI wheel, so that it needs no hub; it does not always see that a word is a name. `magic-prompt`: goes on
from a fixed beginning without looking at the caption. `caption`: the caption as it is.

Each gives the same prompt for the same caption and seed on the same device.
"""

from __future__ import annotations

import contextlib
import functools
import io
import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from veridical.models.pretrained import (
    TRANSFORMERS_FILES,
    load_pretrained,
    number_format,
    require_device,
    require_extra,
    silently,
)
from veridical.models.snapshots import find_snapshot, is_path, parse_repository
from veridical.models.wheels import SMOLLM2

Modality = Literal["image", "video"]

# Of the prompt that a chat model writes.
NEW_TOKENS = 80


class PromptWriter(Protocol):
    """A writer of prompts; `reads_caption` is false for one that never looks at the caption."""

    name: str
    reads_caption: bool

    def write(self, caption: str, *, seed: int, modality: Modality = "image") -> str:
        """The prompt. Raises `ModelError` when the writer's model cannot be loaded."""
        ...


@dataclass(frozen=True)
class Writer:
    """A writer that goes by a name; without a `hub_id` it needs no hub."""

    hub_id: str | None
    licence: str | None


WRITERS = {
    "llama": Writer("unsloth/Meta-Llama-3.1-8B-Instruct", "llama3.1"),
    # The same parameters by their maker, who wants the licence accepted and a token.
    "llama-official": Writer("meta-llama/Llama-3.1-8B-Instruct", "llama3.1"),
    "magic-prompt": Writer("Gustavosta/MagicPrompt-Stable-Diffusion", "mit"),
    "smollm2": Writer(None, "apache-2.0"),
    "caption": Writer(None, None),
}


def find_writer(name: str, device: str = "cpu") -> PromptWriter:
    """The writer of that name, or the chat model OWNER/NAME or folder; nothing is loaded yet.

    Raises `UnknownModelError`, `MissingExtraError`, and `UsageError` for a device that is not there.
    """
    if name == "caption":
        return AsItIs()
    require_extra("prompts")
    require_device(device)
    source = WRITERS[name].hub_id if name in WRITERS else name
    if source is None:
        return ChatWriter(name, SmolLM2(device))
    if name == "magic-prompt":
        return MagicPrompt(source, device)
    if not is_path(source):
        parse_repository(source)
    return ChatWriter(name, HubChat(source, device))


class AsItIs:
    """The caption is the prompt."""

    name = "caption"
    reads_caption = True

    def write(self, caption: str, *, seed: int, modality: Modality = "image") -> str:
        """See `PromptWriter.write`."""
        return caption


Message = dict[str, str]


class Chat(Protocol):
    """A chat model: its tokenizer, itself, and examples that it needs to understand what is wanted."""

    examples: dict[Modality, list[tuple[str, str]]]

    def load(self) -> tuple[Any, Any]:
        """Tokenizer and model (`Any`: one class for each architecture)."""
        ...


_INSTRUCTIONS: dict[Modality, str] = {
    "image": (
        "You turn the description of a picture into a prompt for a text-to-image model. Say what is shown in "
        "one or two short sentences, without repetition. Never name a person: write a man, a woman, a child or "
        "people instead. Answer with the prompt alone."
    ),
    "video": (
        "You turn the description of a picture into a prompt for a text-to-video model. Say what is shown in "
        "one or two short sentences. Carry on a movement that the picture shows; what stands still may stay "
        "so, with a little motion around it. Add one gentle movement of the camera. Never name a person: write "
        "a man, a woman, a child or people instead. Answer with the prompt alone."
    ),
}


class ChatWriter:
    """A chat model that rephrases. The likeliest word is taken each time, so that the seed plays no part."""

    reads_caption = True

    def __init__(self, name: str, chat: Chat) -> None:
        self.name = name
        self._chat = chat

    def write(self, caption: str, *, seed: int, modality: Modality = "image") -> str:
        """See `PromptWriter.write`. A model with nothing to say leaves the caption."""
        import torch

        tokenizer, model = self._loaded
        inputs = tokenizer.apply_chat_template(
            self._messages(caption, modality),
            add_generation_prompt=True,
            return_dict=True,
            return_tensors="pt",
        ).to(model.device)
        with torch.inference_mode():
            tokens = model.generate(
                **inputs,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                temperature=None,  # what the checkpoint says of sampling has no meaning here
                top_p=None,
                top_k=None,
                pad_token_id=tokenizer.eos_token_id,
            )[0]
        answer = tokenizer.decode(tokens[inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        return _one_line(answer) or caption

    def _messages(self, caption: str, modality: Modality) -> list[Message]:
        messages = [{"role": "system", "content": _INSTRUCTIONS[modality]}]
        for asked, answered in self._chat.examples[modality]:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        return [*messages, {"role": "user", "content": caption}]

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return self._chat.load()


class HubChat:
    """A chat model of a hub, or in a folder."""

    examples: dict[Modality, list[tuple[str, str]]] = {"image": [], "video": []}

    def __init__(self, source: str, device: str) -> None:
        self._source = source
        self._device = device

    def load(self) -> tuple[Any, Any]:
        """See `Chat.load`. Raises `ModelError`, `UnknownModelError`."""
        return _load_causal(self._source, self._device)


_CAFE = (
    "Maria Lopez sitting at a table with a cup of coffee. The setting is a cafe. The background is a brick "
    "wall. The image type/style is portrait."
)
_TRAIN = (
    "a red train on the tracks. The setting is a train station. The background is mountains. The image "
    "type/style is a photograph."
)
_KITCHEN = (
    "John Miller cutting vegetables. The setting is a kitchen. The background is a window. The image "
    "type/style is photo."
)


class SmolLM2:
    """SmolLM2-135M-Instruct (Apache-2.0), with examples, without which so small a model talks about pictures.

    Loubna Ben Allal and others: SmolLM2: When Smol Goes Big, 2025, https://arxiv.org/abs/2502.02737.
    """

    examples: dict[Modality, list[tuple[str, str]]] = {
        "image": [
            (
                _CAFE,
                "A portrait of a woman sitting at a cafe table with a cup of coffee, a brick wall behind her.",
            ),
            (_TRAIN, "A photograph of a red train at a station, with mountains in the background."),
            (_KITCHEN, "A photo of a man cutting vegetables in a kitchen, in front of a window."),
        ],
        "video": [
            (
                _CAFE,
                "A woman sits at a cafe table and lifts a cup of coffee while the camera moves slowly closer.",
            ),
            (_TRAIN, "A red train rolls into a station below mountains while the camera pans along with it."),
            (_KITCHEN, "A man cuts vegetables in a kitchen while the camera circles gently around the table."),
        ],
    }

    def __init__(self, device: str) -> None:
        self._device = device

    def load(self) -> tuple[Any, Any]:
        """See `Chat.load`. Raises `ModelError` (`missing_backbone`, `hash_mismatch`)."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.gguf")
            path.write_bytes(SMOLLM2.read())
            tokenizer, model = _load_gguf(path)
        return tokenizer, model.eval().to(self._device)


# MagicPrompt has seen prompts of people who wanted pictures of many kinds; these ask for photographs.
_STARTERS = (
    "A photorealistic portrait",
    "A photorealistic image of a person",
    "A photorealistic landscape",
    "A photorealistic scene",
)
_QUALITIES = (
    "8k",
    "HDR",
    "depth of field",
    "fine detail",
    "golden hour",
    "high resolution",
    "natural light",
    "sharp focus",
    "soft shadows",
    "ultra realistic",
)
_CAMERAS = (
    "Canon EOS R5",
    "Fujifilm X-T4",
    "Hasselblad X1D II",
    "Leica M11",
    "Nikon Z7 II",
    "Panasonic Lumix S5",
    "Pentax K-1 Mark II",
    "Sony Alpha 7R IV",
)
_MOST_TOKENS = 77


class MagicPrompt:
    """MagicPrompt-Stable-Diffusion, a GPT-2: goes on from one of four beginnings, up to the first comma.

    Words of quality and the name of a camera follow. The caption plays no part.
    """

    name = "magic-prompt"
    reads_caption = False

    def __init__(self, source: str, device: str) -> None:
        self._source = source
        self._device = device

    def write(self, caption: str, *, seed: int, modality: Modality = "image") -> str:
        """See `PromptWriter.write`."""
        rng = random.Random(seed)
        subject = up_to_comma(self._go_on(rng.choice(_STARTERS), seed))
        return ", ".join([subject, *rng.sample(_QUALITIES, 3), rng.choice(_CAMERAS)])

    def _go_on(self, beginning: str, seed: int) -> str:
        import torch

        tokenizer, model = self._loaded
        inputs = tokenizer(beginning, return_tensors="pt").to(model.device)
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.inference_mode(), torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            tokens = model.generate(
                **inputs, max_length=_MOST_TOKENS, do_sample=True, pad_token_id=tokenizer.eos_token_id
            )[0]
        return str(tokenizer.decode(tokens, skip_special_tokens=True))

    @functools.cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return _load_causal(self._source, self._device)


def up_to_comma(text: str) -> str:
    """The text before the first comma, semicolon or end of line.

    >>> up_to_comma("A photorealistic scene of a market; trending, 4k")
    'A photorealistic scene of a market'
    """
    return re.split(r"[,;\n]", text, maxsplit=1)[0].strip()


def _one_line(answer: str) -> str:
    """Without line breaks, and without the quotation marks that chat models like to add."""
    return " ".join(answer.split()).strip('"')


def _load_causal(source: str, device: str) -> tuple[Any, Any]:
    model, tokenizer = load_pretrained(
        find_snapshot(source, TRANSFORMERS_FILES),
        "AutoModelForCausalLM",
        "AutoTokenizer",
        dtype=number_format(device, "bfloat16"),
    )
    return tokenizer, model.to(device)


def _load_gguf(path: Path) -> tuple[Any, Any]:
    import transformers
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    # The bar of progress of `load_gguf_checkpoint` knows no switch but the stream it goes to.
    with silently("transformers"), contextlib.redirect_stderr(io.StringIO()):
        tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        config = transformers.AutoConfig.from_pretrained(path.parent, gguf_file=path.name)
        model = transformers.AutoModelForCausalLM.from_config(config)
        # Not from_pretrained, which needs the package accelerate for a GGUF file.
        tensors = load_gguf_checkpoint(path, return_tensors=True, model_to_load=model)["tensors"]
    missing = set(model.load_state_dict(tensors, strict=False).missing_keys)
    # The output matrix is the embedding.
    assert missing <= {"lm_head.weight"}, missing
    return tokenizer, model
