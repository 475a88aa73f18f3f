"""Picard iteration ends where DDIM ends, step by step, in fewer sweeps than steps; each sample at its own pace."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from gendiff.diffusion import guidance, oracles, parallel, samplers
from tests.quickly import in_numpy
from tests.refusals import refusals

STEPS = 8
MIXTURE = functools.partial(oracles.mixture, [0.3, 0.7], [[1.0, -0.5], [-0.8, 0.4]], [0.2, 0.4])
INDEX = np.array([5, 0, 77], np.int32)


def grid(schedule=None, steps=STEPS):
    return diffusion.grids.trailing(schedule or diffusion.schedules.cosine(200), steps)


@in_numpy
def both(key, denoise, levels, eta, tolerance, num_steps):
    """By sweeps and step by step."""
    swept = parallel.picard(
        key, denoise, levels, (2,), INDEX, eta=eta, window=5, tolerance=tolerance, num_steps=num_steps
    )
    return swept, diffusion.sample(key, denoise, samplers.ddim(eta), levels, (2,), INDEX, num_steps=num_steps)


@pytest.mark.float64
@pytest.mark.parametrize(
    ("schedule", "eta", "steps"), [(None, 0.0, STEPS), (None, 0.7, 6), (diffusion.schedules.edm, 0.0, STEPS)]
)
def test_without_a_tolerance_it_is_ddim_after_as_many_sweeps_as_steps_at_most(schedule, eta, steps):
    swept, expected = both(jax.random.key(1), MIXTURE(), grid(schedule and schedule()), eta, 0.0, steps)
    np.testing.assert_allclose(swept.x, expected, rtol=1e-11, atol=1e-11)
    assert swept.sweeps.dtype == np.int32 and np.all(swept.sweeps <= steps) and np.all(swept.sweeps >= steps / 5)


def sweeps(tolerance=1e-3, index=INDEX, steps=40, window=20, denoise=None, start=None):
    return parallel.picard(
        jax.random.key(1),
        denoise or MIXTURE(),
        grid(steps=steps),
        (2,),
        index,
        window=window,
        tolerance=tolerance,
        start=start,
    )


run = jax.jit(sweeps, static_argnames=("steps", "window"))


def test_with_a_tolerance_it_takes_fewer_sweeps_than_steps_and_ends_near():
    expected = in_numpy(
        lambda: diffusion.sample(jax.random.key(1), MIXTURE(), samplers.ddim(), grid(steps=40), (2,), INDEX)
    )()
    loose, tight = (jax.device_get(run(np.float32(tolerance))) for tolerance in (1e-1, 1e-4))
    assert np.all(loose.sweeps < tight.sweeps) and np.all(tight.sweeps < 20)
    distances = [np.abs(result.x - expected).max() for result in (loose, tight)]
    assert distances[1] < 1e-3 and distances[1] < distances[0] < 0.2


def test_a_sample_and_its_number_of_sweeps_do_not_depend_on_the_neighbours_or_their_tolerance():
    full = run(np.float32([1e-3, 1e-1, 1e-5]))
    assert len(set(np.asarray(full.sweeps).tolist())) == 3
    alone = run(np.float32([1e-5, 1e-3, 1e-3]), INDEX[[2, 1, 0]])
    np.testing.assert_allclose(alone.x[jnp.array([0, 2])], full.x[jnp.array([2, 0])], atol=5e-6)
    np.testing.assert_array_equal(alone.sweeps[jnp.array([0, 2])], full.sweeps[jnp.array([2, 0])])


@pytest.mark.slow
def test_windows_that_all_move_as_the_slowest_are_caught(monkeypatch):
    """The mistake is planted."""
    stride = parallel._stride
    monkeypatch.setattr(parallel, "_stride", lambda near: jnp.full(near.shape[1], jnp.min(stride(near))))
    together = in_numpy(lambda: sweeps(np.float32([1e-3, 1e-1, 1e-5])))()
    assert len(set(np.asarray(together.sweeps).tolist())) == 1


def test_a_window_moves_past_the_points_that_stayed_and_the_next_one_and_not_past_its_end():
    near = jnp.array([[True, False, True, True], [False, True, True, True], [True, True, True, False]])
    np.testing.assert_array_equal(parallel._stride(near), [2, 1, 3, 3])


def test_conditions_guidance_and_a_start_of_ones_own_are_those_of_sample():
    def network(params, x, t, label):
        return jnp.tanh(params * x + 0.3 * label[:, None].astype(x.dtype) + 1e-3 * t[:, None])

    conditional = diffusion.from_network(network, 0.7, diffusion.parameterization.velocity(), np.array([0, 1, 2]))
    denoise = guidance.classifier_free(conditional, conditional.with_condition(gd.NO_LABEL), 2.0, batched=True)
    start = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)

    @in_numpy
    def draw():
        step_by_step = diffusion.sample(jax.random.key(1), denoise, samplers.ddim(), grid(), (2,), INDEX, start=start)
        return sweeps(0.0, steps=STEPS, window=STEPS, denoise=denoise, start=start), step_by_step

    swept, expected = draw()
    np.testing.assert_allclose(swept.x, expected, atol=1e-5)


def picard(**changes):
    arguments = {
        "key": jax.random.key(0),
        "denoise": MIXTURE(),
        "levels": grid(),
        "shape": (2,),
        "index": INDEX,
    } | changes
    return lambda: parallel.picard(**arguments)


test_what_does_not_fit_is_refused = refusals(
    (picard(window=0), r"window = 0 is outside \[1, 8\]"),
    (picard(window=9), r"window = 9 is outside \[1, 8\]"),
    (picard(window=2.0), "window must be an integer", TypeError),
    (picard(eta=1.5), "eta = 1.5 is outside"),
    (picard(tolerance=-1.0), "tolerance = -1 is outside"),
    (picard(key=None), "key is None", TypeError),
    (picard(num_steps=9), "num_steps = 9 is outside"),
    (picard(start=np.zeros((3, 3), np.float32)), "start has shape"),
)
