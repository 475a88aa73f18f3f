"""Euler with fresh noise and Heun with churn: identities with their deterministic forms, published formulas step by step, exact laws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core import arrays
from gendiff.diffusion import denoiser, grids, oracles, parameterization, sampling, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.samplers.churn import churn as churn_churn
from gendiff.diffusion.samplers.churn import churned
from gendiff.diffusion.samplers.euler_ancestral import euler_ancestral, euler_ancestral_step
from gendiff.diffusion.types import Level, Prediction

MIXTURE = oracles.mixture([0.4, 0.6], np.array([[-1.0, 0.5, 0.0], [1.0, 0.2, -0.3]]), [0.3, 0.5])
KEY = jax.random.key(3)


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def network(gain, x, t):
    return jnp.tanh(gain * x + 1e-3 * t[:, None]) + 0.3 * jnp.sin(x)


@jax.jit
def run(denoise, sampler, levels, start, num_steps=None):
    return sampling.sample(KEY, denoise, sampler, levels, (3,), jnp.arange(2), num_steps=num_steps, start=start)


def fixed(sampler):
    """A compiled run of a sampler whose numbers are known when it is traced."""
    return jax.jit(lambda levels, x: sampling.sample(KEY, MIXTURE, sampler, levels, (3,), jnp.arange(2), start=x))


def noises(steps):
    """(steps, 2, 3) standard normal noise of samples 0 and 1 in each step, from the keys that `sample` states."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(KEY, jnp.arange(2))
    like = jax.ShapeDtypeStruct((2, 3), jnp.result_type(float))
    return [np.asarray(arrays.normal(arrays.fold_in(keys, j + 1), like)) for j in range(steps)]


# Euler with fresh noise.


@pytest.mark.parametrize("build", [schedules.cosine, schedules.edm], ids=["cosine", "edm"])
def test_euler_ancestral_with_eta_zero_is_euler_bit_for_bit(build):
    levels, x = grids.trailing(build(), 5), jnp.asarray(rand(0, 2, 3), jnp.float32)
    np.testing.assert_array_equal(fixed(euler_ancestral(0.0))(levels, x), fixed(runge_kutta.euler())(levels, x))
    told, noise = MIXTURE(x, levels[1]), jnp.ones_like(x)
    found = euler_ancestral_step(x, told, levels[1], levels[2], eta=jnp.float32(0.0), noise=noise)
    np.testing.assert_array_equal(found, runge_kutta.euler_step(x, told, levels[1], levels[2]))


@pytest.mark.float64
@pytest.mark.parametrize("eta", [0.3, 1.0])
@pytest.mark.parametrize("build", [schedules.cosine, schedules.flow, schedules.edm], ids=["cosine", "flow", "edm"])
def test_euler_ancestral_is_ddim_where_x_is_made_of_its_prediction(build, eta):
    levels, x = grids.trailing(build(), 5), jnp.asarray(rand(0, 2, 3))
    found = run(MIXTURE, euler_ancestral(eta), levels, x)
    np.testing.assert_allclose(found, run(MIXTURE, ancestral.ddim(eta), levels, x), rtol=1e-9, atol=1e-11)


@pytest.mark.float64
def test_euler_ancestral_splits_sigma_as_published():
    """alpha = 1: up² = sigma'² (sigma² - sigma'²) / sigma², down² = sigma'² - up², x + (down - sigma) noise + up · fresh."""
    before, after, x = 0.9, 0.4, rand(0, 2, 3)
    noise, fresh = rand(1, 2, 3), rand(2, 2, 3)
    up = np.sqrt(after**2 * (before**2 - after**2) / before**2)
    expected = x + (np.sqrt(after**2 - up**2) - before) * noise + up * fresh
    told = Prediction(jnp.asarray(x - before * noise), jnp.asarray(noise))
    found = euler_ancestral_step(x, told, Level(0.0, 1.0, before), Level(0.0, 1.0, after), eta=1.0, noise=fresh)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_split_keeps_its_total_in_float32_where_the_usual_radicand_is_negative():
    levels = grids.trailing(schedules.cosine(), 5)
    for eta in (0.0, 0.7, 1.0):
        kept, fresh = jax.vmap(lambda a, b, eta=eta: jnp.stack(ancestral.split_noise(a, b, eta)))(levels[:-1], levels[1:]).T
        assert np.all(np.isfinite(kept)) and np.all(kept >= 0) and np.all(fresh >= 0)
        np.testing.assert_allclose(kept**2 + fresh**2, levels.sigma[1:] ** 2, rtol=1e-6)
    found = run(MIXTURE, euler_ancestral(), levels, jnp.asarray(rand(0, 2, 3), jnp.float32))
    assert np.all(np.isfinite(found))


# Heun with churn.


@pytest.mark.parametrize("told", ["mixture", "network"])
def test_churn_zero_is_heun_bit_for_bit(told):
    denoise = denoiser.from_network(network, jnp.float32(0.7), parameterization.velocity()) if told == "network" else MIXTURE
    schedule = schedules.cosine()
    levels, x = grids.trailing(schedule, 6), jnp.asarray(rand(0, 2, 3), jnp.float32)
    heun = run(denoise, runge_kutta.heun(), levels, x)
    np.testing.assert_array_equal(run(denoise, churn_churn(schedule, 0.0), levels, x), heun)
    beyond = churn_churn(schedule, 40.0, churn_min=1e6)
    np.testing.assert_array_equal(run(denoise, beyond, levels, x), heun, err_msg="no level lies in the range")
    np.testing.assert_array_equal(fixed(churn_churn(schedule, 0.0))(levels, x), fixed(runge_kutta.heun())(levels, x))


@pytest.mark.float64
@pytest.mark.parametrize("churn", [2.0, 40.0], ids=["small", "capped"])
def test_churn_is_the_published_algorithm(churn):
    """Karras et al., 2022, Alg. 2, line by line, with the noise that the sampler draws."""
    steps, low, high, inflated = 6, 0.05, 50.0, 1.003
    schedule = schedules.edm()
    levels = grids.karras(schedule, steps)
    sigma, drawn = np.asarray(levels.sigma), noises(steps)
    x = 80 * rand(0, 2, 3)
    start = jnp.asarray(x)

    def denoised(x, s):
        return np.asarray(MIXTURE(jnp.asarray(x), Level(0.0, 1.0, s)).clean)

    for i in range(steps):
        gamma = min(churn / steps, np.sqrt(2) - 1) if low <= sigma[i] <= high else 0.0
        raised = sigma[i] + gamma * sigma[i]
        x = x + np.sqrt(raised**2 - sigma[i] ** 2) * inflated * drawn[i]
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
    sampler = churn_churn(schedule, churn, churn_min=low, churn_max=high, churn_noise=inflated)
    np.testing.assert_allclose(run(MIXTURE, sampler, levels, start), x, rtol=1e-9, atol=1e-10)


@pytest.mark.float64
def test_churn_means_the_same_for_every_process():
    """Levels of equal sigma/alpha: x/alpha runs along the same path, whatever the scale."""
    ends = []
    for schedule in (schedules.edm(), schedules.flow(), schedules.linear()):
        levels = grids.log_snr(schedule, 5, sigma_min=0.05, sigma_max=5.0)
        start = levels.alpha[0] * jnp.asarray(5 * rand(0, 2, 3))
        ends.append(run(MIXTURE, churn_churn(schedule, 10.0), levels, start))
    np.testing.assert_allclose(ends[1], ends[0], rtol=1e-8)
    np.testing.assert_allclose(ends[2], ends[0], rtol=1e-8)


@pytest.mark.float64
def test_churned_noise_is_what_the_new_level_asks_for():
    schedule, level, gamma = schedules.cosine(), Level(300.0, 0.8, 0.6), 0.3
    x, clean, noise, fresh = (rand(seed, 2, 3) for seed in range(4))
    x = 0.8 * clean + 0.6 * noise
    found, noisier = churned(jnp.asarray(x), level, gamma, schedule, noise=fresh, churn_noise=1.0)
    assert float(noisier.sigma / noisier.alpha) == pytest.approx(1.3 * 0.75, rel=1e-12)
    kept = noisier.alpha / 0.8 * 0.6
    expected = noisier.alpha * clean + kept * noise + np.sqrt(noisier.sigma**2 - kept**2) * fresh
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_churn_counts_the_steps_that_are_run_and_not_those_of_the_padded_grid():
    schedule, x = schedules.flow(), jnp.asarray(rand(0, 2, 3), jnp.float32)
    levels, sampler = grids.trailing(schedule, 4), churn_churn(schedule, 0.8)
    found = run(MIXTURE, sampler, grids.padded(levels, 9), x, jnp.asarray(4))
    np.testing.assert_allclose(found, run(MIXTURE, sampler, levels, x), atol=5e-6)
    assert np.abs(found - run(MIXTURE, churn_churn(schedule, 0.8 * 4 / 9), levels, x)).max() > 1e-3


@pytest.mark.parametrize("wrong", [-0.1, float("nan")])
def test_numbers_outside_their_range_are_refused(wrong):
    for name in ("churn", "churn_min", "churn_max", "churn_noise"):
        with pytest.raises(ValueError, match=name):
            churn_churn(schedules.flow(), **{name: wrong})
    with pytest.raises(ValueError, match="eta"):
        euler_ancestral(wrong)
    with pytest.raises(ValueError, match="churn"):
        churn_churn(schedules.flow(), float("inf"))
