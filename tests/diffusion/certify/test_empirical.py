"""The exact memoriser: a mixture of points, the best denoiser of its data, whose samples are the data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

from gendiff.diffusion import grids, oracles, samplers, sampling, schedules
from gendiff.diffusion.types import Level
from gendiff.metrics import near_copies
from tests.quickly import quickly
from tests.refusals import refusals

RNG = np.random.default_rng(0)
DATA = RNG.normal(0.3, 1.0, (24, 2, 3, 1))
LEVEL = Level(np.zeros(6), np.array([1.0, 1.0, 0.8, 0.3, 1.0, 0.0]), np.array([0.0, 1e-3, 0.6, 0.7, 50.0, 1.0]))
X = LEVEL.alpha[:, None, None, None] * DATA[:6] + LEVEL.sigma[:, None, None, None] * RNG.normal(size=(6, 2, 3, 1))
ask = quickly(lambda oracle, x, level: oracle(x, level))


@pytest.mark.float64
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_is_the_mixture_of_equal_points_from_sigma_0_to_the_noise(dtype):
    points = oracles.mixture(np.full(24, 1 / 24), DATA, np.zeros(24))
    full = ask(points, X, LEVEL)
    result = ask(oracles.empirical(DATA.astype(dtype)), X.astype(dtype), LEVEL)
    near = {"rtol": 1e-4, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-9}
    assert result.clean.dtype == result.noise.dtype == dtype and result.clean.shape == X.shape
    np.testing.assert_allclose(result.clean, full.clean, **near)
    # where sigma = 0.001 the noise is the rounding of x over sigma
    rows = [0, *range(2, 6)] if dtype == np.float32 else range(6)
    np.testing.assert_allclose(result.noise[np.array(rows)], full.noise[np.array(rows)], **near)


@pytest.mark.float64
def test_no_other_prediction_has_less_loss_on_its_data():
    """Of all data, weighted by how likely each led to x: the slope of the loss is 0 at its prediction, and h costs |h|²
    more.
    """
    rows = DATA.reshape(24, -1)
    for x, alpha, sigma in zip(X[2:5], LEVEL.alpha[2:5], LEVEL.sigma[2:5], strict=True):
        weight = np.array([multivariate_normal(alpha * row, sigma**2).pdf(x.reshape(-1)) for row in rows])
        weight /= weight.sum()
        clean = np.asarray(ask(oracles.empirical(DATA), x[None], Level(0.0, alpha, sigma)).clean).reshape(-1)

        def loss(clean, weight=weight):
            return weight @ np.sum((clean - rows) ** 2, axis=1)

        for h in np.vstack([np.eye(6), RNG.normal(size=(2, 6))]):
            assert loss(clean + h) == pytest.approx(loss(clean) + h @ h, rel=1e-9)


def copies(oracle):
    """Share of 100 samples by DDIM in 20 steps that are copies of the data."""
    levels = grids.trailing(schedules.flow(), 20)
    draw = quickly(
        lambda oracle: sampling.sample(
            jax.random.key(1), oracle, samplers.ddim(), levels, DATA.shape[1:], jnp.arange(100)
        )
    )
    samples = np.asarray(draw(oracle)).reshape(100, -1)
    return near_copies.rate(samples, DATA.reshape(24, -1), threshold=1 / 3), samples


def test_all_of_its_samples_are_copies_and_hardly_any_of_the_best_linear_denoiser():
    rows = DATA.reshape(24, -1)
    share, samples = copies(oracles.empirical(DATA))
    assert share == 1.0
    assert len(np.unique(np.argmin(((samples[:, None] - rows[None]) ** 2).sum(2), axis=1))) > 10  # of many rows
    linear, _ = copies(oracles.correlated(DATA.mean(0), np.cov(rows.T)))
    assert linear < 0.05


def test_the_order_of_the_data_changes_neither_predictions_nor_measures():
    order = RNG.permutation(24)
    rows, queries = DATA.reshape(24, -1), RNG.normal(size=(9, 6))
    first, second = (ask(oracles.empirical(data), X, LEVEL).clean for data in (DATA, DATA[order]))
    np.testing.assert_allclose(first, second, atol=1e-5)
    np.testing.assert_array_equal(near_copies.ratios(queries, rows), near_copies.ratios(queries, rows[order]))


test_data_that_cannot_be_are_refused = refusals(
    (lambda: oracles.empirical(np.zeros((0, 2))), r"at least one row, got \(0, 2\)"),
    (lambda: oracles.empirical(np.zeros(3)), "at least one row"),
    (lambda: oracles.empirical(np.full((2, 2), np.nan)), "data is not finite"),
    (lambda: oracles.empirical(np.zeros((2, 2), np.int32)), "data must be a floating array", TypeError),
)
