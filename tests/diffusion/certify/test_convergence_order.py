"""Fitted orders: known powers are found, the interval covers them, and too little evidence is refused."""

import numpy as np
import pytest

from gendiff.diffusion.certify import convergence_order
from tests.refusals import refusals

STEPS = (8, 16, 32, 64, 128, 256, 512, 1024)


def power(order, scale=1.0, rows=40, spread=0.0, seed=0):
    """Squared errors of rows that all fall like steps^-order, each with a size of its own, and noise of each
    measurement.
    """
    rng = np.random.default_rng(seed)
    size = scale * np.exp(rng.normal(size=rows))
    wobble = np.exp(spread * rng.normal(size=(len(STEPS), rows)))
    return (size * np.asarray(STEPS, float)[:, None] ** -order * wobble) ** 2


def test_a_power_is_found():
    for order in (1, 2, 3, 4, 2.5):
        fitted = convergence_order.fit(STEPS, power(order, scale=8.0**order * 1e-3))
        assert fitted.order == pytest.approx(order, abs=1e-9) and fitted.low == pytest.approx(fitted.high, abs=1e-9)


def test_only_the_finest_four_doublings_in_the_window_are_used():
    errors = np.asarray(STEPS, float) ** -2.0
    errors[:3] = [0.5, 0.5, 1e-3]  # before the slope begins
    fitted = convergence_order.fit(STEPS, np.repeat(errors[:, None] ** 2, 5, axis=1))
    assert fitted.steps == STEPS[-5:] and fitted.order == pytest.approx(2.0)
    errors = 1e-3 * (np.asarray(STEPS, float) / 8) ** -4.0
    errors[6:] = 1e-12  # rounding: below the window
    fitted = convergence_order.fit(STEPS, np.repeat(errors[:, None] ** 2, 5, axis=1))
    assert fitted.steps == STEPS[1:6] and fitted.order == pytest.approx(4.0)


def test_the_interval_covers_the_order_and_widens_with_disagreement():
    narrow, wide = (convergence_order.fit(STEPS, power(2, spread=spread)) for spread in (0.05, 0.5))
    for fitted in (narrow, wide):
        assert fitted.low <= fitted.order <= fitted.high and fitted.low <= 2.0 <= fitted.high
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert convergence_order.fit(STEPS, power(2, spread=0.5)) == wide  # one measurement has one interval


def test_an_order_is_refused_where_too_few_errors_lie_in_the_window():
    for errors, message in (
        (1e-1 * (np.asarray(STEPS) / 8.0) ** -1, "3 of 4 doublings"),
        (np.full(8, 0.5), "0 of 4 doublings"),
        (np.full(8, 1e-14), "0 of 4 doublings"),
        (np.where(np.arange(8) == 4, 1.0, 1e-3), "2 of 4 doublings"),  # the window is left and entered again
        (np.where(np.arange(8) == 2, np.nan, 1e-3), "32 steps is not finite"),
    ):
        fitted = convergence_order.fit(STEPS, np.repeat(errors[:, None] ** 2, 5, axis=1))
        assert fitted.order is None and message in fitted.reason and message in str(fitted), message


def test_a_plateau_has_order_zero():
    assert convergence_order.fit(STEPS, np.full((8, 5), 1e-3) ** 2).order == pytest.approx(0.0)


def test_the_order_between_two_numbers_of_steps():
    np.testing.assert_allclose(convergence_order.between((8, 16, 64), [1.0, 0.25, 0.25 / 16]), [2.0, 2.0])
    assert np.isnan(convergence_order.between((8, 16), [1.0, 0.0])[0])


test_what_is_no_doubling_is_refused = refusals(
    (lambda: convergence_order.fit((8, 16, 24), np.ones((3, 4))), "double"),
    (lambda: convergence_order.fit((8, 16), np.ones((3, 4))), "double"),
    (lambda: convergence_order.fit((8, 16), np.ones(2)), "double"),
    (lambda: convergence_order.fit((), np.ones((0, 4))), "double"),
    (lambda: convergence_order.fit((8, 16), np.ones((2, 1))), "rows"),
)
