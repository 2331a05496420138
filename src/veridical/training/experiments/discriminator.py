"""A DCGAN's discriminator trained as a detector: a small baseline without pre-training.

Method: Radford et al., Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks, ICLR 2016. Published, as one side of a game: 64-pixel pictures, Adam 2e-4 with beta1 0.5, batch 128.
Here it is trained on given reals and fakes: 64-pixel crops at native resolution, re-encoded at random, AdamW
with the usual betas, and judged by the mean of its logits over a 256-pixel crop.

To go on against a generator, call `veridical.architectures.discriminator.adversarial_step` with the best
checkpoint and an autoencoder from `veridical.generation.reconstruct.load_autoencoder`, made trainable again.

    veridical train discriminator --data DATA -o runs/discriminator

Ten minutes on one CPU core; results in docs/detectors.md.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="discriminator",
    architecture="discriminator",
    description="The discriminator of a DCGAN, trained as a detector",
    paper=Paper(
        authors="A. Radford, L. Metz, S. Chintala",
        title="Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
        venue="ICLR 2016",
        url="https://arxiv.org/abs/1511.06434",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=256, count=1, minimum=64),
    augmentation=Augmentation(crop=64),
    fit=Loop(epochs=40, batch_size=128, lr=2e-4),
)
