"""Exact denoisers: their predictions are the posterior means of their own distributions, so samplers can be judged without training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import Level
from gendiff.diffusion import oracles

LEVELS = [Level(1.0, 0.6, 0.8), Level(1.0, 1.0, 5.0), Level(1.0, 0.3, 0.7), Level(1.0, 1.0, 0.05)]
levels = pytest.mark.parametrize("level", LEVELS, ids=["preserving", "exploding", "straight", "nearly clean"])
ENDS = [Level(-1.0, 1.0, 0.0), Level(999.0, 0.0, 1.0)]

WEIGHTS, MEANS, STDS = np.array([0.3, 0.7]), np.array([[-1.0, 0.5], [1.5, 0.0]]), np.array([0.4, 0.8])


def mixture():
    return oracles.mixture(WEIGHTS, MEANS, STDS)


def density(x, level):
    """(b,) of the noised mixture, by the formula of a Gaussian, one component after another."""
    total = 0.0
    for weight, mean, std in zip(WEIGHTS, MEANS, STDS, strict=True):
        variance = level.alpha**2 * std**2 + level.sigma**2
        total = total + weight * np.exp(-np.sum((x - level.alpha * mean) ** 2, -1) / (2 * variance)) / (2 * np.pi * variance)
    return total


@pytest.mark.float64
@levels
def test_gaussian_prediction_is_the_conditional_mean(level):
    """E[c | x] = m + alpha s² (x - alpha m) / (alpha² s² + sigma²)."""
    x, s, m = np.random.default_rng(0).normal(size=(3, 4)), 0.5, 0.3
    clean = m + level.alpha * s**2 * (x - level.alpha * m) / (level.alpha**2 * s**2 + level.sigma**2)
    found = oracles.gaussian(s, m)(x, level)
    np.testing.assert_allclose(found.clean, clean, rtol=1e-12)
    np.testing.assert_allclose(found.noise, (x - level.alpha * clean) / level.sigma, rtol=1e-9, atol=1e-11)


@pytest.mark.float64
def test_gaussian_flow_scales_with_the_marginal_spread():
    """In x/alpha: by sqrt((s² + r'²) / (s² + r²)) with r = sigma/alpha."""
    x, s = np.random.default_rng(0).normal(size=(3, 4)), 0.5
    for level, cleaner in ((LEVELS[1], LEVELS[3]), (LEVELS[0], Level(0.0, 0.8, 0.6))):
        before, after = level.sigma / level.alpha, cleaner.sigma / cleaner.alpha
        expected = cleaner.alpha * (x / level.alpha) * np.sqrt((s**2 + after**2) / (s**2 + before**2))
        np.testing.assert_allclose(oracles.gaussian(s).flow(x, level, cleaner), expected, rtol=1e-12)
    moved = oracles.gaussian(s, 2.0).flow(x, ENDS[1], ENDS[0])
    np.testing.assert_allclose(moved, 2.0 + s * x, rtol=1e-12)


@pytest.mark.float64
@levels
def test_mixture_density_score_and_prediction_agree(level):
    x = np.random.default_rng(0).normal(size=(5, 2))
    found, made = mixture(), density(x, level)
    np.testing.assert_allclose(found.log_density(x, level), np.log(made), rtol=1e-11, atol=1e-12)
    step = 1e-6
    slope = np.stack([(np.log(density(x + e, level)) - np.log(density(x - e, level))) / (2 * step) for e in step * np.eye(2)], -1)
    np.testing.assert_allclose(found.score(x, level), slope, rtol=1e-4, atol=1e-5)
    gradient = jax.vmap(jax.grad(lambda row: found.log_density(row[None], level)[0]))(jnp.asarray(x))
    np.testing.assert_allclose(found.score(x, level), gradient, rtol=1e-9, atol=1e-10)
    told = found(x, level)
    np.testing.assert_allclose(told.noise, -level.sigma * np.asarray(found.score(x, level)), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(level.alpha * told.clean + level.sigma * told.noise, x, rtol=1e-9, atol=1e-11)


@pytest.mark.float64
@levels
def test_mixture_of_one_is_the_gaussian(level):
    x = np.random.default_rng(0).normal(size=(5, 2))
    one, alone = oracles.mixture([1.0], np.full((1, 2), 0.3), [0.5])(x, level), oracles.gaussian(0.5, 0.3)(x, level)
    np.testing.assert_allclose(one.clean, alone.clean, rtol=1e-11)
    np.testing.assert_allclose(one.noise, alone.noise, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "build", [lambda: oracles.gaussian(0.5), lambda: oracles.gaussian(0.0, 1.0), mixture], ids=["gaussian", "point", "mixture"]
)
@pytest.mark.parametrize("level", ENDS, ids=["clean", "no signal"])
def test_oracles_and_their_gradients_are_finite_at_both_ends(build, level):
    def total(x, alpha, sigma):
        found = build()(x, Level(level.t, alpha, sigma))
        return jnp.sum(found.clean**2) + jnp.sum(found.noise**2)

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    value, slopes = slope(jnp.ones((3, 2)), jnp.float32(level.alpha), jnp.float32(level.sigma))
    assert np.isfinite(value) and all(np.all(np.isfinite(s)) for s in slopes)
    if level.alpha == 0:
        np.testing.assert_allclose(build()(jnp.ones((3, 2)), level).noise, 1.0, rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 2), (4, 2, 2, 2), (4, 2, 2, 2, 1)], ids=["vector", "sequence", "image", "volume"])
def test_oracles_take_any_rank_and_a_level_for_each_sample(shape):
    level = Level(jnp.zeros(4), jnp.array([1.0, 0.8, 0.6, 0.0]), jnp.array([0.1, 0.6, 0.8, 1.0]))
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    mixed = oracles.mixture(WEIGHTS, np.random.default_rng(1).normal(size=(2, *shape[1:])), STDS)
    for made in (oracles.gaussian(0.5), mixed):
        whole, rows = jax.jit(lambda x, level, made=made: (made(x, level), jax.vmap(lambda row, at: made(row[None], at))(x, level)))(
            x, level
        )
        assert whole.clean.shape == shape and whole.clean.dtype == jnp.float32
        np.testing.assert_allclose(rows.clean[:, 0], whole.clean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(rows.noise[:, 0], whole.noise, rtol=1e-4, atol=1e-5)
    assert mixed.log_density(x, level).shape == (4,)


def test_mixture_survives_far_away_points():
    found = mixture()(jnp.full((1, 2), 1e3), Level(1.0, 1.0, 0.1))
    assert np.all(np.isfinite(found.clean)) and np.all(np.isfinite(found.noise))
    assert np.isfinite(mixture().log_density(jnp.full((1, 2), 1e3), Level(1.0, 1.0, 0.1))).all()


def test_draws_have_the_moments_of_the_mixture():
    x = np.asarray(mixture().draw(jax.random.key(0), 20000), np.float64)
    assert x.shape == (20000, 2)
    mean = WEIGHTS @ MEANS
    second = sum(w * (np.outer(m, m) + s**2 * np.eye(2)) for w, m, s in zip(WEIGHTS, MEANS, STDS, strict=True))
    np.testing.assert_allclose(x.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), second - np.outer(mean, mean), atol=0.07)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda: oracles.gaussian(-1.0), "std"),
        (lambda: oracles.gaussian(float("nan")), "std"),
        (lambda: oracles.mixture([0.5, 0.6], MEANS, STDS), "weights"),
        (lambda: oracles.mixture([1.5, -0.5], MEANS, STDS), "weights"),
        (lambda: oracles.mixture(WEIGHTS, MEANS, [0.1, -0.2]), "stds"),
        (lambda: oracles.mixture(WEIGHTS, MEANS[:1], STDS), r"means|\(1,"),
        (lambda: oracles.mixture(WEIGHTS, MEANS, STDS[:1]), r"stds|\(1,"),
    ],
)
def test_impossible_distributions_are_refused_by_name(mistake, named):
    with pytest.raises(ValueError, match=named):
        mistake()
