"""The adaptive flow: closed form on Gaussian data within its tolerance, each sample by itself, its cost, its failures,
its gradients.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import adaptive, denoiser, grids, oracles, parameterization, sampling
from gendiff.diffusion.samplers import runge_kutta
from gendiff.diffusion.types import Level
from tests.diffusion.flows import CLEAN, SCHEDULES, finite, rand
from tests.refusals import refusals
from tests.variants import some_slow

pytest.importorskip("diffrax")
GAUSSIAN = oracles.gaussian(0.5, 0.2)
KEY, FLOW, VELOCITY = jax.random.key(3), SCHEDULES["straight"], parameterization.velocity()
NOISY, NEAR, ONES = Level(900.0, 0.1, 0.9), Level(100.0, 0.9, 0.1), np.ones((2, 3), np.float32)


def ends(name):
    """The noisiest level and one near the clean end."""
    return jax.tree.map(jnp.asarray, (SCHEDULES[name].noisiest, SCHEDULES[name].at_log_snr(np.float64(6.0))))


@pytest.mark.float64
@pytest.mark.parametrize("name", some_slow(["no signal", "straight", "exploding"], ["exploding"]))
def test_gaussian_data_is_carried_to_its_closed_form_and_back_and_a_smaller_tolerance_costs_more(name):
    level, cleaner = ends(name)
    x = level.sigma * rand(0, 3, 2)
    solve = jax.jit(
        lambda x, level, cleaner, tol: adaptive.solve(GAUSSIAN, SCHEDULES[name], x, level, cleaner, rtol=tol, atol=tol)
    )
    exact, errors, costs = GAUSSIAN.flow(x, level, cleaner), [], []
    for tolerance in (1e-3, 1e-6, 1e-8):
        result = solve(x, level, cleaner, tolerance)
        assert np.all(result.success)
        errors.append(float(jnp.max(jnp.abs(result.x - exact))))
        costs.append(int(result.evaluations.max()))
        np.testing.assert_allclose(solve(x, level, level, tolerance).x, x, rtol=1e-6)  # equal levels: nothing moves
    assert errors[0] > 10 * errors[1] > 20 * errors[2] and errors[2] < 1e-6 and costs[0] < costs[1] < costs[2], (
        errors,
        costs,
    )
    np.testing.assert_allclose(solve(result.x, cleaner, level, 1e-8).x / level.sigma, x / level.sigma, atol=1e-5)


def test_stated_evaluations_are_those_made():
    calls = []

    def counted(x, level):
        jax.debug.callback(lambda: calls.append(1))
        return GAUSSIAN(x, level)

    result = jax.jit(lambda: adaptive.sample(KEY, counted, SCHEDULES["no signal"], (3,), jnp.arange(1)))()
    jax.effects_barrier()
    assert len(calls) == int(result.evaluations[0])


@pytest.mark.float64  # in float32 a rounding of its own for each batch size may turn a step away that another takes
def test_a_sample_and_its_cost_depend_neither_on_neighbours_nor_on_order():
    mixture = oracles.mixture([0.4, 0.6], np.array([[-1.0], [1.0]]), [0.02, 0.5])
    draw = jax.jit(lambda index: adaptive.sample(KEY, mixture, FLOW, (1,), index))
    four = draw(jnp.arange(4))
    assert len(set(np.asarray(four.evaluations).tolist())) > 1, "samples go at paces of their own"
    for rows in (np.array([2, 0, 3, 1]), np.array([3, 3, 3, 3])):  # of one shape, so that one program draws them
        result = draw(rows)
        np.testing.assert_allclose(
            result.x, four.x[rows], atol=1e-9
        )  # a flow between two components enlarges roundings
        np.testing.assert_array_equal(result.evaluations, four.evaluations[rows])


@pytest.mark.parametrize("name", some_slow(["cosine", "exploding"], ["exploding"]))
def test_samples_start_at_the_noise_of_the_fixed_samplers_and_end_at_the_denoised_prediction(name):
    schedule, rows = SCHEDULES[name], jnp.array([5, 9])
    levels = grids.karras(schedule, 2)  # the noisiest level, the cleanest, and clean
    start = jax.jit(
        lambda: sampling.sample(KEY, GAUSSIAN, runge_kutta.euler(), levels, (3,), rows, trajectory=True)[0]
    )()
    expected = GAUSSIAN(GAUSSIAN.flow(start, levels[0], levels[1]), levels[1]).clean
    draw = jax.jit(lambda **start: adaptive.sample(KEY, GAUSSIAN, schedule, (3,), rows, rtol=1e-5, atol=1e-5, **start))
    result = draw()
    assert np.all(result.success) and result.x.dtype == jnp.float32
    np.testing.assert_allclose(result.x, expected, atol=1e-4)
    if name == "cosine":  # steps are as exact as 1e-5, and roundings depend on the processor
        np.testing.assert_allclose(draw(start=start).x, result.x, atol=1e-4)


def test_too_few_steps_and_numbers_that_are_not_finite_are_no_success_and_conditions_follow_their_samples():
    few = jax.jit(lambda: adaptive.sample(KEY, GAUSSIAN, FLOW, (3,), jnp.arange(2), max_steps=3))()
    np.testing.assert_array_equal(few.success, False)
    np.testing.assert_array_equal(few.evaluations, 1 + 6 * 3 + 1)

    def draw(row, bad):
        broken = denoiser.from_network(
            lambda _, x, t, bad: jnp.where(bad[:, None], jnp.nan, 0.1 * x), None, VELOCITY, bad
        )
        return adaptive.sample(KEY, broken, FLOW, (3,), row[None], max_steps=50)

    result = jax.jit(jax.vmap(draw))(jnp.arange(2), jnp.array([False, True]))
    np.testing.assert_array_equal(result.success[:, 0], [True, False])
    assert np.all(np.isfinite(result.x[0]))


@pytest.mark.float64
def test_the_gradient_is_that_of_the_exact_flow():
    """Of Gaussian data the end grows with the start by the ratio of the marginal deviations."""
    level, cleaner = ends("no signal")

    def total(x):
        return jnp.sum(adaptive.solve(GAUSSIAN, SCHEDULES["no signal"], x, level, cleaner, rtol=1e-7, atol=1e-7).x)

    expected = GAUSSIAN.marginal_std(cleaner) / GAUSSIAN.marginal_std(level)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(rand(0, 2, 3)), expected, rtol=1e-4)


def test_an_end_without_noise_is_finite_for_a_network_that_answers_the_clean_sample():
    """Its noise prediction is 0/0 at sigma = 0."""

    def total(gain, x):
        denoise = denoiser.from_network(lambda gain, x, t: jnp.tanh(gain * x), gain, parameterization.clean())
        return jnp.sum(adaptive.solve(denoise, FLOW, x, Level(1000.0, 0.0, 1.0), CLEAN).x ** 2)

    assert finite(jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(jnp.float32(0.7), jnp.ones((2, 3))))


def test_the_network_hears_t_in_float32_where_x_is_narrower():
    heard = []

    def listening(x, level):
        heard.append(level.t.dtype)
        return GAUSSIAN(x, level)

    result = jax.jit(lambda x: adaptive.solve(listening, FLOW, x, NOISY, NEAR, rtol=0.1, atol=0.1).x)(
        jnp.ones((2, 3), jnp.bfloat16)
    )
    assert result.dtype == jnp.bfloat16 and np.all(np.isfinite(result.astype(jnp.float32)))
    assert heard and set(heard) == {jnp.dtype("float32")}


def solve(x=ONES, level=NOISY, **options):
    return adaptive.solve(GAUSSIAN, FLOW, x, level, NEAR, **options)


def sample(**options):
    return adaptive.sample(KEY, GAUSSIAN, FLOW, (3,), jnp.arange(2), **options)


test_what_cannot_be_solved_is_refused = refusals(
    (lambda: solve(rtol=0.0), "rtol"),
    (lambda: solve(max_steps=0), "max_steps"),
    (lambda: solve(level=grids.trailing(FLOW, 3)), "shape"),
    (lambda: solve(jnp.ones((2, 3), jnp.int32)), "floating", TypeError),
    (lambda: sample(sigma_min=2.0, sigma_max=1.0), "sigma_min"),
    (lambda: sample(start=jnp.ones((3, 3))), "start"),
    (lambda: sample(start=jnp.ones((2, 3), jnp.int32)), "start must be a floating array", TypeError),
    (lambda: sample(start=[[0.0] * 3] * 2), "start must be a floating array", TypeError),
)


def test_without_diffrax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"diffrax: install this project.s extra \[ode\]"):
        sample()
