"""Approach 3 recovers what made the points, proves that it is at a minimum, and SciPy finds nothing lower."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import scipy.optimize

from gendiff.scaling import fits, published
from gendiff.scaling.fits import huber, parametric
from gendiff.scaling.laws import Chinchilla
from tests.refusals import refusals
from tests.scaling.fits.sweeps import BUDGETS, LAW, isoflop
from tests.tables import table

NOISY = isoflop(noise=0.01)


@functools.cache
def fitted():
    return fits.fit_parametric(NOISY)


def five(law):
    return np.array(dataclasses.astuple(law))


@table("law", [LAW, published.HOFFMANN, published.EPOCH, Chinchilla(0.8, 20.0, 90.0, 0.46, 0.15)])
def test_constants_are_recovered_from_losses_without_noise(law):
    fit = fits.fit_parametric(isoflop(law))
    np.testing.assert_allclose(five(fit.law), five(law), rtol=1e-6)  # asked for: 1e-4
    assert fit.converged and fit.starts > 1


def test_the_gradient_and_the_hessian_are_those_of_finite_differences():
    target = huber.objective(NOISY, 5e-3)
    at = target.constants_of(LAW) + np.array([[0.05, -0.03, 0.01, 0.02, -0.01]])
    here, step = target.evaluate(at), 1e-6 * np.eye(5)
    assert here.value == pytest.approx(target.values(at), rel=1e-12)
    ahead, behind = target.evaluate(at + step), target.evaluate(at - step)
    np.testing.assert_allclose((ahead.value - behind.value) / 2e-6, here.gradient[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose((ahead.gradient - behind.gradient) / 2e-6, here.hessian[0], rtol=1e-4, atol=1e-5)


def test_the_fit_of_noisy_points_is_a_proved_minimum_that_scipy_cannot_lower():
    assert fitted().converged and fitted().gradient_norm < 1e-9
    assert fitted().objective < fits.huber_objective(NOISY, LAW)
    assert fitted().objective == pytest.approx(fits.huber_objective(NOISY, fitted().law), rel=1e-12)
    target = huber.objective(NOISY, 1e-3)
    start = target.constants_of(fitted().law)[0]
    for seed in range(3):
        moved = start + 0.01 * np.random.default_rng(seed).standard_normal(5)
        ended = scipy.optimize.minimize(
            lambda at: target.values(at[None])[0], moved, method="Nelder-Mead", options={"maxfev": 800}
        )
        assert ended.fun >= fitted().objective * (1 - 1e-9)


def test_a_quasi_newton_method_at_its_usual_tolerance_claims_success_above_the_minimum_and_the_proof_refuses_it():
    """What made the published constants of approach 3 (Besiroglu et al., 2024)."""
    target = huber.objective(NOISY, 1e-3)
    start = parametric.lowest_starts(target)[0]

    def objective(at):
        reached = target.evaluate(at[None])
        return reached.value[0], reached.gradient[0]

    ended = scipy.optimize.minimize(objective, start, jac=True, method="L-BFGS-B")
    assert ended.success and ended.fun > fitted().objective
    assert not target.converged(target.evaluate(ended.x[None]))[0]


def test_other_units_change_the_factors_and_not_the_exponents():
    other = fits.fit_parametric(fits.points(NOISY.parameters / 1e6, NOISY.tokens / 1e9, NOISY.loss))
    assert (other.law.alpha, other.law.beta) == pytest.approx((fitted().law.alpha, fitted().law.beta), rel=1e-6)
    assert other.law.of_parameters == pytest.approx(fitted().law.of_parameters * 1e6 ** -fitted().law.alpha, rel=1e-5)


def test_one_loss_far_off_moves_least_squares_and_hardly_the_huber_fit():
    loss = NOISY.loss.copy()
    loss[7] *= 1.5
    spoilt = fits.points(NOISY.parameters, NOISY.tokens, loss)
    robust, squares = (fits.fit_parametric(spoilt, delta=delta).law.exponent for delta in (1e-3, math.inf))
    clean = fits.fit_parametric(NOISY, delta=math.inf).law.exponent
    assert abs(robust - fitted().law.exponent) < 0.01 < abs(squares - clean)


def test_the_largest_losses_are_left_out_when_asked():
    order = np.argsort(NOISY.loss)
    fewer = fits.fit_parametric(NOISY.take(np.sort(order[:-5])))
    trimmed = fits.fit_parametric(NOISY, drop_largest=5)
    assert trimmed.law == fewer.law and trimmed.dropped == 5 and trimmed.law != fitted().law


def test_least_squares_is_what_scipy_finds():
    fit = fits.fit_parametric(NOISY, delta=math.inf)
    target = huber.objective(NOISY, math.inf)

    def residuals(at):
        return np.log(target.law(at).loss(NOISY.parameters, NOISY.tokens) / NOISY.loss)

    ended = scipy.optimize.least_squares(residuals, target.constants_of(LAW)[0], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert fit.objective == pytest.approx(ended.cost, rel=1e-9) and fit.converged


@table("drop", [0, 3])
def test_variable_projection_recovers_constants_too(drop):
    table = isoflop().without_largest(drop)
    fit = fits.fit_varpro(table)
    np.testing.assert_allclose(five(fit.law), five(LAW), rtol=1e-4)
    assert fit.converged and fit.objective < 1e-12


def test_variable_projection_is_near_least_squares_of_the_log_where_noise_is_small():
    fit, log = fits.fit_varpro(NOISY), fits.fit_parametric(NOISY, delta=math.inf)
    assert fit.converged and fit.law.exponent == pytest.approx(log.law.exponent, abs=0.01)


RISING = isoflop()
ONE_STEP = fits.points(np.geomspace(1e6, 1e9, 9), np.full(9, 1e9), np.linspace(3, 2, 9))
test_sweeps_that_leave_a_constant_open_are_refused = refusals(
    (lambda: fits.fit_parametric(NOISY.take(np.arange(5))), "5 points are too few for five constants"),
    (
        lambda: fits.fit_parametric(fits.points(np.full(9, 1e6), np.geomspace(1e7, 1e9, 9), np.ones(9))),
        "parameters has 1 different",
    ),
    (lambda: fits.fit_varpro(ONE_STEP), "tokens has 1 different values.*its own learning-rate schedule"),
    (lambda: fits.fit_parametric(isoflop(budgets=BUDGETS[:1])), "N and D are confounded"),
    (lambda: fits.fit_parametric(NOISY, delta=0.0), "delta = 0"),
    (lambda: fits.fit_parametric(NOISY, drop_largest=45), "count = 45"),
    (
        lambda: fits.fit_parametric(fits.points(RISING.parameters, RISING.tokens, 5 - RISING.loss / 3)),
        "does not fall with both",
    ),
    (
        lambda: fits.fit_varpro(fits.points(RISING.parameters, RISING.tokens, 5 - RISING.loss / 3)),
        "does not fall with both",
    ),
)
