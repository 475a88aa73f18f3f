"""Products with packed kernels equal those with the arrays that they stand for, at every number of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.weights import integer_products, packed_kernels, quantised
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table
from tests.variants import some_slow

pytestmark = pytest.mark.numbers

KINDS = {
    "int8": quantised.int8(),
    "int8 of the array": quantised.int8(per_output=False),
    "int8 in groups": quantised.int8(16),
    "int4": quantised.int4(),
    "int4 asymmetric": quantised.int4(symmetric=False),
    "float8": quantised.float8(),
}
IN, OUT = 48, 20
RNG = np.random.default_rng(0)
WEIGHTS = (RNG.normal(size=(IN, OUT)) + 0.3).astype(np.float32)
X = RNG.normal(size=(3, 4, IN)).astype(np.float32)
DOWN = RNG.normal(size=(OUT, IN)).astype(np.float32) / 5
SLOPES = np.cos(np.arange(3 * 4 * OUT, dtype=np.float32)).reshape(3, 4, OUT)


packed_kernel = quickly(lambda: quantised.packed_array(WEIGHTS, quantised.int8()))


SLOW = ("int8 of the array", "int8 in groups", "int4 asymmetric")


@pytest.mark.parametrize("kind", some_slow(KINDS, SLOW))
def test_products_and_rows_are_those_of_the_array(kind):
    """Of 12 rows and of 1, as a kernel and as a table, in value and slope."""

    @quickly
    def all_of(weights, x):
        kernel = quantised.packed_array(weights, KINDS[kind])
        table = quantised.packed_array(weights.T, KINDS[kind], table=True)
        few = x[:1, :1]
        packed = (
            kernel.product(x),
            kernel.product(few),
            table.product_with_rows(x),
            table.product_with_rows(few),
            table.rows(jnp.array([[3, 0]])),
        )
        array = kernel.dense(jnp.float32)
        plain = x @ array, few @ array, x @ array, few @ array, array.T[jnp.array([[3, 0]])]
        slopes = [
            jax.grad(lambda x, f=f: jnp.sum(f(x) * SLOPES))(x)
            for f in (kernel.product, table.product_with_rows, lambda x: x @ array)
        ]
        one = [
            jax.grad(lambda x, f=f: jnp.sum(f(x) * SLOPES[:1, :1]))(few) for f in (kernel.product, lambda x: x @ array)
        ]
        return packed, plain, slopes, one, (array, table.dense(jnp.float32).T)

    packed, plain, slopes, one, dense = jax.tree.map(np.asarray, all_of(WEIGHTS, X))
    for a, b in zip(packed, plain, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * np.abs(b).max())
    for a in slopes[:2]:
        np.testing.assert_allclose(a, slopes[2], atol=1e-4)
    np.testing.assert_allclose(*one, atol=1e-4)
    np.testing.assert_array_equal(*dense)


@table("kind", KINDS.values())
def test_low_rank_changes_learn_through_a_kernel_that_stays_as_it_is(kind):
    """The slope passes the product in a program whose kernel is an argument, as in a training of a LoRA."""
    kernel = quickly(lambda weights: quantised.packed_array(weights, kind))(WEIGHTS)

    @quickly
    def slope(x, kernel):
        return jax.value_and_grad(lambda x: jnp.sum(jnp.square(kernel.product(jnp.tanh(kernel.product(x) @ DOWN)))))(x)

    @quickly
    def plain(x, array):
        return jax.value_and_grad(lambda x: jnp.sum(jnp.square(jnp.tanh(x @ array @ DOWN) @ array)))(x)

    for got, expected in zip(slope(X, kernel), plain(X, kernel.dense(jnp.float32)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=2e-3, atol=2e-3 * float(np.abs(expected).max()))


@table("size", [(2, 2, 5, 6), (3, 7), (1, 40)])
def test_kernels_of_any_shape_and_odd_inputs_come_back_in_place(size):
    weights = np.arange(np.prod(size), dtype=np.float32).reshape(size) - 3
    kinds = quantised.int8(), quantised.int4(2, scale_dtype="float32"), quantised.int4(scale_dtype="float32")

    @quickly
    def there_and_back(weights):
        kernels = [quantised.packed_array(weights, kind) for kind in kinds]
        return kernels, [kernel.dense(jnp.float32) for kernel in kernels]

    for kernel, back in zip(*jax.tree.map(np.asarray, there_and_back(weights)), strict=True):
        assert kernel.shape == size
        step = kernel.scale.max(1 if isinstance(kernel, packed_kernels.ScaledKernel) else 0)
        assert (np.abs(back - weights) <= step.reshape((1,) * (len(size) - 1) + (-1,)) / 2 + 1e-5).all()


@pytest.mark.usefixtures("unchecked")
def test_integer_sums_are_taken_as_long_as_they_stay_within_32_bits():
    weights = jax.ShapeDtypeStruct((3, 1), jnp.int8)
    most = (2**31 - 1) // 127**2
    short, long = (jax.ShapeDtypeStruct((1, inputs), jnp.float32) for inputs in (130_000, most + 1))
    assert integer_products.by_digits(short, weights) and not integer_products.by_digits(long, weights)


@pytest.mark.parametrize("how", [quantised.int4(), quantised.int8()], ids=["int4", "int8"])
def test_a_packed_kernel_is_exported_for_any_number_of_rows(how):
    weights = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    kernel, rows = (
        quantised.packed_array(weights, how),
        np.random.default_rng(1).normal(size=(3, 64)).astype(np.float32),
    )
    multiply = jax.jit(lambda x: kernel.contracted(x, None))
    any_rows = jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 64"), jnp.float32)
    exported = jax.export.export(multiply)(any_rows)
    np.testing.assert_allclose(exported.call(rows), multiply(rows), rtol=1e-5, atol=1e-5)


def test_inputs_that_fill_up_a_last_group_do_not_widen_its_steps():
    weights = (5 + np.random.default_rng(0).uniform(size=(40, 6))).astype(np.float32)
    kernel = quickly(lambda: quantised.packed_array(weights, quantised.int4(symmetric=False, scale_dtype="float32")))()
    np.testing.assert_allclose(kernel.scale, [np.ptp(part, 0) / 15 for part in (weights[:32], weights[32:])], rtol=1e-5)


def test_two_digits_lose_less_of_x_than_its_largest_magnitude_over_64516():
    x = np.concatenate(
        [X.reshape(-1, IN) * np.float32(1e-3), np.zeros((1, IN), np.float32), np.full((1, IN), 7e30, np.float32)]
    )
    parts, unit = quickly(integer_products.digits)(x)
    back = (np.asarray(parts[0], np.float64) + np.asarray(parts[1], np.float64) / 254) * np.asarray(unit, np.float64)
    assert (np.abs(back - x) <= np.abs(x).max(-1, keepdims=True) * (1 / 64516 + 3e-7)).all()


def test_a_row_is_the_same_whatever_its_neighbours_and_what_is_not_finite_stays_in_its_row():
    kernel = packed_kernel()
    x = X.reshape(-1, IN)
    program = quickly(lambda x: kernel.product(x))

    def product(x):
        return np.asarray(program(x))

    full = product(x)
    np.testing.assert_array_equal(
        product(x[::-1] * np.where(np.arange(12) == 5, 1, 1e6)[:, None].astype(np.float32))[5], full[6]
    )
    spoiled = x.copy()
    spoiled[2, 3], spoiled[4, 0] = np.nan, np.inf
    result = product(spoiled)
    assert not np.isfinite(result[[2, 4]]).any() and np.isfinite(np.delete(result, [2, 4], 0)).all()
    np.testing.assert_array_equal(result[3], full[3])


@pytest.mark.float64
def test_float64_is_not_computed_by_digits():
    kernel = packed_kernel()
    x = X.reshape(-1, IN).astype(np.float64)
    y, dense = quickly(lambda x: (kernel.product(x), kernel.dense(jnp.float64)))(x)
    np.testing.assert_allclose(y, x @ np.asarray(dense), rtol=1e-12, atol=1e-12)


def test_bfloat16_activations_stay_so_but_for_logits():
    kernel = jax.eval_shape(lambda: quantised.packed_array(WEIGHTS, quantised.int4()))
    table = jax.eval_shape(lambda: quantised.packed_array(WEIGHTS.T, quantised.int8(), table=True))
    half = jax.ShapeDtypeStruct(X.shape, jnp.bfloat16)
    assert jax.eval_shape(lambda kernel, x: kernel.product(x), kernel, half).dtype == jnp.bfloat16
    assert jax.eval_shape(lambda table, x: table.product_with_rows(x), table, half).dtype == jnp.float32


test_products_that_do_not_fit_are_refused = refusals(
    (
        lambda: packed_kernel().product(jnp.ones((2, 47))),
        r"x of shape \(2, 47\) cannot be multiplied with the packed kernel of shape \(48, 20\)",
    ),
    (lambda: packed_kernel().product_with_rows(jnp.ones((2, 20))), "packed kernel of shape"),
    (
        lambda: quantised.packed_array(WEIGHTS, quantised.int8(), table=True).product(jnp.ones((2, 48))),
        "packed table of shape",
    ),
)
