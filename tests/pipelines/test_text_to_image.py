"""A prompt becomes a picture: the pipeline is the composition of its parts, and keeps the promises of samples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, networks, pipelines
from gendiff.core import records
from gendiff.data.texts.tokenizer import Tokens
from gendiff.pipelines import TextToImage, empty_prompt
from tests.networks.rig import random_params
from tests.quickly import quickly
from tests.refusals import refusals
from tests.traced import Traced

LENGTH, SHAPE, POOL = 5, (4, 4, 2), 6
SCHEDULE, FLOW = diffusion.schedules.flow(), diffusion.parameterization.flow()
LEVELS = diffusion.grids.padded(diffusion.grids.trailing(SCHEDULE, 4), 6)
RNG = np.random.default_rng(0)
PARAMS = {
    "text": RNG.normal(size=(20, 3)).astype(np.float32),
    "network": {
        "read": RNG.normal(size=(3, 2)).astype(np.float32),
        "mixed": RNG.normal(size=(2, 2)).astype(np.float32),
    },
    "decoder": RNG.normal(size=(2, 3)).astype(np.float32),
}


# Parts that are plain functions: the pipeline knows no more of networks.


def encode(params, ids, mask):
    return networks.Text(jnp.asarray(params)[ids], mask)


def predict(params, x, t, text):
    read = jnp.sum(jnp.where(text.mask[..., None], text.tokens, 0), 1) @ params["read"]
    return jnp.tanh(x @ params["mixed"] + (read * (1 + t[:, None] / 1000))[:, None, None, :])


def decode(params, latents):
    """Latents, and beside them what they are decoded to."""
    return jnp.concatenate([latents, jnp.tanh(latents @ params)], -1)


PIPELINE = TextToImage(encode, predict, FLOW, diffusion.samplers.ddim(1.0), SHAPE, decode)
LATENTS = records.replace(PIPELINE, decode=None)


def tokens(*texts):
    """Each text is a list of ids, padded with 0."""
    ids, mask = np.zeros((len(texts), LENGTH), np.int32), np.zeros((len(texts), LENGTH), bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, True
    return Tokens(ids, mask, np.zeros(len(texts), bool), np.zeros(len(texts), np.int32))


PROMPTS = tokens(*([1, 2 + number, 3, 4][: 2 + number % 3] for number in range(POOL)))


@functools.partial(Traced, jit=quickly)
def draw(params, key, prompt, negative, scale, levels, index, num_steps):
    return PIPELINE(params, key, prompt, negative, scale, levels, index, num_steps=num_steps)


def rows(prompt, chosen):
    return Tokens(*(leaf[np.asarray(chosen)] for leaf in prompt))


def pictures(index=range(POOL), *, params=PARAMS, prompt=PROMPTS, negative=None, scale=3.0, steps=4, seed=0):
    away = empty_prompt(prompt) if negative is None else negative
    return np.asarray(
        draw(params, jax.random.key(seed), prompt, away, scale, LEVELS, np.asarray(index, np.uint32), steps)
    )


def latents(*arguments, **options):
    return pictures(*arguments, **options)[..., :2]


def test_it_is_the_composition_of_its_parts():
    @quickly
    def composed(params, ids, mask):
        arguments = diffusion.from_network(predict, params["network"], FLOW, encode(params["text"], ids, mask))
        guided = diffusion.guidance.classifier_free(arguments, arguments.with_condition(networks.NO_TEXT), 3.0)
        sampler = diffusion.samplers.ddim(1.0)
        latents = diffusion.sample(jax.random.key(0), guided, sampler, LEVELS, SHAPE, jnp.arange(POOL), num_steps=4)
        return decode(params["decoder"], latents)

    result, expected = pictures(), composed(PARAMS, PROMPTS.ids, PROMPTS.mask)
    assert result.shape == (POOL, 4, 4, 5) and result.std() > 0.1
    np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.slow
def test_networks_of_ours_are_guided_by_the_text_that_is_encoded():
    encoder = networks.TextEncoder(vocabulary=20, positions=8, width=8, depth=1, heads=2, causal=False, pooling="mean")
    network = networks.DiT(patch=2, width=16, depth=1, heads=2, text_channels=8)
    x, t = RNG.normal(size=(POOL, *SHAPE)).astype(np.float32), np.zeros(POOL, np.float32)
    text = networks.Text(np.zeros((POOL, LENGTH, 8), np.float32), PROMPTS.mask)
    params = {"text": random_params(encoder, PROMPTS.ids), "network": random_params(network, x, t, text)}

    @quickly
    def both(params, x, prompts):
        pipeline = TextToImage(networks.pure(encoder), networks.pure(network), FLOW, diffusion.samplers.ddim(), SHAPE)
        text = networks.pure(encoder)(params["text"], prompts.ids, prompts.mask)
        arguments = diffusion.from_network(networks.pure(network), params["network"], FLOW, text)
        by_hand = diffusion.guidance.classifier_free(arguments, arguments.with_condition(networks.NO_TEXT), 3.0)
        return [
            each(x, SCHEDULE.at(0.5)).clean
            for each in (pipeline.denoiser(params, prompts, empty_prompt(prompts), 3.0), by_hand)
        ]

    result, expected = map(np.asarray, both(params, x, PROMPTS))
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    assert np.isfinite(expected).all() and np.std(expected) > 0.1


def test_a_picture_is_a_function_of_its_own_prompt_and_index():
    full, order = latents(), [4, 0, 3, 1, 5, 2]
    np.testing.assert_allclose(latents(order, prompt=rows(PROMPTS, order)), full[order], atol=1e-5)
    beside_strangers = latents([7, 2, 900, 8, 11, 9], prompt=rows(PROMPTS, [0, 2, 5, 5, 1, 3]))
    np.testing.assert_allclose(beside_strangers[1], full[2], atol=1e-5)

    def some(index, prompt):
        return LATENTS(PARAMS, jax.random.key(0), prompt, empty_prompt(prompt), 3.0, LEVELS, index, num_steps=4)

    for size in (1, 4):
        np.testing.assert_allclose(quickly(diffusion.in_chunks(some, size))(jnp.arange(POOL), PROMPTS), full, atol=1e-5)


def test_padding_of_a_prompt_does_not_enter():
    filled = PROMPTS._replace(ids=np.where(PROMPTS.mask, PROMPTS.ids, 17))
    np.testing.assert_allclose(latents(prompt=filled), latents(), atol=1e-6)


@pytest.fixture(scope="module")
def watched():
    """Latents of one prompt for all samples, and what was seen of them."""
    prompt, steps = tokens([1, 2, 3]), []
    options = {"num_steps": 2, "on_level": lambda step, x: steps.append((int(step), x))}
    run = quickly(
        lambda: LATENTS(
            PARAMS, jax.random.key(0), prompt, empty_prompt(prompt), 3.0, LEVELS, jnp.arange(POOL), **options
        )
    )
    result = run()
    jax.effects_barrier()
    return result, steps


def test_one_prompt_holds_for_all_samples(watched):
    np.testing.assert_allclose(watched[0], latents(prompt=tokens(*[[1, 2, 3]] * POOL), steps=2), atol=1e-5)


def test_the_latents_of_each_step_may_be_watched(watched):
    result, steps = watched
    assert [step for step, _ in steps] == [1, 2]
    np.testing.assert_allclose(steps[1][1], result, atol=1e-6)


def test_one_compile_serves_prompts_scales_steps_keys_and_parameters():
    base, before = latents(), draw.traces
    others = [latents(steps=3), latents(params=jax.tree.map(lambda leaf: 0.9 * leaf, PARAMS)), latents(seed=1)]
    others += [latents(prompt=tokens(*[[7, 8]] * POOL)), latents(scale=7.5), latents(np.arange(POOL) + 2**31)]
    assert all(np.abs(other - base).max() > 1e-3 for other in others) and before == draw.traces == 1


def test_scale_0_follows_the_negative_prompt_scale_1_the_prompt():
    other = rows(PROMPTS, [5, 4, 3, 2, 1, 0])
    np.testing.assert_allclose(latents(scale=1.0, negative=other), latents(scale=1.0), atol=1e-5)
    np.testing.assert_allclose(latents(scale=0.0, negative=other), latents(prompt=other, scale=1.0), atol=1e-5)
    away = latents(scale=3.0, negative=other)
    assert np.abs(away - latents(scale=3.0)).max() > 1e-3


def test_the_denoiser_of_a_prompt_serves_editing():
    arguments = RNG.normal(size=(POOL, *SHAPE)).astype(np.float32)

    @quickly
    def edit(params, latents):
        denoise, sampler = PIPELINE.denoiser(params, PROMPTS, empty_prompt(PROMPTS), 2.0), diffusion.samplers.ddim()
        settings = jax.random.key(0), denoise, sampler, LEVELS, latents, jnp.arange(POOL)
        return diffusion.editing.image_to_image(*settings, strength=0.5, num_steps=4)

    edited = edit(PARAMS, arguments)
    assert edited.shape == arguments.shape and np.isfinite(edited).all()


def with_parts(*names):
    parts = {name: {} for name in names}
    return lambda: PIPELINE(parts, jax.random.key(0), PROMPTS, empty_prompt(PROMPTS), 1.0, LEVELS, jnp.arange(POOL))


test_what_does_not_fit_is_refused = refusals(
    (with_parts("text", "network"), "no decoder"),
    (with_parts(), "text, network, decoder"),
    (
        lambda: PIPELINE.denoiser(dict.fromkeys(pipelines.text_to_image.PARTS), PROMPTS, rows_of_four(), 1.0),
        "5 and 4 tokens",
    ),
)


def rows_of_four():
    return Tokens(PROMPTS.ids[:, :4], PROMPTS.mask[:, :4], PROMPTS.truncated, PROMPTS.unknown)
