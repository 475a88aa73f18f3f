from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks

X, T = np.ones((2, 3), np.float32), np.zeros((2,), np.float32)


class Affine(nn.Module):
    sizes: Any = (3,)

    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        return nn.Dense(self.sizes[0], bias_init=nn.initializers.ones)(x)


class Counting(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array, t: jax.Array) -> jax.Array:
        self.variable("batch_stats", "mean", lambda: jnp.zeros(()))
        return x


def test_any_linen_module_becomes_a_pure_function_with_its_own_initialisers():
    params = networks.init(Affine(), jax.random.key(0), X, T)
    assert np.all(params["Dense_0"]["bias"] == 1) and networks.count(params) == 12
    output = networks.pure(Affine())(params, X, T)
    np.testing.assert_allclose(output, X @ params["Dense_0"]["kernel"] + 1, rtol=1e-6)


def test_parameters_depend_on_the_key_alone():
    first, again, other = (networks.init(Affine(), jax.random.key(seed), X, T)["Dense_0"]["kernel"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_module_with_mutable_collections_is_refused():
    with pytest.raises(ValueError, match="batch_stats"):
        networks.init(Counting(), jax.random.key(0), X, T)


def test_what_is_no_module_or_cannot_be_hashed_is_refused_with_the_fix(unchecked: None):
    with pytest.raises(TypeError, match="tuples"):
        networks.pure(Affine(sizes=[3]))
    with pytest.raises(TypeError, match="plain function"):
        networks.pure(lambda params, x, t: x)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="key"):
        networks.init(Affine(), None, X, T)  # type: ignore[arg-type]
