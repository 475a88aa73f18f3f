"""Rollout: with the exact network of a process each block is the draw that its law gives; with a transformer, that
without a cache.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, networks
from gendiff.core import arrays, records, sample_keys
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import guidance, oracles, parameterization, samplers, schedules, video
from gendiff.diffusion.types import Level
from tests.diffusion.video.autoregressive import RHO
from tests.networks.rig import random_params
from tests.quickly import in_numpy, quickly
from tests.refusals import refusals
from tests.traced import Traced

FLOW, KEY = schedules.flow(), jax.random.key(3)
LEVELS = diffusion.grids.trailing(FLOW, 4)
INDEX = np.array([7, 2, 40], np.int32)
SPREAD = (1 - RHO**2) ** 0.5


@records.record
class Last:
    """What the exact network keeps: the last frame (b, 1, 1) as it was written, and the time that it was told of it
    (b,).
    """

    frame: jax.Array
    told: jax.Array
    number: jax.Array


def nothing(batch, number=0):
    return Last(np.zeros((batch, 1, 1), np.float32), np.zeros(batch, np.float32), np.full(batch, number, np.int32))


def oracle_of(last, number, label=0.0):
    """The law of the next frame, one pixel, given the last one."""
    return oracles.gaussian(jnp.where(number == 0, 1.0, SPREAD), RHO * last + label)


def exact(params, x, t, *condition):
    """The network of the process x_n = RHO x_{n−1} + label + noise: it answers the posterior mean of the clean
    frame.
    """
    *label, cache = condition
    u = t / 1000
    law = oracle_of(cache.frame[:, 0, 0], cache.number, *(jnp.maximum(each, 0).astype(x.dtype) for each in label))
    return law(x, Level(t, 1 - u, u)).clean, Last(x, t, cache.number + 1)


@functools.partial(in_numpy, static_argnames=("num_blocks", "guided", "finish"))
def roll(cache, index, num_blocks=3, condition=(), context=None, known=None, guided=False, finish=None):
    guide = (
        (lambda c: guidance.classifier_free(c, c.with_condition(NO_LABEL, c.condition[-1]), 2.0)) if guided else None
    )
    options = {"condition": condition, "context": context, "known": known, "guide": guide, "finish": finish}
    kind = parameterization.clean()
    return video.rollout(
        KEY, exact, (), kind, cache, samplers.ddpm(), LEVELS, (1,), index, block=1, num_blocks=num_blocks, **options
    )


# The law, and the keys.


def test_every_frame_is_the_draw_of_its_law_given_the_frame_before_with_the_keys_that_are_stated():
    frames, cache = roll(nothing(3), INDEX)
    assert frames.shape == (3, 3, 1)
    draw = quickly(lambda key, law: diffusion.sample(key, law, samplers.ddpm(), LEVELS, (1, 1), INDEX))
    last = np.zeros(3, np.float32)
    for n in range(3):
        key = jax.random.fold_in(jax.random.fold_in(KEY, n), 0)
        np.testing.assert_allclose(frames[:, n], draw(key, oracle_of(last, np.array(n)))[:, 0], atol=1e-5)
        last = frames[:, n, 0]
    np.testing.assert_array_equal(cache.number, [3, 3, 3])
    np.testing.assert_array_equal(cache.frame[:, 0], frames[:, -1])
    np.testing.assert_array_equal(cache.told, 0)


def test_a_clip_is_the_same_in_any_batch_order_and_length_and_where_it_goes_on():
    """With noise on the context, which a clip that goes on from its own frames draws again."""
    context = jax.tree.map(np.float32, FLOW.at(0.3))
    full, _ = roll(nothing(3), INDEX, context=context)
    other, _ = roll(nothing(3), INDEX[::-1].copy(), context=context)
    np.testing.assert_allclose(other[::-1], full, atol=1e-6)
    cache = nothing(3)
    for n in range(3):
        one, cache = roll(cache, INDEX, 1, context=context)
        np.testing.assert_allclose(one, full[:, n : n + 1], atol=1e-6)
    alone, _ = roll(nothing(1), INDEX[1:2], 1, context=context, known=full[1:2, :2])
    np.testing.assert_allclose(alone, full[1:2], atol=1e-6)


def test_finished_frames_are_written_at_the_level_of_the_context_and_returned_without_its_noise():
    level, cache = jax.tree.map(np.float32, FLOW.at(0.3)), nothing(3)
    draw = in_numpy(
        lambda key: arrays.normal(sample_keys.keys_of(key, INDEX), jax.ShapeDtypeStruct((3, 1, 1), np.float32))
    )
    for n in range(2):
        frames, cache = roll(cache, INDEX, 1, context=level)
        np.testing.assert_allclose(cache.told, 300, rtol=1e-6)
        noise = draw(jax.random.fold_in(jax.random.fold_in(KEY, n), 1))
        np.testing.assert_allclose(cache.frame, 0.7 * frames + 0.3 * noise, atol=1e-5)


def test_a_guide_makes_the_denoiser_of_each_block_from_that_of_the_network():
    label = np.array([1, 1, 1], np.int32)
    plain, strong, none = (
        roll(nothing(3), INDEX, condition=(labels,), guided=guided)[0]
        for labels, guided in ((label, False), (label, True), (np.full(3, NO_LABEL, np.int32), True))
    )
    without, _ = roll(nothing(3), INDEX)
    np.testing.assert_allclose(none, without, atol=1e-5)  # NO_LABEL adds nothing to the mean here, at any scale
    assert np.all(strong[:, 0] - plain[:, 0] > 0.2) and np.all(plain[:, 0] - without[:, 0] > 0.2)


def test_finished_frames_are_rounded_before_they_are_written_and_returned():
    plain, _ = roll(nothing(3), INDEX, 1)
    rounded, cache = roll(nothing(3), INDEX, 1, finish=jnp.round)
    np.testing.assert_array_equal(rounded, np.round(plain))
    np.testing.assert_array_equal(cache.frame, rounded)


# One program, and its memory.


def test_keys_contexts_levels_and_counts_of_steps_are_data():
    def draw(key, context, levels, num_steps, cache):
        options = {"block": 1, "num_blocks": 2, "context": context, "num_steps": num_steps}
        return video.rollout(
            key, exact, (), parameterization.clean(), cache, samplers.ddim(), levels, (1,), INDEX, **options
        ).frames

    draw, levels = Traced(draw, quickly), jax.tree.map(jnp.asarray, diffusion.grids.padded(LEVELS, 8))
    for seed, u, steps in ((0, 0.1, 4), (1, 0.5, 8), (1, 0.0, 4)):
        frames = draw(jax.random.key(seed), jax.tree.map(np.float32, FLOW.at(u)), levels, steps, nothing(3))
        assert np.all(np.isfinite(frames))
    assert draw.traces == 1


def test_a_longer_clip_runs_the_same_body_with_the_same_memory():
    def bodies(num_blocks):
        program = jax.make_jaxpr(lambda cache: roll.__wrapped__(cache, INDEX, num_blocks))(nothing(3))
        return [str(equation.params["jaxpr"]) for equation in program.eqns if equation.primitive.name == "scan"]

    assert bodies(2) == bodies(50) and len(bodies(2)) == 1


def test_clips_of_different_lengths_in_one_cache_are_refused_and_are_nan_where_that_cannot_be_seen():
    cache = records.replace(nothing(3), number=np.array([2, 2, 4], np.int32))
    with pytest.raises(ValueError, match=r"clips of \[2 2 4\] frames: all must be of one length"):
        roll.__wrapped__(cache, INDEX)
    frames, _ = roll(cache, INDEX)
    assert np.isfinite(frames[:2]).all() and np.isnan(frames[2]).all()


# With a transformer, as without a cache.

BLOCK, FRAMES = 2, 8
NETWORK = networks.VideoTransformer(2, 12, 1, 2, 2, num_classes=3, attention="causal", block=BLOCK, window=4)
PREDICT, VELOCITY = networks.pure(NETWORK), parameterization.velocity()
SHAPE, LABEL = (4, 2, 1), np.array([0, 2], np.int32)


def whole_clip_denoiser(params, clip, n):
    """Of block n, by the whole clip: other frames are as they are and at time 0, and later ones are not seen."""
    blocks = jnp.arange(FRAMES) // BLOCK == n

    def predict(params, x, t, label):
        here = jnp.tile(x, (1, FRAMES // BLOCK, *[1] * len(SHAPE)))
        visible = jnp.where(blocks.reshape(1, -1, 1, 1, 1), here, clip)
        output = PREDICT(params, visible, jnp.where(blocks[None], t[:, None], 0.0), label)
        return jax.lax.dynamic_slice_in_dim(output, n * BLOCK, BLOCK, 1)

    return diffusion.from_network(predict, params, VELOCITY, LABEL)


@pytest.mark.slow
def test_a_rollout_of_a_transformer_with_a_ring_of_frames_is_that_without_a_cache():
    """Four blocks, of which a frame sees two: the ring of one block is written again and again."""
    params = random_params(NETWORK, np.zeros((2, FRAMES, *SHAPE), np.float32), np.zeros(2, np.float32), LABEL)
    params = params | {"output": jax.tree.map(lambda leaf: 0.2 * leaf, params["output"])}
    levels, index = diffusion.grids.trailing(FLOW, 3), np.array([5, 6], np.int32)

    @in_numpy
    def cached(params):
        cache = networks.frame_cache(NETWORK, 2, FRAMES, *SHAPE[:2])
        options = {"block": BLOCK, "num_blocks": FRAMES // BLOCK, "condition": (LABEL,)}
        return video.rollout(KEY, PREDICT, params, VELOCITY, cache, samplers.ddim(), levels, SHAPE, index, **options)

    @in_numpy
    def slow(params, clip, n):
        key = jax.random.fold_in(jax.random.fold_in(KEY, n), 0)
        samples = diffusion.sample(
            key, whole_clip_denoiser(params, clip, n), samplers.ddim(), levels, (BLOCK, *SHAPE), index
        )
        return jax.lax.dynamic_update_slice_in_dim(clip, samples, n * BLOCK, 1)

    frames, cache = cached(params)
    assert cache.slots == 2 and frames.shape == (2, FRAMES, *SHAPE)
    clip = np.zeros_like(frames)
    for n in range(FRAMES // BLOCK):
        clip = slow(params, clip, np.int32(n))
    np.testing.assert_allclose(frames, clip, atol=1e-5)
    assert 0.1 < np.abs(np.diff(clip, axis=1)).max() and np.abs(clip).max() < 10


def ask(cache=None, index=INDEX, levels=LEVELS, **options):
    settings = {"block": 1, "num_blocks": 1} | options
    return lambda: jax.eval_shape(
        lambda: video.rollout(
            KEY,
            exact,
            (),
            parameterization.clean(),
            cache or nothing(3),
            samplers.ddim(),
            levels,
            (1,),
            index,
            **settings,
        )
    )


test_what_does_not_fit_is_refused = refusals(
    (ask(block=0), "block = 0"),
    (ask(num_blocks=0), "num_blocks = 0"),
    (
        ask(known=np.zeros((3, 2, 2), np.float32)),
        r"known has shape \(3, 2, 2\), but \(3, frames, 1\) in whole blocks of 1",
    ),
    (ask(known=np.zeros((3, 3, 1), np.float32), block=2), "in whole blocks of 2"),
    (ask(known=np.zeros((3, 3, 1), int)), "known must be a floating array", TypeError),
    (ask(nothing(3, 3), block=2), "in whole blocks of 2"),
    (ask(num_steps=9), "num_steps = 9"),
    (ask(levels=FLOW.at(0.5)), "levels must be a grid"),
    (ask(index=-INDEX), "index"),
)
