import jax
import numpy as np
import pytest

from gendiff.networks import diagonal_gaussian
from gendiff.networks.images.diagonal_gaussian import DiagonalGaussian
from tests.quickly import quickly
from tests.refusals import refusals

SHAPE = (2, 3, 4, 2)
LARGE = (1, 100, 100, 4)
KEY = jax.random.key(3)
kl = quickly(lambda law: law.kl())
sample = quickly(lambda law, index: law.sample(KEY, index))


def gaussian(mean=0.0, log_variance=0.0, shape=SHAPE):
    return DiagonalGaussian(*(jax.device_put(np.full(shape, value, np.float32)) for value in (mean, log_variance)))


def test_the_divergence_of_a_standard_normal_is_exactly_0_and_others_have_their_closed_form():
    np.testing.assert_array_equal(kl(gaussian()), [0, 0])
    np.testing.assert_allclose(kl(gaussian(mean=2.0)), 24 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(kl(gaussian(log_variance=1.0)), 24 * (np.e - 2) / 2, rtol=1e-6)


def test_the_divergence_is_the_mean_log_ratio_of_samples():
    law = gaussian(0.7, -0.8, LARGE)
    z, std, expected = (
        np.asarray(sample(law, np.arange(1)), np.float64).ravel(),
        np.exp(-0.4),
        float(kl(law)[0]) / 40_000,
    )
    ratio = -np.log(std) - ((z - 0.7) / std) ** 2 / 2 + z**2 / 2
    assert abs(ratio.mean() - expected) < 4 * ratio.std() / 200
    assert ratio.std() / 200 < 0.01 * expected


def test_the_divergence_is_that_of_the_latents_before_the_normalisation():
    moments = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    normalisations = ((), (0.2, 1.0), ((3.0, 0.5), (0.0, -2.0)))
    plain, *others = quickly(
        lambda moments: [diagonal_gaussian.from_moments(moments, *each).kl() for each in normalisations]
    )(moments)
    for other in others:
        np.testing.assert_allclose(other, plain, rtol=1e-4)


def test_samples_have_the_mean_and_the_deviation_and_the_mode_is_the_mean():
    law = gaussian(5.0, 2 * np.log(0.1), LARGE)
    samples = np.asarray(sample(law, np.arange(1)))
    assert float(samples.mean()) == pytest.approx(5, abs=0.005) and float(samples.std()) == pytest.approx(0.1, rel=0.03)
    np.testing.assert_array_equal(law.mode(), law.mean)
    np.testing.assert_allclose(law.std(), 0.1, rtol=1e-6)


def test_a_sample_depends_on_its_number_and_not_on_its_batch():
    samples, again = (np.asarray(sample(gaussian(), np.array(index))) for index in ([5, 9], [7, 5]))
    np.testing.assert_array_equal(again[1], samples[0])
    assert not np.array_equal(samples[0], samples[1])


def test_the_logarithm_of_the_variance_is_clamped_before_the_scale():
    moments = np.concatenate(
        [np.zeros(SHAPE), np.full((*SHAPE[:3], 1), -1e9), np.full((*SHAPE[:3], 1), 1e9)], -1
    ).astype(np.float32)
    law = quickly(lambda moments: diagonal_gaussian.from_moments(moments, scale=2.0))(moments)
    np.testing.assert_allclose(law.log_variance[0, 0, 0], np.array([-30, 20]) + 2 * np.log(2), rtol=1e-6)
    assert np.isfinite(kl(law)).all()


test_what_is_no_draw_and_no_gaussian_is_refused = refusals(
    (lambda: gaussian().sample(None, np.arange(2)), "key", TypeError),
    (lambda: gaussian().sample(jax.random.split(KEY), np.arange(2)), "one key"),
    (lambda: gaussian().sample(KEY, np.arange(3)), r"index has shape \(3,\)"),
    (lambda: gaussian().sample(KEY, np.arange(2) - 1), "index"),
    (lambda: gaussian().sample(KEY, np.ones(2)), "index must hold integers", TypeError),
    (lambda: gaussian().sample(jax.random.key(0, impl="rbg"), np.arange(2)), "threefry2x32", TypeError),
    (lambda: diagonal_gaussian.from_moments(np.zeros((1, 2, 2, 3), np.float32)), "3 channels"),
)
