"""A checkpoint becomes a bundle: ONNX that agrees with torch, a calibration, thresholds, measured errors.

Everything the card says is measured on the ONNX graph that is shipped, through the detector that users run,
not on the torch module.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import shlex
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

import veridical
from veridical.data.samples import Sample, counts, data_sha256, file_sha256, load_pixels, read_samples
from veridical.detectors.bundle import BundleDetector, crop_views
from veridical.errors import ModelError
from veridical.evaluation.calibration_report import (
    PredictedSet,
    apply,
    fit_operating_point,
    limits_of,
    measure,
)
from veridical.evaluation.metrics import auroc
from veridical.evaluation.predictions import Prediction, as_arrays, predict, read_predictions
from veridical.media.image import Image
from veridical.models.bundle import Bundle, write_bundle
from veridical.models.card import Card, LicensedPart, PixelInput, Reproduction, TrainingData
from veridical.models.store import SHIPPED
from veridical.results import Label
from veridical.training import checkpoint
from veridical.training.cross_fit import OUT_OF_FOLD
from veridical.training.experiment import Experiment, architecture, load_experiment
from veridical.training.quantisation import quantise, quantise_weights

# Logits of torch and ONNX may differ by this much on real pictures before an export is refused.
MOST_LOGIT_DIFFERENCE = 1e-4

# int8 is refused when it loses more validation AUROC than this (shared/reference/performance.md).
MOST_AUROC_LOSS = 0.002

_OPSET = 20

Int8 = Literal["weights", "static"]


@dataclass(frozen=True)
class Splits:
    """The three splits an export needs; none is used for another's purpose.

    `train` is only counted and hashed for the card, and feeds the ranges of int8; `val` fits calibration and
    thresholds; `test` is measured, last, and decides nothing. `command` is what prints the test numbers again.
    """

    name: str
    train: Sequence[Sample]
    val: Sequence[Sample]
    test: Sequence[Sample]
    command: str


def read_splits(data: str, folder: Path) -> Splits:
    """The splits train, val and test of a data set, for the bundle that will be in `folder`."""
    train, val, test = (read_samples(data, split) for split in ("train", "val", "test"))
    bundle = folder.name if folder.resolve().parent == SHIPPED else folder
    words = ["veridical", "predict", str(bundle), "--data", data, "--split", "test", "-o", "p.csv"]
    command = f"{shlex.join(words)} && veridical bench p.csv"
    return Splits(name=data, train=train, val=val, test=test, command=command)


def export(
    path: Path,
    folder: Path,
    splits: Splits | None,
    *,
    experiment: str | None = None,
    int8: Int8 | None = None,
    with_checkpoint: bool = True,
    most_auroc_loss: float = MOST_AUROC_LOSS,
    say: Callable[[str], None] = print,
) -> Bundle:
    """Write the bundle of a checkpoint to `folder`, replacing what is there in one step.

    `experiment` is the name or file of its experiment where that is not the name in the checkpoint.
    Without `splits` the bundle has no calibration and no thresholds, so that it always says `unsure`. With
    `int8` the graph is quantised, its `weights` alone or `static` with its activations, and refused
    (`gate_failed`) if it loses more than `most_auroc_loss` on validation. Without the checkpoint a bundle is a
    fraction of the size, and cannot be trained further.
    """
    recipe, model = load_model(path, experiment)
    facts = checkpoint.load(path)[1]
    exported = architecture(recipe.architecture).for_export(model)
    graph = to_onnx(exported)
    card = _card(recipe, model, has_map="map" in getattr(exported, "output_names", ()))
    files = {"model.onnx": graph, "model.safetensors": path.read_bytes()}
    with tempfile.TemporaryDirectory() as name:
        draft = write_bundle(Path(name) / "bundle", card, files)
        if splits is not None:
            difference = logit_difference(model, draft, [load_pixels(s) for s in splits.val[:16]])
            say(f"torch and ONNX logits differ by at most {difference:.1e} on {len(splits.val[:16])} pictures")
            if difference > MOST_LOGIT_DIFFERENCE:
                raise ModelError(f"logits differ by {difference:.1e}.", code="export_mismatch")
            if int8:
                draft = _quantised(draft, int8, splits, Path(name) / "int8", most_auroc_loss, say)
            card = measured_card(draft, splits, say, out_of_fold=_out_of_fold(path, facts, splits))
        elif int8:
            raise ModelError("int8 needs --data for its ranges and its gate.", code="usage")
        files["model.onnx"] = draft.graph
    if not with_checkpoint:
        del files["model.safetensors"]
    commands = _commands(
        path, facts, recipe, splits, experiment=experiment, int8=int8, with_checkpoint=with_checkpoint
    )
    return write_bundle(folder, _with_history(card, path, facts, recipe, commands), files)


def load_model(path: Path, experiment: str | None = None) -> tuple[Experiment, nn.Module]:
    """The experiment a checkpoint belongs to and its network, in evaluation mode."""
    tensors, facts = checkpoint.load(path)
    recipe = load_experiment(experiment or str(facts.get("experiment")))
    settings = facts.get("settings")
    if isinstance(settings, dict):
        recipe = dataclasses.replace(recipe, settings=settings)
    model = recipe.build()
    checkpoint.load_parameters(model, tensors)
    return recipe, model.eval()


def to_onnx(model: nn.Module) -> bytes:
    """The graph of a module from uint8 `pixels` (b, h, w, 3) to `logits` (b,); b, h and w are free.

    A module with `output_names` gives those: `logits`, and `map` (b, h, w).
    The exporter's notes (source lines with paths of this machine) are removed, so that equal parameters give
    equal bytes anywhere.
    """
    outputs: tuple[str, ...] = getattr(model, "output_names", ("logits",))
    example = torch.zeros(2, 64, 96, 3, dtype=torch.uint8)
    free = torch.export.Dim.DYNAMIC
    with warnings.catch_warnings():
        # torch 2.13's exporter uses a name that it deprecates itself; nothing of ours can avoid it.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: free, 1: free, 2: free},),
            input_names=["pixels"],
            output_names=list(outputs),
            opset_version=_OPSET,
        )
    assert program is not None
    proto = program.model_proto
    for part in (proto, proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.input):
        del part.metadata_props[:]
    for part in (*proto.graph.output, *proto.graph.initializer):
        del part.metadata_props[:]
    for node in proto.graph.node:
        node.doc_string = ""
    for value, name in zip(proto.graph.input[0].type.tensor_type.shape.dim, ("b", "h", "w"), strict=False):
        value.dim_param = name
    for output in proto.graph.output:
        for value, name in zip(output.type.tensor_type.shape.dim, ("b", "h", "w"), strict=False):
            value.dim_param = name
    del proto.graph.value_info[:]
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def logit_difference(model: nn.Module, bundle: Bundle, pictures: Sequence[npt.NDArray[np.uint8]]) -> float:
    """The largest difference between the torch module's logits and the bundle's, over all views."""
    detector = BundleDetector(bundle)
    worst = 0.0
    for pixels in pictures:
        ours = detector.detect(Image.of(pixels)).crop_logits
        with torch.inference_mode():
            views = crop_views(pixels, bundle.card.input)
            theirs = [model(torch.from_numpy(view[None].copy())).item() for view in views]
        worst = max(worst, float(np.abs(np.array(ours) - np.array(theirs)).max()))
    return worst


def measured_card(
    bundle: Bundle,
    splits: Splits,
    say: Callable[[str], None],
    *,
    out_of_fold: Sequence[Prediction] = (),
) -> Card:
    """The bundle's card with calibration and thresholds, and error rates from `test`.

    Calibration and thresholds are fitted on `out_of_fold`, what cross-fitting predicted for `train` and `val`,
    or without it on what the bundle says of `val`.
    """
    detector, code = BundleDetector(bundle), veridical.__version__
    if out_of_fold:
        fitted = PredictedSet(f"{splits.name}, splits train and val, out of fold", tuple(out_of_fold))
    else:
        rows = predict(detector, splits.val, code=code)
        fitted = PredictedSet(f"{splits.name}, split val", tuple(rows))
    reported = PredictedSet(f"{splits.name}, split test", tuple(predict(detector, splits.test, code=code)))
    labels, _, logits = as_arrays(fitted.rows)
    say(f"AUROC {auroc(labels, logits):.4f} on {len(labels)} of {fitted.name}")
    calibration, thresholds = fit_operating_point(fitted)
    say(f"thresholds: ai {thresholds.ai}, real {thresholds.real}")
    judged = apply(reported.rows, calibration, thresholds)
    measurement = measure(dataclasses.replace(reported, rows=tuple(judged)), command=splits.command)
    return dataclasses.replace(
        bundle.card,
        calibration=calibration,
        thresholds=thresholds,
        training=_training_data(splits, includes_val=bool(out_of_fold)),
        measured=(measurement,),
        limits=limits_of(measurement, thresholds),
    )


def _out_of_fold(path: Path, facts: Mapping[str, object], splits: Splits) -> list[Prediction]:
    """Predictions that cross-fitting left beside the checkpoint; none if it was trained otherwise.

    Raises `ModelError` (`data_mismatch`) where that is of other data.
    """
    if not facts.get("folds"):
        return []
    stored = path.with_name(OUT_OF_FOLD)
    rows = read_predictions(stored)
    if PredictedSet(str(stored), tuple(rows)).data_sha256 != data_sha256([*splits.train, *splits.val]):
        raise ModelError(
            f"{stored} holds predictions for other samples than train and val of {splits.name}.",
            code="data_mismatch",
            hint="Export with the data that it was trained on, or train it again.",
        )
    return rows


def _training_data(splits: Splits, *, includes_val: bool) -> TrainingData:
    samples = [*splits.train, *splits.val] if includes_val else splits.train
    n_real, n_fake = counts(samples)
    return TrainingData(
        name=f"{splits.name}, {'splits train and val' if includes_val else 'split train'}",
        data_sha256=data_sha256(samples),
        n_real=n_real,
        n_fake=n_fake,
        generators=tuple(sorted({s.generator for s in samples if s.generator})),
        sources=tuple(sorted({s.source for s in samples})),
        note="both classes pass the same random re-encoding, crop and metadata strip",
        parts=_parts(samples),
    )


def _parts(samples: Sequence[Sample]) -> tuple[LicensedPart, ...]:
    """The samples by source and licence, in that order."""
    found = collections.Counter((s.source, s.licence, s.label) for s in samples)
    return tuple(
        LicensedPart(source, licence, found[source, licence, Label.REAL], found[source, licence, Label.FAKE])
        for source, licence in sorted({(source, licence) for source, licence, _ in found})
    )


def _with_history(
    card: Card, path: Path, facts: Mapping[str, object], recipe: Experiment, commands: tuple[str, ...]
) -> Card:
    """The card with how the checkpoint was made, and what of their audit its training data failed."""
    seed = facts.get("seed")
    made = Reproduction(commands, seed if isinstance(seed, int) else recipe.seed, file_sha256(path))
    card = dataclasses.replace(card, reproduction=made)
    accepted = _accepted(facts)
    if not accepted:
        return card
    limit = f"It may judge by what its training data failed in their audit: {', '.join(accepted)}."
    training = card.training and dataclasses.replace(card.training, accepted_shortcuts=accepted)
    return dataclasses.replace(card, training=training, limits=(*card.limits, limit))


def _accepted(facts: Mapping[str, object]) -> tuple[str, ...]:
    names = facts.get("accepted_shortcuts")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _commands(
    path: Path,
    facts: Mapping[str, object],
    recipe: Experiment,
    splits: Splits | None,
    *,
    experiment: str | None,
    int8: Int8 | None,
    with_checkpoint: bool,
) -> tuple[str, ...]:
    """The command lines that train the checkpoint and export it again, in folders named after the experiment.

    Not in those of this run, so that equal checkpoints give equal bytes wherever they are.
    """
    name = experiment or recipe.name
    data = [] if splits is None else ["--data", splits.name]
    published = load_experiment(name).settings
    changed = {key: value for key, value in recipe.settings.items() if published.get(key) != value}
    train = ["train", name, *data, "-o", f"runs/{recipe.name}"]
    for key, value in changed.items():
        train += ["--set", f"{key}={json.dumps(value)}"]
    if _accepted(facts):
        train.append("--accept-shortcuts")
    export = ["export", f"runs/{recipe.name}/{path.name}", "-o", f"bundles/{recipe.name}", *data]
    if experiment:
        export += ["--experiment", experiment]
    if int8:
        export.append("--int8" if int8 == "static" else "--int8-weights")
    if not with_checkpoint:
        export.append("--graph-only")
    return tuple(f"veridical {shlex.join(words)}" for words in (train, export))


def _quantised(
    bundle: Bundle,
    kind: Int8,
    splits: Splits,
    folder: Path,
    most_auroc_loss: float,
    say: Callable[[str], None],
) -> Bundle:
    """A bundle's copy with int8 weights (and activations), if it passes the gate on validation."""
    if kind == "weights":
        graph = quantise_weights(bundle.graph)
        card = dataclasses.replace(bundle.card, precision="int8_weights")
    else:
        graph = quantise(bundle.graph, _ranges(splits.train, bundle.card.input))
        card = dataclasses.replace(bundle.card, precision="int8", name=f"{bundle.card.name}_int8")
    files = {"model.onnx": graph, "model.safetensors": (bundle.folder / "model.safetensors").read_bytes()}
    small = write_bundle(folder, card, files)
    values = []
    for candidate in (bundle, small):
        predictions = list(predict(BundleDetector(candidate), splits.val, code=veridical.__version__))
        labels, _, logits = as_arrays(predictions)
        values.append(auroc(labels, logits))
    loss = values[0] - values[1]
    say(f"int8: {len(graph)} bytes for {len(bundle.graph)}, validation AUROC {values[1]:.4f} ({-loss:+.4f})")
    if loss > most_auroc_loss:
        raise ModelError(
            f"int8 loses {loss:.4f} validation AUROC; {most_auroc_loss} is allowed.", code="gate_failed"
        )
    return small


def _ranges(samples: Sequence[Sample], pixel_input: PixelInput) -> Iterator[npt.NDArray[np.uint8]]:
    """Views of 128 training pictures, evenly spaced in the set's order."""
    for sample in samples[:: max(1, len(samples) // 128)]:
        yield np.ascontiguousarray(crop_views(load_pixels(sample), pixel_input)[0][None])


def _card(experiment: Experiment, model: nn.Module, *, has_map: bool) -> Card:
    return Card(
        name=experiment.name,
        version=veridical.__version__,
        architecture=experiment.architecture,
        description=experiment.description,
        licence=experiment.licence,
        paper=experiment.paper,
        input=experiment.input,
        parameters=sum(p.numel() for p in model.parameters()),
        files={},
        has_map=has_map,
        limits=("Not calibrated: its scores are not probabilities and it gives no verdict.",),
    )
