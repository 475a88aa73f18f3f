"""What the tests of whole networks share: parameters away from 0, and compilation that takes half of the time."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.core.types import NO_LABEL

X = np.random.default_rng(0).normal(size=(3, 8, 4, 1)).astype(np.float32)
T = np.array([0.0, 500.0, 999.0], np.float32)
LABEL = np.array([0, 3, NO_LABEL], np.int32)

quickly = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
apply = quickly(lambda predict, params, *inputs: predict(params, *inputs), static_argnums=0)


@jax.jit
def moved(params: Any) -> Any:
    """Parameters away from the zeros that hide half of a network, by a fixed pattern."""
    return jax.tree.map(lambda leaf: leaf + 0.1 * jnp.sin(1.0 + 7.0 * jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), params)


@functools.cache
def fresh(network: Any) -> Any:
    """Fresh parameters of a network."""
    return networks.init(network, jax.random.key(0), X, T, LABEL)


def lowered(network: Any, params: Any) -> str:
    """The program of a network, constants included, uncompiled."""
    return jax.jit(networks.pure(network)).lower(params, X, T, LABEL).as_text()


def dit(**changes: Any) -> networks.DiT:
    return networks.DiT(**({"patch": 2, "width": 16, "depth": 1, "heads": 2, "num_classes": 10} | changes))


def unet(**changes: Any) -> networks.UNet:
    fields: dict[str, Any] = {"channels": (4, 8), "blocks": 1, "attention": (4,), "head_size": 4, "groups": 2, "num_classes": 10}
    return networks.UNet(**(fields | changes))
