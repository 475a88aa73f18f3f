import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff import training
from gendiff.core import packed, trees
from gendiff.core.records import record
from tests.refusals import refusals

pytestmark = pytest.mark.numbers


@record
class Halved(packed.PackedKernel):
    """The simplest kind: it stores half of each number."""

    half: object

    @property
    def shape(self):
        return self.half.shape

    @property
    def dtype(self):
        return self.half.dtype

    def dense(self, dtype):
        return (2 * self.half).astype(dtype)


ARRAY = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
KERNEL = Halved(jnp.asarray(ARRAY / 2))


def test_a_kind_that_says_its_array_has_all_products():
    x, y = np.ones((2, 5, 4), np.float32), np.ones((2, 5, 3), np.float32)
    np.testing.assert_allclose(KERNEL.product(jnp.asarray(x)), x @ ARRAY, atol=1e-5)
    np.testing.assert_allclose(KERNEL.product_with_rows(jnp.asarray(y)), y @ ARRAY.T, atol=1e-5)
    np.testing.assert_array_equal(KERNEL.rows(jnp.array([[2, 0]])), ARRAY[[[2, 0]]])
    assert KERNEL.product_with_rows(jnp.asarray(y, jnp.bfloat16)).dtype == jnp.float32


def test_a_packed_kernel_is_one_leaf_where_one_asks_for_it():
    tree = {"layer": {"kernel": KERNEL, "bias": np.zeros(3)}}
    assert list(trees.paths(tree)) == ["layer/bias", "layer/kernel/half"]
    assert list(trees.paths(tree, is_leaf=packed.is_packed)) == ["layer/bias", "layer/kernel"]
    assert [packed.size(leaf) for leaf in packed.leaves(tree)] == [3, 12]
    for value in (KERNEL, ARRAY):
        np.testing.assert_array_equal(packed.as_array(value, jnp.float32), ARRAY)


test_packed_kernels_are_not_trained = refusals(
    (
        lambda: training.start({"layer": {"kernel": KERNEL}}, optax.sgd(0.1), jax.random.key(0)),
        "params hold 1 packed kernels, such as layer/kernel",
        TypeError,
    )
)
