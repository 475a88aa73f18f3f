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


@jax.jit
def corrected(x, level, operator, y, noise, scale):
    """What both methods make of the prediction, and the prediction itself."""
    pigdm, dps = posterior.pigdm(ORACLE, operator, y, noise, data_std=STD), posterior.dps(ORACLE, operator, y, scale)
    return pigdm(x, level), dps(x, level), ORACLE(x, level)


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
def test_predictions_for_a_gaussian_are_corrected_by_closed_forms(operator):
    """PiGDM gives the exact posterior mean, DPS the analytic gradient with each sample's own norm; both still explain x."""
    x, y, a, scales = rand(0, 2, *SHAPE), measure(operator), matrix(operator), np.array([0.5, 2.0])
    for level in BY_SAMPLE:
        pigdm, dps, plain = corrected(x, level, operator, y, 0.3, scales)
        for row, (alpha, sigma) in enumerate(zip(level.alpha, level.sigma, strict=True)):
            # x is a second measurement, alpha clean + sigma noise, beside y: by Bayes' rule with both at once
            both, seen = np.concatenate([alpha * np.eye(SIZE), a]), np.concatenate([flat(x)[row], flat(y)[row]])
            noise = np.concatenate([np.full(SIZE, sigma), np.full(len(a), 0.3)])
            expected, _ = conditioned(np.full(SIZE, MEAN), STD**2, both, seen, noise)
            np.testing.assert_allclose(flat(pigdm.clean)[row], expected, rtol=0, atol=1e-10)
            slope = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)  # of clean by x
            residual = flat(y)[row] - a @ flat(plain.clean)[row]
            gradient = scales[row] * -2 * slope * a.T @ residual / np.linalg.norm(residual)
            np.testing.assert_allclose(flat(dps.clean)[row], flat(plain.clean)[row] - sigma * gradient, atol=1e-12)
            np.testing.assert_allclose(flat(dps.noise)[row], flat(plain.noise)[row] + alpha * gradient, atol=1e-12)
            for prediction in (pigdm, dps):
                explained = alpha * flat(prediction.clean)[row] + sigma * flat(prediction.noise)[row]
                np.testing.assert_allclose(explained, flat(x)[row], atol=1e-12)
    exact = measure(operator, noise=0.0)
    pigdm, _, _ = corrected(x, BY_SAMPLE[0], operator, exact, 0.0, scales)
    np.testing.assert_allclose(forward(operator, pigdm.clean), exact, atol=1e-10)


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


@jax.jit
def drawn(guided, levels, steps, start):
    """By DDIM, with one compile for all numbers of steps."""
    index, sampler = jnp.arange(len(start)), diffusion.samplers.ddim()
    return diffusion.sampling.sample(jax.random.key(0), guided, sampler, levels, SHAPE, index, num_steps=steps, start=start)


@pytest.mark.float64
@every_operator
def test_ddim_with_pigdm_draws_from_the_posterior(operator):
    """With one y the end is affine in x_T: its value at 0 is the mean, and its slopes are a root of the covariance."""
    noise = 0.2
    y, a = measure(operator, count=1, noise=noise), matrix(operator)
    start = jnp.concatenate([jnp.zeros((1, SIZE)), jnp.eye(SIZE)]).reshape(-1, *SHAPE)
    mean, covariance = conditioned(np.full(SIZE, MEAN), STD**2, a, flat(y)[0], noise)
    guided = posterior.pigdm(ORACLE, operator, jnp.repeat(y, SIZE + 1, axis=0), noise, data_std=STD, ratio_max=math.inf)
    errors = []
    for steps in (100, 400):
        levels = diffusion.grids.karras(diffusion.schedules.edm(), steps, sigma_min=0.002, sigma_max=2000.0)
        ended = flat(drawn(guided, diffusion.grids.padded(levels, 400), jnp.asarray(steps), 2000.0 * start))
        root = ended[1:] - ended[0]
        errors.append((np.abs(ended[0] - mean).max(), np.abs(root.T @ root - covariance).max()))
    assert errors[1][0] < 0.001 and errors[1][1] < 0.02, errors
    assert errors[1][1] < errors[0][1] / 3, errors  # it is the step that is left


@every_operator
def test_residuals_of_dps_fall(operator):
    y, start = (v.astype(jnp.float32) for v in (measure(operator, count=4, noise=0.0), rand(5, 4, *SHAPE)))
    levels, misfits = diffusion.grids.trailing(diffusion.schedules.cosine(), 50), []
    for scale in (0.0, 0.3, 4.0):
        ended = drawn(posterior.dps(ORACLE, operator, y, jnp.float32(scale)), levels, jnp.asarray(50), start)
        misfits.append(np.linalg.norm(flat(y - forward(operator, ended)), axis=1))
    without, weak, strong = misfits
    assert np.all(weak < without) and np.mean(strong) < 0.25 * np.mean(without), (without, weak, strong)


def network(params, x, t, label):
    return jnp.tanh(params * x + (0.1 * label.astype(x.dtype) + 1e-3 * t.astype(x.dtype))[:, None, None, None])


@pytest.mark.parametrize("guide", [posterior.pigdm, posterior.dps], ids=["pigdm", "dps"])
def test_a_sample_is_its_own_in_batches_and_one_compile_serves_all_values(guide):
    y, levels = measure(OPERATORS["inpaint"], count=5).astype(jnp.float32), diffusion.grids.trailing(diffusion.schedules.flow(), 4)
    mask, numbers = jnp.asarray(np.random.default_rng(0).random((5, *SHAPE)) < 0.5), jnp.linspace(0.1, 0.9, 5)

    @jax.jit
    def draw(rows, gain, levels, steps):
        given = diffusion.denoiser.from_network(network, gain, diffusion.parameterization.velocity(), rows % 3)
        guided = guide(given, linear_operators.inpaint(mask[rows]), y[rows], numbers[rows])
        sampler, options = diffusion.samplers.ddpm(), {"num_steps": steps, "trajectory": True}
        return diffusion.sampling.sample(jax.random.key(1), guided, sampler, levels, SHAPE, rows, **options)

    padded, everyone, some = diffusion.grids.padded(levels, 6), np.arange(5), np.array([4, 0])
    whole = draw(everyone, 0.6, padded, 4)
    assert whole.shape == (7, 5, *SHAPE) and np.all(np.isfinite(whole))
    np.testing.assert_array_equal(whole[4:], np.broadcast_to(whole[4], (3, 5, *SHAPE)))
    for gain, steps in ((0.2, 3), (0.6, 1)):
        assert not np.allclose(draw(everyone, gain, padded, steps), whole)
    assert draw._cache_size() == 1
    np.testing.assert_allclose(draw(some, 0.6, padded, 4), whole[:, some], atol=5e-6)


ENDS = {
    "clean": Level(0.0, 1.0, 0.0),
    "nothing left": Level(999.0, 0.0, 1.0),
    "nearly nothing": Level(998.0, 5e-5, 1.0),
    "clean, exploding": Level(0.0, 1.0, 1e-20),
}


@every_operator
def test_values_and_gradients_are_finite_at_the_ends_and_where_the_residual_is_zero(operator):
    @jax.jit
    def slopes_and_predictions(x, y, number, level):
        def total(x, number, level):
            predictions = [guide(ORACLE, operator, y, number)(x, level) for guide in (posterior.pigdm, posterior.dps)]
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(predictions)), predictions

        return jax.grad(total, argnums=(0, 1, 2), has_aux=True)(x, number, level)

    met = forward(operator, jnp.full((2, *SHAPE), MEAN))
    for y, number, (name, level) in itertools.product((met, measure(operator).astype(jnp.float32)), (0.0, 0.3), ENDS.items()):
        x = np.full((2, *SHAPE), MEAN * level.alpha, np.float32)
        both = slopes_and_predictions(x, y, np.float32(number), jax.tree.map(np.float32, level))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(both)), (name, number, both)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(both[1]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda operator, y, x: posterior.dps(ORACLE, operator, y, -1.0), "outside"),
        (lambda operator, y, x: posterior.pigdm(ORACLE, operator, y, -0.1), "outside"),
        (lambda operator, y, x: posterior.pigdm(ORACLE, operator, y, data_std=0.0), "outside"),
        (lambda operator, y, x: posterior.dps(ORACLE, operator, y[:1], 1.0)(x, LEVELS["signal"]), "measured"),
        (lambda operator, y, x: posterior.pigdm(ORACLE, operator, x)(x, LEVELS["signal"]), "measured"),
    ],
)
def test_what_cannot_be_is_refused(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake(OPERATORS["downsample"], jnp.ones((2, 2, 1, 1)), jnp.ones((2, *SHAPE)))
