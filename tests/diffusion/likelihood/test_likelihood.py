"""Likelihood along the probability flow: closed forms of Gaussian and mixture, order 2, error bars that hold, samples
that stand alone.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from gendiff.core import arrays, sample_keys
from gendiff.diffusion import flow_coordinates, grids, likelihood, oracles, schedules
from tests.diffusion.flows import CLEAN, SCHEDULES, finite, flow, mixture, orders, rand, short, trained
from tests.refusals import refusals
from tests.traced import Traced

pytestmark = pytest.mark.numbers

LENGTH = 400
KEY = jax.random.key(0)


def normal_bits(x, std, mean=0.0):
    return -np.mean(norm.logpdf(np.asarray(x), mean, np.asarray(std)), axis=-1) / math.log(2.0)


@Traced
def compiled(oracle, x, levels, divergence, options):
    return likelihood.bits_per_dimension(oracle, x, levels, divergence, **options)


def run(oracle, x, levels, divergence=None, **options):
    """Any number of steps up to LENGTH in one compiled program."""
    steps = jnp.asarray(len(levels) - 1)
    return compiled(oracle, x, grids.padded(levels, LENGTH), divergence, {"num_steps": steps} | options)


@pytest.mark.float64
@pytest.mark.parametrize("name", ["straight", "exploding", "no signal", "linear"])
def test_gaussian_bits_are_those_of_the_density_that_the_sampler_draws(name):
    """N(0, sigma_T²) carried by the exact flow has std s sigma_T / sqrt(alpha_T² s² + sigma_T²), whatever alpha_T
    is.
    """
    s, x, levels = 0.5, rand(0, 32, 3), grids.trailing(SCHEDULES[name], 400)
    std = s * levels.sigma[0] / jnp.hypot(levels.alpha[0] * s, levels.sigma[0])
    result = run(oracles.gaussian(s), x, levels)
    np.testing.assert_allclose(result.bits, normal_bits(x, std), atol=1e-3)
    assert np.all(result.step_error < 1e-3) and np.all(result.standard_error == 0)


@pytest.mark.float64
def test_the_error_falls_with_the_square_of_the_steps_and_is_foretold():
    """Gaussian and mixture, from alpha = 0 to sigma = 0."""
    x = rand(0, 32, 3)
    mixture_bits = -mixture().log_density(x, CLEAN) / 3 / math.log(2.0)
    for oracle, exact in ((oracles.gaussian(0.5, 0.3), normal_bits(x, 0.5, 0.3)), (mixture(), mixture_bits)):
        result = [run(oracle, x, flow(steps)) for steps in (100, 200, 400)]
        errors = [np.abs(np.asarray(one.bits - exact)) for one in result]
        np.testing.assert_allclose(orders([error.max() for error in errors]), 2, atol=0.1)
        np.testing.assert_allclose(result[-1].step_error, errors[-1], rtol=0.1)


@pytest.mark.float64
def test_a_noised_end_gives_the_noised_density():
    """x is a sample at the last level, and prior_std is that of x_T."""
    x, gaussian = rand(1, 32, 3), oracles.gaussian(0.5)
    levels = grids.log_snr(schedules.cosine(1000), 200, sigma_min=0.05, sigma_max=20.0, end="first")
    result = run(gaussian, x, levels, prior_std=gaussian.marginal_std(levels[0]), offset=7.0)
    np.testing.assert_allclose(result.bits, 7 + normal_bits(x, gaussian.marginal_std(levels[-1])), atol=1e-3)


@pytest.mark.float64
def test_the_value_depends_on_the_path_through_its_ends_only():
    """Variance exploding, preserving and straight paths of one range of sigma / alpha."""
    x, bits = rand(2, 32, 3), []
    for name in ("exploding", "straight", "cosine"):
        levels = grids.log_snr(SCHEDULES[name], 400, sigma_min=0.01, sigma_max=50.0, end="first")
        result = run(
            mixture(),
            flow_coordinates.unscaled(flow_coordinates.scaled(x, levels[-1]), levels[-1]) * levels[-1].alpha,
            levels,
        )
        bits.append(np.asarray(result.bits) - np.log2(levels[-1].alpha))  # back to the density of x / alpha
        np.testing.assert_allclose(bits[-1], bits[0], atol=2e-4)


def probed(x, distribution, probes, steps=30):
    return run(mixture(), x, flow(steps), likelihood.hutchinson(KEY, jnp.arange(len(x)), probes, distribution))


@pytest.mark.float64
@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_probes_agree_with_the_exact_trace_within_an_error_bar_that_narrows_with_their_root(distribution):
    x = rand(3, 32, 3)
    exact, many = run(mixture(), x, flow(30)), probed(x, distribution, 64)
    ratio = (np.asarray(many.bits) - exact.bits) / many.standard_error
    assert np.abs(ratio).max() < 4 and 0.7 < np.sqrt(np.mean(ratio**2)) < 1.4
    if distribution == "gaussian":
        one, few = probed(x, distribution, 1), probed(x, distribution, 4)
        assert 3 < np.sqrt(np.mean(few.standard_error**2) / np.mean(many.standard_error**2)) < 5  # sqrt(64 / 4) = 4
        assert np.all(np.isposinf(one.standard_error)) and np.all(np.isfinite(one.bits))


@pytest.mark.float64
def test_a_probe_is_kept_along_the_whole_path():
    """A fresh probe at every call would leave a rough integrand, which no step size resolves at order 2."""
    bits = [np.asarray(probed(rand(5, 32, 3), "gaussian", 4, steps).bits) for steps in (50, 100, 200, 400)]
    np.testing.assert_allclose(orders(np.abs(np.diff(bits, axis=0)).max(axis=1)), 2, atol=0.2)


@pytest.mark.float64
def test_many_directions_are_taken_in_parts_and_rademacher_is_exact_for_an_isotropic_field():
    x = rand(6, 2, 10, 13)
    divergences = likelihood.exact(), likelihood.hutchinson(KEY, jnp.arange(2), 2)
    result, probed = (compiled(oracles.gaussian(0.5), x, flow(3), divergence, {}) for divergence in divergences)
    np.testing.assert_allclose(result.bits, probed.bits, rtol=1e-10)
    np.testing.assert_allclose(probed.standard_error, 0.0, atol=1e-12)


def test_a_sample_has_its_value_alone_in_any_order_and_in_any_batch():
    x = jnp.asarray(rand(7, 6, 3), jnp.float32)

    def values(rows):
        return jax.tree.leaves(run(mixture(), x[rows], flow(8), likelihood.hutchinson(jax.random.key(3), rows, 2)))

    full = values(jnp.arange(6))
    for rows in (jnp.array([4, 0, 5, 2, 1, 3]), jnp.array([2])):
        for alone, value in zip(values(rows), full, strict=True):
            assert alone.dtype == jnp.float32
            np.testing.assert_allclose(alone, value[rows], atol=5e-6)


def test_padded_grids_and_traced_counts_change_nothing_and_compile_once():
    x, before = jnp.asarray(rand(8, 2, 3), jnp.float32), compiled.traces
    result = {steps: run(mixture(), x, flow(steps)) for steps in (1, 4, 7)}
    assert compiled.traces == before + 1
    for steps in (1, 4, 7):
        padded = compiled(mixture(), x, grids.padded(flow(steps), 7), None, {})
        np.testing.assert_allclose(padded.bits, result[steps].bits, atol=5e-6)
        if steps > 1:
            np.testing.assert_allclose(padded.step_error, result[steps].step_error, atol=5e-6)
    assert np.all(np.isposinf(result[1].step_error)), "nothing is known of the error of a single step"


def test_values_and_gradients_are_finite_at_few_steps_on_every_schedule():
    def total(params, x, levels, divergence):
        return jnp.sum(likelihood.bits_per_dimension(trained(params), x, levels, divergence).bits)

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    divergence = likelihood.hutchinson(KEY, jnp.arange(2), 2)
    for name, schedule in SCHEDULES.items():
        assert all(
            finite(slope(jnp.float32(0.7), jnp.ones((2, 3)), levels, divergence)) for levels in short(schedule)
        ), name


def test_probes_and_the_noise_of_whole_values_share_nothing_with_the_noise_of_a_sample_of_that_key():
    """`sample(key)` and then `hutchinson(key, index)` used one noise as x_T and as probe, which biased the bits."""
    index, like = jnp.arange(8), jnp.zeros((8, 64))
    keys = sample_keys.keys_of(KEY, index)
    noises = [*(arrays.normal(arrays.fold_in(keys, part), like) for part in range(4))]
    noises += [*likelihood.hutchinson(KEY, index, 4, "gaussian").directions(like)]
    noises += [norm.ppf(0.5 + np.asarray(likelihood.dequantize(KEY, like, index, 1.0 - 1e-6), np.float64))]
    assert np.abs(np.corrcoef([np.ravel(value) for value in noises]) - np.eye(9)).max() < 5 / np.sqrt(8 * 64)


@pytest.mark.float64
def test_dequantized_bits_bound_the_mass_of_a_whole_value_from_above_and_tightly():
    width, std, value = 2 / (17 - 1), 0.6, 0.25
    x = likelihood.dequantize(KEY, jnp.full((4000, 1), value), jnp.arange(4000), width)
    assert np.abs(np.asarray(x) - value).max() <= width / 2 and np.std(x) == pytest.approx(
        width / math.sqrt(12), rel=0.05
    )
    result = run(oracles.gaussian(std), x, flow(200), offset=math.log2(1 / width))
    mass = -math.log2(np.diff(norm.cdf([value - width / 2, value + width / 2], scale=std))[0])
    assert 0 <= np.mean(result.bits) - mass < 3e-3
    again = likelihood.dequantize(KEY, jnp.full((2, 1), value), jnp.array([7, 3]), width)
    np.testing.assert_array_equal(again, x[jnp.array([7, 3])])


def test_data_of_half_precision_have_the_bits_of_these_numbers_in_float32():
    half = jnp.full((2, 3), 0.71, jnp.bfloat16)
    for run in (
        lambda x: likelihood.dequantize(KEY, x, jnp.arange(2), 2 / 255),
        lambda x: likelihood.bits_per_dimension(oracles.gaussian(0.5), x, flow(4)),
    ):
        jax.tree.map(np.testing.assert_array_equal, run(half), run(half.astype(jnp.float32)))


X, BITS = jnp.zeros((2, 3)), likelihood.bits_per_dimension
test_mistakes_are_named = pytest.mark.fault("likelihood, metrics: prior_std ≤ 0")(
    refusals(
        (lambda: BITS(mixture(), jnp.zeros((2, 300)), flow(2)), "hutchinson"),
        (lambda: BITS(mixture(), X, flow(2)[0]), "levels"),
        (lambda: BITS(mixture(), X, flow(2), num_steps=3), "num_steps"),
        (lambda: BITS(mixture(), X.astype(int), flow(2)), "x must be", TypeError),
        (lambda: BITS(mixture(), X, flow(2), likelihood.hutchinson(KEY, jnp.arange(3))), "index"),
        (lambda: likelihood.hutchinson(KEY, jnp.arange(2), 0), "probes"),
        (lambda: likelihood.hutchinson(KEY, jnp.arange(2), 2, "normal"), "distribution"),
        (lambda: likelihood.hutchinson(None, jnp.arange(2)), "key", TypeError),
        (lambda: likelihood.dequantize(KEY, X, jnp.arange(2), 0.0), "width"),
        *(
            (lambda std=std: BITS(mixture(), X, flow(2), prior_std=std), "prior_std = .* is outside")
            for std in (0.0, -1.0, float("nan"))
        ),
    )
)


def test_the_error_of_a_mean_over_probes_is_that_of_a_sample():
    totals = np.array([[1.0, 2.0], [3.0, 2.0], [8.0, 2.0]], np.float32)
    error = likelihood.hutchinson(KEY, np.arange(2), probes=3).standard_error(jnp.asarray(totals))
    np.testing.assert_allclose(error, np.std(totals, axis=0, ddof=1) / np.sqrt(3), rtol=1e-6)
