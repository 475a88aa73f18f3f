"""EfficientNet-Lite against NumPy: a bottleneck is its three convolutions, and the network is its stages in order."""

import jax
import numpy as np

from gendiff import networks
from gendiff.networks import efficientnet_lite
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table


def random_params(module, x):
    """Random parameters of a size that keeps that of activations."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda: networks.init(module, jax.random.key(0), x))

    def draw(leaf):
        spread = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0.2
        return rng.normal(0, spread, leaf.shape).astype(np.float32)

    return jax.tree.map(draw, shapes)


def windows(x, size, stride):
    """(b, h, w, c, rows, columns) between as many zeros as TensorFlow's "SAME" has."""
    total = size - stride
    around = (total // 2, total - total // 2)
    padded = np.pad(x, ((0, 0), around, around, (0, 0)))
    return np.lib.stride_tricks.sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]


def depthwise(params, x, size, stride):
    return np.einsum("bhwcuv,uvc->bhwc", windows(x, size, stride), params["kernel"][:, :, 0]) + params["bias"]


def pointwise(params, x):
    return x @ params["kernel"][0, 0] + params["bias"]


def relu6(x):
    return np.clip(x, 0, 6)


def bottleneck(params, x, size, stride):
    y = relu6(pointwise(params["expand"], x)) if "expand" in params else x
    y = pointwise(params["project"], relu6(depthwise(params["depthwise"], y, size, stride)))
    return x + y if x.shape == y.shape else y


def network(params, x):
    kernel, size = params["stem"]["kernel"], 3
    y = relu6(np.einsum("bhwcuv,uvcd->bhwd", windows(x, size, 2), kernel) + params["stem"]["bias"])
    stages = efficientnet_lite.STAGES
    blocks = [(stage.size, stage.stride if block == 0 else 1) for stage in stages for block in range(stage.blocks)]
    for number, (size, stride) in enumerate(blocks):
        y = bottleneck(params[f"block_{number}"], y, size, stride)
    features = relu6(pointwise(params["head"], y)).mean((1, 2))
    return features, features @ params["classifier"]["kernel"] + params["classifier"]["bias"]


@table("size, stride, expansion, channels", [(3, 1, 1, 6), (5, 1, 6, 6), (3, 2, 6, 8), (5, 2, 2, 6)])
def test_a_bottleneck_is_its_convolutions_and_adds_its_input_where_the_shapes_agree(size, stride, expansion, channels):
    x = np.random.default_rng(1).normal(size=(2, 8, 6, 6)).astype(np.float32)
    module = efficientnet_lite.Bottleneck(channels, size, stride, expansion)
    params = random_params(module, x)
    expected = bottleneck(params, x.astype(np.float64), size, stride)
    result = quickly(module.apply)({"params": params}, x)
    assert result.shape == (2, 8 // stride, 6 // stride, channels)
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-5)


@pytest.mark.slow
def test_the_network_is_its_stages_and_has_as_many_parameters_as_published():
    module = networks.EfficientNetLite()
    x = np.random.default_rng(2).uniform(-1, 1, (2, 64, 32, 3)).astype(np.float32)
    params = random_params(module, x)
    norms = sum(leaf.size for path, leaf in jax.tree.leaves_with_path(params) if path[-1].key == "bias") - 1000
    assert networks.count(params) + norms == 4_652_008  # which counts a scale of batch norm beside each bias
    features, logits = network(params, x.astype(np.float64))
    result = quickly(networks.pure(module))(params, x)
    np.testing.assert_allclose(result.features, features, rtol=0, atol=1e-4 * features.std())
    np.testing.assert_allclose(result.logits, logits, rtol=0, atol=1e-4 * logits.std())


def called(shape=(1, 32, 32, 3), dtype=np.float32):
    return networks.pure(networks.EfficientNetLite())({}, np.zeros(shape, dtype))


test_images_that_do_not_fit_are_refused = refusals(
    (lambda: called((1, 32, 48, 3)), "sides that are multiples of 32"),
    (lambda: called((1, 32, 32, 1)), "repeat a grey channel"),
    (lambda: called((32, 32, 3)), "x has shape"),
    (lambda: called(dtype=np.uint8), "x", TypeError),
)
