"""ForenSynths (CNNDetection): ProGAN against LSUN for training, thirteen generators for testing.

Sheng-Yu Wang, Oliver Wang, Richard Zhang, Andrew Owens, Alexei A. Efros: CNN-Generated Images Are Surprisingly
Easy to Spot... for Now. CVPR 2020. https://arxiv.org/abs/1912.11035

It could not be obtained where this was written, so it was only read in tiny sets of the same layout. Sets that
others published in its layout (diffusion models as `guided/0_real`, `guided/1_fake`) are read too.
"""

from __future__ import annotations

from pathlib import Path

from veridical.data.sample import Sample
from veridical.data.sources._files import SPLITS, LabelledFile, labelled_files
from veridical.data.sources._info import SourceInfo
from veridical.results import Label

# ProGAN was trained on each of these; NPR's recipe takes car, cat, chair and horse.
_PROGAN_CLASSES = frozenset(
    {"airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"}
    | {"dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"}
)

INFO = SourceInfo(
    title="ForenSynths",
    about="ProGAN in 20 classes (train, val) and 13 generators (test), each with its own real pictures.",
    licence="not verified: see its page; the reals have the terms of LSUN and other sets",
    where="https://github.com/PeterWang512/CNNDetection (by hand)",
    layout="[train|val|test/][GENERATOR/][CLASS/]{0_real,1_fake}; a class without a generator is ProGAN's",
    paper="Wang et al.: CNN-Generated Images Are Surprisingly Easy to Spot. CVPR 2020. https://arxiv.org/abs/1912.11035",
)


def read(data: str) -> list[Sample]:
    """Samples in the order of their paths; `group` joins the fakes of a generator and the reals beside them."""
    root = Path(data)
    # Beside other classes a folder `train` is the class of trains, not a split.
    has_classes = any((root / name).is_dir() for name in _PROGAN_CLASSES - {"train"})
    files = labelled_files(root, {"0_real": Label.REAL, "1_fake": Label.FAKE})
    return [_sample(file, has_splits=not has_classes, root=root.resolve().name) for file in files]


def _sample(file: LabelledFile, *, has_splits: bool, root: str) -> Sample:
    names = list(file.above)
    split = names.pop(0).lower() if has_splits and names and names[0].lower() in SPLITS else ""
    generator, content = _generator_and_class(names, root)
    return Sample(
        path=file.path,
        label=file.label,
        generator=generator if file.label is Label.FAKE else "",
        source="forensynths",
        group=generator,
        split=split,
        content=content,
    )


def _generator_and_class(names: list[str], root: str) -> tuple[str, str]:
    if not names:
        return root, ""
    if len(names) == 1 and names[0] in _PROGAN_CLASSES:
        return "progan", names[0]
    return names[0], "/".join(names[1:])
