"""The segmenter says where, not only whether."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F

from veridical.architectures import segmenter
from veridical.models.graph import check_graph


def small_network(seed: int = 0) -> segmenter.Segmenter:
    torch.manual_seed(seed)
    return segmenter.build(widths=(8, 8, 10, 16), depths=(1, 1, 1, 1), decoder_width=16)


def smooth_and_noisy(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A smooth picture that stands for a real one, and the same with noise that stands for a fake."""
    coarse = 255 * torch.rand(1, 3, 4, 4, generator=generator)
    real = F.interpolate(coarse, size=(64, 64), mode="bilinear")[0].permute(1, 2, 0).to(torch.uint8)
    noise = torch.randint(-60, 61, real.shape, generator=generator)
    return real, (real.int() + noise).clamp(0, 255).to(torch.uint8)


def batch(generator: torch.Generator, size: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Real, fake and pasted pictures in turn, with labels and masks."""
    pictures, masks = [], []
    for place in range(size):
        real, fake = smooth_and_noisy(generator)
        whole = torch.full((64, 64), place % 3 == 1)
        picture, mask = (real, whole) if place % 3 == 0 else (fake, whole)
        if place % 3 == 2:
            picture, mask = segmenter.paste_region(real, fake, generator)
        pictures.append(picture)
        masks.append(mask)
    labels = torch.tensor([float(mask.any()) for mask in masks])
    return torch.stack(pictures), labels, torch.stack(masks)


@pytest.fixture(scope="module")
def trained() -> segmenter.Segmenter:
    model, generator = small_network(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(160):
        total = model.training_loss(*batch(generator)).total
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call] # torch's own
        optimiser.step()
    return model.eval()


def test_it_has_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        model = segmenter.build()
    counts = [
        sum(p.numel() for p in part.parameters()) for part in (model.stages, model.decoder, model.verdict)
    ]
    one_class_instead_of_150 = 433_302 - 149 * 257
    assert counts == [3_319_392, one_class_instead_of_150, 3]


@pytest.mark.parametrize(("height", "width"), [(32, 32), (47, 65), (64, 33)])
def test_the_map_has_the_size_of_the_picture_and_is_a_probability(height: int, width: int) -> None:
    pixels = torch.randint(0, 256, (2, height, width, 3), dtype=torch.uint8)
    model = small_network().eval()
    with torch.inference_mode():
        maps = model.maps(pixels)
        assert maps.shape == (2, height, width)
        assert maps.min() >= 0
        assert maps.max() <= 1
        assert torch.equal(model(pixels), model.outputs(pixels).logits)


def test_the_verdict_is_read_from_the_map_alone() -> None:
    model = small_network().eval()
    for parameter in model.decoder.last.parameters():
        torch.nn.init.constant_(parameter, 0.0)
    with torch.inference_mode():
        assert model(torch.randint(0, 256, (3, 64, 64, 3), dtype=torch.uint8)).abs().max() < 1e-6


def test_a_pasted_region_is_the_fakes_and_the_rest_the_reals() -> None:
    real, fake = torch.zeros(50, 71, 3, dtype=torch.uint8), torch.full((50, 71, 3), 255, dtype=torch.uint8)
    for seed in range(20):
        picture, mask = segmenter.paste_region(real, fake, torch.Generator().manual_seed(seed))
        assert torch.equal(picture == 255, mask[..., None].expand(50, 71, 3))
        rows, columns = (torch.where(mask.any(dim=side))[0] for side in (1, 0))
        assert int(mask.sum()) == len(rows) * len(columns)
        for places, side in ((rows, 50), (columns, 71)):
            assert int(places[0]) % 2 == len(places) % 2 == 0
            assert 0.25 * side - 2 < len(places) <= 0.75 * side


def test_pastes_reach_every_place() -> None:
    real, fake = torch.zeros(16, 16, 3, dtype=torch.uint8), torch.ones(16, 16, 3, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    reached = sum(segmenter.paste_region(real, fake, generator)[1].int() for _ in range(200))
    assert isinstance(reached, torch.Tensor)
    assert reached.min() > 0


def test_iou_is_that_of_the_fake_class() -> None:
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[:, :2] = True
    called = torch.full((1, 4, 4), 0.1)
    called[:, :, :2] = 0.9
    assert segmenter.fake_iou(called, mask).item() == pytest.approx(4 / 12)
    assert segmenter.fake_iou(mask.float(), mask).item() == 1
    assert segmenter.fake_iou(1 - mask.float(), mask).item() == 0


def test_calling_all_of_a_mostly_real_picture_real_is_no_success() -> None:
    mask = torch.zeros(2, 8, 8, dtype=torch.bool)
    mask[0, 0, 0] = True
    assert segmenter.fake_iou(torch.zeros(2, 8, 8), mask).tolist() == [0, 1]


def test_the_loss_sees_where(trained: segmenter.Segmenter) -> None:
    pixels, labels, masks = batch(torch.Generator().manual_seed(9), size=12)
    pasted = slice(2, None, 3)
    with torch.inference_mode():
        right = trained.training_loss(pixels[pasted], labels[pasted], masks[pasted])
        moved = masks[pasted].roll(32, dims=1)
        wrong = trained.training_loss(pixels[pasted], labels[pasted], moved)
    assert right.pictures == wrong.pictures
    assert right.pixels < wrong.pixels / 2


def test_a_trained_map_finds_a_pasted_region(trained: segmenter.Segmenter) -> None:
    pixels, _, masks = batch(torch.Generator().manual_seed(9), size=12)
    with torch.inference_mode():
        maps = trained.maps(pixels)
        logits = trained(pixels)
    assert segmenter.fake_iou(maps, masks)[2::3].mean() > 0.4
    assert segmenter.fake_iou(maps, masks)[0::3].mean() > 0.9
    assert logits[0::3].max() < logits[1::3].min()


@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
def test_its_graph_gives_logits_and_map_at_every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmenter, "_REDUCTIONS", (4, 1))  # two stages: the exporter's time grows with them
    torch.manual_seed(0)
    model = segmenter.build(widths=(8, 8), depths=(1, 1), decoder_width=16)
    exported = segmenter.for_export(model)
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        exported,
        (torch.zeros(2, 64, 96, 3, dtype=torch.uint8),),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: free, 1: free, 2: free},),
        input_names=["pixels"],
        output_names=segmenter.ForExport.output_names,
        opset_version=20,
    )
    assert program is not None
    graph = program.model_proto.SerializeToString()
    check_graph(graph)
    session = onnxruntime.InferenceSession(graph)
    for shape in ((1, 32, 32, 3), (2, 77, 130, 3)):
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        logits, maps = session.run(["logits", "map"], {"pixels": pixels.numpy()})
        with torch.inference_mode():
            expected = model.outputs(pixels)
        assert maps.dtype == np.float32
        assert np.abs(logits - expected.logits.numpy()).max() < 1e-4
        assert np.abs(maps - expected.map.numpy()).max() < 1e-4
