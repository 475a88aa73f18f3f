"""Arithmetic of a network, its parameters and its linear layers."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import packed
from gendiff.core.types import ArrayLike, DType, PyTree
from gendiff.networks import fast
from gendiff.networks.layers import initializers


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
        circular: a `Convolution` goes on at the other side of an image, in place of zeros around it.
    """

    dtype: DType = jnp.float32
    precision: str | None = None
    convolution: str = "direct"
    attention: str = "auto"
    late: bool = False
    circular: bool = False


def dtype_of(dtype: DType | None, x: ArrayLike | jax.ShapeDtypeStruct | packed.PackedKernel) -> np.dtype:
    """Return the dtype to compute in: the one given, else that of x raised to at least float32.

    Raises:
        TypeError: unless it is floating.
    """
    if dtype is None:
        return jnp.promote_types(x.dtype, jnp.float32)
    if not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise TypeError(f"dtype = {jnp.dtype(dtype)} is not floating: use 'float32', 'bfloat16' or None")
    return jnp.dtype(dtype)


def parameter(
    module: nn.Module, name: str, start: Callable[..., PyTree], shape: tuple[int, ...]
) -> Any:  # the layer knows which of the two it takes
    """Return a parameter of the module: an array, or the packed kernel that stands in its place (see core/packed.py).

    Args:
        module: inside of its method.
        name: of the parameter.
        start: its initialiser.
        shape: of the array.

    Raises:
        ValueError: for a packed kernel of another shape; Flax has an error of its own for an array.
    """
    value: PyTree = module.get_variable("params", name)
    if isinstance(value, jax.Array | np.ndarray | packed.PackedKernel) and value.shape == shape:
        return value  # Flax would trace the initialiser each time to learn the shape
    if not isinstance(value, packed.PackedKernel):
        return module.param(name, start, shape)
    owner = "" if module.name is None else f" of {module.name}"
    raise ValueError(f"the packed {name}{owner} stands for shape {value.shape}, and the network needs {shape}")


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
    def __call__(self, x: Float[Array, "*rows d"], after: PyTree = None) -> Float[Array, "*rows e"]:
        """Multiply by the kernel, then add the bias.

        Args:
            x: the input.
            after: arrays that must be there before a packed kernel is unpacked, or one that devices share is gathered:
                those of the block, for a layer whose input is there from the start.
        """
        dtype = self.compute.dtype
        start = initializers.zeros if self.zero else initializers.kernel(self.gain)
        kernel = parameter(self, "kernel", start, (x.shape[-1], self.features))
        x, kernel = x.astype(dtype), kernel if packed.is_packed(kernel) else kernel.astype(dtype)
        bias = parameter(self, "bias", initializers.zeros, (self.features,)).astype(dtype) if self.bias else None
        if self.compute.late or (after is not None and packed.is_packed(kernel)):
            x, kernel, _ = fast.computed_once(x, kernel, after)
        y = fast.product_of_rows(x, kernel, self.compute.precision)
        return y if bias is None else y + bias.reshape((1,) * (y.ndim - 1) + (-1,))


def dense(
    features: int, compute: Compute, name: str, zero: bool = False, bias: bool = True, gain: float = 1.0
) -> Dense:
    """A linear layer on the last axis.

    `zero` starts it at 0, and `gain` multiplies the initial spread of its kernel.
    """
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
"""Activations between the two layers of an MLP, by name."""


def activated(x: jax.Array, activation: str, gated: bool) -> jax.Array:
    """Apply an activation to the wide layer of an MLP; with `gated` to its first half, which multiplies the other."""
    if not gated:
        return ACTIVATIONS[activation](x)
    gate, x = jnp.split(x, 2, -1)
    return ACTIVATIONS[activation](gate) * x
