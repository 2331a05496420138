"""NPR trained on the gallery of `shared/data`: the first embedded default.

Method: Tan et al., Rethinking the Up-Sampling Operations in CNN-based Generative Network for Generalizable
Deepfake Detection, CVPR 2024. What differs from the published recipe (ProGAN, four classes, resize to 256,
crop 224): many generators and sources, drawn with weight sqrt(n); no resize to a common size, because that
leaks the resampling ratio; 192-pixel crops on even offsets; every crop, real or fake, re-encoded at random,
because most reals here are JPEG and most fakes WebP or lossless.

Train split of `images.csv` (1,351 real, 1,257 fake); validation split for the choice of epoch and the cuts of
the learning rate. The test split is not read.

    veridical train npr_shared --data ../shared/data/images.csv -o runs/npr_shared
    veridical export runs/npr_shared/best.safetensors -o npr_shared --data ../shared/data/images.csv

AdamW 3e-4, cut to a fifth after three epochs without a better validation AUROC; batch 32; bfloat16 autocast
where the device has it (the parameters that are shipped were trained so, on one core of a Zen 4 CPU, in under
an hour). What it reached is in the card of the bundle; what was tried before is in LOG.md.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="npr_shared",
    architecture="npr",
    description="NPR (half a ResNet-50 on 2x2 residuals), trained on the shared gallery",
    paper=Paper(
        authors="C. Tan, Y. Zhao, S. Wei, G. Gu, P. Liu, Y. Wei",
        title="Rethinking the Up-Sampling Operations in CNN-based Generative Network for Generalizable "
        "Deepfake Detection",
        venue="CVPR 2024",
        url="https://arxiv.org/abs/2312.10461",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=256, count=1),
    augmentation=Augmentation(crop=192, downscale=0.1, least_quality=80),
    fit=Loop(epochs=24, batch_size=32, lr=3e-4, weight_decay=1e-4, patience=3, lr_cut=0.2),
)
