"""A searched scale is never worse than max |w| / 7, and −8 … 7 are stored exactly."""

import jax.numpy as jnp
import numpy as np

from gendiff.weights import packed_kernels, quantised
from gendiff.weights.quantised import scale_search
from tests.quickly import in_numpy, quickly
from tests.refusals import refusals

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(12, 3, 32)).astype(np.float32) ** 3
"""With heavy tails, on which a scale by the largest weight is bad."""
IMPORTANCE = RNG.exponential(size=(3, 32)).astype(np.float32)


def error_of(scale, weights, importance):
    """In float64, of the nearest integers in −8 … 7."""
    scale, weights = np.asarray(scale, np.float64)[..., None], weights.astype(np.float64)
    integers = np.clip(np.round(weights / np.where(scale == 0, 1, scale)), -8, 7)
    return np.sum(importance * (weights - scale * integers) ** 2, -1)


def test_the_squared_error_is_never_above_that_of_the_largest_weight_and_near_the_least():
    search = in_numpy(scale_search.searched_scale, static_argnums=1)
    fine = np.linspace(-1 / 4, 1 / 4, 2001)  # every scale that could be the best one, in fractions of the largest
    largest = np.abs(WEIGHTS).max(-1)
    for importance in (None, IMPORTANCE):
        weigh = 1.0 if importance is None else importance
        result = error_of(search(WEIGHTS, "float32", importance), WEIGHTS, weigh)
        assert (result <= error_of(largest / 7, WEIGHTS, weigh) * (1 + 1e-5)).all()
        least = np.min([error_of(largest * share, WEIGHTS, weigh) for share in fine], 0)
        assert np.mean(result / least) < 1.03


def test_a_scale_is_compared_as_it_is_stored():
    scale = in_numpy(scale_search.searched_scale, static_argnums=1)(WEIGHTS, "bfloat16")
    np.testing.assert_array_equal(scale, np.asarray(jnp.asarray(scale).astype(jnp.bfloat16), np.float32))
    largest = np.asarray(jnp.asarray(np.abs(WEIGHTS).max(-1) / 7).astype(jnp.bfloat16), np.float64)
    assert (error_of(scale, WEIGHTS, 1.0) <= error_of(largest, WEIGHTS, 1.0) * (1 + 1e-5)).all()


def test_all_sixteen_levels_come_back_exactly_and_zeros_stay_zero():
    levels = np.stack([RNG.permutation(np.repeat(np.arange(-8, 8), 2)) for _ in range(6)], 1).astype(np.float32)
    levels[:, 5] = 0.0
    weights = levels * np.float32(0.25) * np.array([1, -1, 1, -1, 1, 1], np.float32)

    @quickly
    def program(weights):
        kernel = quantised.packed_array(weights, quantised.int4(search=True))
        return kernel, kernel.dense(jnp.float32)

    kernel, back = program(weights)
    np.testing.assert_array_equal(back, weights)
    nibbles = np.concatenate(packed_kernels.NibbleKernel.parts(kernel.values), 1)[0]
    assert set(nibbles[:, :5].ravel()) == set(range(16)) and (np.asarray(kernel.scale)[0, 1] < 0)
    assert 8 * quantised.nbytes(kernel) == weights.size * 4.5


test_a_search_of_what_is_asymmetric_is_refused = refusals(
    (lambda: quantised.int4(symmetric=False, search=True), "search = True is for symmetric = True"),
)
