"""Activations with barriers, which keep XLA from joining what it joins wrongly."""

import functools

import flax.linen as nn
import jax


@jax.custom_jvp
def gelu(x: jax.Array) -> jax.Array:
    """GELU by its tanh formula."""
    return nn.gelu(x, approximate=True)


@gelu.defjvp
def _gelu_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # without the barrier jaxlib 0.12 joins a linear layer and its GELU to one call of oneDNN, and takes the GELU's
    # value for its argument
    return jax.jvp(functools.partial(nn.gelu, approximate=True), (jax.lax.optimization_barrier(primals[0]),), tangents)


@jax.custom_jvp
def exact_gelu(x: jax.Array) -> jax.Array:
    """GELU by its definition: x times the normal distribution function of x."""
    return nn.gelu(x, approximate=False)


@exact_gelu.defjvp
def _exact_gelu_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # with a barrier for the reason above: oneDNN knows this form too
    return jax.jvp(functools.partial(nn.gelu, approximate=False), (jax.lax.optimization_barrier(primals[0]),), tangents)


@jax.custom_jvp
def silu(x: jax.Array) -> jax.Array:
    """SiLU: x / (1 + exp(−x))."""
    return nn.silu(x)


@silu.defjvp
def _silu_tangent(primals: tuple[jax.Array], tangents: tuple[jax.Array]) -> tuple[jax.Array, jax.Array]:
    # with a barrier for the reason above: oneDNN knows this form too
    return jax.jvp(nn.silu, (jax.lax.optimization_barrier(primals[0]),), tangents)
