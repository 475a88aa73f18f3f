"""Noise that lies near its sample: which candidate it is, and by how much its law differs from the normal one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from gendiff.diffusion import immiscible, objectives, parameterization, schedules
from gendiff.diffusion.types import Batch
from tests.quickly import in_numpy
from tests.refusals import refusals


def clean(count=6, shape=(2, 3), dtype=np.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(count, *shape)), dtype)


def largest_of(count):
    """The mean of the largest of so many standard normal numbers."""
    law = scipy.stats.norm
    return scipy.integrate.quad(lambda z: z * count * law.pdf(z) * law.cdf(z) ** (count - 1), -8, 8)[0]


def test_one_candidate_is_independent_noise_bit_by_bit():
    @in_numpy
    def nearest_noise(clean):
        samplers = (
            lambda key, clean: jax.random.normal(key, clean.shape),
            immiscible.nearest(1),
            immiscible.IndependentNoise(),
        )
        return [sampler(jax.random.key(0), clean) for sampler in samplers]

    plain, *others = nearest_noise(clean())
    for other in others:
        np.testing.assert_array_equal(other, plain)


def test_each_sample_takes_the_nearest_of_its_own_candidates_whatever_its_neighbours_are():
    draw = in_numpy(immiscible.nearest(5))
    noise = draw(jax.random.key(0), clean())
    nearest_noise = np.asarray(jax.random.normal(jax.random.key(0), (5, *clean().shape)))
    for sample, (clean_sample, chosen) in enumerate(zip(np.asarray(clean()), noise, strict=True)):
        distance = np.square(nearest_noise[:, sample] - clean_sample).sum((1, 2))
        np.testing.assert_array_equal(chosen, nearest_noise[np.argmin(distance), sample])
    other = draw(jax.random.key(0), clean().at[0].set(9.0))
    np.testing.assert_array_equal(other[1:], noise[1:])
    assert np.any(other[0] != noise[0])


nearest_of_four = jax.jit(immiscible.nearest(4))


@pytest.mark.parametrize("spread", [0.3, 1.0])
def test_the_law_of_the_noise_is_off_by_what_is_stated(spread):
    """Gaussian data: noise leans towards its sample, has less variance, and keeps the mean 0 over all samples."""
    size, count = 300, 1500
    data = spread * clean(count, (size,))
    noise = np.asarray(nearest_of_four(jax.random.key(0), data), np.float64)
    data = np.asarray(data, np.float64)
    scale = np.sqrt(2 * size + 4 * np.square(data).sum(1))
    leaning = (noise * data).sum(1) / (2 * np.square(data).sum(1) / scale)
    assert leaning.mean() == pytest.approx(largest_of(4), abs=5 * leaning.std() / np.sqrt(count) + 0.02)
    missing = (1 - np.square(noise).mean(1)) * scale / 2
    assert missing.mean() == pytest.approx(largest_of(4), abs=5 * missing.std() / np.sqrt(count) + 0.02)
    assert np.abs(noise.mean(0)).max() < 5 / np.sqrt(count)


def test_bfloat16_noise_is_compared_in_float32_and_keeps_its_dtype():
    noise = jax.eval_shape(immiscible.nearest(3), jax.random.key(0), clean(dtype=jnp.bfloat16))
    assert noise.dtype == jnp.bfloat16 and noise.shape == (6, 2, 3)


def test_the_objective_adds_the_noise_that_the_sampler_draws_and_equal_settings_make_equal_losses():
    calls = []

    def network(params, x, t):
        calls.append((x, t))
        return x

    def loss(sampler):
        return objectives.denoising(network, schedules.flow(), parameterization.flow(), noise=sampler)

    @in_numpy
    def noise_of(clean):
        loss(lambda key, clean: jnp.full_like(clean, 2.0))((), jax.random.key(0), Batch(clean))
        return calls[0]

    x, t = noise_of(np.ones((5, 3), np.float32))
    # (1 - u) · 1 + u · 2, u = t / 1000
    np.testing.assert_allclose(x, np.broadcast_to((1 + t / 1000)[:, None], (5, 3)), rtol=1e-5)
    assert loss(immiscible.nearest(4)) == loss(immiscible.nearest(4)) != loss(None)


def loss_with(sampler):
    loss = objectives.denoising(lambda params, x, t: x, schedules.flow(), parameterization.flow(), noise=sampler)
    return jax.eval_shape(loss, (), jax.random.key(0), Batch(clean()))


test_mistakes_are_refused = refusals(
    (lambda: immiscible.nearest(0), "candidates = 0 is outside"),
    (lambda: immiscible.nearest(2.0), "candidates must be an integer", TypeError),
    (lambda: loss_with(lambda key, clean: clean[:1]), r"noise has shape \(1, 2, 3\) but batch.clean"),
)
