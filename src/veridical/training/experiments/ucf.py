"""UCF trained on pictures by its five losses.

Method: Yan et al., UCF: Uncovering Common Features for Generalizable Deepfake Detection, ICCV 2023. Published:
faces of FaceForensics++ (four methods and real), resized to 256, Adam 2e-4, weight decay 5e-4, batch 32, 5
epochs, seed 1024, ImageNet parameters to start from; the best epoch by AUC.

What differs: whole pictures of any content instead of faces; 256-pixel crops at native resolution in
training and judging alike, because a resize to a common size leaks the resampling ratio; every crop
re-encoded at random; fresh parameters; a batch of one class alone is learned by cross-entropy. What the paper
calls a method is here a generator of fakes: `methods` is their number in the training split plus one, and one
more with `reconstructed`. With `micro_batch` (or several processes) the shuffles and comparisons stay within a
part, which should not be below 8 pictures.

    veridical train ucf --data DATA --set methods=8 -o runs/ucf

Hardware: a GPU. What a CPU core allows in three minutes, and what docs/detectors.md shows, is a token of it:

    veridical train ucf --set methods=40 --set epochs=1 --set num_reals=240 --set num_fakes=240
        --set batch_size=16 --set augmentation.crop=96
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="ucf",
    architecture="ucf",
    description="UCF: an Xception that looks for what forgeries have in common",
    paper=Paper(
        authors="Z. Yan, Y. Zhang, Y. Fan, B. Wu",
        title="UCF: Uncovering Common Features for Generalizable Deepfake Detection",
        venue="ICCV 2023",
        url="https://arxiv.org/abs/2304.13949",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=256, count=1),
    augmentation=Augmentation(crop=256),
    fit=Loop(epochs=5, batch_size=32, lr=2e-4, weight_decay=5e-4),
    seed=1024,
)
