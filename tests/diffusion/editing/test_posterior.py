"""Linear measurements against their matrices; posterior sampling against Gaussian data, whose posterior is closed
form.
"""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion
from gendiff.diffusion import linear_operators, posterior
from gendiff.diffusion.types import Level
from tests.diffusion.flows import CLEAN, finite, rand
from tests.refusals import refusals
from tests.traced import Traced

LARGE = (4, 6, 2)
MASK = np.random.default_rng(7).random((1, *LARGE)) < 0.4
MEASUREMENTS = {
    "inpaint": linear_operators.inpaint(MASK),
    "inpaint a channel mask": linear_operators.inpaint(MASK[..., :1].astype(float)),
    "downsample": linear_operators.downsample(2),
    "blur": linear_operators.blur(np.random.default_rng(3).normal(size=(3, 4))),
    "blur one axis": linear_operators.blur(np.array([0.2, 0.5, 0.3])),
    "blur to nothing": linear_operators.blur(np.full((2, 2), 0.25)),  # keeps no highest frequency
}
every_measurement = pytest.mark.parametrize("operator", MEASUREMENTS.values(), ids=MEASUREMENTS.keys())
forward = jax.jit(lambda operator, x: operator.forward(x))


def flat(x):
    return np.asarray(x).reshape(len(x), -1)


def matrix(operator, shape):
    """Its columns are what the operator makes of each unit vector."""
    return flat(forward(operator, jnp.eye(math.prod(shape)).reshape(-1, *shape))).T


@jax.jit
def inverses(operator, y, noise):
    return operator.adjoint(y), operator.solve(y, 0.7, noise), operator.adjoint(operator.solve(y, 1.0, 0.0))


@pytest.mark.float64
@every_measurement
def test_adjoint_solve_and_pseudo_inverse_are_those_of_the_matrix(operator):
    a, noise = matrix(operator, LARGE), np.linspace(0.1, 1.0, 48)
    y = rand(1, *jax.eval_shape(operator.forward, jnp.zeros((48, *LARGE))).shape)
    transposed, solved, least = inverses(operator, y, noise)
    np.testing.assert_allclose(flat(transposed), flat(y) @ a, atol=1e-13)
    np.testing.assert_allclose(flat(least), flat(y) @ np.linalg.pinv(a, rcond=1e-9).T, atol=1e-10)
    for row in range(0, 48, 5):
        expected = np.linalg.solve(0.7 * a @ a.T + noise[row] * np.eye(len(a)), flat(y)[row])
        np.testing.assert_allclose(flat(solved)[row], expected, rtol=1e-11, atol=1e-12)


@pytest.mark.float64
def test_operators_do_what_they_are_named_for():
    x, hidden = rand(4, 2, 4, 4, 1), np.zeros((1, 4, 4, 1), bool)
    np.testing.assert_allclose(
        forward(linear_operators.downsample(2), x)[:, 1, 0], x[:, 2:4, 0:2].mean(axis=(1, 2)), atol=1e-14
    )
    hidden[0, 1, 2] = True
    np.testing.assert_array_equal(forward(linear_operators.inpaint(hidden), x), np.where(hidden, 0, x))
    for kernel, expected in ((np.array([0.0, 0.0, 1.0]), jnp.roll(x, 1, axis=1)), (np.array([[1.0]]), x)):
        np.testing.assert_allclose(forward(linear_operators.blur(kernel), x), expected, atol=1e-14)


@every_measurement
def test_operators_keep_dtype_pass_through_jit_and_have_finite_gradients(operator):
    x = rand(5, 2, *LARGE).astype(jnp.float32)

    def total(operator, x, noise):
        y = operator.forward(x)
        back = operator.adjoint(operator.solve(y, 0.5, noise))
        assert y.dtype == back.dtype == x.dtype and back.shape == x.shape
        return jnp.sum(back**2)

    both = jax.jit(jax.value_and_grad(total, argnums=(1, 2)))
    assert all(finite(both(operator, x, noise)) for noise in (0.0, 0.1))
    half = forward(operator, x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16 and np.allclose(half.astype(jnp.float32), forward(operator, x), atol=0.1)


# Posterior sampling.

SHAPE, SIZE = (4, 2, 1), 8
STD, MEAN = 0.7, 0.2
ORACLE = diffusion.oracles.gaussian(STD, MEAN)
OPERATORS = {
    "inpaint": linear_operators.inpaint(np.array([0, 1, 0, 0, 1, 1, 0, 1], bool).reshape(1, *SHAPE)),
    "downsample": linear_operators.downsample(2),
    "blur": linear_operators.blur(np.array([[0.2, 0.1], [0.5, 0.2], [-0.3, 0.1]])),
}
every_operator = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS.keys())
SIGNAL = Level(100.0, 0.8, 0.6)
LEVELS = (
    SIGNAL,
    Level(900.0, 0.05, 0.99875),
    Level(1.0, 1.0, 5.0),
    Level(np.array([1.0, 2.0]), np.array([0.9, 0.3]), np.array([0.1, 0.7])),
)
BY_SAMPLE = [jax.tree.map(lambda field: np.broadcast_to(field, 2), level) for level in LEVELS]


@jax.jit
def corrected(x, level, operator, y, noise, scale):
    """What both methods make of the prediction, and the prediction itself."""
    pigdm, dps = posterior.pigdm(ORACLE, operator, y, noise, data_std=STD), posterior.dps(ORACLE, operator, y, scale)
    return pigdm(x, level), dps(x, level), ORACLE(x, level)


def measure(operator, seed=1, count=2, noise=0.3):
    measured = forward(operator, MEAN + STD * rand(seed, count, *SHAPE))
    return measured + noise * rand(seed + 1, *measured.shape)


def conditioned(mean, variance, a, y, noise):
    """Mean and covariance of x ~ N(mean, variance I) given y = a x + noise."""
    gain = variance * a.T @ np.linalg.inv(variance * a @ a.T + np.square(noise) * np.eye(len(a)))
    return mean + gain @ (y - a @ mean), variance * (np.eye(SIZE) - gain @ a)


@pytest.mark.float64
@every_operator
def test_predictions_for_a_gaussian_are_corrected_by_closed_forms(operator):
    """PiGDM gives the exact posterior mean, DPS the analytic gradient with each sample's own norm; both still explain
    x.
    """
    x, y, a, scales = rand(0, 2, *SHAPE), measure(operator), matrix(operator, SHAPE), np.array([0.5, 2.0])
    for level in BY_SAMPLE:
        pigdm, dps, plain = corrected(x, level, operator, y, 0.3, scales)
        for row, (alpha, sigma) in enumerate(zip(level.alpha, level.sigma, strict=True)):
            # x is a second measurement, alpha clean + sigma noise, beside y: by Bayes' rule with both at once
            both, measured = np.concatenate([alpha * np.eye(SIZE), a]), np.concatenate([flat(x)[row], flat(y)[row]])
            noise = np.concatenate([np.full(SIZE, sigma), np.full(len(a), 0.3)])
            expected, _ = conditioned(np.full(SIZE, MEAN), STD**2, both, measured, noise)
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

    gradient = jax.grad(lambda x: jnp.sum(misfit(x) ** 2))(x) / misfit(x)[:, None, None, None]
    result, plain = (
        diffusion.ancestral.ddim_step(denoise(x, here), here, there)
        for denoise in (posterior.dps(ORACLE, operator, y, 3.0), ORACLE)
    )
    np.testing.assert_allclose(result, plain - 3.0 * math.sin(math.pi / 2 / steps) * gradient, atol=1e-12)


@jax.jit
def sample_of(guided, levels, steps, start):
    """By DDIM, with one compile for all numbers of steps."""
    index, sampler = jnp.arange(len(start)), diffusion.samplers.ddim()
    return diffusion.sampling.sample(
        jax.random.key(0), guided, sampler, levels, SHAPE, index, num_steps=steps, start=start
    )


@pytest.mark.float64
@every_operator
def test_ddim_with_pigdm_draws_from_the_posterior(operator):
    """With one y the end is affine in x_T: its value at 0 is the mean, and its slopes are a root of the covariance."""
    y, errors = measure(operator, count=1, noise=0.2), []
    start = 2000.0 * jnp.concatenate([jnp.zeros((1, SIZE)), jnp.eye(SIZE)]).reshape(-1, *SHAPE)
    mean, covariance = conditioned(np.full(SIZE, MEAN), STD**2, matrix(operator, SHAPE), flat(y)[0], 0.2)
    guided = posterior.pigdm(ORACLE, operator, jnp.repeat(y, SIZE + 1, axis=0), 0.2, data_std=STD, ratio_max=math.inf)
    for steps in (100, 400):
        levels = diffusion.grids.karras(diffusion.schedules.edm(), steps, sigma_min=0.002, sigma_max=2000.0)
        ended = flat(sample_of(guided, diffusion.grids.padded(levels, 400), jnp.asarray(steps), start))
        root = ended[1:] - ended[0]
        errors.append((np.abs(ended[0] - mean).max(), np.abs(root.T @ root - covariance).max()))
    assert errors[1][0] < 0.001 and errors[1][1] < 0.02, errors
    assert errors[1][1] < errors[0][1] / 3, errors  # it is the step that is left


@every_operator
def test_residuals_of_dps_fall(operator):
    y, start = (v.astype(jnp.float32) for v in (measure(operator, count=4, noise=0.0), rand(5, 4, *SHAPE)))
    levels, misfits = diffusion.grids.trailing(diffusion.schedules.cosine(), 50), []
    for scale in (0.0, 0.3, 4.0):
        ended = sample_of(posterior.dps(ORACLE, operator, y, jnp.float32(scale)), levels, jnp.asarray(50), start)
        misfits.append(np.linalg.norm(flat(y - forward(operator, ended)), axis=1))
    without, weak, strong = misfits
    assert np.all(weak < without) and np.mean(strong) < 0.25 * np.mean(without), (without, weak, strong)


def network(params, x, t, label):
    return jnp.tanh(params * x + (0.1 * label.astype(x.dtype) + 1e-3 * t.astype(x.dtype))[:, None, None, None])


@pytest.mark.parametrize("guide", [posterior.pigdm, posterior.dps], ids=["pigdm", "dps"])
def test_a_sample_is_its_own_in_batches_and_one_compile_serves_all_values(guide):
    y, levels = (
        measure(OPERATORS["inpaint"], count=5).astype(jnp.float32),
        diffusion.grids.trailing(diffusion.schedules.flow(), 4),
    )
    mask, numbers = jnp.asarray(np.random.default_rng(0).random((5, *SHAPE)) < 0.5), jnp.linspace(0.1, 0.9, 5)

    @Traced
    def draw(rows, gain, levels, steps):
        denoise = diffusion.denoiser.from_network(network, gain, diffusion.parameterization.velocity(), rows % 3)
        guided = guide(denoise, linear_operators.inpaint(mask[rows]), y[rows], numbers[rows])
        sampler, options = diffusion.samplers.ddpm(), {"num_steps": steps, "trajectory": True}
        return diffusion.sampling.sample(jax.random.key(1), guided, sampler, levels, SHAPE, rows, **options)

    padded, everyone, some = diffusion.grids.padded(levels, 6), np.arange(5), np.array([4, 0])
    full = draw(everyone, 0.6, padded, 4)
    assert full.shape == (7, 5, *SHAPE) and np.all(np.isfinite(full))
    np.testing.assert_array_equal(full[4:], np.broadcast_to(full[4], (3, 5, *SHAPE)))
    assert not any(np.allclose(draw(everyone, gain, padded, steps), full) for gain, steps in ((0.2, 3), (0.6, 1)))
    assert draw.traces == 1
    np.testing.assert_allclose(draw(some, 0.6, padded, 4), full[:, some], atol=5e-6)


# clean, (nearly) nothing left, clean and exploding
ENDS = (CLEAN, Level(999.0, 0.0, 1.0), Level(998.0, 5e-5, 1.0), Level(0.0, 1.0, 1e-20))


@every_operator
def test_values_and_gradients_are_finite_at_the_ends_and_where_the_residual_is_zero(operator):
    @jax.jit
    def slopes_and_predictions(x, y, number, level):
        def total(x, number, level):
            predictions = [guide(ORACLE, operator, y, number)(x, level) for guide in (posterior.pigdm, posterior.dps)]
            return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(predictions)), predictions

        return jax.grad(total, argnums=(0, 1, 2), has_aux=True)(x, number, level)

    met = forward(operator, jnp.full((2, *SHAPE), MEAN))
    for y, number, level in itertools.product((met, measure(operator).astype(jnp.float32)), (0.0, 0.3), ENDS):
        x = np.full((2, *SHAPE), MEAN * level.alpha, np.float32)
        both = slopes_and_predictions(x, y, np.float32(number), jax.tree.map(np.float32, level))
        assert finite(both), (number, level, both)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(both[1]))


X, SMALL, Y, HALVES = (
    jnp.ones((2, 4, 6, 1)),
    jnp.ones((2, *SHAPE)),
    jnp.ones((2, 2, 1, 1)),
    linear_operators.downsample(2),
)
test_what_does_not_fit_is_refused = refusals(
    (lambda: linear_operators.downsample(4).forward(X), "factor = 4"),
    (lambda: linear_operators.downsample(0), "factor"),
    (lambda: HALVES.forward(jnp.ones((2, 4))), "channels"),
    (lambda: linear_operators.inpaint(np.zeros((4, 6, 1))).forward(X), "mask"),
    (lambda: linear_operators.inpaint(np.full((1, 4, 6, 1), 2.0)), "mask"),
    (lambda: linear_operators.inpaint(np.zeros(4)), "rank"),
    (lambda: linear_operators.blur(np.ones((5, 5))).forward(X), "kernel"),
    (lambda: linear_operators.blur(np.array([1.0, np.nan])), "kernel"),
    (lambda: posterior.dps(ORACLE, HALVES, Y, -1.0), "outside"),
    (lambda: posterior.pigdm(ORACLE, HALVES, Y, -0.1), "outside"),
    (lambda: posterior.pigdm(ORACLE, HALVES, Y, data_std=0.0), "outside"),
    (lambda: posterior.dps(ORACLE, HALVES, Y[:1], 1.0)(SMALL, SIGNAL), "measured"),
    (lambda: posterior.pigdm(ORACLE, HALVES, SMALL)(SMALL, SIGNAL), "measured"),
)
