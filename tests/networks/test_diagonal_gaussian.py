import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import diagonal_gaussian
from gendiff.networks.diagonal_gaussian import DiagonalGaussian
from tests.refusals import refusals

SHAPE = (2, 3, 4, 2)
KEY = jax.random.key(3)


def gaussian(mean=0.0, log_variance=0.0, **normalisation):
    return DiagonalGaussian(jnp.full(SHAPE, mean), jnp.full(SHAPE, log_variance), **normalisation)


def test_the_divergence_of_a_standard_normal_is_exactly_0_and_others_have_their_closed_form():
    np.testing.assert_array_equal(gaussian().kl(), [0, 0])
    np.testing.assert_allclose(gaussian(mean=2.0).kl(), 24 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(gaussian(log_variance=1.0).kl(), 24 * (np.e - 2) / 2, rtol=1e-6)


def test_the_divergence_is_the_mean_log_ratio_of_samples():
    of = DiagonalGaussian(jnp.full((40_000, 1, 1, 1), 0.7), jnp.full((40_000, 1, 1, 1), -0.8))
    z, std = np.asarray(of.sample(KEY, jnp.arange(40_000)), np.float64).ravel(), np.exp(-0.4)
    ratio = -np.log(std) - ((z - 0.7) / std) ** 2 / 2 + z**2 / 2
    assert abs(ratio.mean() - float(of.kl()[0])) < 4 * ratio.std() / 200
    assert ratio.std() / 200 < 0.01 * float(of.kl()[0])


def test_the_divergence_is_that_of_the_latents_before_the_normalisation():
    moments = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    plain = diagonal_gaussian.from_moments(moments)
    for scale, shift in ((0.2, 1.0), ((3.0, 0.5), (0.0, -2.0))):
        np.testing.assert_allclose(diagonal_gaussian.from_moments(moments, scale, shift).kl(), plain.kl(), rtol=1e-4)


def test_samples_have_the_mean_and_the_deviation_and_the_mode_is_the_mean():
    of = DiagonalGaussian(jnp.full((1, 50, 50, 4), 5.0), jnp.full((1, 50, 50, 4), 2 * np.log(0.1)))
    drawn = of.sample(KEY, np.arange(1))
    assert float(drawn.mean()) == pytest.approx(5, abs=0.005) and float(drawn.std()) == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(of.mode(), of.mean)
    np.testing.assert_allclose(of.std(), 0.1, rtol=1e-6)


def test_a_sample_depends_on_its_number_and_not_on_its_batch():
    drawn = gaussian().sample(KEY, np.array([5, 9]))
    np.testing.assert_array_equal(gaussian().sample(KEY, np.array([7, 5]))[1], drawn[0])
    assert not np.array_equal(drawn[0], drawn[1])


def test_the_logarithm_of_the_variance_is_clamped_before_the_scale():
    moments = jnp.concatenate([jnp.zeros(SHAPE), jnp.full(SHAPE, -1e9), jnp.full(SHAPE, 1e9)], -1)[..., [0, 2, 4]]
    of = diagonal_gaussian.from_moments(moments[..., [0, 0, 1, 2]], scale=2.0)
    np.testing.assert_allclose(of.log_variance[0, 0, 0], np.array([-30, 20]) + 2 * np.log(2), rtol=1e-6)
    assert np.isfinite(of.kl()).all()


test_what_is_no_draw_and_no_gaussian_is_refused = refusals(
    (lambda: gaussian().sample(None, np.arange(2)), "key", TypeError),
    (lambda: gaussian().sample(jax.random.split(KEY), np.arange(2)), "one key"),
    (lambda: gaussian().sample(KEY, np.arange(3)), r"index has shape \(3,\)"),
    (lambda: diagonal_gaussian.from_moments(jnp.zeros((1, 2, 2, 3))), "3 channels"),
)
