"""A picture in words, by a model of random parameters."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="needs the extra 'generate'")

import torch
import transformers

from veridical.errors import ModelError, UnknownModelError
from veridical.generation import captions
from veridical.generation.captions import BEGINNINGS, NEW_TOKENS, Captioner


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)


def test_the_four_beginnings_are_those_of_the_subnet() -> None:
    assert BEGINNINGS == (
        "An image of",
        "The setting is",
        "The background is",
        "The image type/style is",
    )
    assert NEW_TOKENS == 20


def test_each_beginning_follows_what_was_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    endings = iter([" a cat on a sofa,", " a living room.\n", "", "photo"])

    def go_on(self: Captioner, pixels: np.ndarray, text: str) -> str:
        asked.append(text)
        return next(endings)

    monkeypatch.setattr(Captioner, "_go_on", go_on)
    assert Captioner().caption(picture()) == (
        "a cat on a sofa. The setting is a living room. The image type/style is photo."
    )
    assert asked == [
        "An image of",
        "An image of a cat on a sofa. The setting is",
        "An image of a cat on a sofa. The setting is a living room. The background is",
        "An image of a cat on a sofa. The setting is a living room. The image type/style is",
    ]


def test_a_real_blip2_says_the_same_of_the_same_picture_and_leaves_out_what_it_was_told(
    tiny_captioner: Path,
) -> None:
    captioner = Captioner(str(tiny_captioner))
    caption = captioner.caption(picture())
    assert caption == captioner.caption(picture())
    assert "An image of" not in caption
    assert all(caption.count(beginning) <= 1 for beginning in BEGINNINGS)
    # It spells by letters, so that no answer is longer than its tokens.
    assert len(caption) <= sum(NEW_TOKENS + len(beginning) + 3 for beginning in BEGINNINGS)


def test_the_answer_is_what_the_model_adds_to_the_text(tiny_captioner: Path) -> None:
    """Against `generate` without a prefix cut: the whole text is the prompt and the answer."""
    captioner = Captioner(str(tiny_captioner))
    model = transformers.Blip2ForConditionalGeneration.from_pretrained(tiny_captioner)
    processor = transformers.AutoProcessor.from_pretrained(tiny_captioner, backend="pil")
    inputs = processor(images=picture(), text="An image of", return_tensors="pt")
    with torch.inference_mode():
        tokens = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    whole = processor.decode(tokens[0], skip_special_tokens=True)
    assert whole == "An image of" + captioner._go_on(picture(), "An image of")


def test_nothing_is_loaded_before_a_picture_is_captioned(tmp_path: Path) -> None:
    captioner = Captioner(str(tmp_path / "absent"))
    with pytest.raises(UnknownModelError):
        captioner.caption(picture())


def test_what_is_neither_a_repository_nor_a_path_is_refused_at_once() -> None:
    with pytest.raises(UnknownModelError, match="neither"):
        Captioner("blip2")


def test_a_captioner_that_was_not_downloaded_is_an_error_of_ours_while_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        Captioner(captions.DEFAULT).caption(picture())
    assert caught.value.code == "offline"
    assert "VERIDICAL_OFFLINE" in (caught.value.hint or "")


def test_parameters_as_pickle_are_not_opened(tiny_captioner: Path, tmp_path: Path) -> None:
    for path in tiny_captioner.iterdir():
        name = "pytorch_model.bin" if path.suffix == ".safetensors" else path.name
        (tmp_path / name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError) as caught:
        Captioner(str(tmp_path)).caption(picture())
    assert caught.value.code == "unsafe_checkpoint"


def test_a_checkpoint_without_safetensors_is_refused(tiny_captioner: Path, tmp_path: Path) -> None:
    for path in tiny_captioner.glob("*.json"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError) as caught:
        Captioner(str(tmp_path)).caption(picture())
    assert caught.value.code == "unsafe_checkpoint"


def test_a_pickle_that_is_called_safetensors_is_not_opened(tiny_captioner: Path, tmp_path: Path) -> None:
    for path in tiny_captioner.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save({}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError) as caught:
        Captioner(str(tmp_path)).caption(picture())
    assert caught.value.code == "unsafe_checkpoint"
