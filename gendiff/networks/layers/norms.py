"""Group norm, layer norm and RMS norm, with a scale and a shift per sample from a condition.

Also known as: adaptive layer norm (adaLN).
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.networks import fast
from gendiff.networks.layers import initializers
from gendiff.networks.layers.compute import Compute, parameter


class GroupNorm(nn.Module):
    """Group normalisation, then an optional scale and shift per sample and channel, then SiLU with `silu`.

    Args:
        groups: their number, which divides the channels.
        compute: how to compute.
        epsilon: what is added to a variance.
        silu: apply SiLU last.

    References:
        Wu & He, 2018.
    """

    groups: int
    compute: Compute = Compute()
    epsilon: float = 1e-5
    silu: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b *space c"],
        scale: Float[Array, "b c"] | None = None,
        shift: Float[Array, "b c"] | None = None,
    ) -> Float[Array, "b *space c"]:
        """With y the normalised x: y (1 + scale) + shift.

        Raises:
            ValueError: when the groups do not divide the channels.
        """
        channels = x.shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"groups = {self.groups} does not divide the {channels} channels of {self.name}: choose one that "
                "divides every level's"
            )
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        gain = parameter(self, "scale", initializers.ones, (channels,)).astype(accumulate)
        offset = parameter(self, "bias", initializers.zeros, (channels,)).astype(accumulate)
        gain, offset = jnp.broadcast_to(gain, (x.shape[0], channels)), jnp.broadcast_to(offset, (x.shape[0], channels))
        if scale is not None and shift is not None:
            gain = gain * (1 + scale.astype(accumulate))
            offset = offset * (1 + scale.astype(accumulate)) + shift.astype(accumulate)

        mean, inverse = fast.moments(self.groups, self.epsilon, x.astype(accumulate))
        factor = inverse * gain.reshape(mean.shape)
        factor, offset = fast.computed_once(factor, offset.reshape(mean.shape) - mean * factor)
        y = x * factor + offset
        return (nn.silu(y) if self.silu else y).astype(self.compute.dtype)


Change = Float[Array, "b d"] | Float[Array, "b groups d"]
"""Scale or shift of tokens (b, s, d): one vector per sample, or one per group of s / groups adjacent tokens."""


def per_token(change: Change, x: Float[Array, "b s d"]) -> Float[Array, "b #s d"]:
    """Return the change in a shape that broadcasts against the tokens."""
    return change[:, None] if change.ndim == 2 else jnp.repeat(change, x.shape[1] // change.shape[1], 1)


class LayerNorm(nn.Module):
    """Layer normalisation over the last axis, then a scale and a shift per sample or group of tokens.

    Without those it has a gain and an offset of its own, one per channel.

    Args:
        compute: how to compute.
        epsilon: what is added to a variance.

    References:
        Ba et al., 2016.
    """

    compute: Compute = Compute()
    epsilon: float = 1e-6

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s d"], scale: Change | None = None, shift: Change | None = None
    ) -> Float[Array, "b s d"]:
        """With y the normalised x: y (1 + scale) + shift."""
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        if scale is None or shift is None:
            gain: jax.Array = parameter(self, "scale", initializers.ones, x.shape[-1:])[None, None]
            offset: jax.Array = parameter(self, "bias", initializers.zeros, x.shape[-1:])[None, None]
        else:
            gain, offset = 1 + per_token(scale.astype(accumulate), x), per_token(shift, x)
        x = x.astype(accumulate)
        mean, inverse = fast.computed_once(*fast.moments(None, self.epsilon, x))
        return ((x - mean) * inverse * gain.astype(accumulate) + offset.astype(accumulate)).astype(self.compute.dtype)


class RMSNorm(nn.Module):
    """Division by the root of the mean square over the last axis, then a scale and a shift.

    Scale and shift are per sample or group of tokens. Without those it has a gain of its own, one per channel, and no
    offset.

    Args:
        compute: how to compute.
        epsilon: what is added to a mean square.
        from_one: whether the gain is 1 + its parameter, which then starts at 0 (Gemma).

    References:
        Zhang & Sennrich, 2019, Eq. 4 (from memory).
    """

    compute: Compute = Compute()
    epsilon: float = 1e-6
    from_one: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s *heads d"], scale: Change | None = None, shift: Change | None = None
    ) -> Float[Array, "b s *heads d"]:
        """With y the normalised x: y (1 + scale) + shift."""
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        y = x.astype(accumulate)
        (inverse,) = fast.computed_once(jax.lax.rsqrt(jnp.mean(jnp.square(y), -1, keepdims=True) + self.epsilon))
        if scale is None or shift is None:
            start = initializers.zeros if self.from_one else initializers.ones
            gain: jax.Array = parameter(self, "scale", start, x.shape[-1:]).astype(accumulate)
            gain = 1 + gain if self.from_one else gain
            return (y * inverse * gain.reshape((1,) * (x.ndim - 1) + (-1,))).astype(self.compute.dtype)
        gain, offset = 1 + per_token(scale.astype(accumulate), x), per_token(shift.astype(accumulate), x)
        return (y * inverse * gain + offset).astype(self.compute.dtype)


NORMS: dict[str, Callable[..., LayerNorm | RMSNorm]] = {
    "layer": LayerNorm,
    "rms": RMSNorm,
    "rms_from_one": functools.partial(RMSNorm, from_one=True),
}
"""The norms of a transformer block, by name."""
