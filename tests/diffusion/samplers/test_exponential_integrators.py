"""The arithmetic of exponential integrators against quadrature, and against the published formulas written out."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from gendiff.diffusion.samplers import ancestral, exponential_integrators
from gendiff.diffusion.types import Level, Prediction

STEPS = np.array([1e-9, 1e-3, 0.3, 0.999, 1.001, 4.0, 11.0])


def vector(*values):
    return jnp.asarray(values)


@pytest.mark.float64
@pytest.mark.parametrize("last", [1, 4])
def test_phis_are_their_integrals_without_cancellation(last):
    z = np.concatenate([-STEPS, STEPS, [0.0, -40.0]])
    double, single = jax.jit(exponential_integrators.phis, static_argnums=0)(last, z), exponential_integrators.phis(last, np.float32(z))
    for k in range(1, last + 1):
        expected = [quad(lambda s, z=z, k=k: np.exp((1 - s) * z) * s ** (k - 1), 0, 1, epsabs=0, epsrel=1e-13)[0] for z in z]
        expected = np.array(expected) / math.factorial(k - 1)
        np.testing.assert_allclose(double[k - 1], expected, rtol=1e-12)
        np.testing.assert_allclose(single[k - 1], expected, rtol=1e-5)


@pytest.mark.float64
def test_phis_are_smooth_where_their_formula_changes():
    """phi_k' = phi_k - k phi_(k+1), by parts."""
    z = vector(-1.0 - 1e-9, -1.0 + 1e-9, 0.0, 1.0 - 1e-9, 1.0 + 1e-9, -30.0)
    found, slope = jax.jit(lambda z: jax.jvp(functools.partial(exponential_integrators.phis, 4), (z,), (jnp.ones_like(z),)))(z)
    for k in (1, 2, 3):
        np.testing.assert_allclose(slope[k - 1], found[k - 1] - k * found[k], rtol=1e-11)


def test_phis_stay_finite_in_single_precision():
    value_and_slope = jax.jit(jax.value_and_grad(lambda z: exponential_integrators.phis(4, z)[3]))
    for z in (-1e30, -100.0, 100.0, 1e30):
        assert np.all(np.isfinite(value_and_slope(jnp.float32(z))))


@pytest.mark.float64
@pytest.mark.parametrize("rate", [1.0, 2.0, -1.0])
def test_moments_are_the_integrals_of_the_kernel(rate):
    found = exponential_integrators.moments(jnp.asarray(STEPS), rate, jnp.full(len(STEPS), 3), 3)
    for k in range(1, 4):
        expected = [quad(lambda s, h=h, k=k: rate * np.exp(-rate * (h - s)) * s**k, 0, h, epsabs=0, epsrel=1e-13)[0] for h in STEPS]
        np.testing.assert_allclose(found[k - 1], expected, rtol=1e-11)


@pytest.mark.float64
def test_weights_have_the_moments_asked_for():
    nodes, moments = [vector(-0.4), vector(-1.1), vector(0.7)], [vector(0.3), vector(-0.2), vector(0.9)]
    for count in (1, 2, 3):
        in_use = [vector(j < count) for j in range(3)]
        found = np.squeeze(exponential_integrators.weights(nodes, in_use, moments))
        np.testing.assert_array_equal(found[count:], 0)
        for k in range(count):
            assert sum(w * float(s[0]) ** (k + 1) for w, s in zip(found, nodes, strict=True)) == pytest.approx(
                float(moments[k][0]), rel=1e-12
            )


@pytest.mark.float64
@pytest.mark.parametrize("rate", [1.0, -1.0])
def test_exact_weights_integrate_the_polynomial_through_the_predictions(rate):
    h, nodes = 0.8, np.array([-0.5, -1.3])
    polynomial = np.polynomial.Polynomial([0.4, -1.1, 0.6])
    expected = quad(lambda s: rate * np.exp(-rate * (h - s)) * polynomial(s), 0, h, epsrel=1e-13)[0]
    ones = vector(True)
    moments = exponential_integrators.moments(vector(h), rate, vector(2), 2)
    weights = np.squeeze(exponential_integrators.weights([vector(s) for s in nodes], [ones, ones], moments))
    present = polynomial(0) * (1 - np.exp(-rate * h))
    assert present + weights @ (polynomial(nodes) - polynomial(0)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.float64
def test_midpoint_is_the_second_order_of_dpm_solver_plus_plus():
    """(1 - e^-h) ((1 + 1/2r) c0 - 1/2r c1), r = h1/h (Lu et al., 2022b, Alg. 2)."""
    h, before = 0.8, 0.5
    weight = exponential_integrators.weights(
        [vector(-before)], [vector(True)], exponential_integrators.midpoint(vector(h), 1.0, vector(1), 1)
    )[0]
    assert float(weight[0]) == pytest.approx(-(1 - np.exp(-h)) * h / (2 * before), rel=1e-12)


@pytest.mark.float64
def test_halved_is_the_third_order_of_the_usual_code():
    """D1 = D10 + r0/(r0+r1) (D10 - D11), D2 = (D10 - D11)/(r0+r1), which is half of h² times the second derivative."""
    h, h0, h1 = 0.8, 0.5, 0.7
    c = np.array([0.3, -0.2, 0.9])
    r0, r1 = h0 / h, h1 / h
    first, second = (c[0] - c[1]) / r0, (c[1] - c[2]) / r1
    slope, curve = first + r0 / (r0 + r1) * (first - second), (first - second) / (r0 + r1)
    expected = ((np.exp(-h) - 1) / h + 1) * slope - ((np.exp(-h) - 1 + h) / h**2 - 0.5) * curve
    nodes, in_use = [vector(-h0), vector(-h0 - h1)], [vector(True), vector(True)]
    usual = np.squeeze(exponential_integrators.weights(nodes, in_use, exponential_integrators.halved(vector(h), 1.0, vector(2), 2)))
    assert usual @ (c[1:] - c[0]) == pytest.approx(expected, rel=1e-11)
    right = np.squeeze(exponential_integrators.weights(nodes, in_use, exponential_integrators.moments(vector(h), 1.0, vector(2), 2)))
    assert right @ (c[1:] - c[0]) == pytest.approx(expected - ((np.exp(-h) - 1 + h) / h**2 - 0.5) * curve, rel=1e-11)


@pytest.mark.float64
def test_rules_differ_only_where_they_say():
    h, four = vector(0.8, 0.8, 0.8, 0.8), jnp.arange(4)
    exact, midpoint, linear, halved = (
        np.array(rule(h, 1.0, four, 3))
        for rule in (
            exponential_integrators.moments,
            exponential_integrators.midpoint,
            exponential_integrators.linear,
            exponential_integrators.halved,
        )
    )
    for found, changed in ((midpoint, [(0, 1)]), (linear, [(0, 1)]), (halved, [(0, 1), (1, 2)])):
        assert sorted(map(tuple, np.argwhere(found != exact).tolist())) == changed
    assert linear[0, 1] == pytest.approx(0.8**2 / 2) and halved[1, 2] == pytest.approx(exact[1, 2] / 2)


@pytest.mark.parametrize("nodes", [(0.0, -1.0), (-1.0, -1.0), (0.0, 0.0)], ids=["at zero", "equal", "both"])
def test_weights_and_their_gradients_are_finite_at_degenerate_nodes(nodes):
    def total(nodes):
        moments = exponential_integrators.moments(vector(0.5), 1.0, vector(2), 2)
        return sum(w[0] for w in exponential_integrators.weights([n[None] for n in nodes], [vector(True)] * 2, moments))

    value, slope = jax.value_and_grad(total)(jnp.array(nodes))
    assert np.isfinite(value) and np.all(np.isfinite(slope))


LEVELS = {
    "usual": (Level(0.0, 0.6, 0.8), Level(0.0, 0.8, 0.6)),
    "no signal": (Level(0.0, 0.0, 1.0), Level(0.0, 0.8, 0.6)),
    "to clean": (Level(0.0, 0.6, 0.8), Level(0.0, 1.0, 0.0)),
    "everything": (Level(0.0, 0.0, 1.0), Level(0.0, 1.0, 0.0)),
}


@pytest.mark.float64
@pytest.mark.parametrize("pair", LEVELS.values(), ids=LEVELS.keys())
def test_first_order_step_is_ddim_at_eta_zero_and_one(pair):
    rng = np.random.default_rng(0)
    told, noise = Prediction(*jnp.asarray(rng.normal(size=(2, 3, 2)))), rng.normal(size=(3, 2))
    for eta in (0.0, 1.0):
        found = exponential_integrators.first_order_step(told, *pair, eta=eta, noise=noise)
        np.testing.assert_allclose(found, ancestral.ddim_step(told, *pair, eta=eta, noise=noise), rtol=1e-12, atol=1e-14)


@pytest.mark.float64
@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0, 2.0])
def test_first_order_steps_compose(eta):
    """For a constant clean prediction two steps have the mean and the variance of one, whatever the level between."""
    levels = [Level(0.0, 0.3, 0.9), Level(0.0, 0.6, 0.7), Level(0.0, 0.8, 0.5)]
    x, clean = 1.3, -0.4

    def move(x, a, b, noise):
        told = Prediction(jnp.full((1, 1), clean), (x - a.alpha * clean) / a.sigma)
        return exponential_integrators.first_order_step(told, a, b, eta=eta, noise=jnp.full((1, 1), noise))

    start = jnp.full((1, 1), x)
    once = move(start, levels[0], levels[2], 0.0)
    twice = move(move(start, levels[0], levels[1], 0.0), levels[1], levels[2], 0.0)
    np.testing.assert_allclose(twice, once, rtol=1e-12)
    spread = move(start, levels[0], levels[2], 1.0) - once
    early = move(move(start, levels[0], levels[1], 1.0), levels[1], levels[2], 0.0) - twice
    late = move(move(start, levels[0], levels[1], 0.0), levels[1], levels[2], 1.0) - twice
    np.testing.assert_allclose(early**2 + late**2, spread**2, rtol=1e-11, atol=1e-15)


def test_half_precision_coefficients_are_computed_in_single():
    position, finite = exponential_integrators.half_log_snr(Level(0.0, 0.6, 0.8), jnp.zeros((2, 3), jnp.bfloat16))
    assert position.dtype == jnp.float32 and finite
    assert float(position) == pytest.approx(np.log(0.75), rel=1e-6)
