"""The arithmetic of exponential integrators against quadrature."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from gendiff.diffusion.samplers import ancestral, exponential_integrators
from gendiff.diffusion.types import Level, Prediction
from tests.diffusion.samplers.draws import rand
from tests.tables import table

pytestmark = pytest.mark.numbers

STEPS = np.array([1e-9, 1e-3, 0.3, 0.999, 1.001, 4.0, 11.0])


def vector(*values):
    return jnp.asarray(values)


@pytest.mark.float64
@pytest.mark.parametrize("last", [1, 4])
def test_phis_are_their_integrals_without_cancellation(last):
    z = np.concatenate([-STEPS, STEPS, [0.0, -40.0]])
    double, single = (
        jax.jit(exponential_integrators.phis, static_argnums=0)(last, z),
        exponential_integrators.phis(last, np.float32(z)),
    )
    for k in range(1, last + 1):
        expected = [
            quad(lambda s, z=z, k=k: np.exp((1 - s) * z) * s ** (k - 1), 0, 1, epsabs=0, epsrel=1e-13)[0] for z in z
        ]
        expected = np.array(expected) / math.factorial(k - 1)
        np.testing.assert_allclose(double[k - 1], expected, rtol=1e-12)
        np.testing.assert_allclose(single[k - 1], expected, rtol=1e-5)


@pytest.mark.float64
def test_phis_are_smooth_where_their_formula_changes():
    """phi_k' = phi_k - k phi_(k+1), by parts."""
    z = vector(-1.0 - 1e-9, -1.0 + 1e-9, 0.0, 1.0 - 1e-9, 1.0 + 1e-9, -30.0)
    result, slope = jax.jit(
        lambda z: jax.jvp(functools.partial(exponential_integrators.phis, 4), (z,), (jnp.ones_like(z),))
    )(z)
    for k in (1, 2, 3):
        np.testing.assert_allclose(slope[k - 1], result[k - 1] - k * result[k], rtol=1e-11)


def test_phis_stay_finite_in_single_precision():
    value_and_slope = jax.jit(jax.value_and_grad(lambda z: exponential_integrators.phis(4, z)[3]))
    for z in (-1e30, -100.0, 100.0, 1e30):
        assert np.all(np.isfinite(value_and_slope(jnp.float32(z))))


@pytest.mark.float64
@pytest.mark.parametrize("rate", [1.0, 2.0, -1.0])
def test_moments_are_the_integrals_of_the_kernel(rate):
    result = exponential_integrators.moments(jnp.asarray(STEPS), rate, jnp.full(len(STEPS), 3), 3)
    for k in range(1, 4):
        expected = [
            quad(lambda s, h=h, k=k: rate * np.exp(-rate * (h - s)) * s**k, 0, h, epsabs=0, epsrel=1e-13)[0]
            for h in STEPS
        ]
        np.testing.assert_allclose(result[k - 1], expected, rtol=1e-11)


@pytest.mark.float64
def test_weights_have_the_moments_asked_for():
    nodes, moments = [vector(-0.4), vector(-1.1), vector(0.7)], [vector(0.3), vector(-0.2), vector(0.9)]
    for count in (1, 2, 3):
        result = np.squeeze(exponential_integrators.weights(nodes, [vector(j < count) for j in range(3)], moments))
        np.testing.assert_array_equal(result[count:], 0)
        for k in range(count):
            assert sum(w * float(s[0]) ** (k + 1) for w, s in zip(result, nodes, strict=True)) == pytest.approx(
                float(moments[k][0])
            )


@pytest.mark.float64
def test_rules_differ_only_where_they_say():
    h, four = vector(0.8, 0.8, 0.8, 0.8), jnp.arange(4)
    exact = np.array(exponential_integrators.moments(h, 1.0, four, 3))
    rules = {
        name: np.array(getattr(exponential_integrators, name)(h, 1.0, four, 3))
        for name in ("midpoint", "linear", "halved")
    }
    for name, changed in (("midpoint", [(0, 1)]), ("linear", [(0, 1)]), ("halved", [(0, 1), (1, 2)])):
        assert sorted(map(tuple, np.argwhere(rules[name] != exact).tolist())) == changed
    assert rules["linear"][0, 1] == pytest.approx(0.8**2 / 2) and rules["halved"][1, 2] == pytest.approx(
        exact[1, 2] / 2
    )


@pytest.mark.parametrize("nodes", [(0.0, -1.0), (-1.0, -1.0), (0.0, 0.0)], ids=["at zero", "equal", "both"])
def test_weights_and_their_gradients_are_finite_at_degenerate_nodes(nodes):
    def total(nodes):
        moments = exponential_integrators.moments(vector(0.5), 1.0, vector(2), 2)
        return sum(w[0] for w in exponential_integrators.weights([n[None] for n in nodes], [vector(True)] * 2, moments))

    value, slope = jax.value_and_grad(total)(jnp.array(nodes))
    assert np.isfinite(value) and np.all(np.isfinite(slope))


NOISY, MIDDLE, CLEAN = Level(0.0, 0.0, 1.0), Level(0.0, 0.8, 0.6), Level(0.0, 1.0, 0.0)


@pytest.mark.float64
@table(("level", "cleaner"), [(Level(0.0, 0.6, 0.8), MIDDLE), (NOISY, MIDDLE), (MIDDLE, CLEAN), (NOISY, CLEAN)])
def test_first_order_step_is_ddim_at_eta_zero_and_one(level, cleaner):
    *prediction, noise = jnp.asarray(rand(0, 3, 3, 2))
    for eta in (0.0, 1.0):
        result = exponential_integrators.first_order_step(Prediction(*prediction), level, cleaner, eta=eta, noise=noise)
        expected = ancestral.ddim_step(Prediction(*prediction), level, cleaner, eta=eta, noise=noise)
        np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.float64
@table("eta", [0.0, 0.6, 1.0, 2.0])
def test_first_order_steps_compose(eta):
    """For a constant clean prediction two steps have the mean and the variance of one, whatever the level between."""
    first, middle, last = Level(0.0, 0.3, 0.9), Level(0.0, 0.6, 0.7), Level(0.0, 0.8, 0.5)

    def move(x, a, b, noise):
        prediction = Prediction(jnp.full((1, 1), -0.4), (x + a.alpha * 0.4) / a.sigma)
        return exponential_integrators.first_order_step(prediction, a, b, eta=eta, noise=jnp.full((1, 1), noise))

    start = jnp.full((1, 1), 1.3)
    once, noisy = (move(start, first, last, noise) for noise in (0.0, 1.0))
    twice, early, late = (
        move(move(start, first, middle, a), middle, last, b) for a, b in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    )
    np.testing.assert_allclose(twice, once, rtol=1e-12)
    np.testing.assert_allclose((early - twice) ** 2 + (late - twice) ** 2, (noisy - once) ** 2, rtol=1e-11, atol=1e-15)


def test_half_precision_coefficients_are_computed_in_single():
    position, finite = exponential_integrators.half_log_snr(Level(0.0, 0.6, 0.8), jnp.zeros((2, 3), jnp.bfloat16))
    assert position.dtype == jnp.float32 and finite
    assert float(position) == pytest.approx(np.log(0.75), rel=1e-6)
