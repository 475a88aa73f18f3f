import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import layers

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


def test_a_dtype_that_is_not_floating_is_refused():
    assert layers.dtype_of(None, jnp.zeros((), jnp.bfloat16)) == jnp.float32
    assert layers.dtype_of("bfloat16", X) == jnp.bfloat16
    with pytest.raises(TypeError, match="floating"):
        layers.dtype_of("int32", jax.ShapeDtypeStruct((), jnp.float32))
