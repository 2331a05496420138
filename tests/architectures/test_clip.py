"""The towers against PyTorch's own transformer layers, and how pictures become their view."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from veridical.architectures import clip
from veridical.architectures.clip import AttentionPool, Tower, TowerSettings, TransformerBlock

FAMILIES: list[clip.Family] = ["clip", "dinov2", "siglip"]


def small(family: clip.Family) -> TowerSettings:
    return TowerSettings(
        family, width=24, depth=3, heads=3, patch=4, size=12, projection=8 if family == "clip" else 0
    )


def pictures(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def parameters(backbone: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in clip.tower(backbone).parameters())


def test_the_towers_have_the_published_numbers_of_parameters() -> None:
    assert parameters("clip-vit-b16") == 86_192_640
    assert parameters("clip-vit-l14") == 303_966_208
    assert parameters("clip-vit-l14-336") == 304_293_888


@pytest.mark.parametrize("family", FAMILIES)
def test_a_block_is_a_transformer_encoder_layer_with_the_norm_first(family: clip.Family) -> None:
    torch.manual_seed(0)
    block = TransformerBlock(small(family)).eval()
    activations: dict[clip.Family, Callable[[torch.Tensor], torch.Tensor]] = {
        "clip": clip.quick_gelu,
        "dinov2": nn.functional.gelu,
        "siglip": nn.GELU(approximate="tanh"),
    }
    theirs = nn.TransformerEncoderLayer(
        24,
        3,
        96,
        activation=activations[family],
        layer_norm_eps=clip.EPSILON[family],
        norm_first=True,
        batch_first=True,
    ).eval()
    ours = block.state_dict()
    renamed = {
        "self_attn.in_proj": ("query", "key", "value"),
        "self_attn.out_proj": ("out",),
        "linear1": ("fc1",),
        "linear2": ("fc2",),
        "norm1": ("norm1",),
        "norm2": ("norm2",),
    }
    state = {}
    for name, sources in renamed.items():
        for kind in ("weight", "bias"):
            key = f"{name}_{kind}" if name.endswith("in_proj") else f"{name}.{kind}"
            state[key] = torch.cat([ours[f"{source}.{kind}"] for source in sources])
    theirs.load_state_dict(state)
    x = torch.randn(2, 5, 24)
    with torch.no_grad():
        torch.testing.assert_close(block(x), theirs(x), atol=1e-5, rtol=0)


def test_siglips_pool_is_multi_head_attention_of_one_learned_query() -> None:
    torch.manual_seed(0)
    pool = AttentionPool(small("siglip")).eval()
    theirs = nn.MultiheadAttention(24, 3, batch_first=True)
    parts = (pool.query, pool.key, pool.value)
    theirs.load_state_dict(
        {
            "in_proj_weight": torch.cat([part.weight for part in parts]),
            "in_proj_bias": torch.cat([part.bias for part in parts]),
            "out_proj.weight": pool.out.weight,
            "out_proj.bias": pool.out.bias,
        }
    )
    x = torch.randn(2, 5, 24)
    with torch.no_grad():
        y = theirs(pool.probe.expand(2, -1, -1), x, x)[0][:, 0]
        expected = y + pool.fc2(nn.functional.gelu(pool.fc1(pool.norm(y)), approximate="tanh"))
        torch.testing.assert_close(pool(x), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_embedding_has_the_length_that_the_tower_says(family: clip.Family) -> None:
    for blocks in ((), (2,), (1, 3)):
        tower = Tower(small(family), blocks)
        assert tower(pictures(2, 12, 12)).shape == (2, tower.features)


def test_several_blocks_give_their_class_tokens_one_behind_the_other() -> None:
    torch.manual_seed(0)
    both = Tower(small("clip"), (1, 3))
    first, third = Tower(small("clip"), (1,)), Tower(small("clip"), (3,))
    for tower in (first, third):
        tower.load_state_dict({key: both.state_dict()[key] for key in tower.state_dict()})
    x = pictures(2, 12, 12)
    with torch.no_grad():
        torch.testing.assert_close(both(x), torch.cat([first(x), third(x)], dim=1))


def test_the_blocks_above_the_last_that_is_asked_for_do_not_exist() -> None:
    tower = Tower(small("clip"), (2,))
    assert len(tower.blocks) == 2
    assert not any(name.startswith(("post_norm", "projection")) for name, _ in tower.named_parameters())


@pytest.mark.parametrize("blocks", [(0,), (4,), (2, 1), (2, 2), (-1,)])
def test_blocks_that_a_tower_lacks_are_refused(blocks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="from 1 to 3"):
        Tower(small("clip"), blocks)


def test_an_unknown_backbone_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="clip-vit-b16"):
        clip.tower("clip-vit-b61")


def test_pixels_are_normalised_inside() -> None:
    tower = Tower(small("clip"))
    mean = torch.tensor(clip.NORMALISATION["clip"][0])
    std = torch.tensor(clip.NORMALISATION["clip"][1])
    seen: list[torch.Tensor] = []
    tower.patch_embedding.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = pictures(1, 12, 12)
    tower(x)
    expected = ((x / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(seen[0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (13, 15), (40, 12), (17, 30)])
def test_a_larger_picture_is_cropped_at_its_centre_from_even_offsets(height: int, width: int) -> None:
    x = pictures(1, height, width)
    top, left = (height - 12) // 4 * 2, (width - 12) // 4 * 2
    assert torch.equal(clip.centre_view(x, 12), x[:, top : top + 12, left : left + 12])


@pytest.mark.parametrize(("height", "width"), [(5, 7), (6, 40), (1, 1)])
def test_a_smaller_picture_is_repeated_as_in_training(height: int, width: int) -> None:
    x = pictures(1, height, width)
    tiled = x.repeat(1, 12, 12, 1)
    left = (width - 12) // 4 * 2 if width > 12 else 0
    assert torch.equal(clip.centre_view(x, 12), tiled[:, :12, left : left + 12])


def test_means_over_patches_stand_behind_the_class_tokens() -> None:
    torch.manual_seed(0)
    both = Tower(small("clip"), blocks=[2], patches=[1, 2]).eval()
    assert (both.features, len(both.blocks)) == (3 * 24, 2)
    seen: list[torch.Tensor] = []
    for block in both.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(output))
    out = both(pictures(2, 12, 12))
    torch.testing.assert_close(out[:, :24], seen[1][:, 0])
    torch.testing.assert_close(out[:, 24:48], seen[0][:, 1:].mean(1))
    torch.testing.assert_close(out[:, 48:], seen[1][:, 1:].mean(1))
