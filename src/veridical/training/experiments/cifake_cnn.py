"""The CIFAKE CNN on any set of small pictures.

Data: Bird, Lotfi, CIFAKE: Image Classification and Explainable Identification of AI-Generated Synthetic Images,
IEEE Access 2024: 60,000 pictures of CIFAR-10 and 60,000 of Stable Diffusion 1.4, all 32 x 32 JPEG. Network: a
published study of it; `style_attention` adds Lee, Kim, Nam, SRM, ICCV 2019. Published: SGD 1e-3 with momentum
0.9, batch 32, 10 epochs, no augmentation; accuracy on the 20,000 of the test split at threshold 0.5: 91.70 %,
with attention 92.06 %; on other data no better than chance.

What differs: classes and generators are drawn evenly; flips; every picture re-encoded at a quality of 95 to
98, because codecs must not tell the classes apart; the epoch with the best validation AUROC is kept. Of
larger pictures 32-pixel crops at native resolution are shown, and five are judged: resized to 32 they
would tell their sizes, which the audit refuses. A network trained on CIFAKE knows CIFAKE: do not give
its verdict on other pictures.

    veridical train cifake_cnn --data DATA -o runs/cifake_cnn
    veridical train cifake_cnn --data DATA --set style_attention=true -o runs/cifake_cnn_style

Two minutes on one CPU core for the shared gallery; results in docs/detectors.md. CIFAKE itself was not at hand.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="cifake_cnn",
    architecture="cifake_cnn",
    description="A small CNN for 32-pixel pictures, after a study of CIFAKE",
    paper=Paper(
        authors="J. J. Bird, A. Lotfi",
        title="CIFAKE: Image Classification and Explainable Identification of AI-Generated Synthetic Images",
        venue="IEEE Access 2024",
        url="https://arxiv.org/abs/2303.14126",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=32, count=5),
    augmentation=Augmentation(crop=32, downscale=0.0, least_quality=95),
    fit=Loop(epochs=10, batch_size=32, lr=1e-3, optimiser="sgd", patience=10),
    settings={"style_attention": False},
)
