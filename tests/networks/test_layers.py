from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import layers
from tests.networks.rig import quickly

X = np.random.default_rng(0).normal(2.0, 3.0, size=(2, 4, 4, 12)).astype(np.float32)


def test_group_norm_equals_its_formula():
    module = layers.GroupNorm(3)
    params = {"scale": np.linspace(0.5, 2, 12, dtype=np.float32), "bias": np.linspace(-1, 1, 12, dtype=np.float32)}
    scale, shift = (np.random.default_rng(seed).normal(size=(2, 12)).astype(np.float32) for seed in (1, 2))
    grouped = X.reshape(2, 16, 3, 4).astype(np.float64)
    unit = (grouped - grouped.mean((1, 3), keepdims=True)) / np.sqrt(grouped.var((1, 3), keepdims=True) + 1e-5)
    affine = unit.reshape(X.shape) * params["scale"] + params["bias"]
    np.testing.assert_allclose(module.apply({"params": params}, jnp.asarray(X)), affine, atol=1e-5)
    expected = affine * (1 + scale[:, None, None]) + shift[:, None, None]
    np.testing.assert_allclose(
        module.apply({"params": params}, jnp.asarray(X), jnp.asarray(scale), jnp.asarray(shift)), expected, atol=2e-5
    )


def test_group_norm_keeps_its_accuracy_far_from_zero():
    params = {"scale": np.ones(12, np.float32), "bias": np.zeros(12, np.float32)}
    near, far = (layers.GroupNorm(3).apply({"params": params}, jnp.asarray(X + offset)) for offset in (0.0, 4096.0))
    np.testing.assert_allclose(near, far, atol=5e-3)


def test_group_norm_of_bfloat16_accumulates_in_float32():
    params = {"scale": np.ones(12, np.float32), "bias": np.zeros(12, np.float32)}
    half = layers.GroupNorm(3, layers.Compute(jnp.bfloat16)).apply({"params": params}, jnp.asarray(X, jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    full = layers.GroupNorm(3).apply({"params": params}, jnp.asarray(X, jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_array_equal(half, full.astype(jnp.bfloat16))


def plain_layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    unit = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return unit * (1 + scale[:, None]) + shift[:, None]


def plain_group_norm(x: Any, scale: Any, shift: Any) -> Any:
    grouped = x.reshape(2, 16, 3, 4)
    unit = (grouped - grouped.mean((1, 3), keepdims=True)) / jnp.sqrt(grouped.var((1, 3), keepdims=True) + 1e-5)
    return jax.nn.silu(unit.reshape(x.shape) * (1 + scale[:, None, None]) + shift[:, None, None])


def our_layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    return layers.LayerNorm(layers.Compute(jnp.float64)).apply({"params": {}}, x, scale, shift)


def our_group_norm(x: Any, scale: Any, shift: Any) -> Any:
    params = {"scale": jnp.ones(12), "bias": jnp.zeros(12)}
    return layers.GroupNorm(3, layers.Compute(jnp.float64), silu=True).apply({"params": params}, x, scale, shift)


@pytest.mark.parametrize(
    ("ours", "plain"), [(our_layer_norm, plain_layer_norm), (our_group_norm, plain_group_norm)], ids=["layer", "group"]
)
@pytest.mark.float64
def test_norms_equal_their_formula_in_value_gradient_and_derivatives_of_the_gradient(ours: Callable[..., Any], plain: Callable[..., Any]):
    rng = np.random.default_rng(3)
    shape = (2, 16, 12) if ours is our_layer_norm else X.shape
    arrays = tuple(jnp.asarray(array) for array in (rng.normal(2.0, 3.0, size=shape), *rng.normal(size=(2, 2, 12))))
    slope, along = jnp.asarray(rng.normal(size=shape)), tuple(jnp.cos(array) for array in arrays)

    def all_of(norm: Callable[..., Any]) -> Any:
        def back(*arrays: jax.Array) -> Any:
            value, pullback = jax.vjp(norm, *arrays)
            return value, pullback(slope)

        def backwards_again(*arrays: jax.Array) -> jax.Array:  # as in consistency training, which differentiates a tangent
            return jnp.sum(jnp.sin(jax.jvp(norm, arrays, along)[1]))

        return jax.jvp(back, arrays, along), jax.grad(backwards_again, (0, 1, 2))(*arrays)

    result = quickly(all_of, static_argnums=0)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), result(ours), result(plain))


def test_a_layer_norm_of_its_own_has_a_gain_and_an_offset_and_keeps_its_accuracy_far_from_zero():
    params = {"scale": jnp.linspace(0.5, 2, 12), "bias": jnp.linspace(-1, 1, 12)}
    near, far = (layers.LayerNorm().apply({"params": params}, jnp.asarray(X.reshape(2, 16, 12) + offset)) for offset in (0.0, 4096.0))
    flax: Any = nn.LayerNorm(1e-6, use_fast_variance=False).apply({"params": params}, jnp.asarray(X.reshape(2, 16, 12)))
    np.testing.assert_allclose(near, flax, atol=1e-6)
    np.testing.assert_allclose(near, far, atol=5e-3)


def test_a_linear_layer_multiplies_two_matrices_whatever_the_axes():
    """With more axes XLA:CPU copies the factors of the kernel's gradient into another order."""
    layer, x = layers.dense(5, layers.Compute(), "layer"), jnp.asarray(X)
    kernel = jnp.asarray(np.random.default_rng(4).normal(size=(12, 5)), jnp.float32)
    variables = {"params": {"kernel": kernel, "bias": jnp.arange(5.0)}}
    np.testing.assert_allclose(layer.apply(variables, x), X @ np.asarray(kernel) + np.arange(5.0), atol=1e-4)
    text = str(jax.make_jaxpr(jax.grad(lambda variables: jnp.sum(jnp.square(layer.apply(variables, x)))))(variables))
    assert text.count("dot_general") == 2 and text.count("dimension_numbers=(([0], [0]), ([], []))") == 1


def test_a_dtype_that_is_not_floating_is_refused():
    assert layers.dtype_of(None, jnp.zeros((), jnp.bfloat16)) == jnp.float32
    assert layers.dtype_of("bfloat16", X) == jnp.bfloat16
    with pytest.raises(TypeError, match="floating"):
        layers.dtype_of("int32", jax.ShapeDtypeStruct((), jnp.float32))
