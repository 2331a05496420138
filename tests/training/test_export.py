"""An exported bundle gives torch's numbers, and its card says only what was measured."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from veridical.architectures import npr
from veridical.data.samples import file_sha256, load_pixels, read_samples
from veridical.detectors import load_detector
from veridical.detectors.bundle import BundleDetector
from veridical.errors import ModelError
from veridical.media import Image
from veridical.models.bundle import read_bundle
from veridical.models.graph import check_graph
from veridical.training import checkpoint
from veridical.training.export import export, load_model, logit_difference, read_splits, to_onnx


def quiet(line: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of npr_shared with random parameters."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("run") / "best.safetensors"
    checkpoint.save(path, npr.build().state_dict(), {"experiment": "npr_shared"})
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three splits, two publishers of each class; fakes are noisier."""
    root = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for index in range(24):
            name = ("real/a", "fake/g", "real/b", "fake/h")[index % 4]
            path = root / split / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            low = rng.integers(0, 256, (64, 64, 3) if "fake" in name else (6, 6, 3), dtype=np.uint8)
            PIL.Image.fromarray(low).resize((64, 64), PIL.Image.Resampling.BICUBIC).save(path)
    return root


def test_without_data_a_bundle_gives_no_verdict(best: Path, tmp_path: Path) -> None:
    bundle = export(best, tmp_path / "bundle", None, say=quiet)
    assert bundle.card.calibration is None
    assert bundle.card.measured == ()
    assert bundle.card.parameters == 1_437_761
    detector = load_detector(str(tmp_path / "bundle"))
    assert detector.thresholds.decide(1.0).value == "unsure"


def test_with_data_it_is_calibrated_and_measured_on_different_splits(
    best: Path, folder: Path, tmp_path: Path
) -> None:
    bundle = export(best, tmp_path / "bundle", read_splits(str(folder), tmp_path / "bundle"), say=quiet)
    card = bundle.card
    assert card.calibration is not None
    assert (card.calibration.n_real, card.calibration.n_fake) == (12, 12)
    (measured,) = card.measured
    assert measured.data_sha256 != card.calibration.data_sha256
    assert measured.metrics["auroc"].n == 24
    assert set(measured.generators) == {"g", "h"}
    assert set(measured.sources) == {"a", "b"}
    for estimate in measured.metrics.values():
        assert estimate.low <= estimate.value <= estimate.high
    assert card.training is not None
    assert (card.training.n_real, card.training.n_fake) == (12, 12)
    assert [(part.source, part.n_real, part.n_fake) for part in card.training.parts] == [
        ("a", 6, 0),
        ("b", 6, 0),
        ("g", 0, 6),
        ("h", 0, 6),
    ]


def test_the_card_says_what_makes_the_bundle_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "best.safetensors"
    facts = {"experiment": "npr_shared", "seed": 3, "accepted_shortcuts": ["colour"]}
    checkpoint.save(path, npr.build().state_dict(), facts)
    made = export(path, tmp_path / "bundle", None, with_checkpoint=False, say=quiet).card.reproduction
    assert made is not None
    assert made.commands == (
        "veridical train npr_shared -o runs/npr_shared --accept-shortcuts",
        "veridical export runs/npr_shared/best.safetensors -o bundles/npr_shared --graph-only",
    )
    assert made.seed == 3
    assert made.checkpoint_sha256 == file_sha256(path)


def test_the_same_checkpoint_gives_the_same_bytes(best: Path, tmp_path: Path) -> None:
    one, two = (export(best, tmp_path / name, None, say=quiet) for name in ("one", "two"))
    assert one.sha256 == two.sha256


def test_the_graph_holds_no_path_of_this_machine(best: Path, tmp_path: Path) -> None:
    graph = export(best, tmp_path / "bundle", None, say=quiet).graph
    check_graph(graph)
    assert str(Path.cwd()).encode() not in graph
    assert b"site-packages" not in graph


def test_int8_without_data_is_refused(best: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="needs --data"):
        export(best, tmp_path / "bundle", None, int8="static", say=quiet)
    assert not (tmp_path / "bundle").exists()


def test_int8_is_smaller_and_its_loss_is_measured(best: Path, folder: Path, tmp_path: Path) -> None:
    said: list[str] = []
    splits = read_splits(str(folder), tmp_path / "int8")
    bundle = export(best, tmp_path / "int8", splits, int8="static", say=said.append, most_auroc_loss=1.0)
    assert bundle.card.precision == "int8"
    assert bundle.card.name == "npr_shared_int8"
    assert len(bundle.graph) < 2_000_000
    assert any("int8" in line for line in said)


def test_int8_weights_are_computed_with_in_float_and_depend_on_no_batch(
    best: Path, folder: Path, tmp_path: Path
) -> None:
    splits = read_splits(str(folder), tmp_path / "small")
    bundle = export(
        best, tmp_path / "small", splits, int8="weights", with_checkpoint=False, say=quiet, most_auroc_loss=1.0
    )
    assert (bundle.card.precision, bundle.card.name) == ("int8_weights", "npr_shared")
    assert set(bundle.card.files) == {"model.onnx"}
    assert len(bundle.graph) < 1_700_000
    check_graph(bundle.graph)
    detector = BundleDetector(bundle)
    pictures = [load_pixels(sample) for sample in splits.val[:4]]
    forwards = [detector.detect(Image.of(one)).logit for one in pictures]
    assert forwards[::-1] == [detector.detect(Image.of(one)).logit for one in pictures[::-1]]
    rounded = {**checkpoint.load(best)[0]}
    model = load_model(best)[1]
    with torch.inference_mode():
        for name, values in rounded.items():
            if values.ndim > 1:
                scales = values.abs().amax(dim=tuple(range(1, values.ndim)), keepdim=True) / 127
                model.get_parameter(name).copy_((values / scales).round() * scales)
    # The bundle's graph has its normalisations folded in before it is rounded, so this is near and not equal.
    assert logit_difference(model, bundle, pictures) < 0.1


def test_int8_that_loses_too_much_is_refused(best: Path, folder: Path, tmp_path: Path) -> None:
    splits = read_splits(str(folder), tmp_path / "int8")
    with pytest.raises(ModelError, match="loses") as caught:
        export(best, tmp_path / "int8", splits, int8="static", say=quiet, most_auroc_loss=-1.0)
    assert caught.value.code == "gate_failed"
    assert not (tmp_path / "int8").exists()


def test_a_network_that_is_not_the_bundles_is_noticed(best: Path, tmp_path: Path, folder: Path) -> None:
    bundle = export(best, tmp_path / "bundle", None, say=quiet)
    torch.manual_seed(1)
    pictures = [load_pixels(sample) for sample in read_samples(folder, "val")[:2]]
    assert logit_difference(npr.build().eval(), bundle, pictures) > 1e-3


def test_every_size_runs_in_the_graph() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(to_onnx(npr.for_export(npr.build().eval())))
    for shape in ((1, 32, 32, 3), (2, 33, 71, 3), (3, 128, 64, 3)):
        (logits,) = session.run(["logits"], {"pixels": np.zeros(shape, dtype=np.uint8)})
        assert logits.shape == (shape[0],)


@pytest.mark.shared
def test_torch_and_onnx_agree_on_real_pictures(best: Path, tmp_path: Path, shared: Path) -> None:
    export(best, tmp_path / "bundle", None, say=quiet)
    samples = read_samples(shared / "data" / "images.csv", "val")[::40]
    model = npr.build()
    checkpoint.load_parameters(model, checkpoint.load(best)[0])
    pictures = [load_pixels(sample) for sample in samples]
    assert logit_difference(model.eval(), read_bundle(tmp_path / "bundle"), pictures) < 1e-4
