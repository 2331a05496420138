"""From a prompt to a picture: the six models of BitMind's subnet 34, version 2, by short names.

What they are asked for is as there (MIT, https://github.com/BitMind-AI/bitmind-subnet).
"""

from __future__ import annotations

from veridical.generation.diffusion import Diffusion, DiffusionModel, find

MODELS = {
    model.name: model
    for model in (
        DiffusionModel(
            name="sdxl",
            hub_id="stabilityai/stable-diffusion-xl-base-1.0",
            licence="openrail++",
            pipeline="StableDiffusionXLPipeline",
            half="float16",
            variant="fp16",
        ),
        DiffusionModel(
            name="realvisxl",
            hub_id="SG161222/RealVisXL_V4.0",
            licence="openrail++",
            pipeline="StableDiffusionXLPipeline",
            half="float16",
            variant="fp16",
        ),
        DiffusionModel(
            name="mobius",
            hub_id="Corcelio/mobius",
            licence="apache-2.0",
            pipeline="StableDiffusionXLPipeline",
            half="float16",
        ),
        DiffusionModel(
            name="flux",
            hub_id="black-forest-labs/FLUX.1-dev",
            licence="flux-1-dev-non-commercial-license",
            pipeline="FluxPipeline",
            half="bfloat16",
            guidance=2.0,
            steps=(50, 125),
            size=(512, 768),
        ),
        DiffusionModel(
            name="openjourney",
            hub_id="prompthero/openjourney-v4",
            licence="creativeml-openrail-m",
            pipeline="StableDiffusionPipeline",
            half="float16",
        ),
        DiffusionModel(
            name="animagine",
            hub_id="cagliostrolab/animagine-xl-3.1",
            licence="faipl-1.0-sd",
            pipeline="StableDiffusionXLPipeline",
            half="float16",
        ),
    )
}


def find_model(name: str, device: str = "cpu") -> Diffusion:
    """The model of that name, or in that folder; loaded when it is first asked.

    Raises `UnknownModelError`, `ModelError` for a folder without a pipeline, `MissingExtraError`.
    """
    return Diffusion(find(name, MODELS), device)
