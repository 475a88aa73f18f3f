"""Changes of size against convolutions of stride 2, and their transposes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.networks import convolution, resampling
from gendiff.networks.layers import Compute
from tests.networks.rig import value_and_slopes
from tests.quickly import quickly
from tests.tables import table

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 6, 3))
LAYOUT = ("NHWC", "HWIO", "NHWC")


def four_by_four(rng, channels, features):
    return rng.normal(size=(4, 4, channels, features)), {"bias": rng.normal(size=features)}


def strided(x, kernel):
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)


@table("implementation", ["direct", "fast_backward"])
@pytest.mark.float64
def test_a_halving_convolution_is_one_of_stride_2_and_a_doubling_one_its_transpose(implementation):
    compute = Compute(jnp.float64, convolution=implementation)
    kernel, rest = four_by_four(RNG, 3, 5)
    small = kernel.reshape(2, 2, 2, 2, 3, 5).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 12, 5)
    halved = resampling.HalvingConvolution(5, compute).apply({"params": rest | {"kernel": small}}, jnp.asarray(X))
    np.testing.assert_allclose(halved, strided(X, kernel) + rest["bias"].reshape(1, 1, 1, -1), atol=1e-12)

    kernel, rest = four_by_four(RNG, 5, 3)  # of the convolution from pictures of 5 channels, to be transposed
    flipped = kernel.reshape(2, 2, 2, 2, 5, 3)[::-1, :, ::-1].transpose(0, 2, 5, 1, 3, 4).reshape(2, 2, 3, 20)
    layer = resampling.DoublingConvolution(5, compute)
    doubled = layer.apply({"params": {"bias": np.zeros(5), "kernel": flipped}}, jnp.asarray(X))
    (transposed,) = jax.linear_transpose(
        lambda y: strided(y, kernel), jax.ShapeDtypeStruct((2, 8, 12, 5), jnp.float64)
    )(jnp.asarray(X))
    np.testing.assert_allclose(doubled, transposed, atol=1e-12)


def test_space_to_depth_keeps_the_four_pixels_of_a_square_together_and_is_undone():
    x = jnp.asarray(X, jnp.float32)
    deep = resampling.space_to_depth(x)
    assert deep.shape == (2, 2, 3, 12)
    np.testing.assert_array_equal(deep[0, 1, 2].reshape(2, 2, 3), x[0, 2:4, 4:6])
    np.testing.assert_array_equal(resampling.depth_to_space(deep), x)


@pytest.mark.float64
def test_bilinear_halving_is_a_convolution_with_1_3_3_1_and_doubling_four_times_its_transpose():
    weights = np.array([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = np.einsum("u,v,cd->uvcd", weights, weights, np.eye(3))

    @quickly
    def both(x):
        (transposed,) = jax.linear_transpose(
            lambda y: strided(y, kernel), jax.ShapeDtypeStruct((2, 8, 12, 3), x.dtype)
        )(x)
        return (resampling.bilinear_halve(x), strided(x, kernel)), (resampling.bilinear_double(x), 4 * transposed)

    for ours, plain in both(X):
        np.testing.assert_allclose(ours, plain, atol=1e-12)


def test_bilinear_doubling_of_a_ramp_is_a_ramp_inside():
    ramp = np.tile(np.arange(6, dtype=np.float32).reshape(1, 1, 6, 1), (1, 6, 1, 1))
    doubled = quickly(resampling.bilinear_double)(ramp)
    np.testing.assert_allclose(doubled[0, 2:-2, 1:-1, 0], np.tile(np.arange(10) / 2 + 0.25, (8, 1)), atol=1e-6)


@table("most", [8, 2])
@pytest.mark.float64
def test_a_grouped_convolution_is_that_of_xla_in_value_and_gradients_though_groups_share_one(most, monkeypatch):
    monkeypatch.setattr(convolution, "MOST_CONVOLUTIONS", most)

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=4)

    def ours(x, kernel):
        return convolution.convolve_groups(x, kernel, implementation="fast_backward")

    x, kernel = jnp.asarray(RNG.normal(size=(2, 3, 4, 8))), jnp.asarray(RNG.normal(size=(3, 3, 2, 12)))
    both = quickly(lambda *arrays: (value_and_slopes(ours, *arrays), value_and_slopes(plain, *arrays)))(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), *both)


def test_a_grouped_layer_refuses_a_width_that_does_not_divide_its_channels():
    with pytest.raises(ValueError, match="group_width = 4 does not divide the 6 channels"):
        convolution.GroupedConvolution(4).init(jax.random.key(0), jnp.zeros((1, 2, 2, 6)))
