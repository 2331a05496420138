"""Spectra, block-DCT statistics, the phase alone and high-pass residuals.

Features after Durall et al., Watch your Up-Convolution, CVPR 2020; Qian et al., Thinking in Frequency, ECCV
2020; Liu et al., Spatial-Phase Shallow Learning, CVPR 2021; Fridrich, Kodovsky, Rich Models for Steganalysis
of Digital Images, IEEE TIFS 2012. The network on them and this recipe are our own, so there is no published
number to meet.

256-pixel crops at native resolution, re-encoded at random. In judging they start at multiples of 8, so that the
blocks of the DCT are those of a JPEG; in training the last encoding's blocks are. Pictures from 64 pixels on:
smaller ones are repeated so often that their spectrum is mostly that of the repetition.

    veridical train spectral --data ../shared/data/images.csv -o runs/spectral

AdamW 1e-3, batch 32. 30 to 40 milliseconds a view in ONNX Runtime on two busy cores of a CPU. For the shared
gallery: eight epochs with patience=2, five minutes of one core; results in docs/detectors.md.
"""

from veridical.data.loader import Augmentation
from veridical.models.card import Paper, PixelInput
from veridical.training.experiment import Experiment, Loop

EXPERIMENT = Experiment(
    name="spectral",
    architecture="spectral",
    description="A small network on spectra, block-DCT statistics, the phase alone and high-pass residuals",
    paper=Paper(
        authors="Y. Qian, G. Yin, L. Sheng, Z. Chen, J. Shao",
        title="Thinking in Frequency: Face Forgery Detection by Mining Frequency-aware Clues",
        venue="ECCV 2020",
        url="https://arxiv.org/abs/2007.09355",
    ),
    licence="MIT (parameters trained from scratch by the Veridical project)",
    input=PixelInput(kind="crops", size=256, count=1, align=8, minimum=64),
    augmentation=Augmentation(crop=256),
    fit=Loop(epochs=30, batch_size=32, lr=1e-3, weight_decay=1e-4),
    settings={"size": 256},
)
