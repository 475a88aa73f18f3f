"""What our pipeline draws of a case from the same latents as that of diffusers."""

import jax
import numpy as np

from gendiff.core import records
from gendiff.data import scaling
from gendiff.pipelines.stable_diffusion import aligned, open_model, skipping
from tests.quickly import quickly


def ours(folder, case, start, decoded=True):
    """(latents, pictures in [0, 1]); no pictures unless they are decoded."""
    model = open_model(folder, like_diffusers=True)
    pipeline = model.pipeline(case.steps, *case.size)
    prompt, negative = aligned(model.prompt(case.prompts), model.negative([case.negative or ""] * len(case.prompts)))
    scale = case.scale
    if not model.index.kind.guided and case.negative is None:
        negative, scale = None, case.embedded or 1.0
    elif case.embedded is not None:
        pipeline = records.replace(pipeline, latent=records.replace(pipeline.latent, embedded_scale=case.embedded))

    if case.skipped:
        pipeline = records.replace(pipeline, latent=skipping(pipeline.latent, case.skipped))

    references = [scaling.to_unit(pixels[None], 256) for pixels in case.pictures]

    def draw(params, start):
        condition, away = pipeline.conditions(params, prompt, negative, references=references)
        index = np.arange(len(case.prompts), dtype=np.int32)
        latents = pipeline.latent.latents(params, jax.random.key(0), condition, away, scale, index, start=start)
        return latents, pipeline.latent.finished(params, latents) if decoded else None

    latents, pictures = quickly(draw)(model.params(), start)
    return np.asarray(latents), None if pictures is None else np.clip((np.asarray(pictures) + 1) / 2, 0, 1)
