"""The adaptive flow: closed form on Gaussian data within its tolerance, each sample by itself, its cost, its failures, its gradients."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import adaptive, denoiser, grids, guidance, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import runge_kutta
from gendiff.diffusion.types import Level

pytest.importorskip("diffrax")
GAUSSIAN = oracles.gaussian(0.5, 0.2)
KEY = jax.random.key(3)
SCHEDULES = {
    "zero terminal": schedules.zero_terminal_snr(schedules.linear()),
    "cosine": schedules.cosine(),
    "flow": schedules.flow(),
    "edm": schedules.edm(),
}


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def ends(schedule, dtype=None):
    """The noisiest level and one near the clean end."""
    return jax.tree.map(lambda v: jnp.asarray(v, dtype), (schedule.noisiest, schedule.at_log_snr(np.float64(6.0))))


@pytest.mark.float64
@pytest.mark.parametrize("name", SCHEDULES)
def test_gaussian_data_is_carried_to_its_closed_form_and_back_and_a_smaller_tolerance_costs_more(name):
    schedule = SCHEDULES[name]
    level, cleaner = ends(schedule)
    x = level.sigma * jnp.asarray(rand(0, 3, 2))
    solve = jax.jit(lambda x, level, cleaner, tol: adaptive.solve(GAUSSIAN, schedule, x, level, cleaner, rtol=tol, atol=tol))
    exact, errors, costs = GAUSSIAN.flow(x, level, cleaner), [], []
    for tolerance in (1e-3, 1e-6, 1e-8):
        found = solve(x, level, cleaner, tolerance)
        assert np.all(found.success)
        errors.append(float(jnp.max(jnp.abs(found.x - exact))))
        costs.append(int(found.evaluations.max()))
        np.testing.assert_allclose(solve(x, level, level, tolerance).x, x, rtol=1e-6)  # equal levels: nothing moves
    assert errors[0] > 10 * errors[1] > 20 * errors[2] and errors[2] < 1e-6 and costs[0] < costs[1] < costs[2], (errors, costs)
    np.testing.assert_allclose(solve(found.x, cleaner, level, 1e-8).x / level.sigma, x / level.sigma, atol=1e-5)


@pytest.mark.parametrize("name", ["zero terminal", "flow", "edm"])
def test_stated_evaluations_are_those_made(name):
    seen, schedule = [], SCHEDULES[name]

    def counted(x, level):
        jax.debug.callback(lambda: seen.append(1))
        return GAUSSIAN(x, level)

    found = jax.jit(lambda: adaptive.sample(KEY, counted, schedule, (3,), jnp.arange(1)))()
    jax.block_until_ready(found)
    jax.effects_barrier()
    assert len(seen) == int(found.evaluations[0])


def test_a_sample_and_its_cost_depend_neither_on_neighbours_nor_on_order():
    mixture = oracles.mixture([0.4, 0.6], np.array([[-1.0], [1.0]]), [0.02, 0.5])

    @jax.jit
    def draw(index):
        return adaptive.sample(KEY, mixture, schedules.flow(), (1,), index)

    four, order = draw(jnp.arange(4)), np.array([2, 0, 3, 1])
    shuffled, alone = draw(jnp.asarray(order)), draw(jnp.array([3]))
    assert len(set(np.asarray(four.evaluations).tolist())) > 1, "samples go at paces of their own"
    for found, rows in ((shuffled, order), (alone, np.array([3]))):
        np.testing.assert_allclose(found.x, four.x[rows], atol=2e-5)
        np.testing.assert_array_equal(found.evaluations, four.evaluations[rows])


@pytest.mark.parametrize("name", ["cosine", "edm"])
def test_samples_start_at_the_noise_of_the_fixed_samplers_and_end_at_the_denoised_prediction(name):
    schedule, rows = SCHEDULES[name], jnp.array([5, 9])
    levels = grids.karras(schedule, 2)  # the noisiest level, the cleanest, and clean
    start = jax.jit(lambda: sampling.sample(KEY, GAUSSIAN, runge_kutta.euler(), levels, (3,), rows, trajectory=True)[0])()
    expected = GAUSSIAN(GAUSSIAN.flow(start, levels[0], levels[1]), levels[1]).clean
    draw = jax.jit(lambda **start: adaptive.sample(KEY, GAUSSIAN, schedule, (3,), rows, rtol=1e-5, atol=1e-5, **start))
    found = draw()
    assert np.all(found.success) and found.x.dtype == jnp.float32
    np.testing.assert_allclose(found.x, expected, atol=1e-4)
    np.testing.assert_allclose(draw(start=start).x, found.x, atol=2e-5)


def test_conditions_and_scales_follow_their_samples():
    def network(params, x, t, label):
        return params * x + 0.1 * label.astype(x.dtype)[:, None]

    def draw(row, label, scale):
        given = denoiser.from_network(network, jnp.float32(0.3), parameterization.velocity(), label)
        guided = guidance.classifier_free(given, given.with_condition(-1), scale, batched=True)
        return adaptive.sample(KEY, guided, schedules.flow(), (2,), row[None]).x[0]

    rows = jnp.arange(3), jnp.array([1, 4, 2]), jnp.array([0.0, 1.0, 3.0])
    together, one = jax.jit(jax.vmap(draw))(*rows), jax.jit(draw)
    alone = jnp.stack([one(*row) for row in zip(*rows, strict=True)])
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_too_few_steps_and_numbers_that_are_not_finite_are_no_success():
    few = jax.jit(lambda: adaptive.sample(KEY, GAUSSIAN, schedules.flow(), (3,), jnp.arange(2), max_steps=3))()
    np.testing.assert_array_equal(few.success, False)
    np.testing.assert_array_equal(few.evaluations, 1 + 6 * 3 + 1)

    def broken(params, x, t, bad):
        return jnp.where(bad[:, None], jnp.nan, 0.1 * x)

    def draw(row, bad):
        given = denoiser.from_network(broken, None, parameterization.velocity(), bad)
        return adaptive.sample(KEY, given, schedules.flow(), (3,), row[None], max_steps=50)

    found = jax.jit(jax.vmap(draw))(jnp.arange(2), jnp.array([False, True]))
    np.testing.assert_array_equal(found.success[:, 0], [True, False])
    assert np.all(np.isfinite(found.x[0]))


@pytest.mark.float64
def test_the_gradient_is_that_of_the_exact_flow():
    """Of Gaussian data the end grows with the start by the ratio of the marginal deviations."""
    schedule = SCHEDULES["zero terminal"]
    level, cleaner = ends(schedule)

    def total(x):
        return jnp.sum(adaptive.solve(GAUSSIAN, schedule, x, level, cleaner, rtol=1e-7, atol=1e-7).x)

    slope = jax.jit(jax.grad(total))(jnp.asarray(rand(0, 2, 3)))
    expected = GAUSSIAN.marginal_std(cleaner) / GAUSSIAN.marginal_std(level)
    np.testing.assert_allclose(slope, expected, rtol=1e-4)


def test_an_end_without_noise_is_finite_for_a_network_that_answers_the_clean_sample():
    """Its noise prediction is 0/0 at sigma = 0."""

    def total(gain, x):
        given = denoiser.from_network(lambda gain, x, t: jnp.tanh(gain * x), gain, parameterization.clean())
        return jnp.sum(adaptive.solve(given, schedules.flow(), x, Level(1000.0, 0.0, 1.0), Level(0.0, 1.0, 0.0)).x ** 2)

    found = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(jnp.float32(0.7), jnp.ones((2, 3)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("changed", "error", "named"),
    [
        ({"rtol": 0.0}, ValueError, "rtol"),
        ({"max_steps": 0}, ValueError, "max_steps"),
        ({"level": grids.trailing(SCHEDULES["flow"], 3)}, ValueError, "shape"),
        ({"x": jnp.ones((2, 3), jnp.int32)}, TypeError, "floating"),
        ({"sigma_min": 2.0, "sigma_max": 1.0}, ValueError, "sigma_min"),
        ({"start": jnp.ones((3, 3))}, ValueError, "start"),
    ],
)
def test_what_cannot_be_solved_is_refused(changed, error, named):
    levels = {"x": jnp.ones((2, 3)), "level": Level(900.0, 0.1, 0.9), "cleaner": Level(100.0, 0.9, 0.1)}
    with pytest.raises(error, match=named):
        if {"start", "sigma_min"} & set(changed):
            adaptive.sample(KEY, GAUSSIAN, SCHEDULES["flow"], (3,), jnp.arange(2), **changed)
        adaptive.solve(GAUSSIAN, SCHEDULES["flow"], **levels | changed)


def test_without_diffrax_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffrax", None)
    with pytest.raises(ImportError, match=r"diffrax: install this project.s extra \[ode\]"):
        adaptive.sample(KEY, GAUSSIAN, schedules.flow(), (3,), jnp.arange(2))
