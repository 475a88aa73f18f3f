"""What the tests of networks share: tiny networks, parameters away from 0."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core.types import NO_LABEL
from tests.quickly import quickly
from tests.traced import Traced

X = np.random.default_rng(0).normal(size=(3, 8, 4, 1)).astype(np.float32)
T = np.array([0.0, 500.0, 999.0], np.float32)
LABEL = np.array([0, 3, NO_LABEL], np.int32)

apply = Traced(lambda predict, params, *inputs: predict(params, *inputs), quickly, static_argnums=0)


@jax.jit
def moved(params):
    """Parameters away from the zeros that hide half of a network, by a fixed pattern."""
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.sin(1.0 + 7.0 * jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), params)


@functools.cache
def fresh(network):
    return networks.init(network, jax.random.key(0), X, T, LABEL)


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
