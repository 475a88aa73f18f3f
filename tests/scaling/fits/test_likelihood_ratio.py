"""Likelihoods integrate to one, their scale is the best, and the ratio follows the law of chance where both sets of
constants are true.
"""

import dataclasses
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from gendiff.scaling import fits
from gendiff.scaling.fits.likelihood_ratio import log_likelihood
from tests.refusals import refusals
from tests.scaling.fits.sweeps import LAW, isoflop
from tests.tables import table

NOISY = isoflop(noise=0.01)
OFF = dataclasses.replace(LAW, alpha=0.34)


def test_the_normal_likelihood_is_that_of_scipy_at_its_best_scale():
    residuals = np.random.default_rng(0).standard_normal(50)
    best = scipy.stats.norm.logpdf(residuals, scale=np.sqrt(np.mean(residuals**2))).sum()
    assert log_likelihood(residuals, math.inf) == pytest.approx(best)
    assert log_likelihood(residuals, 30.0) == pytest.approx(best, rel=1e-9), (
        "a Huber loss whose tails are never reached"
    )


def test_with_a_small_kink_the_likelihood_is_that_of_laplace():
    residuals = 0.01 * np.random.default_rng(0).standard_normal(50)
    best = scipy.stats.laplace.logpdf(residuals, scale=np.abs(residuals).mean()).sum()
    assert log_likelihood(residuals, 1e-3) == pytest.approx(best, rel=1e-5)


@table("delta", [0.3, 1.5])
def test_the_likelihood_is_the_greatest_over_scales_of_a_density_that_integrates_to_one(delta):
    def huber(z):
        return np.where(np.abs(z) <= delta, z**2 / 2, delta * (np.abs(z) - delta / 2))

    norm = 2 * sum(
        scipy.integrate.quad(lambda z: math.exp(-huber(z)), *ends)[0] for ends in ((0, delta), (delta, 60 / delta))
    )
    residuals = np.random.default_rng(0).standard_normal(40)
    best = max(-huber(residuals / scale).sum() - 40 * math.log(scale * norm) for scale in np.geomspace(0.05, 5, 1000))
    assert best <= log_likelihood(residuals, delta) == pytest.approx(best, rel=1e-5)


@table("residual", ["huber", "normal"])
def test_the_truth_is_not_rejected_and_other_constants_are(residual):
    fitted = fits.fit_parametric(NOISY, delta=math.inf).law
    true, false = (fits.likelihood_ratio(NOISY, fitted, law, residual=residual) for law in (LAW, OFF))
    assert true.p > 0.01 and false.p < 1e-6 and false.statistic > true.statistic and true.degrees == 5


def test_a_statistic_of_84_with_five_degrees_has_the_published_p():
    assert scipy.stats.chi2.sf(84.0, 5) == pytest.approx(1.2e-16, rel=0.05)
    swapped, straight = fits.likelihood_ratio(NOISY, OFF, LAW), fits.likelihood_ratio(NOISY, LAW, OFF)
    assert swapped.statistic == -straight.statistic and swapped.p == 1.0
    assert straight.p == scipy.stats.chi2.sf(straight.statistic, 5)


def test_under_the_truth_the_p_of_the_likeliest_law_is_spread_evenly():
    ps = []
    for seed in range(12):
        table = isoflop(noise=0.01, seed=seed)
        ps.append(
            fits.likelihood_ratio(table, fits.fit_parametric(table, delta=math.inf).law, LAW, residual="normal").p
        )
    assert scipy.stats.kstest(ps, "uniform").pvalue > 0.005


test_mistakes_are_refused = refusals(
    (
        lambda: fits.likelihood_ratio(NOISY, LAW, OFF, residual="laplace"),
        "residual = 'laplace' is none of huber, normal",
    ),
    (lambda: fits.likelihood_ratio(NOISY, LAW, OFF, degrees=0), "degrees = 0"),
    (lambda: fits.likelihood_ratio(NOISY, LAW, OFF, delta=0.0), "delta = 0"),
    (lambda: log_likelihood(np.zeros(3)), "all residuals are 0"),
)
