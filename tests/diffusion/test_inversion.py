"""From samples back to noise: DDIM inversion falls short by first order, reversible Heun returns to rounding and is of second order."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, flow_coordinates, grids, inversion, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.samplers.reversible_heun import reversible_heun
from gendiff.diffusion.types import Level

MEANS = np.array([[-1.0, 0.5, 0.0], [1.5, 0.0, -0.5]])
LENGTH = 200
ZERO = schedules.zero_terminal_snr(schedules.scaled_linear())
SCHEDULES = {
    "linear": schedules.linear(),
    "cosine": schedules.cosine(),
    "no signal": ZERO,
    "exploding": schedules.edm(),
    "straight": schedules.flow(),
}
every_schedule = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES.keys())


def rand(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def mixture():
    return oracles.mixture([0.3, 0.7], MEANS, [0.4, 0.3])


def rms(x):
    return float(np.sqrt(np.mean(np.square(np.asarray(x, np.float64)))))


@jax.jit
def draw(oracle, sampler, levels, start, steps=None):
    options = {"start": start, "num_steps": steps}
    return sampling.sample(jax.random.key(0), oracle, sampler, levels, start.shape[1:], jnp.arange(len(start)), **options)


back = jax.jit(inversion.ddim_invert, static_argnames="refinements")


@jax.jit
def undo(oracle, x, levels, companion=None, steps=None):
    return inversion.reversible_invert(oracle, x, levels, companion, num_steps=steps)


@jax.jit
def walk(oracle, levels, start):
    """A draw by reversible Heun, which draws no noise, whose last state is seen."""
    sampler = reversible_heun()

    def step(state, j):
        return sampler.step(lambda like, part=0: like, oracle, state, levels[j], levels[j + 1], len(levels) - 2 - j), None

    return jax.lax.scan(step, sampler.init(start), jnp.arange(len(levels) - 1))[0]


# DDIM.


@pytest.mark.float64
@every_schedule
def test_an_inverse_step_undoes_a_step_given_its_prediction(schedule):
    x, gaussian = rand(0, 2, 3), oracles.gaussian(0.5, 0.3)
    levels = grids.trailing(schedule, 4)
    for level, cleaner in ((levels[j], levels[j + 1]) for j in range(4)):
        prediction = gaussian(x, level)
        there = ancestral.ddim_step(prediction, level, cleaner)
        if level.alpha > 0 or cleaner.sigma > 0:  # a single step from pure noise to the clean end keeps nothing of x
            np.testing.assert_allclose(inversion.ddim_inverse_step(there, prediction, cleaner, level), x, rtol=1e-9, atol=1e-10)


@pytest.mark.float64
def test_the_round_trip_of_ddim_has_a_first_order_error_that_falls_with_the_steps():
    x = 0.1 * rand(1, 64, 3) + MEANS[np.arange(64) % 2]
    for oracle in (oracles.gaussian(0.5), mixture()):
        errors = []
        for steps in (10, 20, 40, 80):
            levels, count = grids.padded(grids.trailing(schedules.flow(), steps), LENGTH), jnp.asarray(steps)
            errors.append(rms(draw(oracle, ancestral.ddim(), levels, back(oracle, x, levels, num_steps=count), count) - x))
        orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
        assert np.all(np.diff(errors) < 0) and 0.9 < orders[-1] < 1.15, errors


@pytest.mark.float64
@pytest.mark.parametrize("order", [1, 2], ids=["ddim", "reversible Heun"])
def test_the_noise_of_a_given_sample_tends_to_the_exact_flow(order):
    x, gaussian, errors = rand(2, 4, 3), oracles.gaussian(0.5, 0.2), []
    for steps in (50, 100, 200):
        levels, count = grids.padded(grids.trailing(schedules.flow(), steps), LENGTH), jnp.asarray(steps)
        noise = back(gaussian, x, levels, num_steps=count) if order == 1 else undo(gaussian, x, levels, None, count)[0]
        errors.append(rms(noise - gaussian.flow(x, Level(0.0, 1.0, 0.0), levels[0])))
    assert all(order - 0.2 < math.log2(a / b) < order + 0.2 for a, b in zip(errors, errors[1:], strict=False)), errors


@pytest.mark.float64
def test_refinements_make_the_round_trip_exact():
    x, gaussian = rand(3, 4, 3), oracles.gaussian(0.5, 0.2)
    levels = grids.trailing(schedules.cosine(), 40)[1:]  # alpha falls by a factor of 1,000 in the first interval
    errors = [rms(draw(gaussian, ancestral.ddim(), levels, back(gaussian, x, levels, refinements=k)) - x) for k in (0, 1, 4, 30)]
    assert errors[0] > 3 * errors[1] > 30 * errors[2] and errors[3] < 1e-9, errors


# Reversible Heun.


@pytest.mark.float64
def test_reversible_heun_has_order_two_between_levels_and_to_the_clean_end():
    x, gaussian = rand(4, 64, 3), oracles.gaussian(0.5, 0.2)

    def orders(oracle, build, exact, counts):
        start = build(2).sigma[0] * x
        ends = [draw(oracle, reversible_heun(), grids.padded(build(n), 800), start, jnp.asarray(n)) for n in counts]
        errors = [rms(found - exact(ends[-1])) for found in ends[:3]]
        return [math.log2(a / b) for a, b in zip(errors, errors[1:], strict=False)]

    def between(n):
        return grids.log_snr(schedules.edm(), n, sigma_min=0.05, sigma_max=20.0, end="first")

    whole = orders(gaussian, lambda n: grids.trailing(schedules.flow(), n), lambda _: 0.2 + 0.5 * x, (50, 100, 200))
    assert all(1.9 < order < 2.1 for order in whole), whole
    inner = orders(mixture(), between, lambda finest: finest, (50, 100, 200, 800))
    assert all(1.9 < order < 2.2 for order in inner), inner


@pytest.mark.float64
def test_reversible_heun_is_exact_for_a_point():
    for schedule, steps in itertools.product((schedules.cosine(), schedules.edm()), (1, 2, 5)):
        levels = grids.padded(grids.trailing(schedule, steps), 5)
        point = draw(oracles.gaussian(0.0, 0.7), reversible_heun(), levels, levels.sigma[0] * rand(5, 3, 3), jnp.asarray(steps))
        np.testing.assert_allclose(point, 0.7, atol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@every_schedule
def test_reversible_heun_returns_to_rounding_after_any_number_of_steps(schedule, dtype, float64):
    """From a given sample to its noise and back, and from a draw to its own start, where the data are narrow."""
    there, here = {jnp.float32: (1e-4, 2e-5), jnp.float64: (1e-12, 1e-13)}[dtype]
    oracle = oracles.mixture([0.3, 0.7], MEANS, [0.4, 0.05])  # where the data are narrow the flow contracts most, and what is undone grows
    for steps in (5, 50):
        levels, count = (
            jax.tree.map(lambda field: field.astype(dtype), grids.padded(grids.trailing(schedule, steps), 50)),
            jnp.asarray(steps),
        )
        given = (0.05 * rand(11, 16, 3) + MEANS[np.arange(16) % 2]).astype(dtype)
        noise, companion = undo(oracle, given, levels, None, count)
        assert noise.dtype == dtype and companion.dtype == dtype
        assert np.all(np.isfinite(noise)) and rms(noise) < 3 * float(levels.sigma[0])
        np.testing.assert_allclose(draw(oracle, reversible_heun(companion), levels, noise, count), given, atol=there)
        start = levels.sigma[0] * rand(10, 16, 3).astype(dtype)
        state = walk(oracle, levels, start)
        for end in undo(oracle, state.x, levels, flow_coordinates.unscaled(state.memory.z, levels[steps - 1]), count):
            np.testing.assert_allclose(end, start, atol=here * float(levels.sigma[0]))


def test_reversible_heun_asks_the_network_once_a_step_and_never_at_the_end():
    asked = []

    def denoise(x, level):
        jax.debug.callback(lambda t: asked.append(float(t)), level.t)
        return mixture()(x, level)

    levels = grids.trailing(schedules.flow(), 4)
    jax.jit(lambda x: draw.__wrapped__(denoise, reversible_heun(), levels, x))(jnp.ones((1, 3)))
    jax.effects_barrier()
    assert sorted(asked) == [250.0, 500.0, 750.0, 1000.0]
    asked.clear()
    jax.jit(lambda x: inversion.reversible_invert(denoise, x, levels))(jnp.ones((1, 3)))
    jax.effects_barrier()
    assert sorted(asked) == [250.0, 250.0, 500.0, 750.0, 1000.0]


# Both.


def test_samples_stand_alone_padding_and_counts_do_not_enter():
    x, oracle = jnp.asarray(rand(13, 5, 3), jnp.float32), mixture()
    levels = grids.trailing(schedules.cosine(), 6)
    padded = grids.padded(levels, 9)
    whole, (noise, companion) = back(oracle, x, levels), undo(oracle, x, levels)
    order = jnp.array([3, 0, 3, 1, 2])
    for given, count in ((levels, None), (padded, None), (padded, jnp.asarray(6))):
        ends = back(oracle, x[order], given, num_steps=count), *undo(oracle, x[order], given, None, count)
        for value, expected in zip(ends, (whole, noise, companion), strict=True):
            np.testing.assert_allclose(value, expected[order], atol=5e-6)
    np.testing.assert_allclose(draw(oracle, reversible_heun(), padded, x), draw(oracle, reversible_heun(), levels, x), atol=5e-6)


def network(params, x, t):
    return jnp.tanh(params * x) + 1e-3 * t.astype(x.dtype)[:, None]


@pytest.mark.parametrize("kind", [parameterization.velocity, parameterization.clean], ids=["velocity", "clean"])
def test_values_and_gradients_are_finite_at_few_steps_on_every_schedule(kind):
    """`clean` answers an infinite noise at sigma = 0: neither method asks there."""

    def total(params, x, levels):
        given = denoiser.from_network(network, params, kind())
        noise, companion = inversion.reversible_invert(given, x, levels)
        ends = (inversion.ddim_invert(given, x, levels, refinements=1), noise, companion)
        return sum(jnp.sum(end**2) for end in ends)

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    for name, schedule in SCHEDULES.items():
        three = grids.trailing(schedule, 3)
        pairs = (grids.trailing(schedule, 1), grids.trailing(schedule, 2), three[:2], three[1:3], three[2:])
        padded = [grids.padded(levels, 3) for levels in pairs] if kind is parameterization.velocity else []
        for levels in (three, *padded):
            value, slopes = slope(jnp.float32(0.7), jnp.ones((2, 3)), levels)
            assert np.isfinite(value) and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes)), name


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "error", "named"),
    [
        (lambda x, levels: inversion.ddim_invert(mixture(), x, levels, refinements=-1), ValueError, "refinements"),
        (lambda x, levels: inversion.ddim_invert(mixture(), x, levels[0]), ValueError, "levels"),
        (lambda x, levels: inversion.ddim_invert(mixture(), x.astype(int), levels), TypeError, "x must be"),
        (lambda x, levels: inversion.reversible_invert(mixture(), x, levels, x[:1]), ValueError, "companion"),
        (lambda x, levels: inversion.reversible_invert(mixture(), x, levels, num_steps=0), ValueError, "num_steps"),
        (lambda x, levels: draw(mixture(), reversible_heun(x[:1]), levels, x), ValueError, "companion"),
    ],
)
def test_mistakes_are_named(mistake, error, named):
    with pytest.raises(error, match=named):
        mistake(jnp.zeros((2, 3)), grids.trailing(schedules.cosine(), 3))
