"""TALL trained on clips that are laid out as pictures.

Method: Xu et al., TALL: Thumbnail Layout for Deepfake Video Detection, ICCV 2023. Published: faces of
FaceForensics++ (c23), tested on Celeb-DF-v2; clips of four frames of 224 pixels; Swin-B from ImageNet
parameters, Adam 2e-5, weight decay 5e-4, a 16-pixel square masked at the same place of every frame.

Data: a folder with `real/` and `fake/GENERATOR/` of 448-pixel pictures, each one clip as
`veridical.architectures.tall.layout` gives it, saved without loss. What differs: every clip is re-encoded
once, at random, after the layout; the flip mirrors the laid-out picture, which also changes the frames of
a row for one another; nothing is masked; fresh parameters unless a checkpoint is given.

    veridical train tall --data CLIPS -o runs/tall

Hardware: a GPU; two CPU cores are too slow. Time and results: not measured yet.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="tall",
    architecture="tall",
    description="TALL: four frames laid out as one picture, judged by Swin-B",
    paper=Paper(
        authors="Y. Xu, J. Liang, G. Jia, Z. Yang, Y. Zhang, R. He",
        title="TALL: Thumbnail Layout for Deepfake Video Detection",
        venue="ICCV 2023",
        url="https://arxiv.org/abs/2307.07494",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=448, count=1, minimum=448),
    augmentation=Augmentation(crop=448, downscale=0.0),
    fit=Loop(epochs=30, batch_size=16, lr=2e-5, weight_decay=5e-4),
)
