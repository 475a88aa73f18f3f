"""Rings and grids of Gaussians: the published numbers, and draws that have the exact law."""

import functools

import jax
import numpy as np
import pytest
import scipy.stats

from experiments.tasks import mixtures
from gendiff.metrics import modes
from tests.quickly import quickly
from tests.refusals import refusals

N = 10_000


@functools.cache
def both():
    """Each mixture with draws of it."""
    return [(mixture, np.asarray(mixture.draw(jax.random.key(0), N))) for mixture in (mixtures.ring(), mixtures.grid())]


def keys():
    return jax.random.split(jax.random.key(1), 2)


def test_the_numbers_are_those_of_pacgan_and_of_improved_wgan_training():
    ring, grid = mixtures.ring(), mixtures.grid()
    assert ring.centres.shape == (8, 2) and ring.std == 0.01 and grid.std == 0.05
    np.testing.assert_allclose(ring.centres[:3], [[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-15)
    assert sorted(map(tuple, grid.centres)) == [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]
    unit_ring, unit_grid = mixtures.unit_ring(), mixtures.unit_grid()
    np.testing.assert_allclose(unit_ring.centres, 2 / 1.414 * ring.centres, rtol=1e-12)
    np.testing.assert_allclose(unit_grid.centres, grid.centres / 2.828, rtol=1e-12)
    assert (unit_ring.std, unit_grid.std) == pytest.approx((0.02 / 1.414, 0.05 / 2.828))
    for unit in (unit_ring, unit_grid):  # "stdev", says that code
        np.testing.assert_allclose(unit.covariance(), np.eye(2), atol=1e-3)


def test_exact_draws_reach_all_modes_98_9_percent_within_three_deviations_with_even_counts():
    for mixture, points in both():
        report = modes.mode_report(points, mixture.centres, mixture.std)
        assert report.modes == report.known == len(mixture.centres)
        assert mixture.good_share() == pytest.approx(1 - np.exp(-4.5), rel=1e-12)
        assert scipy.stats.binomtest(int(report.counts.sum()), N, mixture.good_share()).pvalue > 1e-3
        assert scipy.stats.chisquare(report.counts).pvalue > 1e-3


def test_offsets_from_the_nearest_centre_are_normal_and_moments_are_exact():
    for mixture, points in both():
        nearest = mixture.centres[np.argmin(np.sum((points[:, None] - mixture.centres[None]) ** 2, axis=2), axis=1)]
        assert scipy.stats.kstest(((points - nearest) / mixture.std).ravel(), "norm").pvalue > 1e-3
        spread = np.sqrt(mixture.covariance().diagonal().max())
        np.testing.assert_allclose(points.mean(0), 0, atol=4 * spread / np.sqrt(N))
        np.testing.assert_allclose(np.cov(points.T), mixture.covariance(), atol=6 * spread**2 / np.sqrt(N))


def test_the_log_density_is_that_of_the_components_added_up():
    for mixture, points in both():
        x = np.vstack([points[:50], np.random.default_rng(0).uniform(-0.2, 0.2, (50, 2)) + mixture.centres[3]]).astype(
            np.float64
        )
        each = [scipy.stats.multivariate_normal(centre, mixture.std**2).logpdf(x) for centre in mixture.centres]
        np.testing.assert_allclose(
            mixture.log_density(x), np.logaddexp.reduce(each) - np.log(len(mixture.centres)), rtol=1e-9
        )


def test_a_draw_is_a_function_of_its_key_also_compiled_for_many_keys_at_once_and_scales_with_the_mixture():
    mixture = mixtures.ring(3, radius=2.0, std=0.5)
    one = quickly(lambda mixture, key: mixture.draw(key, 4))
    both = quickly(lambda mixture, keys: jax.vmap(lambda key: mixture.draw(key, 4))(keys))(mixture, keys())
    assert both.shape == (2, 4, 2) and both.dtype == np.float32
    np.testing.assert_allclose(one(mixture, keys()[1]), both[1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(one(mixture.scaled(3.0), keys()[1]), 3 * both[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(both[0], both[1])


test_numbers_out_of_range_are_refused = refusals(
    (lambda: mixtures.ring(0), "count = 0"),
    (lambda: mixtures.ring(radius=0.0), "radius = 0"),
    (lambda: mixtures.ring(std=0.0), "std = 0"),
    (lambda: mixtures.grid(0), "side = 0"),
    (lambda: mixtures.grid(spacing=-1.0), "spacing = -1"),
    (lambda: mixtures.grid(std=np.inf), "std = inf"),
    (lambda: mixtures.grid().scaled(0.0), "factor = 0"),
    (lambda: mixtures.grid().good_share(-1.0), "good = -1"),
)
