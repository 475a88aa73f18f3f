"""R3GAN's generator and critic against their formulas, and how they start."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.networks import r3gan
from tests.networks import rig
from tests.networks.adversarial.adversaries import NOISE, PICTURES
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

SMALL = {"size": 8, "width": 2, "widest": 6, "image_channels": 2, "blocks": 1, "group_width": 2}
LAYOUT = ("NHWC", "HWIO", "NHWC")

# The formulas, written once more with JAX's own operations.


def bent(x):
    return jnp.where(x > 0, x, 0.2 * x)


def linear(params, x):
    bias = params.get("bias", jnp.zeros(params["kernel"].shape[-1]))
    return x @ params["kernel"] + bias.reshape((1,) * (x.ndim - 1) + (-1,))


def block(params, x):
    y, grouped = bent(linear(params["expand"], x)), params["grouped"]
    groups = y.shape[-1] // grouped["kernel"].shape[2]
    y = jax.lax.conv_general_dilated(
        y, grouped["kernel"], (1, 1), "SAME", dimension_numbers=LAYOUT, feature_group_count=groups
    )
    return x + linear(params["contract"], bent(y + grouped["bias"].reshape(1, 1, 1, -1)))


def filtered(x):
    """Halved by the filter [1, 2, 1] convolved with [1, 1]."""
    weights = np.convolve([1, 2, 1], [1, 1]) / 8
    kernel = jnp.asarray(np.einsum("u,v,cd->uvcd", weights, weights, np.eye(x.shape[-1])), x.dtype)
    return jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=LAYOUT)


def interpolated(x):
    b, h, w, c = x.shape
    (y,) = jax.linear_transpose(filtered, jax.ShapeDtypeStruct((b, 2 * h, 2 * w, c), x.dtype))(x)
    return 4 * y


@quickly
def drawn_picture(params, noise):
    y = params["basis"][None] * linear(params["input"], noise)[:, None, None, :]
    y = interpolated(linear(params["channels_8"], block(params["block_4_0"], y)))
    return linear(params["output"], block(params["block_8_0"], y))


@quickly
def judged(params, x):
    y = block(params["block_8_0"], linear(params["input"], x))
    y = block(params["block_4_0"], linear(params["channels_4"], filtered(y)))
    return linear(params["head"]["output"], jnp.einsum("bhwc,hwc->bc", y, params["basis"]))[:, 0]


@table(
    "network, arrays, formula",
    [(networks.R3GANGenerator(**SMALL), NOISE, drawn_picture), (networks.R3GANCritic(**SMALL), PICTURES, judged)],
)
def test_both_are_their_formulas(network, arrays, formula):
    params = rig.random_params(network, arrays)
    answers = rig.apply(networks.pure(network), params, arrays)
    assert np.std(answers) > 0.1
    np.testing.assert_allclose(answers, formula(params, arrays), atol=2e-5)


def test_the_last_kernel_of_a_block_starts_at_0_and_the_others_by_the_gain_of_the_leaky_relu_and_the_number_of_blocks():
    block_module, x = r3gan.R3GANBlock(blocks=16, expansion=2, group_width=16), np.ones((1, 2, 2, 64), np.float32)
    params = networks.init(block_module, jax.random.key(0), x)
    gain = (2 / 1.04) ** 0.5 * 16**-0.25
    for name, inputs in (("expand", 64), ("grouped", 9 * 16)):
        np.testing.assert_allclose(np.std(params[name]["kernel"]), gain * inputs**-0.5, rtol=0.03)
    assert not np.any(params["contract"]["kernel"]) and "bias" not in params["contract"]


def test_the_paper_s_network_of_32_pixels_has_768_channels_everywhere():
    network = networks.R3GANGenerator(size=32, width=768, widest=768)
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), np.zeros((1, 64), np.float32)))
    assert len([name for name in params if name.startswith("block")]) == 8 and not [
        name for name in params if "channels" in name
    ]
    assert params["block_32_1"]["grouped"]["kernel"].shape == (3, 3, 16, 1536), "96 groups"


def called(arrays, build=networks.R3GANGenerator, **changes):
    return lambda: jax.eval_shape(lambda: networks.init(build(**SMALL | changes), jax.random.key(0), arrays))


test_what_does_not_fit_is_refused = refusals(
    *((called(NOISE, **{name: 0}), f"{name} = 0") for name in ("blocks", "expansion", "group_width", "width")),
    (called(NOISE, group_width=3), "group_width = 3 does not divide the 8 channels of grouped"),
    (called(NOISE, size=12), "choose 8 or 16"),
    (called(PICTURES, networks.R3GANCritic, size=16), r"\(batch, 16, 16, 2\) is needed"),
    (
        called(PICTURES, networks.R3GANCritic, features="packing"),
        "features = 'packing' is none of none, deviation, discrimination",
    ),
)
