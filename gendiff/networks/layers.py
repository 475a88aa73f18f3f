"""How a network computes, and the small layers that all of them share."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.networks import initial


@dataclasses.dataclass(frozen=True)
class Compute:
    """Arithmetic of a network: dtype of activations, precision of products, and which of several equal implementations run.

    Norms and softmax accumulate in at least float32 whatever the dtype; parameters stay float32.
    """

    dtype: Any = jnp.float32
    precision: str | None = None
    convolution: str = "direct"
    attention: str = "auto"


def dtype_of(dtype: Any, x: Any) -> Any:
    """The dtype to compute in: the one asked for, else that of x raised to at least float32. Raises TypeError unless it is floating."""
    if dtype is None:
        return jnp.promote_types(x.dtype, jnp.float32)
    if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise TypeError(f"dtype = {jnp.dtype(dtype)} is not floating: use 'float32', 'bfloat16' or None")
    return jnp.dtype(dtype)


def dense(features: int, compute: Compute, name: str, zero: bool = False) -> nn.Dense:
    """A linear layer on the last axis; `zero` starts it at 0."""
    start = initial.zeros if zero else initial.kernel()
    return nn.Dense(features, dtype=compute.dtype, precision=compute.precision, kernel_init=start, name=name)  # type: ignore[arg-type]


class GroupNorm(nn.Module):
    """Group normalisation (Wu & He, 2018) followed by an optional scale and shift a sample and channel.

    Raises ValueError when the channels do not divide into the groups.
    """

    groups: int
    compute: Compute = Compute()
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: Float[Array, "b *space c"], scale: Float[Array, "b c"] | None = None, shift: Float[Array, "b c"] | None = None
    ) -> Float[Array, "b *space c"]:
        channels = x.shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"groups = {self.groups} does not divide the {channels} channels of {self.name}: choose one that divides every level's"
            )
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        gain = self.param("scale", initial.ones, (channels,)).astype(accumulate)
        offset = self.param("bias", initial.zeros, (channels,)).astype(accumulate)
        gain, offset = jnp.broadcast_to(gain, (x.shape[0], channels)), jnp.broadcast_to(offset, (x.shape[0], channels))
        if scale is not None and shift is not None:
            gain = gain * (1 + scale.astype(accumulate))
            offset = offset * (1 + scale.astype(accumulate)) + shift.astype(accumulate)
        mean, inverse = _moments(x.astype(accumulate), self.groups, self.epsilon)
        # all that varies by channel is gathered first, so that one multiply-add a pixel is left
        factor = inverse * gain
        return (x * _over_space(factor, x) + _over_space(offset - mean * factor, x)).astype(self.compute.dtype)


def _moments(x: jax.Array, groups: int, epsilon: float) -> tuple[jax.Array, jax.Array]:
    """Mean and 1/std of each group, repeated over its channels: (b, c) each."""
    space = tuple(range(1, x.ndim - 1))
    grouped = (x.shape[0], groups, x.shape[-1] // groups)
    mean = jnp.mean(jnp.mean(x, space).reshape(grouped), -1)  # space first: that reduction runs along contiguous channels
    mean = jnp.repeat(mean, grouped[-1], -1)
    variance = jnp.mean(jnp.mean(jnp.square(x - _over_space(mean, x)), space).reshape(grouped), -1)
    return mean, jnp.repeat(jax.lax.rsqrt(variance + epsilon), grouped[-1], -1)


def _over_space(value: jax.Array, x: jax.Array) -> jax.Array:
    return value.reshape(x.shape[:1] + (1,) * (x.ndim - 2) + x.shape[-1:])
