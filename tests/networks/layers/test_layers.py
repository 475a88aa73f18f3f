import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from gendiff.networks import layers
from gendiff.networks.layers import initializers
from tests.networks.rig import quickly, value_and_slopes
from tests.tables import table

pytestmark = pytest.mark.numbers

X = np.random.default_rng(0).normal(2.0, 3.0, size=(2, 4, 4, 12)).astype(np.float32)
AFFINE = {"scale": np.linspace(0.5, 2, 12, dtype=np.float32), "bias": np.linspace(-1, 1, 12, dtype=np.float32)}


def norm(module, params, *inputs):
    return module.apply({"params": params}, *map(jnp.asarray, inputs))


def test_norms_with_a_gain_and_an_offset_are_those_of_flax_and_keep_their_accuracy_far_from_zero():
    for ours, flax, x in (
        (layers.GroupNorm(3), nn.GroupNorm(3, epsilon=1e-5, use_fast_variance=False), X),
        (layers.LayerNorm(), nn.LayerNorm(1e-6, use_fast_variance=False), X.reshape(2, 16, 12)),
    ):
        np.testing.assert_allclose(norm(ours, AFFINE, x), norm(flax, AFFINE, x), atol=2e-6)
        np.testing.assert_allclose(norm(ours, AFFINE, x), norm(ours, AFFINE, x + 4096.0), atol=1e-2)


def test_group_norm_of_bfloat16_accumulates_in_float32():
    half = norm(layers.GroupNorm(3, layers.Compute(jnp.bfloat16)), AFFINE, X.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    full = norm(layers.GroupNorm(3), AFFINE, X.astype(jnp.bfloat16).astype(jnp.float32))
    np.testing.assert_array_equal(half, full.astype(jnp.bfloat16))


def plain_layer_norm(x, scale, shift):
    unit = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return unit * (1 + scale[:, None]) + shift[:, None]


def plain_group_norm(x, scale, shift):
    grouped = x.reshape(2, 16, 3, 4)
    unit = (grouped - grouped.mean((1, 3), keepdims=True)) / jnp.sqrt(grouped.var((1, 3), keepdims=True) + 1e-5)
    affine = unit.reshape(x.shape) * AFFINE["scale"][None, None, None] + AFFINE["bias"][None, None, None]
    return jax.nn.silu(affine * (1 + scale[:, None, None]) + shift[:, None, None])


@table(
    "module, params, plain, shape",
    [
        (layers.LayerNorm(layers.Compute(np.float64)), {}, plain_layer_norm, (2, 16, 12)),
        (layers.GroupNorm(3, layers.Compute(np.float64), silu=True), AFFINE, plain_group_norm, X.shape),
    ],
)
@pytest.mark.float64
def test_norms_equal_their_formula_in_value_gradient_and_derivatives_of_the_gradient(module, params, plain, shape):
    rng = np.random.default_rng(3)
    arrays = tuple(jnp.asarray(array) for array in (rng.normal(2.0, 3.0, size=shape), *rng.normal(size=(2, 2, 12))))
    along = tuple(jnp.cos(array) for array in arrays)

    def all_of(f):
        def backwards_again(*arrays):  # as in consistency training, which differentiates a tangent
            return jnp.sum(jnp.sin(jax.jvp(f, arrays, along)[1]))

        return jax.jvp(lambda *a: value_and_slopes(f, *a), arrays, along), jax.grad(backwards_again, (0, 1, 2))(*arrays)

    result = quickly(lambda: (all_of(lambda *arrays: norm(module, params, *arrays)), all_of(plain)))()
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11), *result)


def test_a_linear_layer_multiplies_two_matrices_whatever_the_axes():
    """With more axes XLA:CPU copies the factors of the kernel's gradient into another order."""
    layer, kernel = (
        layers.dense(5, layers.Compute(), "layer"),
        np.random.default_rng(4).normal(size=(12, 5)).astype(np.float32),
    )
    params = {"kernel": jnp.asarray(kernel), "bias": jnp.arange(5.0)}
    np.testing.assert_allclose(norm(layer, params, X), X @ kernel + np.arange(5.0), atol=1e-4)
    text = str(jax.make_jaxpr(jax.grad(lambda params: jnp.sum(jnp.square(norm(layer, params, X)))))(params))
    assert text.count("dot_general") == 2 and text.count("dimension_numbers=(([0], [0]), ([], []))") == 1


def test_a_dtype_that_is_not_floating_is_refused():
    assert layers.dtype_of(None, jnp.zeros((), jnp.bfloat16)) == jnp.float32
    assert layers.dtype_of("bfloat16", X) == jnp.bfloat16
    with pytest.raises(TypeError, match="floating"):
        layers.dtype_of("int32", jax.ShapeDtypeStruct((), jnp.float32))


def test_fill_gives_each_drawn_parameter_its_own_spread_and_leaves_the_others():
    first, second, third = jax.random.split(jax.random.key(0), 3)
    params = {
        "wide": initializers.normal(2.0)(first, (40, 50)),
        "kernel": initializers.kernel()(second, (3, 3, 8, 32)),
        "bias": initializers.zeros(third, (7,)),
    }
    filled = initializers.fill(jax.random.key(1), params)
    assert {name: leaf.shape for name, leaf in filled.items()} == {
        "wide": (40, 50),
        "kernel": (3, 3, 8, 32),
        "bias": (7,),
    }
    assert all(leaf.dtype == jnp.float32 for leaf in filled.values()) and not np.any(filled["bias"])
    np.testing.assert_allclose([np.std(filled["wide"]), np.std(filled["kernel"])], [2.0, 72**-0.5], rtol=0.06)
    assert abs(np.corrcoef(filled["wide"].ravel()[:2000], filled["kernel"].ravel()[:2000])[0, 1]) < 0.1


@table("name", layers.ACTIVATIONS)
def test_an_activation_behind_a_linear_layer_equals_its_formula_in_value_and_slope(name):
    """Together with the layer, for XLA may join the two."""
    formulas = {
        "gelu": lambda x: x * scipy.special.ndtr(x),
        "gelu_tanh": lambda x: x * (0.5 + 0.5 * np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "silu": lambda x: x / (1 + np.exp(-x)),
        "quick_gelu": lambda x: x / (1 + np.exp(-1.702 * x)),
    }
    formula, kernel = formulas[name], np.random.default_rng(0).normal(size=(12, 24)).astype(np.float32)
    x = np.random.default_rng(1).normal(size=(8, 12)).astype(np.float32)
    value, slope = jax.jit(lambda x: value_and_slopes(lambda y: layers.ACTIVATIONS[name](y @ kernel), x))(x)
    exact = x.astype(np.float64) @ kernel
    weights = np.sin(np.arange(1, exact.size + 1)).reshape(exact.shape)
    slopes = (formula(exact + 1e-5) - formula(exact - 1e-5)) / 2e-5
    np.testing.assert_allclose(value, formula(exact), atol=1e-5)
    np.testing.assert_allclose(slope, (weights * slopes) @ kernel.T, atol=1e-4)
