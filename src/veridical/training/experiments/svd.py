"""Rest of 16x16 blocks without their one and their four strongest singular parts.

The tool is Eckart, Young, The approximation of one matrix by another of lower rank, Psychometrika 1936; the
residual as a feature is an idea from research notes without a paper; the network on it and this recipe
are our own. So there is no published number to meet.

192-pixel crops at native resolution, re-encoded at random; judged on 256 pixels that start at a multiple of 16.

    veridical train svd --data ../shared/data/images.csv -o runs/svd

AdamW 1e-3, batch 32. For the shared gallery: six epochs with patience=2, five minutes of one core; results in
docs/detectors.md.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="svd",
    architecture="svd",
    description="A small network on what low-rank approximations of 16x16 blocks leave",
    paper=Paper(
        authors="C. Eckart, G. Young",
        title="The approximation of one matrix by another of lower rank",
        venue="Psychometrika 1936",
        url="https://doi.org/10.1007/BF02288367",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=256, count=1, align=16),
    augmentation=Augmentation(crop=192),
    fit=Loop(epochs=30, batch_size=32, lr=1e-3, weight_decay=1e-4),
    settings={"block": 16, "ranks": [1, 4]},
)
