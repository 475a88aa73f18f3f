"""The forward process: closed form, chain and posterior agree; noise, score and velocity are views of one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import process, schedules
from gendiff.diffusion.types import Level

# (level, cleaner) of a variance-preserving, an exploding and a straight path, and a step that starts at zero signal
PAIRS = {
    "preserving": (Level(500.0, 0.6, 0.8), Level(300.0, 0.8, 0.6)),
    "exploding": (Level(0.3, 1.0, 5.0), Level(0.1, 1.0, 2.0)),
    "straight": (Level(700.0, 0.3, 0.7), Level(400.0, 0.6, 0.4)),
    "from zero signal": (Level(999.0, 0.0, 1.0), Level(900.0, 0.5, 0.75**0.5)),
}
pairs = pytest.mark.parametrize(("level", "cleaner"), PAIRS.values(), ids=PAIRS.keys())


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.float64
@pytest.mark.parametrize("shape", [(3, 5), (3, 4, 2), (3, 4, 4, 2), (3, 2, 2, 2, 2)], ids=["vector", "sequence", "image", "volume"])
def test_add_noise_is_alpha_clean_plus_sigma_noise_for_any_rank(shape):
    clean, noise = rand(0, *shape), rand(1, *shape)
    np.testing.assert_allclose(process.add_noise(clean, noise, Level(1.0, 0.6, 0.8)), 0.6 * clean + 0.8 * noise, rtol=1e-14)
    alpha, sigma = np.array([1.0, 0.6, 0.0]), np.array([0.0, 0.8, 1.0])
    expected = np.stack([a * c + s * n for a, s, c, n in zip(alpha, sigma, clean, noise, strict=True)])
    np.testing.assert_allclose(process.add_noise(clean, noise, Level(np.zeros(3), alpha, sigma)), expected, rtol=1e-14)


def test_add_noise_keeps_the_dtype_of_the_sample():
    clean, noise = jnp.ones((2, 3), jnp.float32), jnp.ones((2, 3), jnp.float32)
    assert process.add_noise(clean, noise, schedules.linear(10).table[3]).dtype == jnp.float32


@pytest.mark.float64
@pytest.mark.parametrize("build", [schedules.linear, schedules.cosine, schedules.scaled_linear])
def test_the_chain_composes_to_the_closed_form(build):
    table, mean, variance = build(1000).table, 1.0, 0.0
    cleaner = build(1000).clean
    one, zero = jnp.ones((1, 1)), jnp.zeros((1, 1))
    levels = [table[i] for i in range(0, 1000, 37)] + [table[999]]
    for level in levels:
        gain = float(process.forward_step(one, zero, cleaner, level)[0, 0])
        spread = float(process.forward_step(zero, one, cleaner, level)[0, 0])
        mean, variance, cleaner = gain * mean, gain**2 * variance + spread**2, level
        assert mean == pytest.approx(level.alpha, rel=1e-10)
        assert variance == pytest.approx(level.sigma**2, rel=1e-10)
    betas = np.linspace(1e-4, 0.02, 1000)
    if build is schedules.linear:
        assert float(process.forward_step(one, zero, table[41], table[42])[0, 0]) == pytest.approx(np.sqrt(1 - betas[42]), rel=1e-12)
        assert float(process.forward_step(zero, one, table[41], table[42])[0, 0]) == pytest.approx(np.sqrt(betas[42]), rel=1e-9)


@pytest.mark.float64
@pairs
def test_posterior_is_bayes_rule_on_two_gaussians(level, cleaner):
    x, clean = rand(0, 2, 3), rand(1, 2, 3)
    mean, std = process.posterior(x, clean, level, cleaner)
    ratio = level.alpha / cleaner.alpha
    added = level.sigma**2 - ratio**2 * cleaner.sigma**2
    precision = 1 / cleaner.sigma**2 + ratio**2 / added
    np.testing.assert_allclose(np.broadcast_to(std, x.shape), precision**-0.5, rtol=1e-12)
    np.testing.assert_allclose(mean, (cleaner.alpha * clean / cleaner.sigma**2 + ratio * x / added) / precision, rtol=1e-10)


@pytest.mark.float64
def test_posterior_variance_respaced_is_as_published():
    table = schedules.linear().table
    for start, end, published in ((420, 400, 0.14772), (980, 960, 0.32461)):
        _, std = process.posterior(np.zeros((1, 1)), np.zeros((1, 1)), table[start], table[end])
        assert float(jnp.squeeze(std)) ** 2 == pytest.approx(published, abs=5.1e-6)


@pytest.mark.float64
@pairs
def test_posterior_towards_clean_data_is_the_clean_sample(level, cleaner):
    x, clean = rand(0, 2, 3), rand(1, 2, 3)
    mean, std = process.posterior(x, clean, level, Level(-1.0, 1.0, 0.0))
    np.testing.assert_allclose(mean, clean, atol=1e-12)
    np.testing.assert_array_equal(np.broadcast_to(std, x.shape), 0)


@pytest.mark.float64
@pairs
def test_noise_score_and_velocity_are_views_of_each_other(level, cleaner):
    clean, noise = rand(0, 2, 3), rand(1, 2, 3)
    score = process.score_from_noise(noise, level)
    np.testing.assert_allclose(score, -noise / level.sigma, rtol=1e-13)
    np.testing.assert_allclose(process.noise_from_score(score, level), noise, rtol=1e-13)
    np.testing.assert_allclose(
        process.velocity_from(clean, noise, level), level.alpha * noise - level.sigma * clean, rtol=1e-12, atol=1e-14
    )


def test_process_functions_run_under_jit_vmap_and_grad():
    level = Level(jnp.zeros(3), jnp.array([0.9, 0.6, 0.0]), jnp.array([0.4, 0.8, 1.0]))
    clean, noise = jnp.asarray(rand(0, 3, 2), jnp.float32), jnp.asarray(rand(1, 3, 2), jnp.float32)
    plain = process.add_noise(clean, noise, level)
    np.testing.assert_allclose(jax.jit(process.add_noise)(clean, noise, level), plain, rtol=1e-6)
    rows = jax.vmap(lambda c, n, lv: process.add_noise(c[None], n[None], lv)[0])(clean, noise, level)
    np.testing.assert_allclose(rows, plain, rtol=1e-6)
    cleaner = Level(jnp.zeros(3), jnp.ones(3), jnp.zeros(3))

    def total(level, cleaner):
        mean, std = process.posterior(noise, clean, level, cleaner)
        return mean.sum() + std.sum() + process.forward_step(clean, noise, cleaner, level).sum()

    for leaf in jax.tree.leaves(jax.grad(total, argnums=(0, 1))(level, cleaner)):
        assert np.all(np.isfinite(leaf))


LEVEL = Level(1.0, 0.6, 0.8)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "error", "named"),
    [
        (lambda: process.add_noise(rand(0, 2, 3), rand(0, 2, 4), LEVEL), ValueError, r"\(2, 3\).*\(2, 4\)"),
        (lambda: process.add_noise(rand(0, 2, 3), rand(0, 3), LEVEL), ValueError, r"\(2, 3\).*\(3,\)"),
        (lambda: process.forward_step(rand(0, 2, 3), rand(0, 2, 4), LEVEL, LEVEL), ValueError, r"\(2, 3\).*\(2, 4\)"),
        (lambda: process.posterior(rand(0, 2, 3), rand(0, 2, 4), LEVEL, LEVEL), ValueError, r"\(2, 3\).*\(2, 4\)"),
        (lambda: process.velocity_from(rand(0, 2, 3), rand(0, 2, 4), LEVEL), ValueError, r"\(2, 3\).*\(2, 4\)"),
        (lambda: process.add_noise(rand(0, 2, 3), rand(0, 2, 3), Level(1.0, np.ones(3), np.ones(3))), ValueError, r"\(2,\).*\(3,\)"),
        (lambda: process.add_noise(rand(0, 2, 3), rand(0, 2, 3), Level(1.0, np.ones((2, 1)), 0.5)), ValueError, r"\(2, 1\)"),
        (lambda: process.add_noise(np.zeros((2, 3), np.uint8), rand(0, 2, 3), LEVEL), TypeError, "uint8"),
        (lambda: process.add_noise(np.zeros((2, 3), np.int32), rand(0, 2, 3), LEVEL), TypeError, "int32"),
        (lambda: process.add_noise(np.array([[0.0, 17.0, 255.0]]), rand(0, 1, 3), LEVEL), ValueError, r"255.*\[-1, 1\]"),
    ],
)
def test_mismatched_arrays_and_unscaled_images_are_refused(call, error, named):
    with pytest.raises(error, match=named):
        call()
