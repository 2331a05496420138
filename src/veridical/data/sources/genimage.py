"""GenImage: 1.3 million fakes of eight generators, and as many ImageNet photographs.

Mingjian Zhu, Hanting Chen, Qiangyu Yan, Xudong Huang, Guanyu Lin, Wei Li, Zhijun Tu, Hailin Hu, Jie Hu, Yunhe
Wang: GenImage: A Million-Scale Benchmark for Detecting AI-Generated Image. NeurIPS 2023 (Datasets and
Benchmarks). https://arxiv.org/abs/2306.08571

It could not be obtained where this was written (it is on Google Drive and Baidu), so it was only read in tiny
sets of the same layout. Reals are JPEG and fakes PNG of few sizes: a detector that is trained on it as it is
learns the format (Grommelt et al., https://arxiv.org/abs/2403.17608). Its splits are `train` and `val`; the
published tables are of `val`.
"""

from __future__ import annotations

from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources._files import LabelledFile, labelled_files
from veridical.data.sources._info import SourceInfo
from veridical.results import Label

INFO = SourceInfo(
    title="GenImage",
    about="2.7 million pictures: ADM, BigGAN, GLIDE, Midjourney, SD 1.4 and 1.5, VQDM, Wukong; ImageNet reals.",
    licence="not verified: see its page; the reals have ImageNet's terms (non-commercial research)",
    where="https://github.com/GenImage-Dataset/GenImage (links to Google Drive and Baidu; by hand)",
    layout="GENERATOR/{train,val}/{ai,nature}, with any folders between and below",
    paper="Zhu et al.: GenImage. NeurIPS 2023. https://arxiv.org/abs/2306.08571",
)


def read(data: str) -> list[Sample]:
    """Samples in the order of their paths; `group` joins the fakes of a generator and the reals beside them."""
    root = Path(data)
    files = labelled_files(root, {"ai": Label.FAKE, "nature": Label.REAL})
    return [_sample(file, _generator(file, root)) for file in files]


def _generator(file: LabelledFile, root: Path) -> str:
    """The outermost folder's name; the root's own where that folder is the split."""
    return file.above[0] if len(file.above) > (1 if file.split else 0) else root.resolve().name


def _sample(file: LabelledFile, generator: str) -> Sample:
    return Sample(
        path=file.path,
        label=file.label,
        generator=generator if file.label is Label.FAKE else "",
        source="genimage",
        group=generator,
        split=file.split,
        content=file.below[0] if file.below else "",
    )
