from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.networks import dit
from tests.networks.rig import LABEL, T, apply, lowered, moved, quickly

X = np.random.default_rng(0).normal(size=(3, 8, 4, 2)).astype(np.float32)


def tiny(**changes: Any) -> networks.DiT:
    return networks.DiT(**({"patch": 2, "width": 16, "depth": 1, "heads": 2, "num_classes": 4} | changes))


@pytest.fixture(scope="module")
def fresh() -> Any:
    return networks.init(tiny(), jax.random.key(0), X, T, LABEL)


@pytest.fixture(scope="module")
def params(fresh: Any) -> Any:
    return moved(fresh)


def test_the_fresh_output_is_zero_and_has_the_shape_of_x(fresh: Any):
    output = apply(networks.pure(tiny()), fresh, X, T, LABEL)
    assert output.shape == X.shape and output.dtype == jnp.float32 and not np.any(output)


def test_time_label_and_position_reach_the_output(params: Any):
    predict = networks.pure(tiny())
    output = np.asarray(apply(predict, params, X, T, LABEL))
    assert np.abs(apply(predict, params, X, T + 50, LABEL) - output).max() > 1e-4
    assert np.abs(apply(predict, params, X, T, LABEL[::-1].copy())[0] - output[0]).max() > 1e-4
    flat = np.asarray(apply(predict, params, np.ones_like(X), T, LABEL))
    assert np.abs(flat[0, :2] - flat[0, 2:4]).max() > 1e-4


def test_epsilon_and_frequencies_reach_the_output_and_no_parameter(params: Any):
    for changes in ({"mlp_epsilon": 1e-1}, {"frequency_shift": 1}):
        assert lowered(tiny(**changes), params, X) != lowered(tiny(), params, X), changes


def test_an_unknown_label_is_nan_in_its_own_sample_only(params: Any):
    output = np.asarray(apply(networks.pure(tiny()), params, X, T, np.array([4, 3, -2], np.int32)))
    assert np.isnan(output[[0, 2]]).all() and np.isfinite(output[1]).all()


def test_forward_over_reverse_passes_and_remat_and_bfloat16_agree(params: Any):
    def slope(network: networks.DiT, order: int) -> Any:
        def loss(x: jax.Array) -> jax.Array:
            return jnp.mean(jnp.square(networks.pure(network)(params, x, T, LABEL)))

        return quickly(lambda x: jax.jvp(jax.value_and_grad(loss), (x,), (jnp.ones_like(x),)) if order == 2 else jax.grad(loss)(x))(X)

    (_, gradient), (rate, _) = slope(tiny(), 2)
    np.testing.assert_allclose(rate, gradient.sum(), rtol=1e-4)
    np.testing.assert_allclose(slope(tiny(remat=True), 1), gradient, rtol=1e-4, atol=1e-5)
    full, half = (np.asarray(apply(networks.pure(tiny(dtype=dtype)), params, X, T, LABEL)) for dtype in (None, "bfloat16"))
    assert half.dtype == np.float32 and np.sqrt(np.mean((half - full) ** 2)) < 0.05 * np.sqrt(np.mean(full**2))


@pytest.mark.float64
def test_x_in_float64_is_computed_in_float64():
    def call(x: jax.Array) -> jax.Array:
        params = networks.init(tiny(), jax.random.key(0), x, jnp.asarray(T), jnp.asarray(LABEL))
        return networks.pure(tiny())(jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params), x, jnp.asarray(T), jnp.asarray(LABEL))

    assert jax.eval_shape(call, jnp.zeros(X.shape, jnp.float64)).dtype == jnp.float64


def test_patches_are_squares_row_by_row_and_image_undoes_them():
    x = jnp.arange(2 * 4 * 6 * 3.0).reshape(2, 4, 6, 3)
    tokens = dit.patches(x, 2)
    np.testing.assert_array_equal(tokens[1, 2], x[1, :2, 4:6].reshape(-1))
    np.testing.assert_array_equal(dit.image(tokens, 2, 3, 2), x)


def test_a_size_or_field_that_does_not_fit_is_refused_with_the_rule(fresh: Any):
    with pytest.raises(ValueError, match=r"\(3, 8, 4, 2\).*multiples of 3 \(patch\)"):
        networks.pure(tiny(patch=3))(fresh, X, T, LABEL)
    with pytest.raises(ValueError, match="heads = 3 does not divide"):
        networks.init(tiny(heads=3), jax.random.key(0), X, T, LABEL)
    with pytest.raises(ValueError, match="4 classes"):
        networks.pure(tiny())(fresh, X, T, 4)
    with pytest.raises(ValueError, match="mlp_epsilon"):
        networks.init(tiny(mlp_epsilon=-1.0), jax.random.key(0), X, T, LABEL)
    with pytest.raises(ValueError, match="divisible by 4"):
        networks.init(tiny(width=18), jax.random.key(0), X, T, LABEL)
