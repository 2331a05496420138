"""The tiny autoencoder's shapes; its published parameters are tested in tests/generation."""

import torch

from veridical.architectures import tiny_autoencoder


def test_latents_are_an_eighth_of_the_picture() -> None:
    model = tiny_autoencoder.build(width=8)
    pictures = torch.rand(2, 3, 24, 40)
    with torch.inference_mode():
        assert model.encoder(pictures).shape == (2, 32, 3, 5)
        assert model(pictures).shape == pictures.shape


def test_it_has_the_published_numbers_of_parameters() -> None:
    with torch.device("meta"):
        model = tiny_autoencoder.build()
    assert sum(p.numel() for p in model.encoder.parameters()) == 1_338_528
    assert sum(p.numel() for p in model.decoder.parameters()) == 1_338_499


def test_large_latents_are_bent_to_three() -> None:
    bent = tiny_autoencoder.SoftClamp()(torch.tensor([[[[-100.0, 0.0, 0.01, 100.0]]]]))
    assert torch.allclose(bent, torch.tensor([-3.0, 0.0, 0.01, 3.0]), atol=1e-5)


def test_a_gradient_reaches_the_picture() -> None:
    pictures = torch.rand(1, 3, 16, 16, requires_grad=True)
    tiny_autoencoder.build(width=8)(pictures).sum().backward()
    assert pictures.grad is not None
    assert pictures.grad.abs().max() > 0
