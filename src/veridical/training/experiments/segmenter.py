"""A map of fake pixels, trained on whole-image labels and on pasted regions.

Method: Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers, NeurIPS
2021. The earlier detector that this one replaces fine-tuned MiT-b0 on ten pairs at 256 pixels, learning rate
6e-5, batch 8, 50 epochs, with masks that were all real or all fake; no result was published.

What differs: fresh parameters, AdamW 3e-4, 256-pixel crops at native resolution, each re-encoded at random.
A quarter of the reals of each batch get a region of one of its fakes (`segmenter.with_pasted_regions`) and are
fake then, so five eighths of what is shown is; the verdict's and the map's cross-entropy are summed. Fakes are
pasted after each crop was re-encoded by itself, so a region's border is there to be seen, too: a map that was
not measured on inpainted pictures is no evidence for them. `--set reconstruct=FOLDER --set reconstructed=0.5`
makes half of the fakes aligned with a real of the batch, whose region may then be pasted into it without a
visible border.

    veridical train segmenter --data DATA -o runs/segmenter

Hardware: one GPU, or hours on a CPU. What docs/detectors.md shows is one epoch of 128-pixel crops, two minutes
of a core: `--set epochs=1 --set augmentation.crop=128`.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="segmenter",
    architecture="segmenter",
    description="SegFormer-b0 that maps fake pixels, and a verdict read from the map",
    paper=Paper(
        authors="E. Xie, W. Wang, Z. Yu, A. Anandkumar, J. M. Alvarez, P. Luo",
        title="SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers",
        venue="NeurIPS 2021",
        url="https://arxiv.org/abs/2105.15203",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=256, count=1),
    augmentation=Augmentation(crop=256),
    fit=Loop(epochs=50, batch_size=8, lr=3e-4, weight_decay=0.01),
)
