"""Generators of points and of pictures against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from tests.networks import rig
from tests.networks.adversarial import adversaries
from tests.networks.adversarial.adversaries import NOISE
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

# The formulas, written once more with JAX's own operations.


def linear(params, x):
    return x @ params["kernel"] + params["bias"].reshape((1,) * (x.ndim - 1) + (-1,))


def normed(params, x):
    return x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * params["scale"].reshape(1, 1, 1, -1)


def transposed(params, x):
    """Each pixel times a kernel of 4 × 4, 2 pixels apart."""
    small = params["kernel"]
    channels, features = small.shape[2], small.shape[3] // 4
    kernel = (
        small.reshape(2, 2, channels, 2, 2, features)[::-1, ::-1]
        .transpose(0, 3, 1, 4, 2, 5)
        .reshape(4, 4, channels, features)
    )
    spread = jnp.flip(kernel, (0, 1))
    y = jax.lax.conv_general_dilated(
        x, spread, (1, 1), ((2, 2), (2, 2)), (2, 2), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y + params["bias"].reshape(1, 1, 1, -1)


@quickly
def drawn_picture(params, noise):
    y = jax.nn.relu(normed(params["norm_4"], linear(params["input"], noise).reshape(-1, 4, 4, 4)))
    y = jax.nn.relu(normed(params["norm_8"], transposed(params["double_8"], y)))
    return jnp.tanh(transposed(params["output"], y))


def test_dcgan_is_its_formula():
    network = networks.DCGANGenerator(size=16, width=2, widest=9, image_channels=2)
    params = rig.random_params(network, NOISE)
    pictures = rig.apply(networks.pure(network), params, NOISE)
    assert pictures.shape == (3, 16, 16, 2) and 0.1 < np.std(pictures) and np.abs(pictures).max() <= 1
    np.testing.assert_allclose(pictures, drawn_picture(params, NOISE), atol=2e-5)
    fast = networks.DCGANGenerator(size=16, width=2, widest=9, image_channels=2, convolution="fast_backward")
    np.testing.assert_allclose(rig.apply(networks.pure(fast), params, NOISE), pictures, atol=2e-5)


def test_the_dense_one_is_its_formula_behind_noise_and_label():
    network = adversaries.GENERATORS["dense"]()
    params = jax.tree.map(np.asarray, adversaries.parameters_of(network))
    y = np.concatenate([NOISE, params["noise"]["label"][[0, 2, 3]]], -1)
    for layer in ("hidden_0", "hidden_1"):
        y = np.maximum(linear(params[layer], y), 0)
    np.testing.assert_allclose(adversaries.run(network), linear(params["output"], y), atol=1e-5)


@table("size, channels", [(4, [5]), (64, [5, 10, 12, 12])])
def test_any_power_of_two_is_a_size_and_coarser_maps_have_twice_the_channels_up_to_the_widest(size, channels):
    network = networks.DCGANGenerator(size=size, width=5, widest=12)
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), NOISE))
    norms = [params[f"norm_{4 * 2**level}"]["scale"].shape[0] for level in range(len(channels))]
    assert norms[::-1] == channels and len([name for name in params if name.startswith("norm")]) == len(channels)
    assert jax.eval_shape(networks.pure(network), params, NOISE).shape == (3, size, size, 3)


def called(build, noise=NOISE, **fields):
    return lambda: jax.eval_shape(lambda: networks.init(build(**fields), jax.random.key(0), noise))


test_what_does_not_fit_is_refused = refusals(
    (called(networks.DCGANGenerator, size=24), "choose 16 or 32"),
    (called(networks.DCGANGenerator, size=2), "size = 2 is outside"),
    (called(networks.DCGANGenerator, size=8.0), "size must be an integer", TypeError),
    *((called(networks.DCGANGenerator, **{name: 0}), f"{name} = 0") for name in ("width", "widest", "image_channels")),
    *((called(networks.DenseGenerator, **{name: 0}), f"{name} = 0") for name in ("width", "depth", "out")),
    (called(networks.DenseGenerator, NOISE[0]), r"noise has shape \(5,\)"),
    (called(networks.DCGANGenerator, NOISE[:, None]), r"noise has shape \(3, 1, 5\)"),
    (called(networks.DenseGenerator, NOISE.astype(np.int32)), "noise must be a floating array.*int32", TypeError),
    (called(networks.DCGANGenerator, convolution="fast"), "fast_backward"),
)
