"""What our pipeline draws of a case, and of the noise of a key, as that of diffusers does."""

import jax
import numpy as np

from gendiff.core import records, sample_keys
from gendiff.core.types import NO_LABEL
from gendiff.data import scaling
from gendiff.pipelines.stable_diffusion import aligned, edit, open_model, skipping, with_painted
from tests.quickly import quickly

KEY, STEPS, INDEX = jax.random.key(5), 5, np.arange(1, dtype=np.int32)
LABEL = 7
FILL = {"in_channels": 48, "out_channels": 16}
"""Settings of the transformer of FLUX.1 Fill that are not those of the tiny FLUX.1."""
CLASSES = {"num_embeds_ada_norm": 1000}
"""DiTPipeline expects as many."""


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
    return np.asarray(latents), None if pictures is None else in_unit_range(pictures)


def edited(folder, change):
    """(pictures in [0, 1], first noise)."""
    model = open_model(folder, like_diffusers=True)
    pipeline = model.pipeline(STEPS, 16, 16)
    prompt, negative = aligned(model.prompt("red cat"), model.negative("dog"))
    negative = negative if model.index.kind.guided else None
    options = {"references": with_painted(model, change), "change": change}
    pictures = quickly(lambda params: pipeline(params, KEY, prompt, negative, 3.0, INDEX, **options))(model.params())
    return in_unit_range(pictures), noise_of(pipeline.latent.shape)


def filled(folder):
    """Pictures by FLUX.1 Fill."""
    return edited(folder, edit(*hole(), paste=False))[0]


def of_class(folder):
    """Pictures of the class `LABEL` by a DiT."""
    model = open_model(folder, like_diffusers=True)
    latent, label, away = model.latent(STEPS), np.array([LABEL], np.int32), np.array([NO_LABEL], np.int32)
    return in_unit_range(quickly(lambda params: latent(params, KEY, (label,), (away,), 3.0, INDEX))(model.params()))


def picture():
    """(1, 16, 16, 3) in [-1, 1], and a mask of its right half."""
    image = np.random.default_rng(0).uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)
    mask = np.zeros((1, 16, 16, 1), np.float32)
    mask[:, :, 8:] = 1
    return image, mask


def hole():
    """The same, and a mask with a hole in its left half as well."""
    image, mask = picture()
    mask[:, 3:6, 2:7] = 1
    return image, mask


def noise_of(shape):
    """The first noise of picture 0."""
    return np.asarray(sample_keys.first_noise(sample_keys.keys_of(KEY, INDEX), shape, np.float32))


def in_unit_range(pictures):
    """Of pictures in [-1, 1]."""
    return np.clip((np.asarray(pictures) + 1) / 2, 0, 1)
