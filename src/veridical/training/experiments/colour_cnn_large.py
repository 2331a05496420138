"""The large CNN on inverted, over-saturated pictures of any size.

Method: a published repository without a paper. Published: about 1,030 pictures of FLUX against photographs
from an image search, all resized to 720 x 1280 whatever their shape, Adam 1e-3, batch 16, 5 epochs; test
accuracy 0.8032 on plain pictures and 0.8085 inverted and saturated by 8, on 188 pictures: a difference of one
picture. All fakes had one size and the reals had dozens, so the resize alone could tell them apart.

What differs: therefore no resize, but crops at native resolution, in training and judging alike, each
re-encoded at random; flips.

    veridical train colour_cnn_large --data DATA -o runs/colour_cnn_large
    veridical train colour_cnn_large --data DATA --set stem_kernel=3 -o runs/colour_cnn_large_3

Hardware: a GPU, or hours on a CPU. Time and results: not measured yet.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="colour_cnn_large",
    architecture="colour_cnn",
    description="A CNN on inverted, over-saturated colours of pictures of any size",
    paper=Paper(
        authors="J. J. Bird, A. Lotfi (the first data it was tried on; the operator has no paper)",
        title="CIFAKE: Image Classification and Explainable Identification of AI-Generated Synthetic Images",
        venue="IEEE Access 2024",
        url="https://arxiv.org/abs/2303.14126",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=512, count=1),
    augmentation=Augmentation(crop=256),
    fit=Loop(epochs=30, batch_size=16, lr=1e-3, optimiser="adam"),
    settings={"saturation": 8.0, "network": "large", "stem_kernel": 7},
)
