"""Gram matrices and co-occurrences of levels at full, half and quarter size.

Features after Liu, Qi, Torr, Global Texture Enhancement for Fake Face Detection in the Wild, CVPR 2020
(Gram-Net: a ResNet-18 with Gram blocks, on faces) and Nataraj et al., Detecting GAN Generated Fake Images
using Co-occurrence Matrices, Electronic Imaging 2019. The network here is a shallow one of our own, so there
is no published number to meet.

192-pixel crops at native resolution, re-encoded at random; judged on 256 pixels.

    veridical train texture --data ../shared/data/images.csv -o runs/texture

AdamW 1e-3, batch 32. For the shared gallery: six epochs with patience=2, fifteen minutes of one core; results
in docs/detectors.md.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="texture",
    architecture="texture",
    description="A small network on Gram matrices and co-occurrences at three scales",
    paper=Paper(
        authors="Z. Liu, X. Qi, P. Torr",
        title="Global Texture Enhancement for Fake Face Detection in the Wild",
        venue="CVPR 2020",
        url="https://arxiv.org/abs/2002.00133",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=256, count=1),
    augmentation=Augmentation(crop=192),
    fit=Loop(epochs=30, batch_size=32, lr=1e-3, weight_decay=1e-4),
    settings={"scales": [1, 2, 4]},
)
