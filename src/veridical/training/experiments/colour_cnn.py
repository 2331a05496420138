"""A small CNN on inverted, over-saturated 32-pixel pictures.

Method: a published repository without a paper; the data are those of Bird, Lotfi, CIFAKE, IEEE Access 2024.
Published: Adam 1e-3, batch 32, 5 epochs, a fifth of the training pictures held out for validation; test
accuracy 0.9401 on plain pictures and 0.7667 inverted and saturated by 500, so there the operator did harm.

What differs: classes and generators are drawn evenly; flips; every picture re-encoded at a quality of 95 to
98, because codecs must not tell the classes apart; the epoch with the best validation AUROC is kept. Of
larger pictures 32-pixel crops at native resolution are shown, and five are judged: resized to 32 they
would tell their sizes, which the audit refuses.

    veridical train colour_cnn --data DATA --set saturation=8 -o runs/colour_cnn
    veridical train colour_cnn --data DATA --set saturation=500 -o runs/colour_cnn_500

Two minutes on one CPU core for the shared gallery; results in docs/detectors.md. CIFAKE itself was not at hand.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="colour_cnn",
    architecture="colour_cnn",
    description="A small CNN on inverted, over-saturated colours of 32-pixel pictures",
    paper=Paper(
        authors="J. J. Bird, A. Lotfi (the data; the operator has no paper)",
        title="CIFAKE: Image Classification and Explainable Identification of AI-Generated Synthetic Images",
        venue="IEEE Access 2024",
        url="https://arxiv.org/abs/2303.14126",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=32, count=5),
    augmentation=Augmentation(crop=32, downscale=0.0, least_quality=95),
    fit=Loop(epochs=5, batch_size=32, lr=1e-3, optimiser="adam"),
    settings={"saturation": 8.0, "network": "small"},
)
