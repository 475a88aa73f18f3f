"""Parameterizations: what the network is asked for gives back the clean sample and the noise, at every level."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.diffusion import parameterization
from gendiff.diffusion.types import Level
from tests.diffusion import families
from tests.diffusion.families import PARAMETERIZATIONS as ALL

every = families.every("build", ALL)
LEVELS = {
    "preserving": Level(500.0, 0.6, 0.8),
    "exploding": Level(0.4, 1.0, 5.0),
    "straight": Level(700.0, 0.3, 0.7),
    "scaled": Level(1.0, 2.0, 3.0),
}
levels = pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS.keys())
ENDS = {"all noise": Level(999.0, 0.0, 1.0), "all clean": Level(-1.0, 1.0, 0.0)}


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.float64
@every
@levels
def test_predicting_from_the_target_gives_back_clean_and_noise(build, level):
    clean, noise = rand(0, 2, 3, 4), rand(1, 2, 3, 4)
    x = level.alpha * clean + level.sigma * noise
    made = build()
    found = made.predict(x, made.target(clean, noise, level), level)
    np.testing.assert_allclose(found.clean, clean, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(found.noise, noise, rtol=1e-11, atol=1e-12)


@pytest.mark.float64
@every
@levels
def test_prediction_explains_x_whatever_the_network_said(build, level):
    x, output = rand(0, 2, 3), rand(1, 2, 3)
    found = build().predict(x, output, level)
    np.testing.assert_allclose(level.alpha * found.clean + level.sigma * found.noise, x, rtol=1e-10, atol=1e-12)


@pytest.mark.float64
@levels
def test_targets_are_those_of_their_papers(level):
    clean, noise = rand(0, 2, 3), rand(1, 2, 3)
    a, s, d = level.alpha, level.sigma, 0.5
    root = np.sqrt(s**2 + a**2 * d**2)
    expected = {
        "noise": noise,
        "clean": clean,
        "velocity": a * noise - s * clean,
        "flow": noise - clean,
        "edm": (s * clean - a * d**2 * noise) / (d * root),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(ALL[name]().target(clean, noise, level), value, rtol=1e-12, atol=1e-14, err_msg=name)


@pytest.mark.float64
@pytest.mark.parametrize("name", ["velocity", "flow", "edm"])
@pytest.mark.parametrize("level", ENDS.values(), ids=ENDS.keys())
def test_velocity_flow_and_edm_are_finite_at_both_ends(name, level):
    x, output = rand(0, 2, 3), rand(1, 2, 3)
    made = ALL[name]()
    found = made.predict(x, output, level)
    assert np.all(np.isfinite(found.clean)) and np.all(np.isfinite(found.noise))
    if level.sigma == 0:
        np.testing.assert_allclose(found.clean, x, rtol=1e-13)
    else:
        np.testing.assert_allclose(found.noise, x, rtol=1e-13)
    assert np.all(np.isfinite(made.target(x, output, level)))


@every
def test_gradients_through_prediction_are_finite_at_usable_levels(build):
    made = build()

    def total(x, output, alpha, sigma):
        level = Level(1.0, alpha, sigma)
        found = made.predict(x, output, level)
        return jnp.sum(found.clean**2) + jnp.sum(found.noise**2) + jnp.sum(made.scale_in(x, level))

    pairs = [(0.6, 0.8)] + [(0.0, 1.0)] * (not made.divides_by_alpha) + [(1.0, 0.0)] * (made != parameterization.clean())
    for alpha, sigma in pairs:
        for slope in jax.grad(total, argnums=(0, 1, 2, 3))(jnp.ones((2, 3)), jnp.ones((2, 3)), alpha, sigma):
            assert np.all(np.isfinite(slope)), (alpha, sigma)


@pytest.mark.float64
@every
@levels
def test_gain_is_the_ratio_of_target_error_to_clean_error(build, level):
    """An error of the clean prediction at x fixed changes the noise by -alpha/sigma times it."""
    made, clean, noise, error = build(), rand(0, 2, 3), rand(1, 2, 3), rand(2, 2, 3)
    moved = made.target(clean + error, noise - level.alpha / level.sigma * error, level) - made.target(clean, noise, level)
    np.testing.assert_allclose(made.gain(level), np.sum(np.square(moved)) / np.sum(np.square(error)), rtol=1e-11)


@pytest.mark.float64
@pytest.mark.parametrize("sigma", [0.002, 0.5, 1.0, 80.0])
def test_edm_is_karras_preconditioning(sigma):
    """c_skip, c_out and c_in of Karras et al. (2022), Tab. 1, on their own process (alpha = 1)."""
    s = 0.5
    skip, out, scale = s**2 / (sigma**2 + s**2), sigma * s / np.sqrt(sigma**2 + s**2), 1 / np.sqrt(sigma**2 + s**2)
    x, output = sigma * rand(0, 2, 3), rand(1, 2, 3)
    level, made = Level(np.log(sigma) / 4, 1.0, sigma), parameterization.edm(s)
    found = made.predict(x, output, level)
    np.testing.assert_allclose(found.clean, skip * x + out * output, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(made.scale_in(x, level), scale * x, rtol=1e-12)
    assert float(made.gain(level)) == pytest.approx(1 / out**2, rel=1e-10)
    assert scale**2 * (s**2 + sigma**2) == pytest.approx(1)


@pytest.mark.float64
@levels
def test_edm_input_and_target_have_unit_variance(level):
    """Variances of linear maps of independent clean (std s) and noise (std 1), read off their coefficients."""
    s, made = 0.7, parameterization.edm(0.7)
    one, zero = np.ones((1, 1)), np.zeros((1, 1))
    target = [float(made.target(c, n, level)[0, 0]) for c, n in ((one, zero), (zero, one))]
    assert s**2 * target[0] ** 2 + target[1] ** 2 == pytest.approx(1, rel=1e-12)
    shown = float(made.scale_in(one, level)[0, 0])
    assert shown**2 * (level.alpha**2 * s**2 + level.sigma**2) == pytest.approx(1, rel=1e-12)


@every
def test_only_edm_scales_the_network_input(build):
    x = jnp.ones((2, 3))
    shown = build().scale_in(x, Level(1.0, 0.6, 0.8))
    assert build is parameterization.edm or np.array_equal(shown, x)


@every
def test_dtype_of_x_is_kept_and_levels_go_one_to_a_sample(build):
    made = build()
    x, output = jnp.asarray(rand(0, 3, 2, 2), jnp.float32), jnp.asarray(rand(1, 3, 2, 2), jnp.float32)
    level = Level(jnp.zeros(3), jnp.array([0.9, 0.6, 0.1]), jnp.array([0.4, 0.8, 0.99]))
    whole = made.predict(x, output, level)
    assert whole.clean.dtype == whole.noise.dtype == x.dtype
    assert made.predict(x.astype(jnp.bfloat16), output.astype(jnp.bfloat16), level).clean.dtype == jnp.bfloat16
    for i in range(3):
        row = made.predict(x[i : i + 1], output[i : i + 1], level[i])
        np.testing.assert_allclose(row.clean[0], whole.clean[i], rtol=1e-6)
        np.testing.assert_allclose(row.noise[0], whole.noise[i], rtol=1e-6)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_edm_needs_a_positive_data_std(std):
    with pytest.raises(ValueError, match="data_std"):
        parameterization.edm(std)


@pytest.mark.usefixtures("unchecked")
@every
def test_output_of_another_shape_is_refused(build):
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 1\)|\(2, 1\).*\(2, 3\)"):
        build().predict(jnp.ones((2, 3)), jnp.ones((2, 1)), Level(1.0, 0.6, 0.8))
