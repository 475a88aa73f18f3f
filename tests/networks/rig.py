"""What the tests of networks share: tiny networks, parameters away from 0.

Arrays of NumPy become those of JAX by `device_put`, for which nothing is compiled; `jnp.asarray` compiles a program for
each shape.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core import trees
from gendiff.core.types import NO_LABEL
from tests.quickly import quickly
from tests.traced import Traced

X = np.random.default_rng(0).normal(size=(3, 8, 4, 1)).astype(np.float32)
T = np.array([0.0, 500.0, 999.0], np.float32)
LABEL = np.array([0, 3, NO_LABEL], np.int32)

apply = Traced(lambda predict, params, *inputs: predict(params, *inputs), quickly, static_argnums=0)


def moved(params):
    """Parameters away from the zeros that hide half of a network, by a fixed pattern."""

    def one(leaf):
        pattern = 0.1 * np.sin(1.0 + 7.0 * np.arange(leaf.size)).reshape(leaf.shape)
        return jax.device_put((np.asarray(leaf) + pattern).astype(leaf.dtype))

    return jax.tree.map(one, params)


def random_params(network, *inputs):
    """Parameters away from what they start at, of moderate size, for which nothing is compiled."""
    return drawn_of(jax.eval_shape(lambda: networks.init(network, jax.random.key(0), *inputs)))


def drawn_of(shapes):
    """The same, by their shapes."""
    rng, leaves = np.random.default_rng(1), []
    for path, leaf in trees.paths(shapes).items():
        spread = leaf.shape[-2] ** -0.5 if path.endswith("kernel") else 0.3
        leaves.append(
            jax.device_put((spread * rng.normal(size=leaf.shape) + path.endswith("scale")).astype(leaf.dtype))
        )
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def started(network, *inputs):
    """Parameters of which the last layer is what it starts as: the others are drawn without a program, for it takes
    long to compile.
    """
    last = quickly(lambda key: networks.init(network, key, *inputs)["output"])(jax.random.key(0))
    return random_params(network, *inputs) | {"output": last}


@functools.cache
def fresh(network):
    return started(network, X, T, LABEL)


def lowered(network, params):
    """The program of a network, constants included, uncompiled."""
    return jax.jit(networks.pure(network)).lower(params, X, T, LABEL).as_text()


def value_and_slopes(f, *arrays):
    """What f returns, and the gradient of each argument where the output has one fixed slope."""
    value, back = jax.vjp(f, *arrays)
    return value, *back(jnp.sin(jnp.arange(1, value.size + 1, dtype=value.dtype)).reshape(value.shape))


def dit(**changes):
    return networks.DiT(**({"patch": 2, "width": 16, "depth": 1, "heads": 2, "num_classes": 10} | changes))


def unet(**changes):
    fields = {"channels": (4, 8), "blocks": 1, "attention": (4,), "head_size": 4, "groups": 2, "num_classes": 10}
    return networks.UNet(**(fields | changes))


def small_unet(**changes):
    """One level of blocks and nothing else."""
    return unet(**{"channels": (4,), "attention": (), "middle_attention": False} | changes)


class Pointwise:
    """For autoencoders whose halves are one layer each: they compile fast, and what stands between the halves does not
    depend on them.
    """

    def _halves(self, moments):
        self._check()
        return nn.Dense(moments * self.latent_channels), nn.Dense(self.out_channels or self.in_channels)


# Networks that are told more: a text of which the second sample has two tokens and the third none, and the size of the
# image.


def _drawn(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


MASK = np.array([[True] * 4, [True, False, True, False], [False] * 4])
TEXT = networks.Text(_drawn(3, 4, 6), MASK, _drawn(3, 5))
SIZE = networks.ImageSize(
    np.array([[64, 48], [9, 9], [640, 480]]), np.array([[0, 3], [1, 0], [0, 0]]), np.array([[8, 4]] * 3)
)
READS = {"text_channels": 6, "pooled_channels": 5, "image_size": True}


def cross(**changes):
    return dit(**READS | changes)


def joint(**changes):
    return dit(**READS | {"text_attention": "joint", "depth": 2} | changes)


def reading_unet(**changes):
    return unet(**READS | {"channels": (4,), "attention": ()} | changes)


READERS = [cross, joint, reading_unet]


@functools.cache
def fresh_reader(network):
    return started(network, X, T, LABEL, TEXT, SIZE)


@functools.cache
def drawn_reader(network):
    return random_params(network, X, T, LABEL, TEXT, SIZE)


def read(network, text=TEXT, size=SIZE, label=LABEL, x=X):
    """What a network with parameters away from 0 says, compiled once per network and shape."""
    return np.asarray(apply(networks.pure(network), drawn_reader(network.clone(dtype=None)), x, T, label, text, size))
