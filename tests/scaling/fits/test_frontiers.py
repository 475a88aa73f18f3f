"""Approaches 1 and 2 and power laws: exact where they should be, and biased as far as their geometry says."""

import numpy as np
import pytest

from gendiff.scaling import fits, published
from gendiff.scaling.laws import Chinchilla
from tests.refusals import refusals
from tests.scaling.fits.sweeps import BUDGETS, LAW, isoflop
from tests.tables import table

ROUNDED = Chinchilla(1.69, 406.4, 410.7, 0.34, 0.28)
STEEP = Chinchilla(1.69, 406.4, 410.7, 0.46, 0.15)


@table("law, bias", [(ROUNDED, 1.054), (published.EPOCH, 0.984), (STEEP, 1.301)])
def test_isoflop_has_the_exact_exponent_and_an_intercept_that_asymmetry_biases(law, bias):
    """Budgets with 15 sizes at 1/16 to 16 times the best, extrapolated to 1e24 operations."""
    fit = fits.fit_isoflop(isoflop(law, sizes=15))
    assert fit.exponent == pytest.approx(law.exponent, rel=1e-9) and fit.r_squared == pytest.approx(1.0)
    assert fit.optimum(1e24).parameters / law.optimum(1e24).parameters == pytest.approx(bias, abs=1e-3)
    assert fit.interior.all()


def test_isoflop_is_exact_where_both_exponents_are_equal():
    law = Chinchilla(1.7, 300.0, 600.0, 0.3, 0.3)
    fit = fits.fit_isoflop(isoflop(law))
    assert fit.coefficient == pytest.approx(law.frontier().coefficient, rel=1e-9)
    np.testing.assert_allclose(fit.minima, law.optimum(BUDGETS).parameters, rtol=1e-9)


def test_runs_of_nearly_one_budget_are_of_one_and_rows_may_come_in_any_order():
    table = isoflop()
    scattered = fits.points(table.parameters, None, table.loss, table.flops * np.tile(np.linspace(0.95, 1.05, 9), 5))
    shuffled = scattered.take(np.random.default_rng(0).permutation(len(scattered)))
    fit = fits.fit_isoflop(shuffled)
    # the geometric mean
    np.testing.assert_allclose(fit.budgets, BUDGETS * np.exp(np.log(np.linspace(0.95, 1.05, 9)).mean()), rtol=1e-9)
    assert fit.exponent == pytest.approx(LAW.exponent, abs=1e-6)
    with pytest.raises(ValueError, match="0 of 45 budgets have a minimum"):
        fits.fit_isoflop(shuffled, closeness=0.0)


def test_a_budget_whose_sizes_are_all_too_small_does_not_enter_the_frontier():
    table = isoflop()
    remaining = table.take(np.flatnonzero((table.flops < 5e20) | (table.parameters < LAW.optimum(1e21).parameters / 3)))
    fit = fits.fit_isoflop(remaining)
    assert fit.interior.tolist() == [True, True, True, True, False]
    assert fit.exponent == pytest.approx(LAW.exponent, rel=1e-9)


def curves(sizes=9, points=40):
    """Losses along trainings whose every point is that of a matched schedule."""
    flops = np.geomspace(1e16, 1e22, points)
    return [(size, flops, LAW.loss(size, flops / (6 * size))) for size in np.geomspace(1e7, 1e10, sizes)]


def test_the_envelope_of_matched_curves_has_the_exponent_of_the_law():
    fit = fits.fit_envelope(curves(17))
    assert fit.exponent == pytest.approx(LAW.exponent, abs=0.01)
    assert fit.optimum(1e20).parameters == pytest.approx(LAW.optimum(1e20).parameters, rel=0.02)
    assert np.all(np.diff(fit.losses) < 0) and not fit.interior[0] and not fit.interior[-1]
    assert np.all(fit.losses >= LAW.optimum(fit.budgets).loss * (1 - 1e-6))


def test_the_ends_of_runs_are_grouped_by_size():
    runs = curves()
    table = fits.points(
        np.concatenate([np.full(40, size) for size, _, _ in runs]),
        None,
        np.concatenate([loss for _, _, loss in runs]),
        np.concatenate([flops for _, flops, _ in runs]),
    )
    full, grouped = (
        fits.fit_envelope(runs),
        fits.fit_envelope(table.take(np.random.default_rng(0).permutation(len(table)))),
    )
    assert grouped.exponent == pytest.approx(full.exponent) and grouped.coefficient == pytest.approx(full.coefficient)


def test_a_curve_is_not_extrapolated():
    """The largest size ends early, where it is not best yet; after that, the next one may not be called best."""
    runs = curves()
    last = runs[-1]
    runs[-1] = (last[0], last[1][:20], last[2][:20])
    fit = fits.fit_envelope(runs)
    late = (fit.budgets > last[1][19]) & (fit.parameters == runs[-2][0])
    assert late.any() and not fit.interior[late].any()


def test_a_power_law_through_exact_points_is_found_with_all_variance_explained():
    x = np.geomspace(1.0, 1e9, 7)
    line = fits.fit_power_law(x, 3.0 * x**-0.4)
    assert (line.coefficient, line.exponent, line.r_squared) == pytest.approx((3.0, -0.4, 1.0))
    noisy = fits.fit_power_law(x, 3.0 * x**-0.4 * np.array([1.0, 9.0, 0.1, 2.0, 0.3, 1.0, 4.0]))
    assert noisy.r_squared == pytest.approx(
        np.corrcoef(np.log(x), np.log(3.0 * x**-0.4 * [1, 9, 0.1, 2, 0.3, 1, 4]))[0, 1] ** 2
    )


ONES = np.ones(3)
test_what_no_frontier_goes_through_is_refused = refusals(
    (lambda: fits.fit_isoflop(isoflop(budgets=BUDGETS[:1])), "1 of 1 budgets have a minimum"),
    (lambda: fits.fit_isoflop(isoflop(sizes=2)), "0 of 5 budgets.*train smaller and larger sizes"),
    (lambda: fits.fit_isoflop(isoflop(), closeness=-0.1), "closeness = -0.1"),
    (lambda: fits.fit_envelope(curves(3)), "3 sizes have losses at 2 or more budgets, and 4"),
    (lambda: fits.fit_envelope([(size, flops[:3], loss[:3]) for size, flops, loss in curves()]), "sizes are lowest"),
    (lambda: fits.fit_envelope([(1e6, ONES, -ONES)] * 4), r"curves\[0\]: loss\[0\] = -1"),
    (lambda: fits.fit_envelope(curves(), budgets=1), "budgets = 1"),
    (lambda: fits.fit_power_law(ONES, ONES), "2 different x"),
    (lambda: fits.fit_power_law(ONES, -ONES), "above 0"),
)
