"""Activations with barriers, which keep XLA from joining what it joins wrongly."""

from collections.abc import Callable

import flax.linen as nn
import jax

Activation = Callable[[jax.Array], jax.Array]


def _behind_barrier(function: Activation) -> Activation:
    """The function, whose derivative has a barrier before it.

    Without one jaxlib 0.12 joins a linear layer and its GELU to one call of oneDNN, and takes the GELU's value for its
    argument. oneDNN knows the other two forms too.
    """
    activation = jax.custom_jvp(function)

    def tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
        return jax.jvp(function, (jax.lax.optimization_barrier(primals[0]),), tangents)

    activation.defjvp(tangent)
    return activation


@_behind_barrier
def gelu(x: jax.Array) -> jax.Array:
    """GELU by its tanh formula."""
    return nn.gelu(x, approximate=True)


@_behind_barrier
def exact_gelu(x: jax.Array) -> jax.Array:
    """GELU by its definition: x times the normal distribution function of x."""
    return nn.gelu(x, approximate=False)


@_behind_barrier
def silu(x: jax.Array) -> jax.Array:
    """SiLU: x / (1 + exp(−x))."""
    return nn.silu(x)
