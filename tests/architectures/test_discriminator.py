"""The discriminator, and the game it can play with a generator."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from veridical.architectures import discriminator, npr, tiny_autoencoder
from veridical.training.export import to_onnx


def reals() -> torch.Tensor:
    """Four smooth pictures, uint8 (4, 64, 64, 3)."""
    ramp = torch.linspace(0, 255, 64)
    one = torch.stack([ramp[:, None].expand(64, 64), ramp.expand(64, 64), torch.full((64, 64), 90.0)], dim=-1)
    return torch.stack([one, one.flip(0), one.flip(1), one.transpose(0, 1)]).to(torch.uint8)


def play(detector: nn.Module, generator: nn.Module, rounds: int) -> list[discriminator.AdversarialLosses]:
    ours = torch.optim.Adam(detector.parameters(), lr=2e-4, betas=(0.5, 0.999))
    theirs = torch.optim.Adam(generator.parameters(), lr=3e-3)
    return [
        discriminator.adversarial_step(
            detector, generator, reals(), detector_optimiser=ours, generator_optimiser=theirs
        )
        for _ in range(rounds)
    ]


def parameters(module: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def test_it_has_the_number_of_parameters_of_the_definition() -> None:
    convolutions = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    batch_norms = 2 * (128 + 256 + 512)
    assert sum(p.numel() for p in discriminator.build().parameters()) == convolutions + batch_norms == 2_765_568


def test_64_pixels_give_one_logit_and_larger_pictures_their_mean() -> None:
    model = discriminator.build(width=4).eval()
    tall = torch.randint(0, 256, (1, 80, 64, 3), dtype=torch.uint8)
    x = tall.permute(0, 3, 1, 2) / 127.5 - 1.0
    with torch.inference_mode():
        logits = model.layers(x)
        assert logits.shape == (1, 1, 2, 1)
        assert torch.allclose(model(tall), logits.mean(dim=(1, 2, 3)))


def test_its_graph_gives_the_same_logits_at_every_size() -> None:
    torch.manual_seed(0)
    model = discriminator.build(width=8)
    model(torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8))  # batch norms leave the identity
    session = onnxruntime.InferenceSession(to_onnx(discriminator.for_export(model)))
    for shape in ((1, 64, 64, 3), (2, 67, 130, 3)):
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8)
        (logits,) = session.run(["logits"], {"pixels": pixels.numpy()})
        with torch.inference_mode():
            assert np.abs(logits - model(pixels).numpy()).max() < 1e-4


@pytest.mark.parametrize("seed", [0, 1])
def test_the_loss_falls_on_both_sides(seed: int) -> None:
    torch.manual_seed(seed)
    history = play(discriminator.build(width=8), tiny_autoencoder.build(width=8), rounds=24)
    last = history[-4:]
    assert sum(losses.detector for losses in last) / 4 < history[0].detector
    assert sum(losses.generator for losses in last) / 4 < history[0].generator


def test_each_update_lowers_the_loss_of_its_own_side() -> None:
    torch.manual_seed(0)
    detector, generator = discriminator.build(width=8), tiny_autoencoder.build(width=8)
    fake = discriminator.fake_pixels(generator, reals()).detach()
    before = discriminator.detector_loss(detector, reals(), fake)
    (losses,) = play(detector, generator, rounds=1)
    assert losses.detector == pytest.approx(before.item())
    assert discriminator.detector_loss(detector, reals(), fake) < losses.detector
    moved = discriminator.fake_pixels(generator, reals())
    assert discriminator.generator_loss(detector, reals(), moved) < losses.generator


def test_any_detector_can_play() -> None:
    torch.manual_seed(0)
    detector, generator = npr.build(), tiny_autoencoder.build(width=8)
    before = parameters(detector), parameters(generator)
    play(detector, generator, rounds=1)
    assert not torch.equal(parameters(detector), before[0])
    assert not torch.equal(parameters(generator), before[1])
    assert all(p.grad is None for p in detector.parameters())


def test_equal_seeds_give_equal_games() -> None:
    games = []
    for _ in range(2):
        torch.manual_seed(5)
        games.append(play(discriminator.build(width=8), tiny_autoencoder.build(width=8), rounds=2))
    assert games[0] == games[1]


def test_fakes_are_whole_numbers_in_range_and_carry_a_gradient() -> None:
    class Brighter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.amount = nn.Parameter(torch.tensor(0.3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.amount

    generator = Brighter()
    fake = discriminator.fake_pixels(generator, reals())
    assert torch.equal(fake, fake.round())
    assert fake.min().item() == pytest.approx(76.5, abs=1)
    assert fake.max().item() == 255.0
    fake.sum().backward()  # type: ignore[no-untyped-call] # torch's own
    assert generator.amount.grad is not None
    assert generator.amount.grad.item() == pytest.approx(255.0 * fake.numel())
