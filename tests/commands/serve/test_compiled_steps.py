"""A picture of the server is that of the pipeline alone, whatever is drawn beside it and whenever it came; nothing is
compiled twice.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, networks, pipelines
from gendiff.commands.serve.batching import Batcher, Finished
from gendiff.commands.serve.compiled_steps import CompiledSteps, batch_sizes, most_steps
from gendiff.commands.serve.image_requests import ImageRequest
from gendiff.commands.serve.request_scheduler import NOT_FINITE, Failed
from gendiff.commands.serve.served_network import ReadTexts, ServedNetwork
from gendiff.core import sample_keys
from gendiff.core.errors import ConfigError
from gendiff.data.texts.tokenizer import Tokens
from gendiff.pipelines import TextToImage
from gendiff.runs import devices
from tests.quickly import quickly
from tests.traced import Traced

MOST, SHAPE, LENGTH = 5, (4, 4, 3), 6
SCHEDULE = diffusion.schedules.flow()
PARAMS = {"text": np.float32(0.1), "network": {"factor": np.float32(0.9)}, "decoder": np.float32(0.5)}
SPOILT = "!"


def linear(params, x, t, text):
    """The text moves the picture, and one sign spoils it."""
    condition = jnp.where(text.mask[..., None], text.tokens, 0).astype(x.dtype).sum((1, 2))
    return x * params["factor"] - jnp.where(text.mask.any(-1), condition, -0.2)[:, None, None, None]


def encode(params, ids, mask):
    return networks.Text(jnp.where(ids == ord(SPOILT), jnp.nan, params * ids / 128)[..., None], mask)


def decode(params, latents):
    return jnp.tanh(params * latents)


def latents(params, pictures):
    return params["decoder"] * pictures


def tokens(text):
    ids, mask = np.zeros((1, LENGTH), np.int32), np.zeros((1, LENGTH), bool)
    ids[0, : len(text[:LENGTH])], mask[0, : len(text)] = [ord(letter) for letter in text[:LENGTH]], True
    return Tokens(ids, mask, np.zeros(0, bool), np.zeros(0, np.int32))


def read(prompt, negative):
    return ReadTexts(tokens(prompt), tokens(negative) if negative else pipelines.empty_prompt(tokens(prompt)))


def served(pipeline):
    def grid(steps):
        return diffusion.grids.trailing(SCHEDULE, steps)

    def decoded(params, latents):
        return decode(params["decoder"], latents)

    def encoded(params, *texts):
        return tuple(pipeline.encoded(params, text) for text in texts)

    fields = pipeline.sampler, grid, MOST, MOST, read, encoded, pipeline.guided, decoded, latents
    return ServedNetwork("fake", "", 4, 4, SHAPE, PARAMS, *fields)


MASK = np.zeros((4, 4, 1), np.float32)
MASK[1:, 2:] = 1
MIXED = (
    ImageRequest("red", n=2, steps=5, guidance=2.0, seed=3),
    ImageRequest("green", "red", steps=1, guidance=0.0, seed=3),
    ImageRequest("blue", n=2, steps=4, guidance=1.0, seed=2**32 - 1),
    ImageRequest("red", steps=3, guidance=7.5, seed=4),
    ImageRequest("blue", n=2, steps=5, first=2, guidance=3.0, seed=3, picture=np.full((4, 4, 3), 0.8, np.float32)),
)
MASKED = tuple(
    dataclasses.replace(MIXED[-1], first=first, guidance=2.0, seed=seed, mask=MASK) for first, seed in ((2, 3), (0, 6))
)


@pytest.mark.parametrize("name", ["dpm solver of eta 1", pytest.param("ddim of eta 1", marks=pytest.mark.slow)])
def test_a_picture_is_that_of_the_pipeline_alone_and_three_programs_draw_every_mixture(monkeypatch, name):
    """One sampler remembers steps before, draws noise and counts the steps that are left; the other only draws."""
    samplers = diffusion.samplers
    sampler = {
        "dpm solver of eta 1": samplers.dpm_solver_multistep(3, eta=1.0, lower_order_final=True),
        "ddim of eta 1": samplers.ddim(1.0),
    }[name]
    pipeline = TextToImage(encode, linear, diffusion.parameterization.flow(), sampler, SHAPE, decode)
    compiled = []

    def jit(function, libraries=True, **options):
        compiled.append(Traced(function, jit=quickly, **options))
        return compiled[-1]

    monkeypatch.setattr(devices, "jit", jit)
    programs = CompiledSteps(served(pipeline), 3, MOST)
    programs.sizes = (1, 3)  # two pictures fill three places
    assert tuple(programs.warm()) == programs.sizes
    batcher, condition = Batcher(programs, 8), []
    for number, request in enumerate((*MIXED, *MASKED)):
        words, events = read(request.prompt, request.negative), []
        condition.append((request, words, events))
        batcher.submit(request, words, events.append)
        for _ in range(number):  # so that they come while others are being drawn
            batcher.turn()
    while batcher.turn():
        pass

    @quickly
    def alone(seed, prompt, negative, scale, levels, index, num_steps):
        return pipeline(PARAMS, jax.random.key(seed), prompt, negative, scale, levels, index, num_steps=num_steps)

    @quickly
    def edited(seed, prompt, negative, scale, levels, index, first, picture, mask):
        denoise, clean = pipeline.denoiser(PARAMS, prompt, negative, scale), latents(PARAMS, jnp.stack([picture] * 2))
        key, way = jax.random.key(seed), sampler
        if mask is not None:
            remembers = jax.tree.leaves(jax.eval_shape(sampler.init, clean).memory)
            noise = sample_keys.first_noise(sample_keys.keys_of(key, index), SHAPE, clean.dtype) if remembers else None
            way = diffusion.inpainting.repaint(sampler, clean, mask[None], noise)
        x = diffusion.editing.from_entry(key, denoise, way, levels, clean, index, first=first)
        pictures = decode(PARAMS["decoder"], x)
        return pictures if mask is None else jnp.where(mask > 0, pictures, picture)

    for request, words, events in condition:
        levels = diffusion.grids.padded(diffusion.grids.trailing(SCHEDULE, request.steps), MOST)
        numbers = np.float32(request.guidance), levels, np.arange(2, dtype=np.int32), np.int32(request.steps)
        if request.picture is not None:
            numbers = *numbers[:-1], np.int32(request.first), request.picture, request.mask
        draw = alone if request.picture is None else edited
        reference = np.asarray(draw(np.uint32(request.seed), words.prompt, words.negative, *numbers))
        assert [(type(event), event.index) for event in events] == [(Finished, index) for index in range(request.n)]
        for event in events:
            np.testing.assert_allclose(event.picture, reference[event.index], atol=1e-5)
        assert np.abs(reference[0] - reference[1]).max() > 0.01
        if request.mask is not None:
            for event in events:
                np.testing.assert_array_equal((event.picture == request.picture).all(-1), MASK[..., 0] == 0)
    assert sum(program.traces for program in compiled) == 4 + len(programs.sizes)

    spoilt, events = ImageRequest("no" + SPOILT, steps=3), []
    batcher.submit(spoilt, read(spoilt.prompt, ""), events.append)
    assert batcher.turn() and isinstance(events[0], Failed) and events[0].cause == NOT_FINITE


def test_a_picture_has_the_same_bits_beside_one_with_a_mask_and_beside_one_without(monkeypatch):
    """The sampler draws noise in each step."""
    monkeypatch.setattr(devices, "jit", lambda function, libraries=True, **options: quickly(function, **options))
    sampler = diffusion.samplers.ddim(1.0)
    pipeline = TextToImage(encode, linear, diffusion.parameterization.flow(), sampler, SHAPE, decode)
    programs = CompiledSteps(served(pipeline), 2, MOST)
    programs.sizes = (2,)
    plain, edited, masked = (dataclasses.replace(request, n=1) for request in (MIXED[0], MIXED[-1], MASKED[0]))
    pictures = {}
    for both in ((plain, edited), (plain, masked), (masked, edited)):
        batcher, events = Batcher(programs, 8), []
        for request in both:
            events.append([])
            batcher.submit(request, read(request.prompt, ""), events[-1].append)
        while batcher.turn():
            pass
        for request, (event,) in zip(both, events, strict=True):
            pictures.setdefault(request, []).append(event.picture)
    for first, second in pictures.values():
        np.testing.assert_array_equal(first, second)
    assert np.abs(pictures[edited][0] - pictures[masked][0]).max() > 0.01


def test_a_network_without_a_grid_of_as_many_steps_is_refused_before_anything_is_compiled():
    pipeline = TextToImage(encode, linear, diffusion.parameterization.flow(), diffusion.samplers.ddim(), SHAPE, decode)
    fields = vars(served(pipeline))
    short = ServedNetwork(
        **(fields | {"grid": lambda steps: diffusion.grids.trailing(diffusion.schedules.cosine(4), steps)})
    )
    with pytest.raises(ConfigError, match="--most-steps 5: fake cannot take 5 steps"):
        CompiledSteps(short, 2, MOST)
    other = ServedNetwork(**(fields | {"grid": lambda steps: diffusion.grids.trailing(SCHEDULE, max(1, steps // 2))}))
    with pytest.raises(ConfigError, match="takes 1 steps where 2 are asked for"):
        CompiledSteps(other, 2, MOST)


def test_the_first_noise_is_as_strong_as_the_temperature_says(monkeypatch):
    monkeypatch.setattr(devices, "jit", lambda function, libraries=True, **options: quickly(function, **options))
    pipeline = TextToImage(
        encode,
        linear,
        diffusion.parameterization.flow(),
        diffusion.samplers.ddim(),
        SHAPE,
        lambda params, latents: latents,
    )
    first = []
    for temperature in (1.0, 0.5):
        programs = CompiledSteps(
            dataclasses.replace(served(pipeline), temperature=temperature, decode=lambda params, latents: latents), 1, 2
        )
        first.append(programs.picture(programs.begin(ImageRequest("red", steps=2), read("red", ""), 0)))
    np.testing.assert_allclose(first[1], 0.5 * first[0], rtol=1e-6)
    assert 0.5 < np.std(first[0]) < 2


def test_a_batch_is_filled_up_to_the_next_power_of_two():
    assert [batch_sizes(together) for together in (1, 2, 6, 8)] == [(1,), (1, 2), (1, 2, 4, 6), (1, 2, 4, 8)]


def test_a_server_takes_as_many_steps_as_the_network_has_grids_for():
    def grid(steps):
        if steps > 50:
            raise ValueError("steps is outside [1, 50]")
        return steps

    pipeline = TextToImage(
        encode, linear, diffusion.parameterization.flow(), diffusion.samplers.ddim(1.0), SHAPE, decode
    )
    network = dataclasses.replace(served(pipeline), grid=grid)
    assert [most_steps(network, most) for most in (100, 50, 20)] == [50, 50, 20]
