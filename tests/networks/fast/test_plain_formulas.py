"""What only makes networks faster equals its plain formula."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gendiff.networks import fast, layers


def test_products_barriers_and_convolutions_equal_what_jax_computes():
    x, kernel = jax.random.normal(jax.random.key(0), (2, 3, 4, 5)), jax.random.normal(jax.random.key(1), (3, 3, 5, 6))
    np.testing.assert_allclose(fast.product_of_rows(x, kernel[0, 0]), x @ kernel[0, 0], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(fast.computed_once(x, kernel)[1], kernel)
    convolved = nn.Conv(6, (3, 3), use_bias=False).apply({"params": {"kernel": kernel}}, x)
    padding = ((1, 1), (1, 1))
    np.testing.assert_allclose(fast.direct_convolution(x, kernel, 1, padding, None), convolved, rtol=1e-5, atol=1e-5)


def test_a_layer_that_is_recomputed_has_the_same_value_and_gradient():
    class Squashed(nn.Module):
        again: bool

        @nn.compact
        def __call__(self, x):
            def inside(module, x):
                return jnp.tanh(nn.Dense(3, name="dense", parent=module)(x))

            return (fast.recomputed(inside) if self.again else inside)(self, x).sum()

    x = jnp.linspace(-1.0, 1.0, 8).reshape(2, 4)
    params = Squashed(again=False).init(jax.random.key(0), x)
    plain, same = (jax.value_and_grad(Squashed(again).apply)(params, x) for again in (False, True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), plain, same)


def test_a_change_per_group_reaches_the_tokens_that_stand_side_by_side():
    x, change = jnp.zeros((1, 4, 2)), jnp.array([[[1.0, 2.0], [3.0, 4.0]]])
    np.testing.assert_array_equal(layers.per_token(change, x)[0, :, 0], [1, 1, 3, 3])
    assert layers.per_token(change[:, 0], x).shape == (1, 1, 2)
