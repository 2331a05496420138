"""NPR by its published recipe, on ProGAN.

Method: Tan et al., CVPR 2024, Table 1: the ForenSynths training set of Wang et al. (CVPR 2020), its classes
car, cat, chair and horse; resize to 256, random crop 224, flip, ImageNet's scale; Adam 2e-4, batch 32, 50
epochs, the rate times 0.9 every 10; threshold 0.5; pictures resized to 256 when tested. Published: mean
accuracy 92.5 and AP 96.1 over the eight ForenSynths test folders. What differs: the classes are drawn evenly,
and the best epoch is that of the highest validation AUROC.

    veridical train npr_progan --data FOLDER -o runs/npr_progan

FOLDER holds `train/0_real`, `train/1_fake/progan` and the same under `val`. The set (about 70 GB) was not to
be had here. Files of one format and size on both sides, so nothing is re-encoded; see the shortcuts in the
literature.

Results of this experiment: not measured here, for want of the data.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import PixelInput
from veridical.training.experiment import Experiment, Loop
from veridical.training.experiments.npr_shared import EXPERIMENT as SHARED

EXPERIMENT = Experiment(
    name="npr_progan",
    architecture="npr",
    description="NPR, the published recipe: ProGAN, four classes",
    paper=SHARED.paper,
    licence="as the training data's",
    input=PixelInput(kind="resize", size=256),
    augmentation=Augmentation(crop=224, resize=256, downscale=0.0, reencoded=False),
    fit=Loop(epochs=50, batch_size=32, lr=2e-4, optimiser="adam", patience=50, step_epochs=10, step_factor=0.9),
    seed=100,
    data="forensynths",
)
