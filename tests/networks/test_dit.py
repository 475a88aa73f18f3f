from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import dit
from tests.networks.rig import LABEL, T, X, apply, fresh, moved, quickly
from tests.networks.rig import dit as tiny


@pytest.fixture(scope="module")
def params() -> Any:
    return moved(fresh(tiny()))


def test_time_label_and_position_reach_the_output(params: Any):
    predict = networks.pure(tiny())
    output = np.asarray(apply(predict, params, X, T, LABEL))
    assert np.abs(apply(predict, params, X, T + 50, LABEL) - output).max() > 1e-4
    assert np.abs(apply(predict, params, X, T, LABEL[::-1].copy())[0] - output[0]).max() > 1e-4
    flat = np.asarray(apply(predict, params, np.ones_like(X), T, LABEL))
    assert np.abs(flat[0, :2] - flat[0, 2:4]).max() > 1e-4


def test_forward_over_reverse_passes_and_remat_agree(params: Any):
    def slope(network: networks.DiT, order: int) -> Any:
        def loss(x: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(networks.pure(network)(params, x, T, LABEL)))

        return quickly(lambda x: jax.jvp(jax.value_and_grad(loss), (x,), (jnp.ones_like(x),)) if order == 2 else jax.grad(loss)(x))(X)

    (_, gradient), (rate, _) = slope(tiny(), 2)
    np.testing.assert_allclose(rate, gradient.sum(), rtol=1e-4)
    np.testing.assert_allclose(slope(tiny(remat=True), 1), gradient, rtol=1e-4, atol=1e-5)


def test_patches_are_squares_row_by_row_and_image_undoes_them():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    tokens = dit.patches(x, 2)
    np.testing.assert_array_equal(tokens[1, 2], x[1, :2, 4:6].reshape(-1))
    np.testing.assert_array_equal(dit.image(tokens, 2, 3, 2), x)


def test_a_size_or_field_that_does_not_fit_is_refused_with_the_rule():
    with pytest.raises(ValueError, match=r"\(3, 8, 4, 1\).*multiples of 3 \(patch\)"):
        networks.pure(tiny(patch=3))(fresh(tiny()), X, T, LABEL)
    with pytest.raises(ValueError, match="heads = 3 does not divide"):
        networks.init(tiny(heads=3), jax.random.key(0), X, T, LABEL)
    with pytest.raises(ValueError, match="mlp_epsilon"):
        networks.init(tiny(mlp_epsilon=-1.0), jax.random.key(0), X, T, LABEL)
    with pytest.raises(ValueError, match="divisible by 4"):
        networks.init(tiny(width=18), jax.random.key(0), X, T, LABEL)
