"""Euler with fresh noise and Heun with churn: identities with their deterministic forms, published formulas step by
step.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, grids, parameterization, sampling, schedules
from gendiff.diffusion.samplers import runge_kutta
from gendiff.diffusion.samplers.churn import churn, churned
from gendiff.diffusion.samplers.euler_ancestral import euler_ancestral, euler_ancestral_step
from gendiff.diffusion.types import Level
from tests.diffusion.samplers.draws import KEY, MIXTURE, START, noises, rand, trajectory

X = np.float32(START)


@functools.partial(jax.jit, static_argnums=0)
def fixed(sampler, levels, x):
    """A draw by a sampler whose numbers are known when it is traced."""
    return sampling.sample(KEY, MIXTURE, sampler, levels, (3,), jnp.arange(2), start=x)


# Euler with fresh noise.


@pytest.mark.parametrize("build", [schedules.cosine, schedules.edm], ids=["cosine", "edm"])
def test_euler_ancestral_with_eta_zero_is_euler_bit_for_bit(build):
    levels, x = grids.trailing(build(), 5), jnp.asarray(X)
    np.testing.assert_array_equal(fixed(euler_ancestral(0.0), levels, x), fixed(runge_kutta.euler(), levels, x))
    prediction = MIXTURE(x, levels[1])
    result = euler_ancestral_step(x, prediction, levels[1], levels[2], eta=jnp.float32(0.0), noise=jnp.ones_like(x))
    np.testing.assert_array_equal(result, runge_kutta.euler_step(x, prediction, levels[1], levels[2]))


# Heun with churn.


@pytest.mark.parametrize("data", ["mixture", "network"])
def test_churn_zero_is_heun_bit_for_bit(data):
    def network(gain, x, t):
        return jnp.tanh(gain * x + 1e-3 * t[:, None]) + 0.3 * jnp.sin(x)

    denoise = (
        MIXTURE if data == "mixture" else denoiser.from_network(network, jnp.float32(0.7), parameterization.velocity())
    )
    schedule = schedules.cosine()
    levels = grids.trailing(schedule, 6)

    def run(sampler):  # not under jit, where XLA may fuse the two programs otherwise
        return sampling.sample(
            KEY, denoise, sampler, levels, X.shape[1:], jnp.arange(len(X)), start=jnp.asarray(X), trajectory=True
        )

    heun = run(runge_kutta.heun())
    np.testing.assert_array_equal(run(churn(schedule, 0.0)), heun)
    np.testing.assert_allclose(
        run(churn(schedule, 40.0, churn_min=1e6)), heun, atol=1e-7, err_msg="no level lies in the range"
    )
    np.testing.assert_array_equal(fixed(churn(schedule, 0.0), levels, X), fixed(runge_kutta.heun(), levels, X))


@pytest.mark.float64
@pytest.mark.parametrize("amount", [2.0, 40.0], ids=["small", "capped"])
def test_churn_is_the_published_algorithm(amount):
    """Karras et al., 2022, Alg. 2, line by line, with the noise that the sampler draws."""
    steps, low, high, inflated = 6, 0.05, 50.0, 1.003
    schedule = schedules.edm()
    levels = grids.karras(schedule, steps)
    sigma, fresh, x = np.asarray(levels.sigma), noises(steps), 80 * START

    def denoised(x, s):
        return np.asarray(MIXTURE(jnp.asarray(x), Level(0.0, 1.0, s)).clean)

    for i in range(steps):
        gamma = min(amount / steps, np.sqrt(2) - 1) if low <= sigma[i] <= high else 0.0
        raised = sigma[i] + gamma * sigma[i]
        x = x + np.sqrt(raised**2 - sigma[i] ** 2) * inflated * fresh[i]
        slope = (x - denoised(x, raised)) / raised
        aimed = x + (sigma[i + 1] - raised) * slope
        if sigma[i + 1] > 0:
            second = (aimed - denoised(aimed, sigma[i + 1])) / sigma[i + 1]
            # below 1 the trapezoid is that of x; above, of x/sigma, as this library's Heun states
            if raised <= 1:
                aimed = x + (sigma[i + 1] - raised) * (slope + second) / 2
            else:
                change = denoised(aimed, sigma[i + 1]) - denoised(x, raised)
                aimed = aimed + (1 - sigma[i + 1] / raised) / 2 * change
        x = aimed
    sampler = churn(schedule, amount, churn_min=low, churn_max=high, churn_noise=inflated)
    np.testing.assert_allclose(trajectory(sampler, levels, 80 * START)[-1], x, rtol=1e-9, atol=1e-10)


@pytest.mark.float64
def test_churn_means_the_same_for_every_process():
    """Levels of equal sigma/alpha: x/alpha runs along the same path, whatever the scale."""
    ends = []
    for schedule in (schedules.edm(), schedules.flow(), schedules.linear()):
        levels = grids.log_snr(schedule, 5, sigma_min=0.05, sigma_max=5.0)
        ends.append(trajectory(churn(schedule, 10.0), levels, levels.alpha[0] * 5 * START)[-1])
    np.testing.assert_allclose(ends[1:], [ends[0]] * 2, rtol=1e-8)


@pytest.mark.float64
def test_churned_noise_is_what_the_new_level_asks_for():
    clean, noise, fresh = (jnp.asarray(rand(seed, 2, 3)) for seed in range(3))
    x = 0.8 * clean + 0.6 * noise
    result, noisier = churned(x, Level(300.0, 0.8, 0.6), 0.3, schedules.cosine(), noise=fresh, churn_noise=1.0)
    assert float(noisier.sigma / noisier.alpha) == pytest.approx(1.3 * 0.75, rel=1e-12)
    remaining = noisier.alpha / 0.8 * 0.6
    expected = noisier.alpha * clean + remaining * noise + np.sqrt(noisier.sigma**2 - remaining**2) * fresh
    np.testing.assert_allclose(result, expected, rtol=1e-10)


def test_churn_counts_the_steps_that_are_run_and_not_those_of_the_padded_grid():
    schedule = schedules.flow()
    levels, sampler = grids.trailing(schedule, 4), churn(schedule, 0.8)
    result = trajectory(sampler, grids.padded(levels, 9), X, steps=jnp.asarray(4))[-1]
    np.testing.assert_allclose(result, trajectory(sampler, levels, X)[-1], atol=5e-6)
    assert np.abs(result - trajectory(churn(schedule, 0.8 * 4 / 9), levels, X)[-1]).max() > 1e-3
