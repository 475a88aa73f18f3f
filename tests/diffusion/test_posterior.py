"""Posterior sampling against Gaussian data, whose posterior given a linear measurement is closed form."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.diffusion import linear_operators, posterior
from gendiff.diffusion.types import Level

SHAPE = (4, 2, 1)
SIZE = 8
STD, MEAN = 0.7, 0.2
ORACLE = diffusion.oracles.gaussian(STD, MEAN)
HIDDEN = np.array([0, 1, 0, 0, 1, 1, 0, 1], bool).reshape(1, *SHAPE)
OPERATORS = {
    "inpaint": linear_operators.inpaint(HIDDEN),
    "downsample": linear_operators.downsample(2),
    "blur": linear_operators.blur(np.array([[0.2, 0.1], [0.5, 0.2], [-0.3, 0.1]])),
}
LEVELS = {
    "signal": Level(100.0, 0.8, 0.6),
    "noise": Level(900.0, 0.05, 0.99875),
    "exploding": Level(1.0, 1.0, 5.0),
    "each": Level(np.array([1.0, 2.0]), np.array([0.9, 0.3]), np.array([0.1, 0.7])),
}
BY_SAMPLE = [jax.tree.map(lambda field: np.broadcast_to(field, 2), level) for level in LEVELS.values()]
pigdm_at = jax.jit(lambda x, level, operator, y, noise: posterior.pigdm(ORACLE, operator, y, noise, data_std=STD)(x, level))
dps_at = jax.jit(lambda x, level, operator, y, scale: posterior.dps(ORACLE, operator, y, scale)(x, level))
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())


def rand(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


forward = jax.jit(lambda operator, x: operator.forward(x))


def matrix(operator):
    return np.asarray(forward(operator, jnp.eye(SIZE).reshape(SIZE, *SHAPE))).reshape(SIZE, -1).T


def measure(operator, seed=1, count=2, noise=0.3):
    seen = forward(operator, MEAN + STD * rand(seed, count, *SHAPE))
    return seen + noise * rand(seed + 1, *seen.shape)


def flat(x):
    return np.asarray(x).reshape(len(x), -1)


def conditioned(mean, variance, a, y, noise):
    """Mean and covariance of x ~ N(mean, variance I) given y = a x + noise."""
    gain = variance * a.T @ np.linalg.inv(variance * a @ a.T + np.square(noise) * np.eye(len(a)))
    return mean + gain @ (y - a @ mean), variance * (np.eye(SIZE) - gain @ a)


@pytest.mark.float64
@every_operator
def test_pigdm_of_a_gaussian_is_the_exact_posterior_mean(operator):
    x, y, a = rand(0, 2, *SHAPE), measure(operator), matrix(operator)
    for level in BY_SAMPLE:
        found = pigdm_at(x, level, operator, y, 0.3)
        for row in range(2):
            # x is a second measurement, alpha clean + sigma noise, beside y: by Bayes' rule with both at once
            both, seen = np.concatenate([level.alpha[row] * np.eye(SIZE), a]), np.concatenate([flat(x)[row], flat(y)[row]])
            noise = np.concatenate([np.full(SIZE, level.sigma[row]), np.full(len(a), 0.3)])
            expected, _ = conditioned(np.full(SIZE, MEAN), STD**2, both, seen, noise)
            np.testing.assert_allclose(flat(found.clean)[row], expected, rtol=0, atol=1e-10)


@pytest.mark.float64
@every_operator
def test_without_noise_pigdm_of_a_gaussian_agrees_with_the_measurement(operator):
    y = measure(operator, noise=0.0)
    found = pigdm_at(rand(0, 2, *SHAPE), BY_SAMPLE[0], operator, y, 0.0)
    np.testing.assert_allclose(forward(operator, found.clean), y, atol=1e-10)


@pytest.mark.float64
@every_operator
def test_corrected_predictions_still_explain_x(operator):
    x, y = rand(0, 2, *SHAPE), measure(operator)
    for level in BY_SAMPLE:
        alpha, sigma = (np.reshape(field, (-1, 1, 1, 1)) for field in (level.alpha, level.sigma))
        for said in (pigdm_at(x, level, operator, y, 0.3), dps_at(x, level, operator, y, np.array([0.5, 2.0]))):
            np.testing.assert_allclose(alpha * said.clean + sigma * said.noise, x, atol=1e-12)
            assert not np.allclose(said.clean, ORACLE(x, level).clean)


@pytest.mark.float64
@every_operator
def test_dps_of_a_gaussian_is_its_analytic_gradient_with_each_samples_own_norm(operator):
    x, y, a = rand(0, 2, *SHAPE), measure(operator), matrix(operator)
    for level, row in itertools.product(BY_SAMPLE, range(2)):
        found, plain = dps_at(x, level, operator, y, np.array([0.5, 2.0])), ORACLE(x, level)
        alpha, sigma = level.alpha[row], level.sigma[row]
        slope = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)  # of clean by x
        residual = flat(y)[row] - a @ flat(plain.clean)[row]
        gradient = (0.5, 2.0)[row] * -2 * slope * a.T @ residual / np.linalg.norm(residual)
        np.testing.assert_allclose(flat(found.clean)[row], flat(plain.clean)[row] - sigma * gradient, atol=1e-12)
        np.testing.assert_allclose(flat(found.noise)[row], flat(plain.noise)[row] + alpha * gradient, atol=1e-12)


@pytest.mark.float64
def test_a_ddim_step_with_dps_on_the_cosine_path_moves_x_by_the_papers_step():
    steps, j, operator = 50, 20, OPERATORS["downsample"]
    x, y = rand(0, 2, *SHAPE), measure(operator)
    here, there = (Level(0.0, math.cos(k * math.pi / 2 / steps), math.sin(k * math.pi / 2 / steps)) for k in (j, j - 1))

    def misfit(x):
        return jnp.sqrt(jnp.sum((y - operator.forward(ORACLE(x, here).clean)) ** 2, axis=(1, 2, 3)))

    step_size = 3.0 * math.sin(math.pi / 2 / steps)
    gradient = jax.grad(lambda x: jnp.sum(misfit(x) ** 2))(x) / misfit(x)[:, None, None, None]
    found = diffusion.ancestral.ddim_step(posterior.dps(ORACLE, operator, y, 3.0)(x, here), here, there)
    np.testing.assert_allclose(found, diffusion.ancestral.ddim_step(ORACLE(x, here), here, there) - step_size * gradient, atol=1e-12)


@pytest.mark.float64
@every_operator
def test_ddim_with_pigdm_draws_from_the_posterior(operator):
    """With one y the end is affine in x_T: its value at 0 is the mean, and its slopes are a root of the covariance."""
    noise = 0.2
    y, a = measure(operator, count=1, noise=noise), matrix(operator)
    start = jnp.concatenate([jnp.zeros((1, SIZE)), jnp.eye(SIZE)]).reshape(-1, *SHAPE)
    mean, covariance = conditioned(np.full(SIZE, MEAN), STD**2, a, flat(y)[0], noise)
    errors = []
    for steps in (100, 400):
        guided = posterior.pigdm(ORACLE, operator, jnp.repeat(y, SIZE + 1, axis=0), noise, data_std=STD, ratio_max=math.inf)
        levels = diffusion.grids.karras(diffusion.schedules.edm(), steps, sigma_min=0.002, sigma_max=2000.0)
        draw = jax.jit(diffusion.sampling.sample, static_argnames="shape")
        ended = flat(draw(jax.random.key(0), guided, diffusion.samplers.ddim(), levels, SHAPE, jnp.arange(SIZE + 1), start=2000.0 * start))
        root = ended[1:] - ended[0]
        errors.append((np.abs(ended[0] - mean).max(), np.abs(root.T @ root - covariance).max()))
    assert errors[1][0] < 0.001 and errors[1][1] < 0.02, errors
    assert errors[1][1] < errors[0][1] / 3, errors  # it is the step that is left


@every_operator
def test_residuals_of_dps_fall(operator):
    y = measure(operator, count=4, noise=0.0).astype(jnp.float32)

    @jax.jit
    def misfit(scale):
        guided = posterior.dps(ORACLE, operator, y, scale)
        levels = diffusion.grids.trailing(diffusion.schedules.cosine(), 50)
        drawn = diffusion.sampling.sample(jax.random.key(0), guided, diffusion.samplers.ddim(), levels, SHAPE, jnp.arange(4))
        return jnp.sqrt(jnp.sum((y - operator.forward(drawn)) ** 2, axis=(1, 2, 3)))

    without, weak, strong = misfit(0.0), misfit(0.3), misfit(4.0)
    assert np.all(weak < without) and np.all(strong < 0.5 * without), (without, weak, strong)


def network(params, x, t, label):
    return jnp.tanh(params * x + (0.1 * label.astype(x.dtype) + 1e-3 * t.astype(x.dtype))[:, None, None, None])


GUIDES = {
    "pigdm": lambda denoise, operator, y, number: posterior.pigdm(denoise, operator, y, number),
    "dps": lambda denoise, operator, y, number: posterior.dps(denoise, operator, y, number),
}
every_guide = pytest.mark.parametrize("guide", GUIDES.values(), ids=GUIDES.keys())


@every_guide
def test_a_sample_is_its_own_in_batches_and_one_compile_serves_all_values(guide):
    traces = []
    y = measure(OPERATORS["inpaint"], count=5).astype(jnp.float32)
    mask = np.random.default_rng(0).random((5, *SHAPE)) < 0.5
    numbers = jnp.linspace(0.1, 0.9, 5)

    def draw(rows, number, gain, levels, steps):
        traces.append(None)
        told = diffusion.denoiser.from_network(network, gain, diffusion.parameterization.velocity(), rows % 3)
        guided = guide(told, linear_operators.inpaint(jnp.asarray(mask)[rows]), y[rows], number)
        return diffusion.sampling.sample(
            jax.random.key(1), guided, diffusion.samplers.ddpm(), levels, SHAPE, rows, num_steps=steps, trajectory=True
        )

    levels = diffusion.grids.padded(diffusion.grids.trailing(diffusion.schedules.flow(), 4), 6)
    compiled = jax.jit(lambda rows, *values: draw(jnp.arange(5), numbers, *values)[:, rows])
    whole = compiled(jnp.arange(5), 0.6, levels, 4)
    assert whole.shape == (7, 5, *SHAPE) and np.all(np.isfinite(whole))
    np.testing.assert_array_equal(whole[4:], np.broadcast_to(whole[4], (3, 5, *SHAPE)))
    for gain, steps in ((0.2, 3), (0.6, 1)):
        assert not np.allclose(compiled(jnp.arange(5), gain, levels, steps), whole)
    assert len(traces) == 1
    rows = np.array([4, 0])
    np.testing.assert_allclose(draw(rows, numbers[rows], 0.6, levels, 4), whole[:, rows], atol=5e-6)


ENDS = {
    "clean": Level(0.0, 1.0, 0.0),
    "nothing left": Level(999.0, 0.0, 1.0),
    "nearly nothing": Level(998.0, 5e-5, 1.0),
    "clean, exploding": Level(0.0, 1.0, 1e-20),
}


@every_guide
@every_operator
def test_values_and_gradients_are_finite_at_the_ends_and_where_the_residual_is_zero(guide, operator):
    @jax.jit
    def slopes_and_said(x, y, number, level):
        def total(x, number, level):
            said = guide(ORACLE, operator, y, number)(x, level)
            return jnp.sum(said.clean**2) + jnp.sum(said.noise**2), said

        return jax.grad(total, argnums=(0, 1, 2), has_aux=True)(x, number, level)

    met = forward(operator, jnp.full((2, *SHAPE), MEAN))
    for y, number, (name, level) in itertools.product((met, measure(operator).astype(jnp.float32)), (0.0, 0.3), ENDS.items()):
        x = np.full((2, *SHAPE), MEAN * level.alpha, np.float32)
        slopes, said = slopes_and_said(x, y, np.float32(number), jax.tree.map(np.float32, level))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((slopes, said))), (name, number, slopes, said)
        assert said.clean.dtype == said.noise.dtype == jnp.float32


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_is_refused():
    operator, y, x = OPERATORS["downsample"], jnp.ones((2, 2, 1, 1)), jnp.ones((2, *SHAPE))
    for build in (
        lambda: posterior.dps(ORACLE, operator, y, -1.0),
        lambda: posterior.pigdm(ORACLE, operator, y, -0.1),
        lambda: posterior.pigdm(ORACLE, operator, y, data_std=0.0),
    ):
        with pytest.raises(ValueError, match="outside"):
            build()
    for guided in (posterior.dps(ORACLE, operator, y[:1], 1.0), posterior.pigdm(ORACLE, operator, x)):
        with pytest.raises(ValueError, match="measured"):
            guided(x, LEVELS["signal"])
