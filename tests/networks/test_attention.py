from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import attention
from tests.networks.rig import quickly

SHAPE = (2, 5, 3, 4)
ARRAYS = tuple(jnp.asarray(array, jnp.float32) for array in np.random.default_rng(0).normal(size=(3, *SHAPE)))
MASK = np.random.default_rng(1).random((2, 1, 5, 5)) < 0.6
MASK[:, :, :, 0] = True


def plain(query: jax.Array, key: jax.Array, value: jax.Array, mask: np.ndarray | None = None) -> jax.Array:
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / jnp.sqrt(jnp.asarray(query.shape[-1], query.dtype))
    if mask is not None:
        scores = jnp.where(mask, scores, -jnp.inf)
    return jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value)


@pytest.mark.parametrize("mask", [None, MASK], ids=["all", "masked"])
@pytest.mark.parametrize("implementation", ["auto", "heads_first", "xla"])
def test_attention_equals_the_plain_formula_in_value_gradient_and_tangent(implementation: str, mask: np.ndarray | None):
    def ours(*arrays: jax.Array) -> jax.Array:
        return attention.attend(*arrays, mask, implementation=implementation)

    def all_of(f: Callable[..., jax.Array]) -> Any:
        def back(*arrays: jax.Array) -> Any:
            value, pullback = jax.vjp(f, *arrays)
            return value, pullback(jnp.sin(jnp.arange(1.0, np.prod(SHAPE) + 1)).reshape(SHAPE))

        return jax.jvp(back, ARRAYS, tuple(jnp.cos(array) for array in ARRAYS))

    result = quickly(all_of, static_argnums=0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), result(ours), result(lambda *arrays: plain(*arrays, mask)))


@pytest.mark.parametrize("implementation", ["heads_first", "xla"])
def test_attention_in_bfloat16_is_within_its_rounding_of_the_plain_formula(implementation: str):
    halves = tuple(array.astype(jnp.bfloat16) for array in ARRAYS)
    output = attention.attend(*halves, implementation=implementation)
    assert output.dtype == jnp.bfloat16
    np.testing.assert_allclose(output.astype(jnp.float32), plain(*(a.astype(jnp.float32) for a in halves)), atol=0.02)

    def loss(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(attention.attend(*arrays, implementation=implementation).astype(jnp.float32)))

    gradients = quickly(jax.grad(loss, (0, 1, 2)))
    for half, full in zip(gradients(*halves), gradients(*ARRAYS), strict=True):
        np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.15)


@pytest.mark.float64
def test_attention_in_float64_is_exact():
    doubles = tuple(array.astype(jnp.float64) for array in ARRAYS)
    np.testing.assert_allclose(attention.attend(*doubles), plain(*doubles), atol=1e-14)


def test_scores_of_any_size_stay_finite():
    query, key, value = ARRAYS
    np.testing.assert_allclose(attention.attend(query * 1e4, key * 1e4, value), plain(query * 1e4, key * 1e4, value), atol=1e-5)


@pytest.mark.parametrize("implementation", ["heads_first", "xla"])
def test_a_query_that_sees_nothing_gets_zero_and_finite_gradients(implementation: str):
    mask = np.ones((2, 1, 5, 5), bool)
    mask[0, 0, 2] = False

    def call(*arrays: jax.Array) -> jax.Array:
        return attention.attend(*arrays, mask, implementation=implementation)

    output, back = jax.vjp(call, *ARRAYS)
    assert not np.any(output[0, 2]) and np.all(np.any(output[1], -1))
    assert all(np.isfinite(gradient).all() for gradient in back(jnp.ones_like(output)))


def test_the_backward_pass_keeps_no_weights():
    query = jnp.ones((1, 64, 2, 4))
    _, back = jax.vjp(lambda *arrays: attention.attend(*arrays, implementation="heads_first"), query, query, query)
    assert max(leaf.size for leaf in jax.tree.leaves(back)) <= query.size < 64**2


def test_causal_is_computed_from_positions_and_hides_empty_keys():
    mask = attention.causal(np.array([[3, 1]]), np.array([[0, 1, 2, 3, -1]]))
    np.testing.assert_array_equal(mask[0, 0], [[True, True, True, True, False], [True, True, False, False, False]])


def test_precision_and_implementation_are_honoured_or_refused():
    with pytest.raises(ValueError, match="heads_first"):
        attention.attend(*ARRAYS, implementation="head_first")
    with pytest.raises(ValueError, match="cudnn"):
        attention.attend(*ARRAYS, implementation="cudnn", precision="highest")
    for implementation in ("heads_first", "xla"):
        jaxpr = str(jax.make_jaxpr(lambda *a, i=implementation: attention.attend(*a, implementation=i, precision="highest"))(*ARRAYS))
        assert jaxpr.count("HIGHEST") >= 2
