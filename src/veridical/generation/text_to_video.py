"""From a prompt to a video: the three models of BitMind's subnet 34, version 2, by short names.

What they are asked for is as there (MIT, https://github.com/BitMind-AI/bitmind-subnet), but
AnimateDiff-Lightning, which was distilled for 4 steps without guidance, is given those and not 50 to 125.
"""

from __future__ import annotations

from veridical.generation.diffusion import DiffusionModel, Motion

MODELS = {
    model.name: model
    for model in (
        # Mochi and CogVideoX give whole groups of frames, so that a few less than asked for come back.
        DiffusionModel(
            name="mochi",
            hub_id="genmo/mochi-1-preview",
            licence="apache-2.0",
            pipeline="MochiPipeline",
            half="bfloat16",
            variant="bf16",
            steps=(30, 65),
            size=(480, 848),
            frames=84,
            rate=30,
        ),
        DiffusionModel(
            name="cogvideox",
            hub_id="THUDM/CogVideoX-5b",
            licence="cogvideox-license",
            pipeline="CogVideoXPipeline",
            half="bfloat16",
            guidance=2.0,
            steps=(50, 125),
            frames=48,
            rate=8,
        ),
        DiffusionModel(
            name="animatediff",
            hub_id="ByteDance/AnimateDiff-Lightning",
            licence="creativeml-openrail-m",
            pipeline="AnimateDiffPipeline",
            half="bfloat16",
            guidance=1.0,
            steps=(4, 4),
            frames=16,
            rate=15,
            motion=Motion(
                base="emilianJR/epiCRealism",
                file="animatediff_lightning_4step_diffusers.safetensors",
            ),
        ),
    )
}
