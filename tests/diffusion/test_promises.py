"""Two promises of the library: a sample is a function of (parameters, key, index), and one compile serves a whole grid
of settings.
"""

import concurrent.futures
import functools
import itertools
import os
import subprocess
import sys
import textwrap
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gendiff as gd
from gendiff import diffusion, networks
from gendiff.core.records import record
from tests.traced import Traced

pytestmark = pytest.mark.numbers

SHAPE = (2, 2)
SCHEDULE = diffusion.schedules.cosine(100)
LEVELS = diffusion.grids.padded(diffusion.grids.trailing(SCHEDULE, 6), 8)
ORACLE = diffusion.oracles.mixture([0.3, 0.7], np.random.default_rng(0).normal(size=(2, *SHAPE)), [0.3, 0.6])
POOL = 8


@record
class Recorder(diffusion.sampling.Sampler):
    """A step is the noise that it draws."""

    def step(self, noise, denoise, state, level, cleaner, left):
        return diffusion.sampling.State(noise(state.x))


RECORDER = Recorder()
SAMPLERS = {
    "ddim one": diffusion.samplers.ddim(1.0),
    "ddpm": diffusion.samplers.ddpm(),
    "euler": diffusion.samplers.euler(),
}


def sample(sampler, index, levels, num_steps, trajectory=False):
    key = jax.random.key(3)
    return diffusion.sample(key, ORACLE, sampler, levels, SHAPE, index, num_steps=num_steps, trajectory=trajectory)


fixed, traced = jax.jit(sample, static_argnames=("num_steps", "trajectory")), jax.jit(sample)


def draw(sampler, index, levels=LEVELS, num_steps=6, trajectory=False):
    return fixed(sampler, jnp.asarray(index), levels, num_steps, trajectory)


def velocity(predict, params, label):
    return diffusion.from_network(predict, params, diffusion.parameterization.velocity(), label)


# A sample is a function of (parameters, key, index).


@pytest.fixture(scope="module")
def alone():
    """Each of the pool's samples drawn by itself, by sampler, and the noise of each."""
    one_by_one = {name: np.concatenate([draw(sampler, [i]) for i in range(POOL)]) for name, sampler in SAMPLERS.items()}
    return one_by_one | {"noise": np.concatenate([draw(RECORDER, [i], trajectory=True) for i in range(POOL)], axis=1)}


@settings(max_examples=8)
@given(index=st.lists(st.integers(0, POOL - 1), min_size=5, max_size=5))
def test_batch_and_order_do_not_enter(alone, index):
    np.testing.assert_array_equal(draw(RECORDER, index, trajectory=True), alone["noise"][:, index])
    for name, sampler in SAMPLERS.items():
        np.testing.assert_allclose(draw(sampler, index), alone[name][index], atol=5e-6, err_msg=name)


@given(length=st.sampled_from([4, 9]), n=st.sampled_from([1, 2, 4]))
def test_padding_of_the_grid_does_not_enter(length, n):
    short = diffusion.grids.trailing(SCHEDULE, n)
    for sampler in (SAMPLERS["ddim one"], RECORDER):
        expected = draw(sampler, range(5), levels=short, num_steps=n)
        result = traced(sampler, jnp.arange(5), diffusion.grids.padded(short, length), n)
        np.testing.assert_allclose(result, expected, rtol=0, atol=0 if sampler is RECORDER else 5e-6)


def test_padding_of_the_batch_vmap_and_chunks_do_not_enter(alone):
    filled = draw(SAMPLERS["ddpm"], [5, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(filled[0], alone["ddpm"][5], atol=5e-6)
    rows = jax.vmap(lambda i: draw(SAMPLERS["ddpm"], i[None])[0])(jnp.arange(POOL))
    np.testing.assert_allclose(rows, alone["ddpm"], atol=5e-6)
    in_threes = jax.jit(diffusion.in_chunks(lambda rows: jnp.moveaxis(draw(RECORDER, rows, trajectory=True), 1, 0), 3))
    np.testing.assert_array_equal(jnp.moveaxis(in_threes(jnp.arange(POOL)), 0, 1), alone["noise"])


@pytest.mark.fault("16 threads sampling at once")
def test_sixteen_threads_that_sample_at_once_draw_what_each_draws_alone(alone):
    barrier = threading.Barrier(16)

    def run(number):
        sampler = list(SAMPLERS)[number % 3]
        barrier.wait()
        # two of them compile meanwhile
        fresh = jax.jit(functools.partial(sample, num_steps=6)) if number < 2 else fixed
        return (
            number % POOL,
            sampler,
            [fresh(SAMPLERS[sampler], jnp.asarray([number % POOL]), LEVELS, num_steps=6)[0] for _ in range(3)],
        )

    with concurrent.futures.ThreadPoolExecutor(16) as threads:
        for index, sampler, samples in threads.map(run, range(16)):
            for one in samples:
                np.testing.assert_array_equal(one, alone[sampler][index])


def test_labels_scales_and_starts_follow_their_samples_into_chunks():
    def guided(index, label, scale, start):
        conditional = velocity(
            lambda gain, x, t, label: gain * x + 0.1 * label.astype(x.dtype)[:, None, None], jnp.float32(0.5), label
        )
        free = diffusion.guidance.classifier_free(
            conditional, conditional.with_condition(gd.NO_LABEL), scale, batched=True
        )
        return diffusion.sample(
            jax.random.key(0), free, diffusion.samplers.ddim(1.0), LEVELS, SHAPE, index, start=start
        )

    start = jnp.asarray(np.random.default_rng(0).normal(size=(7, *SHAPE)), jnp.float32)
    aligned = jnp.arange(7), jnp.arange(7), jnp.linspace(0.0, 3.0, 7), start
    full = guided(*aligned)
    for size in (3, 9):
        np.testing.assert_allclose(diffusion.in_chunks(guided, size)(*aligned), full, atol=5e-6)
    shuffled = jnp.array([4, 1, 6])
    np.testing.assert_allclose(guided(*(leaf[shuffled] for leaf in aligned)), full[shuffled], atol=5e-6)


@pytest.mark.slow
def test_eight_devices_draw_what_one_draws(tmp_path):
    program = f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        import jax, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec
        import test_promises as promises
        assert jax.device_count() == 8
        mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        index = jax.device_put(np.arange(promises.POOL), NamedSharding(mesh, PartitionSpec("data")))
        recorder = jax.jit(lambda i: promises.draw(promises.RECORDER, i, trajectory=True))
        result = {{"noise": recorder(index)}}
        for name, sampler in promises.SAMPLERS.items():
            drawn = jax.jit(lambda i, s: promises.draw(s, i))(index, sampler)
            assert len(drawn.sharding.device_set) == 8
            result[name] = drawn
        np.savez({str(tmp_path / "eight.npz")!r}, **result)
    """
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    eight = np.load(tmp_path / "eight.npz")
    np.testing.assert_array_equal(eight["noise"], draw(RECORDER, range(POOL), trajectory=True))
    for name, sampler in SAMPLERS.items():
        np.testing.assert_allclose(eight[name], draw(sampler, range(POOL)), atol=5e-6, err_msg=name)


# One compile for a whole grid.


def drawing(predict, shape):
    """DESIGN's `draw`, with eta as data too."""

    @Traced
    def draw(params, key, index, label, scale, eta, levels, num_steps):
        conditional = velocity(predict, params, label)
        guided = diffusion.guidance.classifier_free(
            conditional, conditional.with_condition(gd.NO_LABEL), scale, batched=True
        )
        return diffusion.sample(
            key, guided, diffusion.samplers.ddim(eta=eta), levels, shape, index, num_steps=num_steps
        )

    return draw


def trailing(steps, length):
    return diffusion.grids.padded(diffusion.grids.trailing(SCHEDULE, steps), length)


def test_one_trace_serves_steps_scales_etas_labels_grids_and_parameters():
    def predict(gain, x, t, label):
        return jnp.tanh(gain * x) + 0.1 * label.astype(x.dtype)[:, None, None, None]

    draw, shape, key = drawing(predict, (4, 4, 1)), (4, 4, 1), jax.random.key
    results, label = {}, jnp.array([0, 1, 2])
    for steps, scale, eta, gain in itertools.product(
        (1, 3, 7), (0.0, 1.0, 3.0), (0.0, 0.5, 1.0), (np.float32(0.5), np.float32(0.9))
    ):
        values = gain, key(steps), jnp.arange(3), label + steps, scale, eta, trailing(steps, 10), steps
        results[steps, scale, eta, float(gain)] = np.asarray(draw(*values))
    distinct = 3 * 2 + 2 * 3 * 3 * 2  # eta says nothing in a single step to clean
    assert len({x.tobytes() for x in results.values()}) == distinct, "every setting counts"
    for grid in (diffusion.grids.leading(SCHEDULE, 10), diffusion.grids.karras(SCHEDULE, 10)):
        draw(np.float32(0.5), key(0), jnp.array([9, 4, 4]), jnp.array([1, 1, 0]), 7.5, 0.3, grid, 10)
    assert draw.traces == 1
    conditional = velocity(predict, gain, label + 7)
    guided = diffusion.guidance.classifier_free(conditional, conditional.with_condition(gd.NO_LABEL), 3.0)
    plain = diffusion.sample(
        key(7), guided, diffusion.samplers.ddim(1.0), diffusion.grids.trailing(SCHEDULE, 7), shape, jnp.arange(3)
    )
    np.testing.assert_allclose(results[7, 3.0, 1.0, float(gain)], plain, atol=2e-5)


def test_one_trace_serves_a_transformer_and_its_samples_stand_alone():
    network = networks.DiT(patch=4, width=16, depth=1, heads=2, num_classes=10)
    params = networks.init(network, jax.random.key(0), jnp.zeros((2, 8, 8, 1)), jnp.zeros(2), jnp.zeros(2, jnp.int32))
    noise = np.random.default_rng(0)
    trained = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.05 * noise.normal(size=leaf.shape), leaf.dtype), params)
    draw, labels = drawing(networks.pure(network), (8, 8, 1)), jnp.arange(4, dtype=jnp.int32)

    def run(values, steps, scale, eta, index=labels):
        return np.asarray(draw(values, jax.random.key(0), index, labels[index], scale, eta, trailing(steps, 8), steps))

    results = [
        run(values, *setting)
        for values in (params, trained)
        for setting in ((2, 1.0, 0.0), (2, 3.0, 1.0), (5, 3.0, 1.0))
    ]
    assert all(np.all(np.isfinite(x)) for x in results)
    order = jnp.array([2, 0, 3, 1], jnp.int32)
    again, usual = run(trained, 5, 3.0, 1.0, order), results[-1]
    assert draw.traces == 1
    np.testing.assert_allclose(again, usual[order], atol=1e-4 * max(1.0, float(np.sqrt(np.mean(usual**2)))))


def captions(count):
    """A text of its own per sample, with another number of tokens each, padding that is no number, and a size of the
    image.
    """
    draw = np.random.default_rng(1)
    mask = np.arange(4)[None] < 1 + np.arange(count)[:, None] % 4
    tokens = np.where(mask[..., None], draw.normal(size=(count, 4, 6)), np.nan).astype(np.float32)
    text = networks.Text(jnp.asarray(tokens), jnp.asarray(mask), jnp.asarray(draw.normal(size=(count, 5)), jnp.float32))
    return text, networks.ImageSize(*(jnp.full((count, 2), size, jnp.float32) for size in (64, 0, 8)))


def test_one_trace_serves_texts_and_their_samples_stand_alone_and_in_chunks():
    network = networks.DiT(4, 16, 2, 2, text_channels=6, pooled_channels=5, text_attention="joint", image_size=True)
    texts, predict = captions(4), networks.pure(network)
    params = networks.init(network, jax.random.key(0), jnp.zeros((4, 8, 8, 1)), jnp.zeros(4), *texts)
    noise = np.random.default_rng(0)
    trained = jax.tree.map(lambda leaf: leaf + jnp.asarray(0.05 * noise.normal(size=leaf.shape), leaf.dtype), params)

    @Traced
    def draw(params, index, text, size, scale, levels, steps):
        conditional = diffusion.from_network(predict, params, diffusion.parameterization.velocity(), text, size)
        free = conditional.with_condition(networks.NO_TEXT, size)
        guided = diffusion.guidance.classifier_free(conditional, free, scale, batched=True)
        return diffusion.sample(
            jax.random.key(0), guided, diffusion.samplers.ddim(1.0), levels, (8, 8, 1), index, num_steps=steps
        )

    def run(index, scale=3.0, steps=5, values=trained):
        aligned = jax.tree.map(lambda leaf: leaf[index], texts)
        return np.asarray(draw(values, index, *aligned, scale, trailing(steps, 8), steps))

    usual, order = run(jnp.arange(4)), jnp.array([2, 0, 3, 1])
    close = {"rtol": 0, "atol": 1e-4 * max(1.0, float(np.sqrt(np.mean(usual**2))))}
    np.testing.assert_allclose(run(order), usual[order], **close)
    others = [
        run(jnp.arange(4), scale, steps, values)
        for scale, steps, values in ((1.0, 5, trained), (3.0, 2, trained), (3.0, 5, params))
    ]
    assert np.isfinite(usual).all() and len({x.tobytes() for x in (usual, *others)}) == 4
    assert draw.traces == 1
    in_threes = diffusion.in_chunks(
        lambda index, text, size: draw(trained, index, text, size, 3.0, trailing(5, 8), 5), 3
    )
    np.testing.assert_allclose(in_threes(jnp.arange(4), *texts), usual, **close)


def test_rebuilding_every_record_does_not_retrace():
    @Traced
    def run(denoise, sampler, levels):
        return diffusion.sample(jax.random.key(0), denoise, sampler, levels, SHAPE, jnp.arange(2))

    for eta in (0.0, 1.0):
        grid = diffusion.grids.trailing(diffusion.schedules.cosine(100), 4)
        run(diffusion.oracles.gaussian(0.5 + eta), diffusion.samplers.ddim(eta), grid)
    assert run.traces == 1
