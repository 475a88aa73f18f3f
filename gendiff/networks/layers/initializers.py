"""Initialisation of parameters: each random one has a spread, and `fill` draws all of them at once.

XLA compiles a random generator for every call, which for a U-Net takes longer than its forward pass; one draw for all
parameters takes a fifth of that.
"""

import contextlib
import contextvars
import math
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from flax.core import meta
from flax.linen import initializers

from gendiff.core.records import record, static
from gendiff.core.types import DType, Numeric, Params

zeros = initializers.zeros
ones = initializers.ones
_UNUSED = contextvars.ContextVar("unused", default=False)
"""Whether `fill` draws all values later."""


@record
class Drawn(meta.AxisMetadata[Numeric]):
    """A parameter that starts normal with mean 0 and this standard deviation. Flax sees only the value."""

    value: Numeric
    std: float = static()

    def unbox(self) -> Numeric:
        """Return the value."""
        return self.value

    def replace_boxed(self, value: Numeric) -> "Drawn":
        """Return the box with another value."""
        return Drawn(value, self.std)

    def add_axis(self, index: int, params: dict[object, object]) -> "Drawn":
        """Return the box itself: a new axis changes no standard deviation."""
        return self

    def remove_axis(self, index: int, params: dict[object, object]) -> "Drawn":
        """Return the box itself."""
        return self


Initializer = Callable[..., Drawn]
"""(key, shape, dtype) -> a fresh parameter."""


def normal(std: float) -> Initializer:
    """Build an initialiser: normal with this standard deviation."""

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Drawn:
        if _UNUSED.get():
            return Drawn(jnp.zeros(shape, dtype), std)
        return Drawn(std * jax.random.normal(key, shape, dtype), std)

    return draw


def kernel(gain: float = 1.0) -> Initializer:
    """Build an initialiser of kernels (…, in, out): normal with variance gain² / inputs.

    A gain of 1 keeps the variance of activations.

    References:
        LeCun et al., 1998, section 4.6; He et al., 2015, Eq. 10, for the gain √2 before a ReLU (from memory).
    """

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Drawn:
        return normal(gain * math.prod(shape[:-1]) ** -0.5)(key, shape, dtype)

    return draw


@contextlib.contextmanager
def values_unused() -> Iterator[None]:
    """Inside, normal parameters hold 0, for `fill` replaces them: tracing as many random draws takes long."""
    token = _UNUSED.set(True)
    try:
        yield
    finally:
        _UNUSED.reset(token)


def fill(key: jax.Array, params: Params) -> Params:
    """Replace each Drawn parameter by a slice of one long draw; its old value is unused."""
    leaves, structure = jax.tree.flatten(params, is_leaf=_is_drawn)
    sizes = [leaf.value.size if _is_drawn(leaf) else 0 for leaf in leaves]
    noise = jax.random.normal(key, (sum(sizes),), jnp.float32)
    filled, start = [], 0
    for leaf, size in zip(leaves, sizes, strict=True):
        # a static one, for networks of more than 2³¹ numbers too
        part = jax.lax.slice_in_dim(noise, start, start + size)
        filled.append((leaf.std * part).reshape(leaf.value.shape).astype(leaf.value.dtype) if _is_drawn(leaf) else leaf)
        start += size
    return jax.tree.unflatten(structure, filled)


def _is_drawn(leaf: object) -> bool:
    return isinstance(leaf, Drawn)
