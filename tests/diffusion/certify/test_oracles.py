"""Exact denoisers: their predictions are the posterior means of their own distributions, so samplers can be judged
without training.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import multivariate_normal

from gendiff.diffusion import oracles
from gendiff.diffusion.types import Level
from tests.diffusion.flows import CLEAN, finite
from tests.refusals import refusals

LEVELS = [Level(1.0, 0.6, 0.8), Level(1.0, 1.0, 5.0), Level(1.0, 0.3, 0.7), Level(1.0, 1.0, 0.05)]
NOISE = Level(999.0, 0.0, 1.0)
WEIGHTS, MEANS, STDS = np.array([0.3, 0.7]), np.array([[-1.0, 0.5], [1.5, 0.0]]), np.array([0.4, 0.8])
MEAN, COVARIANCE = np.array([0.3, -0.2]), np.array([[1.0, 0.6], [0.6, 0.5]])
FLAT = np.outer([1.0, 2.0], [1.0, 2.0])  # of rank 1
CIRCLE = 1.5 * np.array([[np.cos(2 * np.pi * k / 5), np.sin(2 * np.pi * k / 5)] for k in range(5)])


def mixture():
    return oracles.mixture(WEIGHTS, MEANS, STDS)


def components(stds):
    return [(weight, mean, std**2 * np.eye(2)) for weight, mean, std in zip(WEIGHTS, MEANS, stds, strict=True)]


ORACLES = {  # how to build each, and its components: weight, mean, covariance
    "gaussian": (lambda: oracles.gaussian(0.5, 0.3), [(1.0, np.full(2, 0.3), 0.25 * np.eye(2))]),
    "point": (lambda: oracles.gaussian(0.0, 1.0), [(1.0, np.ones(2), np.zeros((2, 2)))]),
    "mixture": (mixture, components(STDS)),
    "mixture of one": (
        lambda: oracles.mixture([1.0], np.full((1, 2), 0.3), [0.5]),
        [(1.0, np.full(2, 0.3), 0.25 * np.eye(2))],
    ),
    "point and gaussian": (lambda: oracles.mixture(WEIGHTS, MEANS, [0.0, 0.5]), components((0.0, 0.5))),
    "correlated": (lambda: oracles.correlated(MEAN, COVARIANCE), [(1.0, MEAN, COVARIANCE)]),
    "rank one": (lambda: oracles.correlated(MEAN, FLAT), [(1.0, MEAN, FLAT)]),
    "empirical": (lambda: oracles.empirical(CIRCLE), [(0.2, point, np.zeros((2, 2))) for point in CIRCLE]),
    "ring": (lambda: oracles.ring(5, 1.5), [(0.2, point, np.zeros((2, 2))) for point in CIRCLE]),
}
every_oracle = pytest.mark.parametrize("name", ORACLES)
ask = jax.jit(lambda oracle, x, level: oracle(x, level))


@jax.jit
def value_and_slopes(oracle, x, alpha, sigma):
    def total(x, alpha, sigma):
        prediction = oracle(x, Level(0.0, alpha, sigma))
        return jnp.sum(prediction.clean**2) + jnp.sum(prediction.noise**2), prediction

    return jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)(x, alpha, sigma)


def posterior(components, x, level):
    """log p(x) (b,) and E[clean | x] (b, 2), by the formulas of a Gaussian, one component after another."""
    joint, means = [], []
    for weight, mean, covariance in components:
        spread = level.alpha**2 * covariance + level.sigma**2 * np.eye(2)
        joint.append(np.log(weight) + multivariate_normal(level.alpha * mean, spread).logpdf(x))
        means.append(mean + (x - level.alpha * mean) @ np.linalg.solve(spread, level.alpha * covariance))
    total = np.logaddexp.reduce(joint, axis=0)
    return total, np.einsum("kb,kbd->bd", np.exp(joint - total), means)


@pytest.mark.float64
@every_oracle
def test_oracles_are_recognised_and_their_predictions_are_posterior_means(name):
    build, components = ORACLES[name]
    oracle, z = build(), np.random.default_rng(0).normal(size=(5, 2))
    assert isinstance(oracle, oracles.Oracle) and not isinstance(ask, oracles.Oracle)
    for level in LEVELS:
        x = level.alpha * components[0][1] + np.hypot(level.alpha, level.sigma) * z
        prediction, (_, clean) = ask(oracle, x, level), posterior(components, x, level)
        np.testing.assert_allclose(prediction.clean, clean, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(prediction.noise, (x - level.alpha * clean) / level.sigma, rtol=1e-8, atol=1e-9)


@pytest.mark.float64
def test_density_and_score_of_a_mixture_are_closed_form():
    x = np.concatenate([np.random.default_rng(0).normal(size=(5, 2)), np.full((1, 2), 1e3)])
    density, score = jax.jit(oracles.Mixture.log_density), jax.jit(oracles.Mixture.score)
    gradient = jax.jit(lambda oracle, x, level: jax.grad(lambda x: jnp.sum(oracle.log_density(x, level)))(x))
    for level in LEVELS:
        np.testing.assert_allclose(
            density(mixture(), x, level), posterior(ORACLES["mixture"][1], x, level)[0], rtol=1e-11, atol=1e-12
        )
        np.testing.assert_allclose(score(mixture(), x, level), gradient(mixture(), x, level), rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(
            ask(mixture(), x, level).noise, -level.sigma * score(mixture(), x, level), rtol=1e-9, atol=1e-11
        )


@every_oracle
def test_oracles_and_their_gradients_are_finite_at_both_ends_and_far_away(name):
    oracle = ORACLES[name][0]()
    assert finite(oracle), oracle
    for level, size in itertools.product((CLEAN, NOISE), (1.0, 1e3)):
        result = value_and_slopes(oracle, jnp.full((3, 2), size), jnp.float32(level.alpha), jnp.float32(level.sigma))
        assert finite(result), (level, size, result)
    np.testing.assert_allclose(result[0][1].noise, 1e3, rtol=1e-6)  # nothing of the clean sample is left


def test_ring_ends_at_the_nearest_point_and_begins_at_the_centre():
    ring, x = oracles.ring(4, 2.0), jnp.array([[1.9, 0.3], [0.1, -3.0]])
    np.testing.assert_allclose(ask(ring, x, CLEAN).clean, [[2.0, 0.0], [0.0, -2.0]], atol=1e-6)
    np.testing.assert_allclose(ask(ring, x, NOISE).clean, 0.0, atol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (4, 2, 2, 2, 1)], ids=["vector", "volume"])
def test_oracles_take_any_rank_and_a_level_for_each_sample(shape):
    level = Level(jnp.zeros(4), jnp.array([1.0, 0.8, 0.6, 0.0]), jnp.array([0.1, 0.6, 0.8, 1.0]))
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.float32)
    size, means = int(np.prod(shape[1:])), np.random.default_rng(1).normal(size=(2, *shape[1:]))
    oracles_of = (
        oracles.gaussian(0.5),
        oracles.mixture(WEIGHTS, means, STDS),
        oracles.correlated(np.ones(shape[1:]), np.eye(size) + 0.5),
    )
    full, rows = jax.jit(
        lambda x, level: [
            [f(x, level) for f in oracles_of],
            [jax.vmap(lambda row, at, f=f: f(row[None], at))(x, level) for f in oracles_of],
        ]
    )(x, level)
    for together, alone in zip(full, rows, strict=True):
        assert (
            together.clean.shape == together.noise.shape == shape
            and together.clean.dtype == together.noise.dtype == jnp.float32
        )
        np.testing.assert_allclose(alone.clean[:, 0], together.clean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(alone.noise[:, 0], together.noise, rtol=1e-4, atol=1e-5)


@every_oracle
def test_draws_have_the_moments_of_the_components(name):
    build, components = ORACLES[name]
    shape = ((2,),) if name in ("gaussian", "point") else ()
    samples = np.asarray(
        jax.jit(lambda oracle, key: oracle.draw(key, 20000, *shape))(build(), jax.random.key(0)), np.float64
    )
    mean = sum(weight * centre for weight, centre, _ in components)
    second = sum(weight * (np.outer(centre, centre) + covariance) for weight, centre, covariance in components)
    assert samples.shape == (20000, 2)
    np.testing.assert_allclose(samples.mean(0), mean, atol=0.05)
    np.testing.assert_allclose(np.cov(samples.T), second - np.outer(mean, mean), atol=0.1)
    if name in ("ring", "empirical"):
        np.testing.assert_allclose(np.hypot(*samples.T), 1.5, rtol=1e-5)


@pytest.mark.float64
@pytest.mark.parametrize("name", ["gaussian", "point", "correlated", "rank one"])
def test_closed_flows_carry_one_marginal_to_the_other_and_compose(name):
    """A flow is affine, A V Aᵀ = V', and takes mean to mean; two legs are one; `integrated_flow` finds the same; also
    from end to end.
    """
    build, [(_, mean, covariance)] = ORACLES[name]
    oracle, x, flow = build(), np.random.default_rng(0).normal(size=(3, 2)), jax.jit(type(build()).flow)
    level, middle, cleaner = LEVELS[1], LEVELS[0], LEVELS[3]
    for first, last in ((level, cleaner), (middle, Level(0.0, 0.8, 0.6)), (NOISE, CLEAN)):
        moved = np.asarray(flow(oracle, first.alpha * mean + np.vstack([np.zeros(2), np.eye(2)]), first, last))
        np.testing.assert_allclose(moved[0], last.alpha * mean, rtol=1e-12)
        matrix = (moved[1:] - moved[0]).T
        before, after = (at.alpha**2 * covariance + at.sigma**2 * np.eye(2) for at in (first, last))
        np.testing.assert_allclose(matrix @ before @ matrix.T, after, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(
        flow(oracle, flow(oracle, x, level, middle), middle, cleaner), flow(oracle, x, level, cleaner), rtol=1e-11
    )
    np.testing.assert_allclose(
        oracles.integrated_flow(oracle, x, level, cleaner), flow(oracle, x, level, cleaner), atol=1e-12
    )


def mass(x, level, side):
    """(b,) of a one-dimensional mixture below x, or above it: the smaller of the two keeps its digits."""
    stds = np.sqrt(level.alpha**2 * STDS**2 + level.sigma**2)
    return ndtr(side[:, None] * (x[:, None] - level.alpha * MEANS[:, 0]) / stds) @ WEIGHTS


@pytest.mark.float64
@pytest.mark.parametrize(
    ("level", "cleaner"), [(LEVELS[1], LEVELS[3]), (Level(0.0, 0.1, 0.995), Level(0.0, 0.98, 0.02))]
)
def test_flow_of_a_mixture_keeps_the_mass_below_a_point_of_the_line(level, cleaner):
    """The flow of a one-dimensional density keeps the order of points, so it keeps the distribution function: exact to
    1e-12 in x.
    """
    start = np.linspace(-2.5, 2.5, 41) * np.hypot(level.alpha * 1.4, level.sigma)
    end = np.asarray(oracles.mixture(WEIGHTS, MEANS[:, :1], STDS).flow(jnp.asarray(start)[:, None], level, cleaner))[
        :, 0
    ]
    side = np.where(mass(start, level, np.ones(41)) < 0.5, 1.0, -1.0)
    slope = (mass(end + 1e-6, cleaner, side) - mass(end - 1e-6, cleaner, side)) / 2e-6
    error = (mass(end, cleaner, side) - mass(start, level, side)) / slope
    assert np.max(np.abs(error)) < 1e-12 * max(1.0, np.max(np.abs(start)))


X = np.ones((2, 2))
test_flow_says_when_it_cannot_be_trusted = pytest.mark.float64(
    refusals(
        (lambda: mixture().flow(X.astype(np.float32), LEVELS[1], LEVELS[3]), "float64", TypeError),
        (lambda: mixture().flow(X, LEVELS[1], CLEAN), "cleaner.sigma"),
        (lambda: mixture().flow(X, NOISE, LEVELS[0]), "level.alpha"),
        (lambda: mixture().flow(X, LEVELS[1], LEVELS[3], tolerance=1e-30), "tolerance"),
        (lambda: oracles.integrated_flow(oracles.Gaussian(np.nan), X, *LEVELS[1:3]), "not finite", ArithmeticError),
    )
)


test_impossible_distributions_are_refused_by_name = refusals(
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
)
