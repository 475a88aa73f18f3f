"""Likelihood along the probability flow: closed forms of Gaussian and mixture, order 2, error bars that hold, samples that stand alone."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from gendiff.core import arrays
from gendiff.diffusion import denoiser, flow_coordinates, grids, likelihood, oracles, parameterization, sampling, schedules
from gendiff.diffusion.types import Level

LOG2 = math.log(2.0)
MEANS = np.array([[-1.0, 0.5, 0.0], [1.5, 0.0, -0.5]])
CLEAN = Level(0.0, 1.0, 0.0)


def rand(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def mixture():
    return oracles.mixture([0.3, 0.7], MEANS, [0.4, 0.8])


def flow(steps):
    return grids.trailing(schedules.flow(), steps)


def normal_bits(x, std, mean=0.0):
    return np.mean((np.asarray(x) - mean) ** 2, axis=-1) / (2 * std**2) / LOG2 + np.log2(std * math.sqrt(2 * math.pi))


LENGTH = 400


@jax.jit
def compiled(oracle, x, levels, divergence, options):
    return likelihood.bits_per_dimension(oracle, x, levels, divergence, **options)


def run(oracle, x, levels, divergence=None, **options):
    """Any number of steps up to LENGTH in one compiled program."""
    steps = jnp.asarray(len(levels) - 1)
    return compiled(oracle, x, grids.padded(levels, LENGTH), divergence, {"num_steps": steps} | options)


def no_signal():
    return schedules.zero_terminal_snr(schedules.scaled_linear())


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.flow, schedules.edm, no_signal, schedules.linear])
def test_gaussian_bits_are_those_of_the_density_that_the_sampler_draws(build):
    """N(0, sigma_T²) carried by the exact flow has std s sigma_T / sqrt(alpha_T² s² + sigma_T²), whatever alpha_T is."""
    s, x = 0.5, rand(0, 32, 3)
    levels = grids.trailing(build(), 400)
    top = levels[0]
    std = s * top.sigma / jnp.sqrt(top.alpha**2 * s**2 + top.sigma**2)
    found = run(oracles.gaussian(s), x, levels)
    np.testing.assert_allclose(found.bits, normal_bits(x, std), atol=1e-3)
    assert np.all(found.step_error < 1e-3) and np.all(found.standard_error == 0)


@pytest.mark.float64
def test_the_error_falls_with_the_square_of_the_steps_and_is_foretold():
    """Gaussian and mixture, from alpha = 0 to sigma = 0."""
    x = rand(0, 32, 3)
    truths = {
        "gaussian": (oracles.gaussian(0.5, 0.3), normal_bits(x, 0.5, 0.3)),
        "mixture": (mixture(), -mixture().log_density(x, CLEAN) / 3 / LOG2),
    }
    for name, (oracle, exact) in truths.items():
        found = [run(oracle, x, flow(steps)) for steps in (100, 200, 400)]
        errors = [np.abs(np.asarray(one.bits - exact)) for one in found]
        worst = [error.max() for error in errors]
        assert all(1.9 < math.log2(a / b) < 2.1 for a, b in zip(worst, worst[1:], strict=False)), (name, worst)
        np.testing.assert_allclose(found[-1].step_error, errors[-1], rtol=0.1, err_msg=name)


@pytest.mark.float64
def test_a_noised_end_gives_the_noised_density():
    """x is a sample at the last level, and prior_std is that of x_T."""
    x, gaussian = rand(1, 32, 3), oracles.gaussian(0.5)
    levels = grids.log_snr(schedules.cosine(1000), 200, sigma_min=0.05, sigma_max=20.0, end="first")
    found = run(gaussian, x, levels, prior_std=gaussian.marginal_std(levels[0]), offset=7.0)
    np.testing.assert_allclose(found.bits, 7 + normal_bits(x, gaussian.marginal_std(levels[-1])), atol=1e-3)


@pytest.mark.float64
def test_the_value_depends_on_the_path_through_its_ends_only():
    """Variance exploding, preserving and straight paths of one range of sigma / alpha."""
    x = rand(2, 32, 3)
    bits = []
    for build in (schedules.edm, schedules.flow, schedules.cosine):
        levels = grids.log_snr(build(), 400, sigma_min=0.01, sigma_max=50.0, end="first")
        found = run(mixture(), flow_coordinates.unscaled(flow_coordinates.scaled(x, levels[-1]), levels[-1]) * levels[-1].alpha, levels)
        bits.append(np.asarray(found.bits) - np.log2(levels[-1].alpha))  # back to the density of x / alpha
    np.testing.assert_allclose(bits[1], bits[0], atol=2e-4)
    np.testing.assert_allclose(bits[2], bits[0], atol=2e-4)


# The divergence.


def probed(x, distribution, probes, steps=30):
    return run(mixture(), x, flow(steps), likelihood.hutchinson(jax.random.key(0), jnp.arange(len(x)), probes, distribution))


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
    x = rand(5, 32, 3)
    bits = [np.asarray(probed(x, "gaussian", 4, steps).bits) for steps in (50, 100, 200, 400)]
    first, second, third = (np.abs(b - a).max() for a, b in zip(bits, bits[1:], strict=False))
    assert 1.8 < math.log2(first / second) < 2.2 and 1.8 < math.log2(second / third) < 2.2


@pytest.mark.float64
def test_many_directions_are_taken_in_parts_and_rademacher_is_exact_for_an_isotropic_field():
    x = rand(6, 2, 10, 13)
    found = compiled(oracles.gaussian(0.5), x, flow(3), likelihood.exact(), {})
    probed = compiled(oracles.gaussian(0.5), x, flow(3), likelihood.hutchinson(jax.random.key(0), jnp.arange(2), 2), {})
    np.testing.assert_allclose(found.bits, probed.bits, rtol=1e-10)
    np.testing.assert_allclose(probed.standard_error, 0.0, atol=1e-12)


# A sample's value is its own; one compile; every schedule.


def test_a_sample_has_its_value_alone_in_any_order_and_in_any_batch():
    x, key = jnp.asarray(rand(7, 6, 3), jnp.float32), jax.random.key(3)

    def values(rows):
        return run(mixture(), x[rows], flow(8), likelihood.hutchinson(key, rows, 2))

    whole = values(jnp.arange(6))
    for rows in (jnp.array([4, 0, 5, 2, 1, 3]), jnp.array([2])):
        for own, value in zip(jax.tree.leaves(values(rows)), jax.tree.leaves(whole), strict=True):
            assert own.dtype == jnp.float32
            np.testing.assert_allclose(own, value[rows], atol=5e-6)


def test_padded_grids_and_traced_counts_change_nothing_and_compile_once():
    x, before = jnp.asarray(rand(8, 2, 3), jnp.float32), compiled._cache_size()
    found = {steps: run(mixture(), x, flow(steps)) for steps in (1, 4, 7)}
    assert compiled._cache_size() == before + 1
    for steps in (1, 4, 7):
        padded = compiled(mixture(), x, grids.padded(flow(steps), 7), None, {})
        np.testing.assert_allclose(padded.bits, found[steps].bits, atol=5e-6)
        if steps > 1:
            np.testing.assert_allclose(padded.step_error, found[steps].step_error, atol=5e-6)
    assert np.all(np.isposinf(found[1].step_error)), "nothing is known of the error of a single step"


SCHEDULES = [schedules.linear, schedules.cosine, no_signal, schedules.edm, schedules.flow]


def network(params, x, t):
    return jnp.tanh(params * x) + 1e-3 * t.astype(x.dtype)[:, None]


def test_values_and_gradients_are_finite_at_few_steps_on_every_schedule():
    def total(params, x, levels, divergence):
        given = denoiser.from_network(network, params, parameterization.velocity())
        return jnp.sum(likelihood.bits_per_dimension(given, x, levels, divergence).bits)

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    divergence = likelihood.hutchinson(jax.random.key(0), jnp.arange(2), 2)
    for build in SCHEDULES:
        three = grids.trailing(build(), 3)
        for levels in (grids.trailing(build(), 1), grids.trailing(build(), 2), three[:2], three[1:3], three[2:], three):
            value, slopes = slope(jnp.float32(0.7), jnp.ones((2, 3)), grids.padded(levels, 3), divergence)
            assert np.isfinite(value) and all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(slopes)), build


def test_probes_and_the_noise_of_whole_values_share_nothing_with_the_noise_of_a_sample_of_that_key():
    """`sample(key)` and then `hutchinson(key, index)` used one noise as x_T and as probe, which biased the bits."""
    key, index = jax.random.key(0), jnp.arange(8)
    keys = sampling.keys_of(key, index)
    drawn = {f"sample, noise {part}": arrays.normal(arrays.fold_in(keys, part), jnp.zeros((8, 64))) for part in range(4)}
    probes = likelihood.hutchinson(key, index, 4, "gaussian").directions(jnp.zeros((8, 64)))
    drawn |= {f"probe {number}": probe for number, probe in enumerate(probes)}
    drawn["whole values"] = norm.ppf(0.5 + np.asarray(likelihood.dequantize(key, jnp.zeros((8, 64)), index, 1.0 - 1e-6), np.float64))
    flat = np.stack([np.ravel(value) for value in drawn.values()])
    assert np.abs(np.corrcoef(flat) - np.eye(len(flat))).max() < 5 / np.sqrt(8 * 64), list(drawn)


# Whole values.


@pytest.mark.float64
def test_dequantized_bits_bound_the_mass_of_a_value_from_above_and_tightly():
    levels_of_data, std = 17, 0.6
    width = 2 / (levels_of_data - 1)
    value = 0.25
    x = likelihood.dequantize(jax.random.key(0), jnp.full((4000, 1), value), jnp.arange(4000), width)
    assert np.abs(np.asarray(x) - value).max() <= width / 2 and np.std(x) == pytest.approx(width / math.sqrt(12), rel=0.05)
    found = run(oracles.gaussian(std), x, flow(200), offset=math.log2(1 / width))
    inside = (0.5 * (math.erf((value + s * width / 2) / std / math.sqrt(2)) + 1) for s in (1, -1))
    mass = -math.log2(next(inside) - next(inside))
    assert 0 <= np.mean(found.bits) - mass < 3e-3
    again = likelihood.dequantize(jax.random.key(0), jnp.full((2, 1), value), jnp.array([7, 3]), width)
    np.testing.assert_array_equal(again, x[jnp.array([7, 3])])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "error", "named"),
    [
        (lambda x: likelihood.bits_per_dimension(mixture(), jnp.zeros((2, 300)), flow(2)), ValueError, "hutchinson"),
        (lambda x: likelihood.bits_per_dimension(mixture(), x, flow(2)[0]), ValueError, "levels"),
        (lambda x: likelihood.bits_per_dimension(mixture(), x, flow(2), num_steps=3), ValueError, "num_steps"),
        (lambda x: likelihood.bits_per_dimension(mixture(), x.astype(int), flow(2)), TypeError, "x must be"),
        (lambda x: likelihood.hutchinson(jax.random.key(0), jnp.arange(2), 0), ValueError, "probes"),
        (lambda x: likelihood.hutchinson(jax.random.key(0), jnp.arange(2), 2, "normal"), ValueError, "distribution"),
        (lambda x: likelihood.hutchinson(None, jnp.arange(2)), TypeError, "key"),
        (
            lambda x: likelihood.bits_per_dimension(mixture(), x, flow(2), likelihood.hutchinson(jax.random.key(0), jnp.arange(3))),
            ValueError,
            "index",
        ),
        (lambda x: likelihood.dequantize(jax.random.key(0), x, jnp.arange(2), 0.0), ValueError, "width"),
    ],
)
def test_mistakes_are_named(mistake, error, named):
    with pytest.raises(error, match=named):
        mistake(jnp.zeros((2, 3)))
