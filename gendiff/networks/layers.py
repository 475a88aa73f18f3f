"""How a network computes, and the small layers that all of them share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import packed
from gendiff.networks import fast, initializers


@dataclasses.dataclass(frozen=True)
class Compute:
    """Arithmetic of a network.

    Norms and softmax accumulate in at least float32 whatever the dtype; parameters stay float32.

    Args:
        dtype: of activations.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        convolution: which of several equal implementations runs (see convolution.py).
        attention: which of several equal implementations runs (see attention.py).
        late: touch the kernel of a layer only when its input is there, so that devices that share it gather it late.
    """

    dtype: Any = jnp.float32
    precision: str | None = None
    convolution: str = "direct"
    attention: str = "auto"
    late: bool = False


def dtype_of(dtype: Any, x: Any) -> Any:
    """Return the dtype to compute in: the one given, else that of x raised to at least float32.

    Raises:
        TypeError: unless it is floating.
    """
    if dtype is None:
        return jnp.promote_types(x.dtype, jnp.float32)
    if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise TypeError(f"dtype = {jnp.dtype(dtype)} is not floating: use 'float32', 'bfloat16' or None")
    return jnp.dtype(dtype)


def parameter(module: nn.Module, name: str, start: Any, shape: tuple[int, ...]) -> Any:
    """Return a parameter of the module: an array, or the packed kernel that stands in its place (see core/packed.py).

    Args:
        module: inside of its method.
        name: of the parameter.
        start: its initialiser.
        shape: of the array.

    Raises:
        ValueError: for a packed kernel of another shape; Flax has an error of its own for an array.
    """
    found: Any = module.get_variable("params", name)
    if isinstance(found, jax.Array | np.ndarray | packed.PackedKernel) and found.shape == shape:
        return found  # Flax would trace the initialiser each time to learn the shape
    if not isinstance(found, packed.PackedKernel):
        return module.param(name, start, shape)
    place = "" if module.name is None else f" of {module.name}"
    raise ValueError(f"the packed {name}{place} stands for shape {found.shape}, and the network needs {shape}")


class Dense(nn.Module):
    """A linear layer on the last axis, whose kernel may be packed. Built by `dense`.

    Args:
        features: of the output.
        compute: how to compute.
        zero: start at 0.
        bias: whether it has one.
        gain: of the spread that the kernel starts with.
    """

    features: int
    compute: Compute = Compute()
    zero: bool = False
    bias: bool = True
    gain: float = 1.0

    @nn.compact
    def __call__(self, x: Float[Array, "*rows d"]) -> Float[Array, "*rows e"]:
        """Multiply by the kernel, then add the bias."""
        dtype = self.compute.dtype
        start = initializers.zeros if self.zero else initializers.kernel(self.gain)
        kernel = parameter(self, "kernel", start, (x.shape[-1], self.features))
        x, kernel = x.astype(dtype), kernel if packed.is_packed(kernel) else kernel.astype(dtype)
        bias = parameter(self, "bias", initializers.zeros, (self.features,)).astype(dtype) if self.bias else None
        if self.compute.late:
            x, kernel = fast.computed_once(x, kernel)
        y = fast.product_of_rows(x, kernel, self.compute.precision)
        return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


def dense(features: int, compute: Compute, name: str, zero: bool = False, bias: bool = True, gain: float = 1.0) -> Dense:
    """A linear layer on the last axis; `zero` starts it at 0, and `gain` multiplies the spread that its kernel starts with."""
    return Dense(features, compute, zero, bias, gain, name=name)


def quick_gelu(x: jax.Array) -> jax.Array:
    """The approximation of GELU that OpenAI's CLIP has: x / (1 + exp(−1.702 x)).

    References:
        Hendrycks & Gimpel, 2016, section 2 (from memory).
    """
    return x * nn.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "gelu_tanh": fast.gelu,
    "gelu": fast.exact_gelu,
    "quick_gelu": quick_gelu,
    "silu": fast.silu,
}
"""What stands between the two layers of an MLP, by name."""


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
        self, x: Float[Array, "b *space c"], scale: Float[Array, "b c"] | None = None, shift: Float[Array, "b c"] | None = None
    ) -> Float[Array, "b *space c"]:
        """With y the normalised x: y (1 + scale) + shift.

        Raises:
            ValueError: when the groups do not divide the channels.
        """
        channels = x.shape[-1]
        if channels % self.groups:
            raise ValueError(
                f"groups = {self.groups} does not divide the {channels} channels of {self.name}: choose one that divides every level's"
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
"""What tokens (b, s, d) are scaled or shifted by: one vector per sample, or one per group of s / groups tokens that stand side by side."""


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
    def __call__(self, x: Float[Array, "b s d"], scale: Change | None = None, shift: Change | None = None) -> Float[Array, "b s d"]:
        """With y the normalised x: y (1 + scale) + shift."""
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        if scale is None or shift is None:
            gain = parameter(self, "scale", initializers.ones, x.shape[-1:])[None, None]
            offset = parameter(self, "bias", initializers.zeros, x.shape[-1:])[None, None]
        else:
            gain, offset = 1 + per_token(scale.astype(accumulate), x), per_token(shift, x)
        x = x.astype(accumulate)
        mean, inverse = fast.computed_once(*fast.moments(None, self.epsilon, x))
        return ((x - mean) * inverse * gain.astype(accumulate) + offset.astype(accumulate)).astype(self.compute.dtype)


class RMSNorm(nn.Module):
    """Division by the root of the mean square over the last axis, then a scale and a shift per sample or group of tokens.

    Without those it has a gain of its own, one per channel, and no offset.

    Args:
        compute: how to compute.
        epsilon: what is added to a mean square.

    References:
        Zhang & Sennrich, 2019, Eq. 4 (from memory).
    """

    compute: Compute = Compute()
    epsilon: float = 1e-6

    @nn.compact
    def __call__(
        self, x: Float[Array, "b s *heads d"], scale: Change | None = None, shift: Change | None = None
    ) -> Float[Array, "b s *heads d"]:
        """With y the normalised x: y (1 + scale) + shift."""
        accumulate = jnp.promote_types(x.dtype, jnp.float32)
        y = x.astype(accumulate)
        (inverse,) = fast.computed_once(jax.lax.rsqrt(jnp.mean(jnp.square(y), -1, keepdims=True) + self.epsilon))
        if scale is None or shift is None:
            gain = parameter(self, "scale", initializers.ones, x.shape[-1:]).astype(accumulate)
            return (y * inverse * gain.reshape((1,) * (x.ndim - 1) + (-1,))).astype(self.compute.dtype)
        gain, offset = 1 + per_token(scale.astype(accumulate), x), per_token(shift.astype(accumulate), x)
        return (y * inverse * gain + offset).astype(self.compute.dtype)


NORMS: dict[str, Any] = {"layer": LayerNorm, "rms": RMSNorm}
"""The norms of a transformer block, by name."""
