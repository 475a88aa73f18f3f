"""Bootstraps: equal to refits one by one, as wide as theory says, and how often they hold the truth."""

import functools
import math

import numpy as np
import pytest

from gendiff.scaling import fits
from tests.refusals import refusals
from tests.scaling.fits.sweeps import LAW, isoflop

NOISY = isoflop(noise=0.01, sizes=15, seed=1)


@functools.cache
def fitted():
    return fits.fit_parametric(NOISY)


def test_refits_of_all_resamples_at_once_are_those_of_each_by_itself():
    result = fits.bootstrap(NOISY, fitted(), resamples=2, seed=3)
    counts = np.random.default_rng(3).multinomial(len(NOISY), np.full(len(NOISY), 1 / len(NOISY)), size=2)
    for index, count in enumerate(counts):
        alone = fits.fit_parametric(NOISY.take(np.repeat(np.arange(len(NOISY)), count)))
        assert result.resampled["exponent"][index] == pytest.approx(alone.law.exponent, abs=1e-4)
    assert result.refused == 0 and result.converged == 1.0


def test_a_seed_decides_the_draws_and_an_interval_holds_the_truth_and_the_fit():
    first, again, other = (fits.bootstrap(NOISY, fitted(), resamples=60, seed=seed) for seed in (0, 0, 1))
    assert first.interval("alpha") == again.interval("alpha") != other.interval("alpha")
    value, low, high = first.interval("exponent")
    assert value == fitted().law.exponent and low < value < high and low < LAW.exponent < high
    size, least, most = first.optimum(1e22)
    assert least < size < most and size == pytest.approx(fitted().frontier.optimum(1e22).parameters)
    narrow = first.interval("exponent", 0.5)
    assert low < narrow[1] < narrow[2] < high
    np.testing.assert_allclose(first.laws.exponent, first.resampled["exponent"])


def test_without_noise_every_resample_has_the_same_constants():
    table = isoflop()
    result = fits.bootstrap(table, fits.fit_parametric(table), resamples=20)
    np.testing.assert_allclose(result.resampled["alpha"], LAW.alpha, rtol=1e-5)


def test_any_fit_is_resampled_and_what_it_refuses_is_counted():
    squares = fits.bootstrap(NOISY, fits.fit_isoflop, resamples=30)
    value, low, high = squares.interval("exponent")
    assert low < value < high and math.isnan(squares.converged)
    with pytest.raises(ValueError, match="no law of loss"):
        squares.laws  # noqa: B018
    two = isoflop(sizes=6, budgets=np.array([1e18, 1e22]))
    assert 0 < fits.bootstrap(two, fits.fit_isoflop, resamples=30).refused < 15


def test_variable_projection_and_approach_three_have_intervals_of_like_width():
    projected = fits.bootstrap(NOISY, fits.fit_varpro, resamples=12).interval("exponent")
    squares = fits.bootstrap(NOISY, fits.fit_parametric(NOISY, delta=math.inf), resamples=20).interval("exponent")
    assert 0.4 < (projected[2] - projected[1]) / (squares[2] - squares[1]) < 2.5


def test_nominal_intervals_hold_the_truth_in_most_replicates_and_in_fewer_when_they_are_narrower():
    wide, narrow = (fits.coverage(LAW, NOISY, 0.01, 20, resamples=25, level=level) for level in (0.95, 0.3))
    assert 14 <= wide.hits <= 20 and narrow.hits < wide.hits and wide.replicates == 20
    assert 0.02 < wide.width < 0.2 and narrow.width < wide.width / 2
    assert wide.share == wide.hits / 20 and wide.converged > 0.98


test_mistakes_are_refused = refusals(
    (lambda: fits.bootstrap(NOISY, fitted(), resamples=1), "resamples = 1"),
    (lambda: fits.bootstrap(NOISY, fitted(), resamples=2).interval("slope"), "name = 'slope' is none of"),
    (lambda: fits.bootstrap(NOISY, fitted(), resamples=2).interval("beta", 1.0), "level = 1"),
    (
        lambda: fits.bootstrap(isoflop(sizes=3, budgets=np.array([1e18, 1e20])), fits.fit_isoflop),
        "too few runs for a bootstrap",
    ),
    (lambda: fits.coverage(LAW, NOISY, 0.0), "noise = 0"),
    (lambda: fits.coverage(LAW, NOISY, 0.01, 0), "replicates = 0"),
    (lambda: fits.coverage(LAW, NOISY, 0.01, 2, name="slope"), "name = 'slope'"),
)
