"""NPR by its GenImage recipe: small pictures are tiled, not resized.

Method: Tan et al., CVPR 2024, GenImage table: train on SD 1.4, random crop 224, a picture whose short side is
smaller is repeated until it is not (the authors' `translate_duplicate`), seed 70, one epoch. Published: mean
accuracy 90.1 and AP 96.9 over seven generators; others measured 71.6 to 88.6.

    veridical train npr_genimage --data FOLDER -o runs/npr_genimage

FOLDER holds `train/real`, `train/fake/sd1.4` and the same under `val`. The set was not to be had here. Its
reals are JPEG and its fakes PNG: trained as published, the format is learned with the trace.

Results of this experiment: not measured here, for want of the data.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import PixelInput
from veridical.training.experiment import Experiment, Loop
from veridical.training.experiments.npr_shared import EXPERIMENT as SHARED

EXPERIMENT = Experiment(
    name="npr_genimage",
    architecture="npr",
    description="NPR, the published GenImage recipe: SD 1.4, tiles instead of resizing",
    paper=SHARED.paper,
    licence="as the training data's",
    input=PixelInput(kind="crops", size=224),
    augmentation=Augmentation(crop=224, downscale=0.0, reencoded=False),
    fit=Loop(epochs=1, batch_size=32, lr=2e-4, optimiser="adam", patience=1, step_epochs=10, step_factor=0.9),
    seed=70,
    data="genimage",
)
