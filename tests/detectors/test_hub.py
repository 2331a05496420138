from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from veridical.detectors import load_detector
from veridical.detectors.hub import parse
from veridical.errors import MediaError, ModelError, UnknownModelError, VeridicalError
from veridical.media.image import Image

LABELS = ["natural", "gan", "diffusion"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT with random parameters, as `save_pretrained` writes it."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hub") / "vit"
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=32,
        patch_size=8,
        id2label=dict(enumerate(LABELS)),
        label2id={label: place for place, label in enumerate(LABELS)},
    )
    transformers.utils.logging.disable_progress_bar()
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def picture(height: int = 50, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def code_of(name: str) -> str:
    with pytest.raises(VeridicalError) as caught:
        load_detector(name)
    return caught.value.code


def test_a_name_states_repository_revision_and_which_labels_mean_fake() -> None:
    given = parse("Wvolf/ViT_Deepfake_Detection@main?fake=Fake")
    assert (given.source, given.revision, given.fake) == ("Wvolf/ViT_Deepfake_Detection", "main", ("Fake",))
    assert parse("./folder?fake=A B,C").fake == ("A B", "C")


@pytest.mark.parametrize("argument", ["", "owner/name", "owner?fake=F", "owner/name?fake=", "a/b/c?fake=F"])
def test_a_name_without_labels_or_without_a_repository_is_told_the_syntax(argument: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        load_detector(f"hub:{argument}")
    assert "hub:owner/name?fake=LABEL" in (caught.value.hint or "")


def test_the_probability_is_the_sum_of_those_labels_under_the_checkpoints_softmax(checkpoint: Path) -> None:
    import torch
    import transformers

    detector = load_detector(f"hub:{checkpoint}?fake=gan,diffusion")
    score = detector.detect(Image.of(picture()))

    model = transformers.ViTForImageClassification.from_pretrained(checkpoint)
    resized = transformers.ViTImageProcessorPil.from_pretrained(checkpoint)(picture(), return_tensors="pt")
    expected = torch.softmax(model(**resized).logits[0].detach(), 0)
    assert score.probability == pytest.approx(float(expected[1] + expected[2]), abs=1e-6)
    assert score.logit == pytest.approx(math.log(score.probability / (1 - score.probability)))


def test_naming_the_other_labels_mirrors_the_probability(checkpoint: Path) -> None:
    fake = load_detector(f"hub:{checkpoint}?fake=gan,diffusion").detect(Image.of(picture()))
    real = load_detector(f"hub:{checkpoint}?fake=natural").detect(Image.of(picture()))
    assert fake.probability + real.probability == pytest.approx(1)


def test_a_checkpoint_keeps_the_contract_of_a_detector(checkpoint: Path) -> None:
    detector = load_detector(f"hub:{checkpoint}?fake=gan")
    pictures = [picture(32, 33), picture(70, 41), picture(32, 33)[:, ::-1]]
    scores = [detector.detect(Image.of(one)) for one in pictures]
    assert scores[::-1] == [detector.detect(Image.of(one)) for one in pictures[::-1]]
    assert (detector.calibrated, detector.thresholds.ai, detector.thresholds.real) == (False, None, None)
    with pytest.raises(MediaError):
        detector.detect(Image.of(picture(31, 40)))


def test_the_hash_tells_parameters_and_labels_apart(checkpoint: Path) -> None:
    names = [f"hub:{checkpoint}?fake={fake}" for fake in ("gan", "gan,diffusion", "diffusion,gan")]
    one, two, same = [load_detector(name).sha256 for name in names]
    assert one != two == same


def test_a_label_that_the_checkpoint_lacks_is_answered_with_its_labels(checkpoint: Path) -> None:
    with pytest.raises(UnknownModelError) as caught:
        load_detector(f"hub:{checkpoint}?fake=difusion")
    assert caught.value.hint == "Did you mean 'diffusion'? Known: diffusion, gan, natural."


def test_labels_that_leave_none_for_real_are_refused(checkpoint: Path) -> None:
    assert code_of(f"hub:{checkpoint}?fake={','.join(LABELS)}") == "unknown_model"


def copy_of(checkpoint: Path, folder: Path, *left_out: str) -> Path:
    folder.mkdir()
    for path in checkpoint.iterdir():
        if path.name not in left_out:
            (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_pickled_parameters_are_not_opened(checkpoint: Path, tmp_path: Path) -> None:
    folder = copy_of(checkpoint, tmp_path / "pickled", "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x02}q\x00.")
    assert code_of(f"hub:{folder}?fake=gan") == "unsafe_checkpoint"
    (folder / "model.safetensors").write_bytes(b"\x80\x02}q\x00.")
    assert code_of(f"hub:{folder}?fake=gan") == "unsafe_checkpoint"


def test_parameters_that_are_missing_are_not_made_up(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copy_of(checkpoint, tmp_path / "headless")
    tensors = load_file(folder / "model.safetensors")
    del tensors["classifier.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert code_of(f"hub:{folder}?fake=gan") == "checkpoint_mismatch"


def test_a_folder_without_preprocessing_or_labels_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    assert code_of(f"hub:{tmp_path}?fake=gan") == "malformed_checkpoint"
    folder = copy_of(checkpoint, tmp_path / "unlabelled")
    config = json.loads((folder / "config.json").read_text())
    del config["id2label"]
    (folder / "config.json").write_text(json.dumps(config))
    assert code_of(f"hub:{folder}?fake=gan") == "malformed_checkpoint"


def test_code_of_the_repository_is_not_run(checkpoint: Path, tmp_path: Path) -> None:
    folder = copy_of(checkpoint, tmp_path / "custom")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "custom", "auto_map": {"AutoModelForImageClassification": "run.Custom"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "run.py").write_text("raise SystemExit('code of the repository was run')")
    assert code_of(f"hub:{folder}?fake=gan") == "malformed_checkpoint"


@pytest.mark.parametrize("switch", ["VERIDICAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_a_checkpoint_that_is_not_in_the_cache_is_not_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    pytest.importorskip("huggingface_hub")
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path))
    monkeypatch.setenv(switch, "1")
    with pytest.raises(ModelError) as caught:
        load_detector("hub:owner/name?fake=Fake")
    assert caught.value.code == "offline"
    assert not caught.value.retryable
