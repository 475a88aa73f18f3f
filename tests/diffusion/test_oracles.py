"""Exact denoisers: their predictions are the posterior means of their own distributions, so samplers can be judged without training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from gendiff.diffusion import oracles
from gendiff.diffusion.types import Level

LEVELS = [Level(1.0, 0.6, 0.8), Level(1.0, 1.0, 5.0), Level(1.0, 0.3, 0.7), Level(1.0, 1.0, 0.05)]
levels = pytest.mark.parametrize("level", LEVELS, ids=["preserving", "exploding", "straight", "nearly clean"])
ENDS = [Level(-1.0, 1.0, 0.0), Level(999.0, 0.0, 1.0)]

WEIGHTS, MEANS, STDS = np.array([0.3, 0.7]), np.array([[-1.0, 0.5], [1.5, 0.0]]), np.array([0.4, 0.8])


def mixture():
    return oracles.mixture(WEIGHTS, MEANS, STDS)


COVARIANCE = np.array([[1.0, 0.6, 0.0], [0.6, 0.5, 0.1], [0.0, 0.1, 0.2]])
FLAT = np.outer([1.0, 2.0, -1.0], [1.0, 2.0, -1.0])  # of rank 1


def correlated(covariance=COVARIANCE):
    return oracles.correlated([0.3, -0.2, 0.5], covariance)


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
    "build",
    [
        lambda: oracles.gaussian(0.5),
        lambda: oracles.gaussian(0.0, 1.0),
        mixture,
        lambda: oracles.correlated([0.3, -0.2], [[1.0, 0.5], [0.5, 0.25]]),
        lambda: oracles.ring(5),
        lambda: oracles.mixture(WEIGHTS, MEANS, [0.0, 0.5]),
    ],
    ids=["gaussian", "point", "mixture", "correlated", "ring", "point and gaussian"],
)
def test_oracles_and_their_gradients_are_finite_at_both_ends(build):
    def total(x, alpha, sigma):
        found = build()(x, Level(0.0, alpha, sigma))
        return jnp.sum(found.clean**2) + jnp.sum(found.noise**2)

    slope = jax.jit(jax.value_and_grad(total, argnums=(0, 1, 2)))
    for level in ENDS:
        value, slopes = slope(jnp.ones((3, 2)), jnp.float32(level.alpha), jnp.float32(level.sigma))
        assert np.isfinite(value) and all(np.all(np.isfinite(s)) for s in slopes)
    np.testing.assert_allclose(build()(jnp.ones((3, 2)), ENDS[1]).noise, 1.0, rtol=1e-6)


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
    size = int(np.prod(shape[1:]))
    made = oracles.correlated(np.ones(shape[1:]), np.eye(size) + 0.5)
    whole, rows = jax.jit(lambda x, level: (made(x, level), jax.vmap(lambda row, at: made(row[None], at))(x, level)))(x, level)
    assert whole.clean.shape == shape and whole.noise.dtype == jnp.float32
    np.testing.assert_allclose(rows.clean[:, 0], whole.clean, rtol=1e-4, atol=1e-5)


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


@pytest.mark.float64
@levels
@pytest.mark.parametrize("covariance", [COVARIANCE, FLAT], ids=["full rank", "rank one"])
def test_correlated_prediction_is_the_conditional_mean(level, covariance):
    """m + alpha S (alpha² S + sigma² 1)⁻¹ (x - alpha m)."""
    x, mean = np.random.default_rng(0).normal(size=(4, 3)), np.array([0.3, -0.2, 0.5])
    gain = level.alpha * covariance @ np.linalg.inv(level.alpha**2 * covariance + level.sigma**2 * np.eye(3))
    clean = mean + (x - level.alpha * mean) @ gain.T
    found = correlated(covariance)(x, level)
    np.testing.assert_allclose(found.clean, clean, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(found.noise, (x - level.alpha * clean) / level.sigma, rtol=1e-7, atol=1e-9)


@pytest.mark.float64
def test_correlated_data_of_equal_axes_is_the_gaussian():
    x, same = np.random.default_rng(0).normal(size=(4, 2, 2)), oracles.correlated(np.full((2, 2), 0.3), 0.25 * np.eye(4))
    for level, cleaner in ((LEVELS[1], LEVELS[3]), (ENDS[1], LEVELS[0]), (LEVELS[0], ENDS[0])):
        np.testing.assert_allclose(same(x, level).clean, oracles.gaussian(0.5, 0.3)(x, level).clean, rtol=1e-12)
        np.testing.assert_allclose(same.flow(x, level, cleaner), oracles.gaussian(0.5, 0.3).flow(x, level, cleaner), rtol=1e-12, atol=1e-13)


@pytest.mark.float64
def test_correlated_flow_carries_one_marginal_to_the_other_and_composes():
    """It is affine, A V Aᵀ = V', takes mean to mean, and going in two legs is going in one."""
    made, level, middle, cleaner = correlated(), LEVELS[1], LEVELS[0], LEVELS[3]
    mean = np.array([0.3, -0.2, 0.5])
    moved = np.asarray(made.flow(level.alpha * mean + np.vstack([np.zeros(3), np.eye(3)]), level, cleaner))
    np.testing.assert_allclose(moved[0], cleaner.alpha * mean, rtol=1e-12)
    matrix = (moved[1:] - moved[0]).T
    before, after = (at.alpha**2 * COVARIANCE + at.sigma**2 * np.eye(3) for at in (level, cleaner))
    np.testing.assert_allclose(matrix @ before @ matrix.T, after, rtol=1e-11, atol=1e-12)
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_allclose(made.flow(made.flow(x, level, middle), middle, cleaner), made.flow(x, level, cleaner), rtol=1e-11)


@pytest.mark.float64
@levels
def test_ring_prediction_is_the_posterior_mean_of_its_points(level):
    points = np.array([[np.cos(2 * np.pi * k / 5), np.sin(2 * np.pi * k / 5)] for k in range(5)]) * 1.5
    x = level.alpha * points[[0, 1, 3]] + level.sigma * np.random.default_rng(0).normal(size=(3, 2))
    likelihood = np.exp(-np.sum((x[:, None] - level.alpha * points) ** 2, -1) / (2 * level.sigma**2))
    clean = likelihood / likelihood.sum(1, keepdims=True) @ points
    found = oracles.ring(5, 1.5)(x, level)
    np.testing.assert_allclose(found.clean, clean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(level.alpha * found.clean + level.sigma * found.noise, x, rtol=1e-9)


def test_ring_ends_at_the_nearest_point_and_begins_at_the_centre():
    ring, x = oracles.ring(4, 2.0), jnp.array([[1.9, 0.3], [0.1, -3.0]])
    np.testing.assert_allclose(ring(x, ENDS[0]).clean, [[2.0, 0.0], [0.0, -2.0]], atol=1e-6)
    np.testing.assert_allclose(ring(x, ENDS[1]).clean, 0.0, atol=1e-6)


def test_draws_of_every_oracle_have_its_moments():
    ring = np.asarray(oracles.ring(7, 1.5).draw(jax.random.key(0), 5000), np.float64)
    np.testing.assert_allclose(np.hypot(*ring.T), 1.5, rtol=1e-5)
    np.testing.assert_allclose(ring.mean(0), 0.0, atol=0.06)
    drawn = np.asarray(correlated().draw(jax.random.key(1), 20000), np.float64)
    np.testing.assert_allclose(drawn.mean(0), [0.3, -0.2, 0.5], atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), COVARIANCE, atol=0.05)
    plain = np.asarray(oracles.gaussian(0.5, 1.0).draw(jax.random.key(2), 20000, (2, 1)), np.float64)
    assert plain.shape == (20000, 2, 1)
    np.testing.assert_allclose([plain.mean(), plain.std()], [1.0, 0.5], atol=0.02)


def mass(x, level, side):
    """(b,) of a one-dimensional mixture below x, or above it: the smaller of the two keeps its digits."""
    stds = np.sqrt(level.alpha**2 * STDS**2 + level.sigma**2)
    return ndtr(side[:, None] * (x[:, None] - level.alpha * MEANS[:, 0]) / stds) @ WEIGHTS


@pytest.mark.float64
@pytest.mark.parametrize(("level", "cleaner"), [(LEVELS[1], LEVELS[3]), (Level(0.0, 0.1, 0.995), Level(0.0, 0.98, 0.02))])
def test_flow_keeps_the_mass_below_a_point_of_the_line(level, cleaner):
    """The flow of a one-dimensional density keeps the order of points, so it keeps the distribution function: exact to 1e-12 in x."""
    made = oracles.mixture(WEIGHTS, MEANS[:, :1], STDS)
    start = np.linspace(-2.5, 2.5, 41) * np.hypot(level.alpha * 1.4, level.sigma)
    end = np.asarray(oracles.flow(made, jnp.asarray(start)[:, None], level, cleaner))[:, 0]
    side = np.where(mass(start, level, np.ones(41)) < 0.5, 1.0, -1.0)
    slope = (mass(end + 1e-6, cleaner, side) - mass(end - 1e-6, cleaner, side)) / 2e-6
    error = (mass(end, cleaner, side) - mass(start, level, side)) / slope
    assert np.max(np.abs(error)) < 1e-12 * max(1.0, np.max(np.abs(start)))


@pytest.mark.float64
def test_flow_agrees_with_closed_forms():
    x = np.random.default_rng(0).normal(size=(5, 2))
    level, cleaner = LEVELS[1], LEVELS[3]
    one = oracles.mixture([1.0], np.full((1, 2), 0.3), [0.5])
    np.testing.assert_allclose(oracles.flow(one, x, level, cleaner), oracles.gaussian(0.5, 0.3).flow(x, level, cleaner), atol=1e-12)
    wide = oracles.gaussian(0.5, 0.3)
    np.testing.assert_array_equal(oracles.flow(wide, x, level, cleaner), wide.flow(x, level, cleaner))
    point = oracles.mixture([1.0], [[1.0, -1.0]], [0.0])
    line = cleaner.alpha * np.array([1.0, -1.0]) + cleaner.sigma / level.sigma * (x - level.alpha * np.array([1.0, -1.0]))
    np.testing.assert_allclose(oracles.flow(point, x, level, cleaner), line, atol=1e-12)


@pytest.mark.float64
def test_flow_says_when_it_cannot_be_trusted():
    x, made = np.ones((2, 2)), mixture()
    with pytest.raises(TypeError, match="float64"):
        oracles.flow(made, x.astype(np.float32), LEVELS[1], LEVELS[3])
    with pytest.raises(ValueError, match="cleaner.sigma"):
        oracles.flow(made, x, LEVELS[1], ENDS[0])
    with pytest.raises(ValueError, match="level.alpha"):
        oracles.flow(made, x, ENDS[1], LEVELS[0])
    with pytest.raises(ArithmeticError, match="tolerance"):
        oracles.flow(made, x, LEVELS[1], LEVELS[3], tolerance=1e-30)


def test_oracles_are_recognised():
    for made in (oracles.gaussian(0.5), mixture(), correlated(), oracles.ring(3)):
        assert isinstance(made, oracles.Oracle)
    assert not isinstance(lambda x, level: x, oracles.Oracle)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("mistake", "named"),
    [
        (lambda: oracles.correlated([0.0, 0.0], np.eye(3)), "covariance"),
        (lambda: oracles.correlated([0.0, 0.0], [[1.0, 0.5], [0.4, 1.0]]), "symmetric"),
        (lambda: oracles.correlated([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), "negative variance"),
        (lambda: oracles.correlated([0.0, 0.0], [[1.0, np.nan], [np.nan, 1.0]]), "finite"),
        (lambda: oracles.ring(0), "count"),
        (lambda: oracles.ring(3, -1.0), "radius"),
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
