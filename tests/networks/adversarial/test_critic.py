"""Critics of points and of pictures against their formulas."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.networks import minibatch
from tests.networks import rig
from tests.networks.adversarial import adversaries
from tests.networks.adversarial.adversaries import LABEL, POINTS
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

PICTURES = np.random.default_rng(1).uniform(-1, 1, size=(3, 16, 16, 2)).astype(np.float32)

# The formulas, written once more with JAX's own operations.


def bent(x):
    return jnp.where(x > 0, x, 0.2 * x)


def linear(params, x):
    return x @ params["kernel"] + params["bias"].reshape(1, -1)


def halved(params, x):
    """A convolution of 4 × 4 pixels with stride 2."""
    small = params["kernel"]
    channels, features = small.shape[2] // 4, small.shape[3]
    kernel = small.reshape(2, 2, 2, 2, channels, features).transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, channels, features)
    y = jax.lax.conv_general_dilated(x, kernel, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + params["bias"].reshape(1, 1, 1, -1)


@quickly
def judged(params, x):
    y = bent(halved(params["halve_4"], bent(halved(params["halve_8"], x))))
    return linear(params["head"]["output"], y.reshape(3, -1))[:, 0]


def test_dcgan_is_its_formula():
    network = networks.DCGANCritic(size=16, width=2, widest=9, image_channels=2)
    params = rig.random_params(network, PICTURES)
    logits = rig.apply(networks.pure(network), params, PICTURES)
    assert logits.shape == (3,) and np.std(logits) > 0.1
    np.testing.assert_allclose(logits, judged(params, PICTURES), atol=2e-5)


@table("features", minibatch.FEATURES)
def test_the_dense_one_is_its_formula_with_features_of_the_batch_and_the_label_as_a_projection(features):
    network = adversaries.CRITICS["dense"](features=features)
    params, y = jax.tree.map(np.asarray, adversaries.parameters_of(network)), POINTS
    for layer in ("hidden_0", "hidden_1"):
        y = linear(params[layer], y)
        y = np.where(y > 0, y, 0.2 * y)
    if features == "deviation":
        y = np.concatenate([y, quickly(minibatch.minibatch_deviation)(y)[:, None]], -1)
    if features == "discrimination":
        kernel = params["head"]["discrimination"]["kernel"].reshape(8, 32, 5)
        y = np.concatenate([y, quickly(minibatch.minibatch_discrimination)(y, kernel)], -1)
    rows = params["head"]["label"][[0, 2, 3]]
    expected = linear(params["head"]["output"], y)[:, 0] + (rows * y).sum(-1)
    np.testing.assert_allclose(adversaries.run(network, POINTS, LABEL), expected, atol=1e-5)


@table("size, channels", [(4, [5]), (64, [12, 12, 10, 5])])
def test_any_power_of_two_is_a_size_and_each_halving_has_twice_the_channels_up_to_the_widest(size, channels):
    network, x = networks.DCGANCritic(size=size, width=5, widest=12), np.zeros((2, size, size, 3), np.float32)
    params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x))
    names = ["input"] if size == 4 else [f"halve_{4 * 2**level}" for level in range(len(channels))]
    assert set(params) == {*names, "head"} and [params[name]["bias"].shape[0] for name in names] == channels
    assert params["head"]["output"]["kernel"].shape == (16 * channels[0], 1)


def called(network, x):
    return lambda: jax.eval_shape(lambda: networks.init(network, jax.random.key(0), x))


test_what_does_not_fit_is_refused = refusals(
    (called(networks.DCGANCritic(size=24), PICTURES), "choose 16 or 32"),
    (
        called(networks.DCGANCritic(size=8, image_channels=2), PICTURES),
        r"x has shape \(3, 16, 16, 2\): \(batch, 8, 8, 2\) is needed",
    ),
    (called(networks.DCGANCritic(size=16), PICTURES), r"\(batch, 16, 16, 3\) is needed"),
    (called(networks.DCGANCritic(size=16, image_channels=2), PICTURES[0]), "images are"),
    (called(networks.DCGANCritic(size=16, image_channels=2), PICTURES.astype(np.uint8)), "floating", TypeError),
    (called(networks.DCGANCritic(size=16, image_channels=2), PICTURES.transpose(0, 3, 1, 2)), "channels-first"),
    (called(networks.DenseCritic(), PICTURES), "points are"),
    (called(networks.DenseCritic(), POINTS.astype(np.int32)), "floating", TypeError),
    *((called(networks.DenseCritic(**{name: 0}), POINTS), f"{name} = 0") for name in ("width", "depth")),
)
