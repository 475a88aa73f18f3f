"""DDPM and DDIM: identities of their papers, published end values, the peer's trajectory with its own noise."""

import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from gendiff.diffusion import denoiser, grids, oracles, parameterization, process, sampling, schedules
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Level, Prediction

FIXTURE = pathlib.Path(__file__).parents[1] / "ddpm_fixture.safetensors"


def peer_sample():
    """The sample of diffusers' scheduler tests: arange / size as (3, 8, 8, 4), the last axis moved to the front."""
    return np.moveaxis(np.arange(768.0).reshape(3, 8, 8, 4) / 768, -1, 0)


def peer_model(kind=parameterization.noise):
    def denoise(x, level):
        output = x * level.t / (level.t + 1)
        return kind().predict(x, output, level)

    return denoise


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def run(denoise, sampler, levels, start):
    index = jnp.arange(len(start))
    return np.asarray(sampling.sample(jax.random.key(0), denoise, sampler, levels, start.shape[1:], index, start=jnp.asarray(start)))


@pytest.mark.float64
@pytest.mark.parametrize(
    ("schedule", "kind", "end", "published"),
    [
        (schedules.linear(), parameterization.noise, "clean", 172.00652),
        (schedules.linear(), parameterization.velocity, "clean", 52.5302),
        (schedules.linear(1000, 0.01, 0.02), parameterization.noise, "clean", 149.8295),
    ],
    ids=["noise", "velocity", "strong noise"],
)
def test_ddim_reaches_the_published_sums(schedule, kind, end, published):
    found = run(peer_model(kind), ancestral.ddim(), grids.leading(schedule, 10, end=end), peer_sample())
    assert np.abs(found).sum() == pytest.approx(published, abs=1e-4)


@pytest.mark.float64
def test_ddim_reaches_the_published_sum_when_its_last_level_is_the_first_of_the_table():
    """diffusers' set_alpha_to_one = False: the last step goes from t = 0 to the same level, so that it ends at alpha_bar[0]."""
    schedule = schedules.linear(1000, 0.01, 0.02)
    visited = schedule.table[np.append(np.arange(900, -1, -100), 0)]
    found = run(peer_model(), ancestral.ddim(), jax.tree.map(jnp.asarray, visited), peer_sample())
    assert np.abs(found).sum() == pytest.approx(149.0784, abs=1e-4)


@pytest.mark.float64
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm_follows_the_peer_given_the_peers_noise(variance):
    """tests/diffusion/make_ddpm_fixture.py wrote the trajectory and the noise that it used."""
    peer, levels = load_file(FIXTURE), grids.leading(schedules.linear(), 10)
    x = jnp.asarray(peer["start"])
    for step in range(10):
        told = peer_model()(x, levels[step])
        x = ancestral.ddpm_step(x, told, levels[step], levels[step + 1], noise=jnp.asarray(peer["noises"][step]), variance=variance)
        np.testing.assert_allclose(x, peer[variance][step], rtol=1e-10, atol=1e-12)


PAIRS = [(990, 980), (980, 960), (420, 400), (999, 0), (1, 0)]


@pytest.mark.float64
@pytest.mark.parametrize(("t", "s"), PAIRS)
@pytest.mark.parametrize("build", [schedules.linear, schedules.cosine], ids=["linear", "cosine"])
def test_ddim_with_eta_one_is_the_ddpm_posterior_on_any_subgrid(build, t, s):
    table = build().table
    level, cleaner = table[t], table[s]
    clean, noise, fresh = rand(0, 2, 3), rand(1, 2, 3), rand(2, 2, 3)
    x = level.alpha * clean + level.sigma * noise
    told = Prediction(jnp.asarray(clean), jnp.asarray(noise))
    mean, std = process.posterior(x, clean, level, cleaner)
    np.testing.assert_allclose(ancestral.ancestral_std(level, cleaner), np.squeeze(std), rtol=1e-7)
    found = ancestral.ddim_step(told, level, cleaner, eta=1.0, noise=fresh)
    np.testing.assert_allclose(found, mean + std * fresh, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ancestral.ddpm_step(x, told, level, cleaner, noise=fresh), mean + std * fresh, rtol=1e-10, atol=1e-12)


@pytest.mark.float64
def test_respaced_posterior_variance_is_as_published():
    table = schedules.linear().table
    assert float(ancestral.ancestral_std(table[420], table[400])) ** 2 == pytest.approx(0.14772, abs=5.1e-6)
    assert float(ancestral.ancestral_std(table[980], table[960])) ** 2 == pytest.approx(0.32461, abs=5.1e-6)


@pytest.mark.float64
def test_ddim_step_is_equation_12():
    """sqrt(a') x0 + sqrt(1 - a' - s²) e + s n with s = eta sqrt((1-a')/(1-a)) sqrt(1 - a/a')."""
    before, after, eta = 0.3, 0.7, 0.6
    clean, noise, fresh = rand(0, 2, 3), rand(1, 2, 3), rand(2, 2, 3)
    s = eta * np.sqrt((1 - after) / (1 - before)) * np.sqrt(1 - before / after)
    expected = np.sqrt(after) * clean + np.sqrt(1 - after - s**2) * noise + s * fresh
    level, cleaner = (Level(0.0, np.sqrt(a), np.sqrt(1 - a)) for a in (before, after))
    found = ancestral.ddim_step(Prediction(jnp.asarray(clean), jnp.asarray(noise)), level, cleaner, eta=eta, noise=fresh)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.float64
def test_ddim_is_euler_in_exploding_coordinates():
    """x/alpha moves by noise times the change of sigma/alpha."""
    level, cleaner = Level(0.0, 0.4, np.sqrt(1 - 0.16)), Level(0.0, 0.9, np.sqrt(1 - 0.81))
    x, noise = rand(0, 2, 3), rand(1, 2, 3)
    told = Prediction(jnp.asarray((x - level.sigma * noise) / level.alpha), jnp.asarray(noise))
    expected = cleaner.alpha * (x / level.alpha + (cleaner.sigma / cleaner.alpha - level.sigma / level.alpha) * noise)
    np.testing.assert_allclose(ancestral.ddim_step(told, level, cleaner), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.float64
def test_fixed_variances_are_exact_for_their_own_data():
    """Large: a chain of unit-Gaussian data keeps unit variance. Small: the variance given a known clean point is the posterior's."""
    table, one, zero = schedules.linear().table, np.ones((1, 1)), np.zeros((1, 1))
    for t, s in PAIRS[:3]:
        level, cleaner = table[t], table[s]
        slope = float(ancestral.ddpm_step(one, oracles.gaussian(1.0)(one, level), level, cleaner, noise=zero, variance="large")[0, 0])
        told = oracles.gaussian(1.0)(zero, level)
        spread = float(ancestral.ddpm_step(zero, told, level, cleaner, noise=one, variance="large")[0, 0])
        assert slope**2 + spread**2 == pytest.approx(1, rel=1e-10)
        assert spread**2 == pytest.approx(1 - (level.alpha / cleaner.alpha) ** 2, rel=1e-10)
        point = oracles.gaussian(0.0)
        slope = float(ancestral.ddpm_step(one, point(one, level), level, cleaner, noise=zero)[0, 0])
        spread = float(ancestral.ddpm_step(zero, point(zero, level), level, cleaner, noise=one)[0, 0])
        assert (slope * level.sigma) ** 2 + spread**2 == pytest.approx(cleaner.sigma**2, rel=1e-10)


@pytest.mark.float64
def test_ddim_error_halves_when_steps_double():
    gaussian = oracles.gaussian(std=0.5)
    errors = [gaussian.endpoint_error(ancestral.ddim(), steps) for steps in (40, 80, 160, 320)]
    for coarse, fine in zip(errors, errors[1:], strict=False):
        assert 0.9 < math.log2(coarse / fine) < 1.1


def test_a_step_between_equal_levels_changes_nothing_and_has_finite_gradients():
    gaussian = oracles.gaussian(0.5)
    x = jnp.asarray(rand(0, 2, 3), jnp.float32)
    for level in (Level(3.0, 0.6, 0.8), Level(-1.0, 1.0, 0.0)):
        noise = jnp.ones_like(x)
        told = gaussian(x, level)
        for eta in (0.0, 1.0):
            np.testing.assert_allclose(ancestral.ddim_step(told, level, level, eta=eta, noise=noise), x, atol=1e-3 if eta else 1e-6)

        def total(eta, alpha, sigma, level=level, noise=noise, x=x):
            before, after = Level(0.0, alpha, sigma), Level(0.0, jnp.float32(level.alpha), jnp.float32(level.sigma))
            step = ancestral.ddim_step(gaussian(x, before), before, after, eta=eta, noise=noise)
            return jnp.sum(step + ancestral.ddpm_step(x, gaussian(x, before), before, after, noise=noise))

        slopes = jax.grad(total, argnums=(0, 1, 2))(jnp.float32(1.0), jnp.float32(level.alpha), jnp.float32(level.sigma))
        assert all(np.isfinite(slopes)), (level, slopes)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("eta", [-0.1, 1.1, float("nan")])
def test_eta_outside_its_range_is_refused(eta):
    with pytest.raises(ValueError, match="eta"):
        ancestral.ddim(eta)


@pytest.mark.usefixtures("unchecked")
def test_unknown_variance_and_missing_noise_are_refused():
    told, level = Prediction(jnp.ones((2, 3)), jnp.ones((2, 3))), Level(0.0, 0.6, 0.8)
    with pytest.raises(ValueError, match="small.*large"):
        ancestral.ddpm("larger")
    with pytest.raises(ValueError, match="small.*large"):
        ancestral.ddpm_step(jnp.ones((2, 3)), told, level, level, noise=jnp.ones((2, 3)), variance="middle")
    with pytest.raises((TypeError, ValueError), match="noise"):
        ancestral.ddim_step(told, level, level, eta=0.5)
    with pytest.raises(ValueError, match="eta"):
        ancestral.ddim_step(told, level, level, eta=1.5, noise=jnp.ones((2, 3)))


# A variance that the network answers.


@pytest.mark.float64
def test_learned_variance_is_equation_15_on_the_sub_grid():
    """exp(v log b + (1 - v) log b~) with the betas and posterior variances of the respaced chain (Nichol & Dhariwal, 2021)."""
    share = schedules.linear().table.alpha[[100, 300, 500, 700]] ** 2
    betas = 1 - share / np.append(1.0, share[:-1])
    posterior = betas * (1 - np.append(1.0, share[:-1])) / (1 - share)
    x, clean, fresh, v = rand(0, 2, 3), rand(1, 2, 3), rand(2, 2, 3), rand(3, 2, 3)  # v is bound by nothing
    told = Prediction(jnp.asarray(clean), jnp.asarray(clean), variance_share=jnp.asarray(v))
    for k in (1, 2, 3):
        level, cleaner = (Level(0.0, np.sqrt(a), np.sqrt(1 - a)) for a in (share[k], share[k - 1]))
        mean, _ = process.posterior(x, clean, level, cleaner)
        std = np.exp((v * np.log(betas[k]) + (1 - v) * np.log(posterior[k])) / 2)
        found = ancestral.ddpm_step(x, told, level, cleaner, noise=fresh, variance="learned")
        np.testing.assert_allclose(found, mean + std * fresh, rtol=1e-10)


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.cosine, schedules.flow, schedules.edm], ids=["cosine", "flow", "edm"])
def test_learned_variance_runs_from_small_to_large(build):
    x, clean, fresh = (jnp.asarray(rand(seed, 2, 3)) for seed in range(3))
    ones = jnp.ones_like(x)
    levels = grids.trailing(build(), 3)
    for k in range(3):
        for share, variance in ((0 * ones, "small"), (ones, "large")):
            told = Prediction(clean, clean, variance_share=share)
            fixed, learned = (
                ancestral.ddpm_step(x, told, levels[k], levels[k + 1], noise=fresh, variance=name) for name in (variance, "learned")
            )
            np.testing.assert_allclose(learned, fixed, rtol=1e-9, atol=1e-12)


def learned_network(params, x, t, label):
    """Twice the channels: half for the prediction, half for the share."""
    output = jnp.tanh(params * x) + 0.1 * label.astype(x.dtype)[:, None, None]
    return jnp.concatenate([output, 0.5 + 0.1 * output], axis=-1)


def test_a_network_that_answers_twice_the_channels_says_its_variance():
    x, level, kind = jnp.asarray(rand(0, 2, 4, 3), jnp.float32), Level(7.0, 0.6, 0.8), parameterization.velocity()
    told = denoiser.from_network(learned_network, jnp.float32(0.7), kind, jnp.array([1, 2]), learned_variance=True)
    found, both = told(x, level), learned_network(jnp.float32(0.7), x, 7.0, jnp.array([1, 2]))
    expected = kind.predict(x, both[..., :3], level)
    np.testing.assert_array_equal(found.clean, expected.clean)
    np.testing.assert_array_equal(found.noise, expected.noise)
    np.testing.assert_array_equal(found.variance_share, both[..., 3:])
    with pytest.raises(TypeError, match="twice the channels"):
        denoiser.from_network(lambda p, x, t: x, None, kind, learned_variance=True)(x, level)
    with pytest.raises(TypeError, match="must be equal"):
        denoiser.from_network(learned_network, jnp.float32(0.7), kind, 1)(x, level)


def test_sampling_with_a_learned_variance_is_finite_and_so_are_its_gradients():
    levels = grids.trailing(schedules.zero_terminal_snr(schedules.linear(50)), 3)

    def total(params, levels, start):
        told = denoiser.from_network(learned_network, params, parameterization.velocity(), 1, learned_variance=True)
        sampler = ancestral.ddpm("learned")
        return jnp.sum(sampling.sample(jax.random.key(0), told, sampler, levels, (4, 3), jnp.arange(2), start=start) ** 2)

    found = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))(jnp.float32(0.7), levels, jnp.ones((2, 4, 3)))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found)) and float(found[1][0]) != 0


@pytest.mark.usefixtures("unchecked")
def test_a_learned_variance_that_was_never_answered_is_refused():
    gaussian, levels = oracles.gaussian(0.5), grids.trailing(schedules.cosine(), 2)
    with pytest.raises(ValueError, match="learned_variance=True"):
        run(gaussian, ancestral.ddpm("learned"), levels, np.ones((2, 3), np.float32))
    told = Prediction(jnp.ones((2, 3)), jnp.ones((2, 3)), variance_share=jnp.ones((2, 1)))
    with pytest.raises(ValueError, match="variance_share"):
        ancestral.ddpm_step(jnp.ones((2, 3)), told, levels[0], levels[1], noise=jnp.ones((2, 3)), variance="learned")


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_noise_kept_and_the_noise_added_make_up_the_level(eta):
    levels = grids.trailing(schedules.zero_terminal_snr(schedules.linear()), 4)
    kept, fresh = ancestral.split_noise(levels[:-1], levels[1:], eta)
    np.testing.assert_allclose(kept**2 + fresh**2, levels.sigma[1:] ** 2, rtol=1e-6, atol=1e-12)
    if eta == 0:
        np.testing.assert_array_equal(kept, levels.sigma[1:])
    np.testing.assert_allclose(fresh, eta * ancestral.ancestral_std(levels[:-1], levels[1:]), rtol=1e-6)
