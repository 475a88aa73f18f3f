"""How a network computes, and the small layers that all of them share."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float

from gendiff.networks import initializers


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
    start = initializers.zeros if zero else initializers.kernel()
    return nn.Dense(  # type: ignore[arg-type]
        features, dtype=compute.dtype, precision=compute.precision, kernel_init=start, dot_general=_product_of_rows, name=name
    )


_MOMENTS = "moments"


def recomputed(function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """function(module, *arrays), of whose inside the backward pass keeps the means and deviations of norms and computes the rest again.

    For a norm or an activation and the layer that follows, which are large to keep and cheap to compute.
    """
    return nn.remat(function, policy=jax.checkpoint_policies.save_only_these_names(_MOMENTS))  # type: ignore[return-value]


class GroupNorm(nn.Module):
    """Group normalisation (Wu & He, 2018), then an optional scale and shift a sample and channel, then SiLU with `silu`.

    Raises ValueError when the channels do not divide into the groups.
    """

    groups: int
    compute: Compute = Compute()
    epsilon: float = 1e-5
    silu: bool = False

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
        gain = self.param("scale", initializers.ones, (channels,)).astype(accumulate)
        offset = self.param("bias", initializers.zeros, (channels,)).astype(accumulate)
        gain, offset = jnp.broadcast_to(gain, (x.shape[0], channels)), jnp.broadcast_to(offset, (x.shape[0], channels))
        if scale is not None and shift is not None:
            gain = gain * (1 + scale.astype(accumulate))
            offset = offset * (1 + scale.astype(accumulate)) + shift.astype(accumulate)

        mean, inverse = _moments(self.groups, self.epsilon, x.astype(accumulate))
        factor = inverse * gain.reshape(mean.shape)
        # gathered by channel first: inside of the loop over pixels, XLA would compute all of that again for each
        factor, offset = jax.lax.optimization_barrier((factor, offset.reshape(mean.shape) - mean * factor))
        y = x * factor + offset
        return (nn.silu(y) if self.silu else y).astype(self.compute.dtype)


class LayerNorm(nn.Module):
    """Layer normalisation (Ba et al., 2016) over the last axis: y. With a scale and a shift a sample, y (1 + scale) + shift.

    Without them it has a gain and an offset of its own, one a channel. The shift comes first, as in DiT's modulation.
    """

    compute: Compute = Compute()
    epsilon: float = 1e-6

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s d"], shift: Float[Array, "b d"] | None = None, scale: Float[Array, "b d"] | None = None
    ) -> Float[Array, "b s d"]:
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        if scale is None or shift is None:
            gain = self.param("scale", initializers.ones, x.shape[-1:])[None, None]
            offset = self.param("bias", initializers.zeros, x.shape[-1:])[None, None]
        else:
            gain, offset = 1 + scale.astype(accumulate)[:, None], shift[:, None]
        x = x.astype(accumulate)
        mean, inverse = jax.lax.optimization_barrier(_moments(None, self.epsilon, x))
        return ((x - mean) * inverse * gain.astype(accumulate) + offset.astype(accumulate)).astype(self.compute.dtype)


def _product_of_rows(
    x: jax.Array, kernel: jax.Array, dimension_numbers: Any, precision: Any = None, preferred_element_type: Any = None
) -> jax.Array:
    # as a product of two matrices: with more axes XLA:CPU would transpose the factors of the kernel's gradient in memory
    y = jax.lax.dot_general(
        x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), precision=precision, preferred_element_type=preferred_element_type
    )
    return y.reshape(*x.shape[:-1], kernel.shape[-1])


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _moments(groups: int | None, epsilon: float, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and 1/std of what is normalised together, in a shape that broadcasts over x."""
    mean = _average(groups, x)
    inverse = jax.lax.rsqrt(_average(groups, jnp.square(x - mean)) + epsilon)
    return checkpoint_name(mean, _MOMENTS), checkpoint_name(inverse, _MOMENTS)


@_moments.defjvp
def _moments_tangent(
    groups: int | None, epsilon: float, primals: tuple[jax.Array], tangents: tuple[jax.Array]
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    # the derivative of the variance by the mean is 0, so its reduction over all of x, which JAX would compute, is left out
    (x,), (dx,) = primals, tangents
    mean, inverse = _moments(groups, epsilon, x)
    return (mean, inverse), (_average(groups, dx), -(inverse**3) * _average(groups, (x - mean) * dx))


def _average(groups: int | None, x: jax.Array) -> jax.Array:
    """Over the last axis, or over space and the channels of each group."""
    if groups is None:
        return jnp.mean(x, -1, keepdims=True)
    space, channels = tuple(range(1, x.ndim - 1)), x.shape[-1]
    # space first: that reduction runs along contiguous channels
    mean = jnp.mean(jnp.mean(x, space).reshape(-1, groups, channels // groups), -1)
    return jnp.repeat(mean, channels // groups, -1).reshape(x.shape[:1] + (1,) * len(space) + (channels,))
