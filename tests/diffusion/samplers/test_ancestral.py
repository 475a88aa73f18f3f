"""DDPM and DDIM: identities of their papers, exact laws, methods that are DDIM, and a variance that the network
predicts.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import denoiser, grids, oracles, parameterization, process, schedules
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.samplers.deis import deis
from gendiff.diffusion.samplers.dpm_solver_multistep import dpm_solver_multistep
from gendiff.diffusion.samplers.dpm_solver_single import dpm_solver_single
from gendiff.diffusion.samplers.euler_ancestral import euler_ancestral
from gendiff.diffusion.types import Level, Prediction
from tests.diffusion.samplers.draws import rand, trajectory
from tests.quickly import in_numpy
from tests.refusals import refusals
from tests.tables import table

PAIRS = [(990, 980), (980, 960), (420, 400), (999, 0), (1, 0)]


@pytest.mark.float64
@table(
    ("sampler", "eta"),
    [
        (runge_kutta.euler(), 0.0),
        (deis(1), 0.0),
        (deis(1, variable="ratio"), 0.0),
        (dpm_solver_multistep(1), 0.0),
        (dpm_solver_multistep(1, eta=1.0), 1.0),
        (dpm_solver_single(schedules.flow(), 1), 0.0),
        (dpm_solver_single(schedules.flow(), 1, eta=1.0), 1.0),
        (euler_ancestral(0.3), 0.3),
        (euler_ancestral(1.0), 1.0),
    ],
)
def test_methods_of_first_order_are_ddim(sampler, eta):
    """The SDE form of DPM-Solver++ is DDIM with eta = 1 alone."""
    for schedule in (schedules.linear(), schedules.cosine(), schedules.flow(), schedules.edm()):
        levels = grids.trailing(schedule, 5)
        np.testing.assert_allclose(
            trajectory(sampler, levels), trajectory(ancestral.ddim(eta), levels), rtol=1e-9, atol=1e-11
        )


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.linear, schedules.cosine], ids=["linear", "cosine"])
def test_ddim_with_eta_one_is_the_ddpm_posterior_on_any_subgrid(build):
    table = build().table
    clean, noise, fresh = (jnp.asarray(rand(seed, 2, 3)) for seed in range(3))
    prediction = Prediction(clean, noise)
    for t, s in PAIRS:
        level, cleaner = table[t], table[s]
        x = level.alpha * clean + level.sigma * noise
        mean, std = process.posterior(x, clean, level, cleaner)
        np.testing.assert_allclose(ancestral.ancestral_std(level, cleaner), np.squeeze(std), rtol=1e-7)
        result = ancestral.ddim_step(prediction, level, cleaner, eta=1.0, noise=fresh)
        np.testing.assert_allclose(result, mean + std * fresh, rtol=1e-7, atol=1e-10)
        result = ancestral.ddpm_step(x, prediction, level, cleaner, noise=fresh)
        np.testing.assert_allclose(result, mean + std * fresh, rtol=1e-10, atol=1e-12)


@pytest.mark.float64
def test_respaced_posterior_variance_is_as_published():
    table = schedules.linear().table
    for t, s, published in ((420, 400, 0.14772), (980, 960, 0.32461)):
        assert float(ancestral.ancestral_std(table[t], table[s])) ** 2 == pytest.approx(published, abs=5.1e-6)


@pytest.mark.float64
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim_step_is_equation_12(eta):
    """sqrt(a') x0 + sqrt(1 - a' - s²) e + s n with s = eta sqrt((1-a')/(1-a)) sqrt(1 - a/a')."""
    before, after = 0.3, 0.7
    clean, noise, fresh = (jnp.asarray(rand(seed, 2, 3)) for seed in range(3))
    s = eta * np.sqrt((1 - after) / (1 - before)) * np.sqrt(1 - before / after)
    level, cleaner = (Level(0.0, np.sqrt(a), np.sqrt(1 - a)) for a in (before, after))
    result = ancestral.ddim_step(Prediction(clean, noise), level, cleaner, eta=eta, noise=fresh)
    np.testing.assert_allclose(
        result, np.sqrt(after) * clean + np.sqrt(1 - after - s**2) * noise + s * fresh, rtol=1e-12
    )


@pytest.mark.float64
def test_fixed_variances_are_exact_for_their_own_data():
    """Large: a chain of unit-Gaussian data keeps unit variance. Small: the variance given a known clean point is the
    posterior's.
    """
    table, one, zero = schedules.linear().table, np.ones((1, 1)), np.zeros((1, 1))
    for t, s in PAIRS[:3]:
        level, cleaner = table[t], table[s]

        def response(x, noise, std, variance, level=level, cleaner=cleaner):
            prediction = oracles.gaussian(std)(x, level)
            return float(ancestral.ddpm_step(x, prediction, level, cleaner, noise=noise, variance=variance)[0, 0])

        slope, spread = response(one, zero, 1.0, "large"), response(zero, one, 1.0, "large")
        assert slope**2 + spread**2 == pytest.approx(1, rel=1e-10)
        assert spread**2 == pytest.approx(1 - (level.alpha / cleaner.alpha) ** 2, rel=1e-10)
        slope, spread = response(one, zero, 0.0, "small"), response(zero, one, 0.0, "small")
        assert (slope * level.sigma) ** 2 + spread**2 == pytest.approx(cleaner.sigma**2, rel=1e-10)


def test_a_step_between_equal_levels_changes_nothing_and_has_finite_gradients():
    gaussian, x = oracles.gaussian(0.5), rand(0, 2, 3).astype(np.float32)
    noise = np.ones_like(x)

    def total(eta, before, after):
        prediction = gaussian(x, before)
        step = ancestral.ddim_step(prediction, before, after, eta=eta, noise=noise)
        return jnp.sum(step + ancestral.ddpm_step(x, prediction, before, after, noise=noise)), step

    both = in_numpy(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))
    for level in (Level(3.0, 0.6, 0.8), Level(-1.0, 1.0, 0.0)):
        for eta in (0.0, 1.0):
            (_, result), slopes = both(eta, level, level)
            np.testing.assert_allclose(result, x, atol=1e-3 if eta else 1e-6)
            assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(slopes)), (level, slopes)


def test_the_noise_kept_and_the_noise_added_make_up_the_level():
    """On the cosine grid the usual radicand is negative in float32."""

    @in_numpy
    def split(levels, eta):
        return *ancestral.split_noise(levels[:-1], levels[1:], eta), ancestral.ancestral_std(levels[:-1], levels[1:])

    for schedule, eta in itertools.product(
        (schedules.zero_terminal_snr(schedules.linear()), schedules.cosine()), (0.0, 0.5, 1.0)
    ):
        levels = jax.device_get(grids.trailing(schedule, 5))
        predicted, fresh, std = split(levels, eta)
        assert np.all(predicted >= 0) and np.all(fresh >= 0)
        np.testing.assert_allclose(predicted**2 + fresh**2, levels.sigma[1:] ** 2, rtol=1e-6, atol=1e-12)
        np.testing.assert_allclose(fresh, eta * std, rtol=1e-6)
        if eta == 0:
            np.testing.assert_array_equal(predicted, levels.sigma[1:])


# A variance that the network predicts.


@pytest.mark.float64
def test_learned_variance_is_equation_15_on_the_sub_grid():
    """exp(v log b + (1 - v) log b~) with the betas and posterior variances of the respaced chain (Nichol & Dhariwal,
    2021).
    """
    share = schedules.linear().table.alpha[[100, 300, 500, 700]] ** 2
    before = np.append(1.0, share[:-1])
    betas = 1 - share / before
    posterior = betas * (1 - before) / (1 - share)
    x, clean, fresh, v = (jnp.asarray(rand(seed, 2, 3)) for seed in range(4))  # v is bound by nothing
    prediction = Prediction(clean, clean, variance_share=v)
    for k in (1, 2, 3):
        level, cleaner = (Level(0.0, np.sqrt(a), np.sqrt(1 - a)) for a in (share[k], share[k - 1]))
        mean, _ = process.posterior(x, clean, level, cleaner)
        std = np.exp((v * np.log(betas[k]) + (1 - v) * np.log(posterior[k])) / 2)
        result = ancestral.ddpm_step(x, prediction, level, cleaner, noise=fresh, variance="learned")
        np.testing.assert_allclose(result, mean + std * fresh, rtol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.cosine, schedules.flow, schedules.edm], ids=["cosine", "flow", "edm"])
def test_learned_variance_runs_from_small_to_large(build):
    x, clean, fresh = (jnp.asarray(rand(seed, 2, 3)) for seed in range(3))
    levels = grids.trailing(build(), 3)
    for k in range(3):
        for share, variance in ((jnp.zeros_like(x), "small"), (jnp.ones_like(x), "large")):
            step = x, Prediction(clean, clean, variance_share=share), levels[k], levels[k + 1]
            fixed, learned = (ancestral.ddpm_step(*step, noise=fresh, variance=name) for name in (variance, "learned"))
            np.testing.assert_allclose(learned, fixed, rtol=1e-9, atol=1e-12)


def test_a_network_of_twice_the_channels_predicts_its_variance():
    def network(gain, x, t, label):
        output = jnp.tanh(gain * x) + 0.1 * label.astype(x.dtype)[:, None, None]
        return jnp.concatenate([output, 0.5 + 0.1 * output], axis=-1)

    gain, x, level, kind = (
        jnp.float32(0.7),
        jnp.asarray(rand(0, 2, 4, 3), jnp.float32),
        Level(7.0, 0.6, 0.8),
        parameterization.velocity(),
    )
    label = jnp.array([1, 2])
    prediction, both = (
        denoiser.from_network(network, gain, kind, label, learned_variance=True)(x, level),
        network(gain, x, 7.0, label),
    )
    expected = kind.predict(x, both[..., :3], level)
    np.testing.assert_array_equal(prediction.clean, expected.clean)
    np.testing.assert_array_equal(prediction.noise, expected.noise)
    np.testing.assert_array_equal(prediction.variance_share, both[..., 3:])
    with pytest.raises(TypeError, match="twice the channels"):
        denoiser.from_network(lambda p, x, t: x, None, kind, learned_variance=True)(x, level)
    with pytest.raises(TypeError, match="must be equal"):
        denoiser.from_network(network, gain, kind, 1)(x, level)


X, LEVEL, PREDICTION = np.ones((2, 3), np.float32), Level(0.0, 0.6, 0.8), Prediction(np.ones((2, 3)), np.ones((2, 3)))


test_a_step_without_what_it_needs_is_refused = refusals(
    (lambda: ancestral.ddpm_step(X, PREDICTION, LEVEL, LEVEL, noise=X, variance="middle"), "small.*large"),
    (lambda: ancestral.ddim_step(PREDICTION, LEVEL, LEVEL, eta=0.5), "noise"),
    (lambda: ancestral.ddim_step(PREDICTION, LEVEL, LEVEL, eta=1.5, noise=X), "eta"),
    (
        lambda: trajectory(ancestral.ddpm("learned"), grids.trailing(schedules.cosine(), 2), X),
        "learned_variance=True",
        (TypeError, ValueError),
    ),
    (
        lambda: ancestral.ddpm_step(X, Prediction(X, X, X[:, :1]), LEVEL, LEVEL, noise=X, variance="learned"),
        "variance_share",
        (TypeError, ValueError),
    ),
)
