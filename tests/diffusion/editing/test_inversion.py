"""From samples back to noise: DDIM inversion falls short by first order, reversible Heun returns to rounding and is of
second order.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import flow_coordinates, grids, inversion, oracles, parameterization, sampling
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.samplers.reversible_heun import reversible_heun
from tests.diffusion.flows import CLEAN, MEANS, SCHEDULES, finite, flow, mixture, orders, rand, short, trained
from tests.quickly import in_numpy
from tests.refusals import refusals

GAUSSIAN = oracles.gaussian(0.5, 0.2)


def rms(x):
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


@jax.jit
def draw(oracle, sampler, levels, start, steps=None):
    options = {"start": start, "num_steps": steps}
    return sampling.sample(
        jax.random.key(0), oracle, sampler, levels, start.shape[1:], jnp.arange(len(start)), **options
    )


back = jax.jit(inversion.ddim_invert, static_argnames="refinements")


@jax.jit
def undo(oracle, x, levels, companion=None, steps=None):
    return inversion.reversible_invert(oracle, x, levels, companion, num_steps=steps)


@jax.jit
def walk(oracle, levels, start):
    """A draw by reversible Heun, which draws no noise, whose last state is seen."""
    sampler = reversible_heun()

    def step(state, j):
        return sampler.step(
            lambda like, part=0: like, oracle, state, levels[j], levels[j + 1], len(levels) - 2 - j
        ), None

    return jax.lax.scan(step, sampler.init(start), jnp.arange(len(levels) - 1))[0]


@pytest.mark.float64
def test_an_inverse_step_undoes_a_step_given_its_prediction():
    x = rand(0, 2, 3)

    @in_numpy
    def there_and_back(level, cleaner):
        prediction = oracles.gaussian(0.5, 0.3)(x, level)
        return inversion.ddim_inverse_step(ancestral.ddim_step(prediction, level, cleaner), prediction, cleaner, level)

    for name, schedule in SCHEDULES.items():
        levels = jax.device_get(grids.trailing(schedule, 4))
        for level, cleaner in ((levels[j], levels[j + 1]) for j in range(4)):
            # a single step from pure noise to the clean end keeps nothing of x
            if level.alpha > 0 or cleaner.sigma > 0:
                np.testing.assert_allclose(there_and_back(level, cleaner), x, rtol=1e-9, atol=1e-10, err_msg=name)


@pytest.mark.float64
def test_the_round_trip_of_ddim_has_a_first_order_error_that_falls_with_the_steps():
    x = 0.1 * rand(1, 64, 3) + MEANS[np.arange(64) % 2]
    for oracle in (oracles.gaussian(0.5), mixture(0.3)):
        errors = []
        for steps in (10, 20, 40, 80):
            levels, count = grids.padded(flow(steps), 200), jnp.asarray(steps)
            errors.append(
                rms(draw(oracle, ancestral.ddim(), levels, back(oracle, x, levels, num_steps=count), count) - x)
            )
        assert np.all(np.diff(errors) < 0) and 0.9 < orders(errors)[-1] < 1.15, errors


@pytest.mark.float64
@pytest.mark.parametrize("order", [1, 2], ids=["ddim", "reversible Heun"])
def test_the_noise_of_a_given_sample_tends_to_the_exact_flow(order):
    x, errors = rand(2, 4, 3), []
    for steps in (50, 100, 200):
        levels, count = grids.padded(flow(steps), 200), jnp.asarray(steps)
        noise = back(GAUSSIAN, x, levels, num_steps=count) if order == 1 else undo(GAUSSIAN, x, levels, None, count)[0]
        errors.append(rms(noise - GAUSSIAN.flow(x, CLEAN, levels[0])))
    np.testing.assert_allclose(orders(errors), order, atol=0.2)


@pytest.mark.float64
def test_refinements_make_the_round_trip_exact():
    # alpha falls by a factor of 1,000 in the first interval
    x, levels = rand(3, 4, 3), grids.trailing(SCHEDULES["cosine"], 40)[1:]
    errors = [
        rms(draw(GAUSSIAN, ancestral.ddim(), levels, back(GAUSSIAN, x, levels, refinements=k)) - x)
        for k in (0, 1, 4, 30)
    ]
    assert errors[0] > 3 * errors[1] > 30 * errors[2] and errors[3] < 1e-9, errors


@pytest.mark.float64
def test_reversible_heun_has_order_two_between_levels_and_to_the_clean_end():
    x = rand(4, 64, 3)

    def ends(oracle, build, counts):
        return [
            draw(oracle, reversible_heun(), grids.padded(build(n), 800), build(2).sigma[0] * x, jnp.asarray(n))
            for n in counts
        ]

    def between(n):
        return grids.log_snr(SCHEDULES["exploding"], n, sigma_min=0.05, sigma_max=20.0, end="first")

    full = orders([rms(end - 0.2 - 0.5 * x) for end in ends(GAUSSIAN, flow, (50, 100, 200))])
    *coarse, finest = ends(mixture(0.3), between, (50, 100, 200, 800))
    inner = orders([rms(end - finest) for end in coarse])
    assert np.all((1.9 < full) & (full < 2.1)) and np.all((1.9 < inner) & (inner < 2.2)), (full, inner)


@pytest.mark.float64
@pytest.mark.parametrize("name", ["cosine", "exploding"])
def test_reversible_heun_is_exact_for_a_point(name):
    for steps in (1, 2, 5):
        levels = grids.padded(grids.trailing(SCHEDULES[name], steps), 5)
        point = draw(
            oracles.gaussian(0.0, 0.7), reversible_heun(), levels, levels.sigma[0] * rand(5, 3, 3), jnp.asarray(steps)
        )
        np.testing.assert_allclose(point, 0.7, atol=1e-9)


@pytest.mark.parametrize(
    ("dtype", "there", "here"), [(jnp.float32, 1e-4, 2e-5), (jnp.float64, 1e-12, 1e-13)], ids=["float32", "float64"]
)
def test_reversible_heun_returns_to_rounding_after_any_number_of_steps(dtype, there, here, float64):
    """From a sample to its noise and back, and from a draw to its start, where the data are narrow and the flow
    contracts most.
    """
    oracle, clean = mixture(0.05), (0.05 * rand(11, 16, 3) + MEANS[np.arange(16) % 2]).astype(dtype)
    for (name, schedule), steps in itertools.product(SCHEDULES.items(), (5, 50)):
        levels = jax.tree.map(lambda field: field.astype(dtype), grids.padded(grids.trailing(schedule, steps), 50))
        count, scale = jnp.asarray(steps), float(levels.sigma[0])
        noise, companion = undo(oracle, clean, levels, None, count)
        assert noise.dtype == dtype and companion.dtype == dtype
        assert np.all(np.isfinite(noise)) and rms(noise) < 3 * scale
        np.testing.assert_allclose(
            draw(oracle, reversible_heun(companion), levels, noise, count), clean, atol=there, err_msg=name
        )
        start = levels.sigma[0] * rand(10, 16, 3).astype(dtype)
        state = walk(oracle, levels, start)
        for end in undo(oracle, state.x, levels, flow_coordinates.unscaled(state.memory.z, levels[steps - 1]), count):
            np.testing.assert_allclose(end, start, atol=here * scale, err_msg=name)


def test_reversible_heun_asks_the_network_once_a_step_and_never_at_the_end():
    calls = []

    def denoise(x, level):
        jax.debug.callback(lambda t: calls.append(float(t)), level.t)
        return mixture()(x, level)

    for method, times in (
        (lambda x: draw.__wrapped__(denoise, reversible_heun(), flow(4), x), [250.0, 500.0, 750.0, 1000.0]),
        (lambda x: inversion.reversible_invert(denoise, x, flow(4)), [250.0, 250.0, 500.0, 750.0, 1000.0]),
    ):
        calls.clear()
        jax.jit(method)(jnp.ones((1, 3)))
        jax.effects_barrier()
        assert sorted(calls) == times


def test_samples_stand_alone_padding_and_counts_do_not_enter():
    x, oracle, levels = jnp.asarray(rand(13, 5, 3), jnp.float32), mixture(0.3), grids.trailing(SCHEDULES["cosine"], 6)
    padded, order = grids.padded(levels, 9), jnp.array([3, 0, 3, 1, 2])
    full = (back(oracle, x, levels), *undo(oracle, x, levels))
    for clean, count in ((levels, None), (padded, None), (padded, jnp.asarray(6))):
        ends = back(oracle, x[order], clean, num_steps=count), *undo(oracle, x[order], clean, None, count)
        for value, expected in zip(ends, full, strict=True):
            np.testing.assert_allclose(value, expected[order], atol=5e-6)
    np.testing.assert_allclose(
        draw(oracle, reversible_heun(), padded, x), draw(oracle, reversible_heun(), levels, x), atol=5e-6
    )


@pytest.mark.parametrize("kind", [parameterization.velocity(), parameterization.clean()], ids=["velocity", "clean"])
def test_values_and_gradients_are_finite_at_few_steps_on_every_schedule(kind):
    """`clean` answers an infinite noise at sigma = 0: neither method asks there."""

    def total(params, x, levels):
        clean = trained(params, kind)
        ends = (inversion.ddim_invert(clean, x, levels, refinements=1), *inversion.reversible_invert(clean, x, levels))
        return sum(jnp.sum(end**2) for end in ends)

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    for name, schedule in SCHEDULES.items():
        # padding repeats the clean end
        grids_of_it = short(schedule) if kind == parameterization.velocity() else short(schedule)[-1:]
        assert all(finite(slope(jnp.float32(0.7), jnp.ones((2, 3)), levels)) for levels in grids_of_it), name


X, LEVELS = jnp.zeros((2, 3)), grids.trailing(SCHEDULES["cosine"], 3)
test_mistakes_are_named = refusals(
    (lambda: inversion.ddim_invert(mixture(), X, LEVELS, refinements=-1), "refinements"),
    (lambda: inversion.ddim_invert(mixture(), X, LEVELS[0]), "levels"),
    (lambda: inversion.ddim_invert(mixture(), X.astype(int), LEVELS), "x must be", TypeError),
    (lambda: inversion.reversible_invert(mixture(), X, LEVELS, X[:1]), "companion"),
    (lambda: inversion.reversible_invert(mixture(), X, LEVELS, num_steps=0), "num_steps"),
    (lambda: draw(mixture(), reversible_heun(X[:1]), LEVELS, X), "companion"),
)
