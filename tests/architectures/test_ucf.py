"""UCF against the published counts and the definitions of its losses."""

import math

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from veridical.architectures import ucf, xception
from veridical.training.export import to_onnx


def small_network(seed: int = 0) -> ucf.UCF:
    """A sixteenth of the width, two sets of fakes."""
    torch.manual_seed(seed)
    return ucf.build(methods=3, width=1 / 16)


def picture() -> torch.Tensor:
    """Two ramps and a constant, uint8 (64, 64, 3)."""
    ramp = torch.linspace(0, 255, 64)
    return torch.stack([ramp[:, None].expand(64, 64), ramp.expand(64, 64), torch.full((64, 64), 90.0)], dim=-1)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two reals, a fake that is noisy and a fake that has few levels."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(-60, 61, (64, 64, 3), generator=generator)
    noisy, coarse = (picture() + noise).clamp(0, 255), picture().flip(0) // 64 * 64
    pixels = torch.stack([picture(), noisy, picture().flip(0), coarse]).to(torch.uint8)
    return pixels, torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0, 1, 0, 2])


def test_it_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        model = ucf.build(methods=5)
    assert sum(p.numel() for p in model.parameters()) == 46_838_430
    assert sum(p.numel() for p in model.forgery.adjust.parameters()) == 1_050_112
    assert sum(p.numel() for p in model.forgery.xception.classifier.parameters()) == 4_098


def test_adain_gives_content_the_statistics_of_the_style() -> None:
    content, style = torch.randn(2, 3, 8, 8), 5 + 2 * torch.randn(2, 3, 4, 4)
    styled = ucf.adain(content, style)
    assert torch.allclose(styled.mean(dim=(2, 3)), style.mean(dim=(2, 3)), atol=1e-4)
    assert torch.allclose(styled.std(dim=(2, 3), correction=0), style.std(dim=(2, 3), correction=0), atol=1e-3)
    assert torch.allclose(ucf.adain(styled, content), content, atol=1e-3)


def test_adain_of_a_flat_channel_is_finite() -> None:
    assert ucf.adain(torch.ones(1, 1, 2, 2), torch.randn(1, 1, 2, 2)).isfinite().all()


def test_the_decoder_gives_a_picture_of_the_size_that_was_encoded() -> None:
    with torch.device("meta"):
        model = ucf.build()
        features = model.content(torch.zeros(1, 3, 256, 256))
        assert features.shape == (1, 512, 8, 8)
        assert model.decoder(features, features).shape == (1, 3, 256, 256)


def test_the_shuffle_is_seeded_and_keeps_groups() -> None:
    groups = torch.tensor([0, 1, 1, 0, 2, 1, 0, 1])
    first, again = (ucf.shuffled_within(groups, torch.Generator().manual_seed(3)) for _ in range(2))
    other = ucf.shuffled_within(groups, torch.Generator().manual_seed(4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(groups[first], groups)


def test_a_batch_of_one_class_has_no_partners() -> None:
    with pytest.raises(ValueError, match="one real and one fake"):
        ucf.partners(torch.tensor([1.0, 1.0]))


def test_the_reconstruction_loss_counts_both_classes_alike() -> None:
    decoded = torch.tensor([0.0, 0.0, 0.0]).reshape(3, 1, 1, 1).expand(3, 3, 2, 2)
    pictures = torch.tensor([0.1, 0.3, 0.7]).reshape(3, 1, 1, 1).expand(3, 3, 2, 2)
    loss = ucf.reconstruction_loss(decoded, pictures, torch.tensor([0.0, 0.0, 1.0]))
    assert loss.item() == pytest.approx(0.2 + 0.7)


def test_features_apart_by_more_than_the_margin_cost_nothing() -> None:
    labels, methods = torch.tensor([0.0, 1.0, 0.0, 1.0]), torch.tensor([0, 1, 0, 1])

    def loss(features: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        return ucf.contrastive_loss(features, features, labels=labels, methods=methods, generator=generator)

    assert loss(10 * labels[:, None].repeat(1, 4)).item() == 0
    assert loss(torch.zeros(4, 4)).item() == pytest.approx(3 * ucf.MARGIN, abs=1e-4)


def test_the_total_is_the_published_sum() -> None:
    losses = ucf.UCFLosses(*(torch.tensor(float(n)) for n in (1, 2, 3, 4, 5)))
    assert losses.total.item() == pytest.approx(1 + 0.1 * 2 + 0.3 * (3 + 4) + 0.05 * 5)


def test_the_heads_start_at_the_entropy_of_guessing() -> None:
    losses = small_network().training_loss(*batch(), torch.Generator().manual_seed(0))
    assert losses.shared.item() == pytest.approx(math.log(2), abs=0.1)
    assert losses.specific.item() == pytest.approx(math.log(3), abs=0.2)


def test_equal_seeds_give_equal_losses() -> None:
    one, two = (small_network().training_loss(*batch(), torch.Generator().manual_seed(1)) for _ in range(2))
    assert one.total == two.total


@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_falls(seed: int) -> None:
    model, generator = small_network(seed), torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    totals = []
    for _ in range(6):
        total = model.training_loss(*batch(), generator).total
        optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call] # torch's own
        optimiser.step()
        totals.append(total.item())
    assert sum(totals[3:]) < sum(totals[:3])


def test_only_the_unused_classifiers_get_no_gradient() -> None:
    model = small_network()
    total = model.training_loss(*batch(), torch.Generator().manual_seed(0)).total
    total.backward()  # type: ignore[no-untyped-call] # torch's own
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle == {
        f"{encoder}.xception.classifier.{part}"
        for encoder in ("forgery", "content")
        for part in ("weight", "bias")
    }


def test_the_exported_part_is_small_and_gives_the_same_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xception, "MIDDLE_BLOCKS", 1)  # the exporter's time grows with their number
    model = small_network()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_var is not None
            module.running_var.uniform_(0.05, 0.5)
    scorer = ucf.for_export(model)
    assert sum(p.numel() for p in scorer.parameters()) < sum(p.numel() for p in model.parameters()) / 2
    session = onnxruntime.InferenceSession(to_onnx(scorer))
    model.eval()
    for shape in ((1, 64, 64, 3), (2, 33, 90, 3)):
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels.numpy()})
        with torch.inference_mode():
            assert np.abs(logits - model(pixels).numpy()).max() < 1e-4
