"""The transformer block, written once for images, language and video: positions, mask, condition, cache and context are optional."""

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
    (r"block_\d+/(\w+_)?(qkv|query|key_value|mlp_0)/kernel$", (None, "tensor")),
    (r"block_\d+/(\w+_)?(qkv|query|key_value|mlp_0)/bias$", ("tensor",)),
    (r"block_\d+/(\w+_)?(output|mlp_1)/kernel$", ("tensor", None)),
)
"""Rules for `training.sharding`: layers that widen a block are split by what they give, layers that narrow it by what they take.

They hold for every layer of a `TransformerBlock`, those of cross-attention and of further streams too.

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

    With a context there is cross-attention to it between the two. With several streams there is one attention over all of them, and every
    other layer is each stream's own: the block of MM-DiT.

    Args:
        heads: their number, which divides the channels.
        expansion: width of the MLP over that of x.
        compute: how to compute.
        mlp_epsilon: what the second norm adds to a variance.
        epsilon: what the other norms add.
        activation: of the MLP: "gelu_tanh", "gelu" or "quick_gelu" (see layers.py).
        norm_first: False normalises each sum, x + attention(x) and x + MLP(x), and not what attention and MLP are given.
        answers: how many streams, the first ones, look at the others and are given back; the rest is looked at only. None: all of them.

    References:
        Vaswani et al., 2017; Peebles & Xie, 2023, section 3.2; Xiong et al., 2020, Table 1 (from memory), for both places of the norm;
        Esser et al., 2024, Fig. 2b (from memory), for several streams.
    """

    heads: int
    expansion: int = 4
    compute: Compute = Compute()
    mlp_epsilon: float = EPSILON
    epsilon: float = EPSILON
    activation: str = "gelu_tanh"
    norm_first: bool = True
    answers: int | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"] | tuple[Float[Array, "b _ d"], ...],
        condition: Float[Array, "b e"] | None = None,
        positions: Int[ArrayLike, "b p axes"] | None = None,
        mask: Bool[ArrayLike, "#b #heads #s k"] | None = None,
        cache: Cache | None = None,
        context: Float[Array, "b m c"] | None = None,
        context_mask: Bool[ArrayLike, "b m"] | None = None,
    ) -> tuple[Any, Cache | None]:
        """Return (x, cache): streams where x is streams, and the cache with the tokens of this call in it.

        Args:
            x: (b, s, d), or a tuple of streams (b, s_i, d), which are one sequence to attention, in their order.
            condition: (b, e), which shifts, scales and gates both halves; a fresh block is then the identity.
            positions: (b, p, axes) absolute ids in 1 to 3 coordinates, one per token of all streams, which turn queries and keys, and which
                a cache needs.
            mask: which keys each query sees, those of the whole cache if there is one.
            cache: the tokens before these.
            context: (b, m, c) what the tokens of every stream look at after attention. It adds 0 in a fresh block, and has no positions.
            context_mask: (b, m) which tokens of the context are seen. None: all of them; a sample that sees none gets one constant.

        Raises:
            ValueError: when the heads do not divide the channels, for streams of unequal widths, `answers` outside 1 … their number, a
                cache without positions and mask, an unknown activation, and a condition where the norm stands last.
        """
        streams = x if isinstance(x, tuple) else (x,)
        width = streams[0].shape[-1]
        answering = self._checked(streams, condition, positions, mask, cache)
        names = ["", *(f"stream_{i}_" for i in range(1, len(streams)))]
        changes = [self._modulation(name, i < answering, width, condition) for i, name in enumerate(names)]
        parts = [
            self._heads(name, i < answering, stream, *change[:2])
            for i, (name, stream, change) in enumerate(zip(names, streams, changes, strict=True))
        ]
        query, key, value = (_joined([part[at] for part in parts if part[at] is not None]) for at in range(3))
        if positions is not None:
            query, key = rotate(query, positions[:, : query.shape[1]]), rotate(key, positions)
        if cache is not None and positions is not None:
            cache = cache.extended(key, value, jnp.asarray(positions))
            key, value = cache.key.astype(query.dtype), cache.value.astype(query.dtype)
        mixed = attend(query, key, value, mask, implementation=self.compute.attention, precision=self.compute.precision)
        results = []
        for name, stream, change, y in zip(names, streams, changes, _parted(mixed, streams[:answering]), strict=False):
            _, _, gate_0, shift_1, scale_1, gate_1 = change
            y = self._summed(f"{name}norm_0", stream, _gated(dense(width, self.compute, f"{name}output")(y.reshape(stream.shape)), gate_0))
            if context is not None:
                y = self._summed(f"{name}norm_cross", y, self._cross_attention(name, y, context, context_mask))
            wide = fast.recomputed(TransformerBlock._widened, (1,))(self, name, y, scale_1, shift_1)
            narrow = fast.recomputed(TransformerBlock._narrowed, (1,))(self, name, wide)
            results.append(self._summed(f"{name}norm_1", y, _gated(narrow, gate_1)))
        return (tuple(results) if isinstance(x, tuple) else results[0]), cache

    def _checked(self, streams: tuple[Any, ...], condition: Any, positions: Any, mask: Any, cache: Any) -> int:
        """Return how many streams answer."""
        checks.choice("activation", self.activation, ACTIVATIONS)
        if condition is not None and not self.norm_first:
            raise ValueError("a condition changes what attention and MLP are given: it needs norm_first = True")
        widths = [stream.shape[-1] for stream in streams]
        if len(set(widths)) > 1:
            raise ValueError(f"streams of widths {widths} cannot share one attention: map them to one width first")
        if widths[0] % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide the width {widths[0]}")
        if cache is not None and (positions is None or mask is None):
            raise ValueError("a cache needs positions, which say where its tokens stand, and a mask, which says what of it is seen")
        if self.answers is None:
            return len(streams)
        checks.integer("answers", self.answers, 1, len(streams))
        return self.answers

    def _modulation(self, stream: str, answers: bool, width: int, condition: jax.Array | None) -> list[Any]:
        """Shift, scale and gate of attention, then those of the MLP; the first two alone for a stream that does not answer."""
        number = 6 if answers else 2
        if condition is None:
            return [None] * number
        return jnp.split(dense(number * width, self.compute, f"{stream}modulation", zero=True)(condition), number, -1)

    def _heads(self, stream: str, answers: bool, x: jax.Array, shift: Any, scale: Any) -> list[Any]:
        """Query, key and value, each (b, s, heads, size); no query for a stream that does not answer."""
        number = 3 if answers else 2
        y = fast.recomputed(TransformerBlock._projected, (1, 2))(self, stream, number, x, scale, shift)
        return [None] * (3 - number) + jnp.split(y.reshape(*x.shape[:2], number * self.heads, -1), number, 2)

    def _projected(self, stream: str, number: int, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None) -> jax.Array:
        name = "qkv" if number == 3 else "key_value"
        return dense(number * x.shape[-1], self.compute, f"{stream}{name}")(self._before(f"{stream}norm_0", x, scale, shift))

    def _cross_attention(self, stream: str, x: jax.Array, context: jax.Array, mask: Any) -> jax.Array:
        """Cross-attention: what the tokens of x see in the context."""
        split = (*x.shape[:1], -1, self.heads, x.shape[-1] // self.heads)
        query = fast.recomputed(TransformerBlock._cross_query, (1,))(self, stream, x)
        key, value = jnp.split(dense(2 * x.shape[-1], self.compute, f"{stream}cross_key_value")(context), 2, -1)
        y = attend(
            query.reshape(split),
            key.reshape(split),
            value.reshape(split),
            None if mask is None else jnp.asarray(mask)[:, None, None, :],
            implementation=self.compute.attention,
            precision=self.compute.precision,
        )
        return dense(x.shape[-1], self.compute, f"{stream}cross_output", zero=True)(y.reshape(x.shape))

    def _cross_query(self, stream: str, x: jax.Array) -> jax.Array:
        return dense(x.shape[-1], self.compute, f"{stream}cross_query")(self._before(f"{stream}norm_cross", x))

    def _widened(self, stream: str, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None) -> jax.Array:
        return dense(self.expansion * x.shape[-1], self.compute, f"{stream}mlp_0")(self._before(f"{stream}norm_1", x, scale, shift))

    def _narrowed(self, stream: str, x: jax.Array) -> jax.Array:
        return dense(x.shape[-1] // self.expansion, self.compute, f"{stream}mlp_1")(ACTIVATIONS[self.activation](x))

    def _before(self, norm: str, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None) -> jax.Array:
        return self._normed(norm, x, scale, shift) if self.norm_first else x

    def _summed(self, norm: str, x: jax.Array, y: jax.Array) -> jax.Array:
        return x + y if self.norm_first else self._normed(norm, x + y)

    def _normed(self, norm: str, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None) -> jax.Array:
        epsilon = self.mlp_epsilon if norm.endswith("norm_1") else self.epsilon
        return LayerNorm(self.compute, epsilon, name=norm)(x, scale, shift)


def _joined(parts: list[jax.Array]) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, 1)


def _parted(y: jax.Array, streams: tuple[jax.Array, ...]) -> list[jax.Array]:
    """Invert `_joined`, for parts as long as the streams."""
    ends = np.cumsum([stream.shape[1] for stream in streams])
    return [y] if len(streams) == 1 else jnp.split(y, ends[:-1], 1)


def _gated(x: jax.Array, gate: jax.Array | None) -> jax.Array:
    return x if gate is None else x * gate[:, None, :]
