"""A pack has its samples side by side, in the order of the batch."""

import jax
import numpy as np
import pytest

from gendiff.adversarial import packing
from tests.refusals import refusals
from tests.tables import table

X = np.arange(6 * 2 * 4 * 3, dtype=np.float32).reshape(6, 2, 4, 3)


@table("x", [X, X[:, 0, 0]])
@table("m", [1, 2, 3, 6])
def test_channel_j_c_plus_k_of_pack_i_is_channel_k_of_sample_i_m_plus_j(x, m):
    packed, c = np.asarray(packing.packed(x, m)), x.shape[-1]
    assert packed.shape == (6 // m, *x.shape[1:-1], m * c) and packed.dtype == x.dtype
    for i in range(6 // m):
        for j in range(m):
            np.testing.assert_array_equal(packed[i, ..., j * c : (j + 1) * c], x[i * m + j])


def test_the_gradient_of_a_pack_reaches_each_of_its_samples():
    weights = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    slope = jax.grad(lambda x: (packing.packed(x, 2) * weights).sum())(X[:, 0, 0])
    np.testing.assert_array_equal(slope, weights.reshape(6, 3))


test_what_cannot_be_packed_is_refused = pytest.mark.fault("adversarial: a batch that packs do not divide")(
    refusals(
        (lambda: packing.packed(X, 4), "m = 4 does not divide the batch of 6 samples"),
        (lambda: packing.packed(X, 0), "m = 0 is outside"),
        (lambda: packing.packed(X, 2.0), "m must be an integer", TypeError),
        (lambda: packing.packed(X[:, 0, 0, 0], 2), r"x of shape \(6,\) has no axis"),
    )
)
