"""The transformer block, written once for images, language and video: positions, mask, conditioning and cache are optional arguments."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike
from gendiff.networks import fast
from gendiff.networks.attention import attend
from gendiff.networks.layers import ACTIVATIONS, Compute, LayerNorm, dense

EPSILON = 1e-6

TENSOR_PARALLEL = (
    (r"block_\d+/(qkv|mlp_0)/kernel$", (None, "tensor")),
    (r"block_\d+/(qkv|mlp_0)/bias$", ("tensor",)),
    (r"block_\d+/(output|mlp_1)/kernel$", ("tensor", None)),
)
"""Rules for `training.sharding`: layers that widen a block are split by what they give, layers that narrow it by what they take.

References:
    Shoeybi et al., 2019, section 3 (from memory).
"""


@records.record
class Cache:
    """Keys and values of the tokens so far, in buffers of a fixed length k.

    Writing more than k is not noticed under jit; allocate enough.

    Attributes:
        key: (b, k, heads, size).
        value: (b, k, heads, size).
        positions: (b, k, axes) integers, −1 where empty.
        used: () number of tokens written.
    """

    key: Any
    value: Any
    positions: Any
    used: Any

    @staticmethod
    def empty(batch: int, length: int, heads: int, size: int, axes: int = 1, dtype: Any = jnp.float32) -> "Cache":
        """Allocate a cache without tokens."""
        zeros = jnp.zeros((batch, length, heads, size), dtype)
        return Cache(zeros, zeros, jnp.full((batch, length, axes), -1, jnp.int32), jnp.zeros((), jnp.int32))

    def extended(self, key: jax.Array, value: jax.Array, positions: jax.Array) -> "Cache":
        """Return the cache with more tokens (b, s, …) written after those in use."""

        def write(old: jax.Array, new: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), self.used, 1)

        return Cache(write(self.key, key), write(self.value, value), write(self.positions, positions), self.used + key.shape[1])


def rotate(x: Float[Array, "b s heads size"], positions: Int[ArrayLike, "b s axes"]) -> Float[Array, "b s heads size"]:
    """Turn queries or keys by their positions, in one or several coordinates, each of which turns its share of the channels.

    Args:
        x: (b, s, heads, size).
        positions: (b, s, axes) integers.

    Raises:
        ValueError: unless twice the number of coordinates divides the head size.

    References:
        Su et al., 2021, Eq. 34 (from memory).
    """
    axes, size = positions.shape[-1], x.shape[-1]
    if size % (2 * axes):
        raise ValueError(f"head size {size} must be divisible by {2 * axes}: pairs of channels for each of {axes} coordinates")
    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    pairs = size // (2 * axes)
    frequencies = jnp.asarray(10_000.0 ** (-np.arange(pairs) / pairs), accumulate)
    angles = jnp.asarray(positions).astype(accumulate)[..., None] * frequencies.reshape(1, 1, 1, -1)
    angles = angles.reshape(*x.shape[:2], 1, axes * pairs)
    first, second = jnp.split(x.astype(accumulate), 2, -1)
    cosine, sine = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], -1).astype(x.dtype)


class TransformerBlock(nn.Module):
    """Self-attention and an MLP, each normalised first and added to x. With a condition it is the adaLN-zero block of DiT.

    Args:
        heads: their number, which divides the channels.
        expansion: width of the MLP over that of x.
        compute: how to compute.
        mlp_epsilon: what the second norm adds to a variance.
        epsilon: what the first norm adds.
        activation: of the MLP: "gelu_tanh", "gelu" or "quick_gelu" (see layers.py).
        norm_first: False normalises each sum, x + attention(x) and x + MLP(x), and not what attention and MLP are given.

    References:
        Vaswani et al., 2017; Peebles & Xie, 2023, section 3.2; Xiong et al., 2020, Table 1 (from memory), for both places of the norm.
    """

    heads: int
    expansion: int = 4
    compute: Compute = Compute()
    mlp_epsilon: float = EPSILON
    epsilon: float = EPSILON
    activation: str = "gelu_tanh"
    norm_first: bool = True

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"],
        condition: Float[Array, "b e"] | None = None,
        positions: Int[ArrayLike, "b s axes"] | None = None,
        mask: Bool[ArrayLike, "#b #heads #s k"] | None = None,
        cache: Cache | None = None,
    ) -> tuple[Float[Array, "b s d"], Cache | None]:
        """Return (x, cache), the cache with the tokens of this call in it.

        Args:
            x: (b, s, d).
            condition: (b, e), which shifts, scales and gates both halves; a fresh block is then the identity.
            positions: (b, s, axes) absolute ids in 1 to 3 coordinates, which turn queries and keys, and which a cache needs.
            mask: which keys each query sees, those of the whole cache if there is one.
            cache: the tokens before these.

        Raises:
            ValueError: when the heads do not divide the channels, for a cache without positions and mask, an unknown activation, and a
                condition where the norm stands last.
        """
        width = x.shape[-1]
        checks.choice("activation", self.activation, ACTIVATIONS)
        if condition is not None and not self.norm_first:
            raise ValueError("a condition changes what attention and MLP are given: it needs norm_first = True")
        if width % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide the width {width}")
        if cache is not None and (positions is None or mask is None):
            raise ValueError("a cache needs positions, which say where its tokens stand, and a mask, which says what of it is seen")
        shift_0, scale_0, gate_0, shift_1, scale_1, gate_1 = self._modulation(width, condition)
        y = fast.recomputed(TransformerBlock._projected)(self, x, scale_0, shift_0)
        query, key, value = jnp.split(y.reshape(*x.shape[:2], 3 * self.heads, -1), 3, 2)
        if positions is not None:
            query, key = rotate(query, positions), rotate(key, positions)
        if cache is not None and positions is not None:
            cache = cache.extended(key, value, jnp.asarray(positions))
            key, value = cache.key.astype(query.dtype), cache.value.astype(query.dtype)
        y = attend(query, key, value, mask, implementation=self.compute.attention, precision=self.compute.precision)
        x = self._summed(0, x, _gated(dense(width, self.compute, "output")(y.reshape(x.shape)), gate_0))
        y = fast.recomputed(TransformerBlock._widened)(self, x, scale_1, shift_1)
        return self._summed(1, x, _gated(fast.recomputed(TransformerBlock._narrowed)(self, y), gate_1)), cache

    def _modulation(self, width: int, condition: jax.Array | None) -> list[Any]:
        if condition is None:
            return [None] * 6
        return jnp.split(dense(6 * width, self.compute, "modulation", zero=True)(condition), 6, -1)

    def _projected(self, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None) -> jax.Array:
        return dense(3 * x.shape[-1], self.compute, "qkv")(self._normed(0, x, scale, shift) if self.norm_first else x)

    def _widened(self, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None) -> jax.Array:
        y = self._normed(1, x, scale, shift) if self.norm_first else x
        return dense(self.expansion * x.shape[-1], self.compute, "mlp_0")(y)

    def _narrowed(self, x: jax.Array) -> jax.Array:
        return dense(x.shape[-1] // self.expansion, self.compute, "mlp_1")(ACTIVATIONS[self.activation](x))

    def _summed(self, half: int, x: jax.Array, y: jax.Array) -> jax.Array:
        return x + y if self.norm_first else self._normed(half, x + y)

    def _normed(self, half: int, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None) -> jax.Array:
        return LayerNorm(self.compute, (self.epsilon, self.mlp_epsilon)[half], name=f"norm_{half}")(x, scale, shift)


def _gated(x: jax.Array, gate: jax.Array | None) -> jax.Array:
    return x if gate is None else x * gate[:, None, :]
