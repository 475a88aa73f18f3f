"""A prompt becomes a picture: the pipeline is the composition of its parts, and keeps the promises of samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, networks, pipelines
from gendiff.data.tokenizer import Tokens
from gendiff.pipelines import TextToImage, nothing
from tests.quickly import quickly
from tests.refusals import refusals

LENGTH, SHAPE, POOL = 5, (4, 4, 2), 6
SCHEDULE = diffusion.schedules.flow()
LEVELS = diffusion.grids.padded(diffusion.grids.trailing(SCHEDULE, 4), 6)
TEXT = networks.TextEncoder(vocabulary=20, positions=8, width=8, depth=1, heads=2, causal=False, pooling="mean")
NETWORK = networks.DiT(patch=2, width=16, depth=1, heads=2, text_channels=8)
AUTOENCODER = networks.Autoencoder(channels=(8, 8), blocks=1, latent_channels=2, groups=4, scale=0.7, shift=0.1)
PIPELINE = TextToImage(
    networks.pure(TEXT),
    networks.pure(NETWORK),
    diffusion.parameterization.flow(),
    diffusion.samplers.ddim(1.0),
    SHAPE,
    networks.pure(AUTOENCODER, "decode"),
)


def tokens(*texts):
    """Each text is a list of ids, padded with 0."""
    ids, mask = np.zeros((len(texts), LENGTH), np.int32), np.zeros((len(texts), LENGTH), bool)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, True
    return Tokens(ids, mask, np.zeros(len(texts), bool), np.zeros(len(texts), np.int32))


PROMPTS = tokens(*([1, 2 + number, 3, 4][: 2 + number % 3] for number in range(POOL)))


def fresh():
    text = networks.Text(jnp.zeros((1, LENGTH, 8)), jnp.ones((1, LENGTH), bool))
    return {
        "text": networks.init(TEXT, jax.random.key(0), PROMPTS.ids),
        "network": networks.init(NETWORK, jax.random.key(1), jnp.zeros((1, *SHAPE)), jnp.zeros(1), text),
    }


@pytest.fixture(scope="module")
def params():
    """Of all parts, none of them at its initial value, where a network answers 0."""
    drawn = fresh() | {"decoder": networks.init(AUTOENCODER, jax.random.key(2), jnp.zeros((1, 8, 8, 3)))}
    leaves, tree = jax.tree.flatten(drawn)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(tree, [leaf + jnp.asarray(rng.normal(0, 0.1, leaf.shape), leaf.dtype) for leaf in leaves])


@quickly
def draw(params, key, prompt, negative, scale, levels, index, num_steps):
    return PIPELINE(params, key, prompt, negative, scale, levels, index, num_steps=num_steps)


def rows(prompt, chosen):
    return Tokens(*(leaf[np.asarray(chosen)] for leaf in prompt))


def pictures(params, chosen=range(POOL), *, prompt=PROMPTS, negative=None, scale=3.0, steps=4, seed=0):
    prompt = rows(prompt, chosen)
    away = nothing(prompt) if negative is None else negative
    return np.asarray(draw(params, jax.random.key(seed), prompt, away, scale, LEVELS, jnp.asarray(chosen), steps))


def test_it_is_the_composition_of_its_parts(params):
    @quickly
    def composed(params, ids, mask):
        text = networks.pure(TEXT)(params["text"], ids, mask)
        given = diffusion.from_network(networks.pure(NETWORK), params["network"], diffusion.parameterization.flow(), text)
        guided = diffusion.guidance.classifier_free(given, given.with_condition(networks.NO_TEXT), 3.0)
        sampler = diffusion.samplers.ddim(1.0)
        latents = diffusion.sample(jax.random.key(0), guided, sampler, LEVELS, SHAPE, jnp.arange(POOL), num_steps=4)
        return networks.pure(AUTOENCODER, "decode")(params["decoder"], latents)

    drawn, expected = pictures(params), composed(params, PROMPTS.ids, PROMPTS.mask)
    assert drawn.shape == (POOL, 8, 8, 3)
    np.testing.assert_allclose(drawn, expected, atol=2e-5)


def test_a_picture_is_a_function_of_its_own_prompt_and_index(params):
    whole = pictures(params)
    for row in (0, 3, 5):
        np.testing.assert_allclose(pictures(params, [row]), whole[[row]], atol=1e-5)
    np.testing.assert_allclose(pictures(params, [4, 0, 3]), whole[[4, 0, 3]], atol=1e-5)

    def some(index, prompt):
        return PIPELINE(params, jax.random.key(0), prompt, nothing(prompt), 3.0, LEVELS, index, num_steps=4)

    np.testing.assert_allclose(quickly(diffusion.in_chunks(some, 4))(jnp.arange(POOL), PROMPTS), whole, atol=1e-5)


def test_padding_of_a_prompt_does_not_enter(params):
    filled = PROMPTS._replace(ids=np.where(PROMPTS.mask, PROMPTS.ids, 17))
    np.testing.assert_allclose(pictures(params, prompt=filled), pictures(params), atol=1e-6)


def test_one_prompt_holds_for_all_samples(params):
    one, many = tokens([1, 2, 3]), tokens(*[[1, 2, 3]] * POOL)
    of = jax.random.key(0), (3.0, LEVELS, jnp.arange(POOL), 4)
    drawn = [draw(params, of[0], prompt, nothing(prompt), *of[1]) for prompt in (one, many)]
    np.testing.assert_allclose(*drawn, atol=1e-5)


def test_one_compile_serves_prompts_scales_steps_and_keys():
    traces = []

    def counted(*arguments):
        traces.append(1)
        return PIPELINE.predict(*arguments)

    pipeline = TextToImage(PIPELINE.encode, counted, PIPELINE.parameterization, PIPELINE.sampler, SHAPE)
    shaped = quickly(lambda *of, num_steps: pipeline(*of, num_steps=num_steps))
    empty = fresh()
    first = rows(PROMPTS, [0, 1])
    shaped(empty, jax.random.key(0), first, nothing(first), 3.0, LEVELS, jnp.arange(2), num_steps=3)
    before = len(traces)
    for number, scale in enumerate((0.0, 1.0, 7.5)):
        other = rows(PROMPTS, [number, number + 2])
        shaped(empty, jax.random.key(number), other, first, scale, LEVELS, jnp.arange(2) + number, num_steps=2 + number)
    assert before and len(traces) == before


def test_scale_0_follows_the_negative_prompt_scale_1_the_prompt(params):
    other = rows(PROMPTS, [5, 4, 3, 2, 1, 0])
    np.testing.assert_allclose(pictures(params, scale=1.0, negative=other), pictures(params, scale=1.0), atol=1e-5)
    np.testing.assert_allclose(pictures(params, scale=0.0, negative=other), pictures(params, prompt=other, scale=1.0), atol=1e-5)
    away = pictures(params, scale=3.0, negative=other)
    assert np.abs(away - pictures(params, scale=3.0)).max() > 1e-3
    assert np.abs(pictures(params, seed=1) - pictures(params)).max() > 1e-2


def test_the_denoiser_of_a_prompt_serves_editing(params):
    latents = jnp.asarray(np.random.default_rng(1).normal(size=(POOL, *SHAPE)), jnp.float32)

    @quickly
    def edit(params, latents):
        denoise, sampler = PIPELINE.denoiser(params, PROMPTS, nothing(PROMPTS), 2.0), diffusion.samplers.ddim()
        of = jax.random.key(0), denoise, sampler, LEVELS, latents, jnp.arange(POOL)
        return diffusion.editing.image_to_image(*of, strength=0.5, num_steps=4)

    edited = edit(params, latents)
    assert edited.shape == latents.shape and bool(jnp.isfinite(edited).all())


def with_parts(*names):
    parts = {name: {} for name in names}
    return lambda: PIPELINE(parts, jax.random.key(0), PROMPTS, nothing(PROMPTS), 1.0, LEVELS, jnp.arange(POOL))


test_what_does_not_fit_is_refused = refusals(
    (with_parts("text", "network"), "no decoder"),
    (with_parts(), "text, network, decoder"),
    (lambda: PIPELINE.denoiser(dict.fromkeys(pipelines.text_to_image.PARTS), PROMPTS, rows_of_four(), 1.0), "5 and 4 tokens"),
)


def rows_of_four():
    return Tokens(PROMPTS.ids[:, :4], PROMPTS.mask[:, :4], PROMPTS.truncated, PROMPTS.unknown)


def test_the_latents_of_each_step_may_be_watched(params):
    seen = []
    quickly(
        lambda index: PIPELINE(params, jax.random.key(0), PROMPTS, nothing(PROMPTS), 3.0, LEVELS, index, num_steps=2, on_level=see(seen))
    )(jnp.arange(POOL))
    jax.effects_barrier()
    assert seen == [(1, (POOL, *SHAPE)), (2, (POOL, *SHAPE))]


def see(seen):
    return lambda step, x: seen.append((int(step), x.shape))
