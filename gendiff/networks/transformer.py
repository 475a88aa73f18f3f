"""The transformer block, written once for images, language and video: positions, mask, condition, cache and context are optional."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.networks import fast
from gendiff.networks.attention import attend
from gendiff.networks.layers import ACTIVATIONS, NORMS, Compute, dense
from gendiff.networks.mixture_of_experts import Experts, MixtureOfExperts
from gendiff.networks.rotary import Rotary, rotate

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
TENSOR_PARALLEL_UNBIASED = TENSOR_PARALLEL[::2]
"""The same for a network without biases, as models of the family of Llama are: a rule that fits no array is an error."""

EXPERT_PARALLEL = ((r"block_\d+/experts/mlp_[01]/kernel$", ("tensor", None, None)),)
"""Rules for `training.sharding`: each device holds a share of the experts. With a capacity factor it computes what these answer; without
one, kernels are exchanged. They join those above.

References:
    Lepikhin et al., 2020, section 3 (from memory).
"""


Seen = Callable[[jax.Array, jax.Array], jax.Array]
"""(positions of queries (b, s), positions of keys (b, k)) -> which keys each query sees (b, 1, s, k)."""


@runtime_checkable
class LayerCache(Protocol):
    """Keys and values of the tokens so far, as one block sees them; `language.cache` has several kinds."""

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple[Any, jax.Array, jax.Array, jax.Array]:
        """Write tokens, but those at negative positions, and return all that is there.

        Returns:
            The cache, keys (b, k, heads, size), values (b, k, heads, size), and their positions (b, k), negative where empty.
        """


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
        activation: of the MLP: "gelu_tanh", "gelu", "quick_gelu" or "silu" (see layers.py).
        norm_first: False normalises each sum, x + attention(x) and x + MLP(x), and not what attention and MLP are given.
        answers: how many streams, the first ones, look at the others and are given back; the rest is looked at only. None: all of them.
        norm: "layer" or "rms" (see layers.py).
        norm_heads: normalise each head's query and key by their root mean square, before they are turned.
        key_value_heads: their number, which divides heads: each serves heads / key_value_heads queries. None: as many as heads.
        head_size: channels of a head. None: those of x over heads, which then divides them.
        mlp_width: width of the MLP. None: `expansion` says it.
        gated: multiply the activation of one linear layer by another one (SwiGLU with "silu"). Both are one kernel, the gate first.
        bias: whether linear layers but query, key and value have one.
        qkv_bias: whether these have one, those of cross-attention too. None: as `bias` says.
        mlp_bias: whether those of the MLP have one. None: as `bias` says.
        rotary: how positions turn queries and keys. None: they do not.
        experts: MLPs among which a router chooses, in place of one. None: there is one.

    References:
        Vaswani et al., 2017; Peebles & Xie, 2023, section 3.2; Xiong et al., 2020, Table 1 (from memory), for both places of the norm;
        Esser et al., 2024, Fig. 2b (from memory), for several streams; Ainslie et al., 2023, section 2.2, for grouped heads; Shazeer,
        2020, Eq. 6, for gated MLPs; Dehghani et al., 2023, section 2, for normalised heads (from memory).
    """

    heads: int
    expansion: int = 4
    compute: Compute = Compute()
    mlp_epsilon: float = EPSILON
    epsilon: float = EPSILON
    activation: str = "gelu_tanh"
    norm_first: bool = True
    answers: int | None = None
    norm: str = "layer"
    norm_heads: bool = False
    key_value_heads: int | None = None
    head_size: int | None = None
    mlp_width: int | None = None
    gated: bool = False
    bias: bool = True
    qkv_bias: bool | None = None
    mlp_bias: bool | None = None
    rotary: Rotary | None = Rotary()
    experts: Experts | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"] | tuple[Float[Array, "b _ d"], ...],
        condition: Float[Array, "b e"] | None = None,
        positions: Int[ArrayLike, "b p axes"] | None = None,
        mask: Bool[ArrayLike, "#b #heads #s k"] | Seen | None = None,
        cache: LayerCache | None = None,
        context: Float[Array, "b m c"] | None = None,
        context_mask: Bool[ArrayLike, "b m"] | None = None,
    ) -> tuple[Any, ...]:
        """Return (x, cache): streams where x is streams, and the cache with the tokens of this call in it. With experts, also a `Routing`.

        Args:
            x: (b, s, d), or a tuple of streams (b, s_i, d), which are one sequence to attention, in their order.
            condition: (b, e), which shifts, scales and gates both halves; a fresh block is then the identity.
            positions: (b, p, axes) absolute ids in 1 to 3 coordinates, one per token of all streams, which turn queries and keys, and which
                a cache needs. A token at a negative one is padding.
            mask: which keys each query sees. A rule, (positions of queries (b, s), of keys (b, k)) -> (b, 1, s, k) such as
                `attention.causal`, reads the first coordinate of the positions, and is what a cache needs.
            cache: the tokens before these (see `LayerCache`).
            context: (b, m, c) what the tokens of every stream look at after attention. It adds 0 in a fresh block, and has no positions.
            context_mask: (b, m) which tokens of the context are seen. None: all of them; a sample that sees none gets one constant.

        Raises:
            ValueError: when the heads do not divide the channels or `key_value_heads` the heads, for streams of unequal widths, `answers`
                outside 1 … their number, several streams with experts, a cache or a rule without positions, a cache without a rule, an
                unknown activation or norm, and a condition where the norm stands last.
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
        if self.norm_heads:
            query, key = (
                NORMS["rms"](self.compute, self.epsilon, name=f"norm_{name}")(part) for name, part in (("query", query), ("key", key))
            )
        if positions is not None and self.rotary is not None:
            query = rotate(query, positions[:, : query.shape[1]], self.rotary)
            key = rotate(key, positions, self.rotary)
        seen: Any = mask
        if callable(mask) and positions is not None:
            at = known = jnp.asarray(positions)[..., 0]
            if cache is not None:
                cache, key, value, known = cache.updated(key, value, at)
            seen = mask(at[:, : query.shape[1]], known)
        mixed = attend(query, key, value, seen, implementation=self.compute.attention, precision=self.compute.precision)
        results, routing = [], None
        for name, stream, change, y in zip(names, streams, changes, _parted(mixed, streams[:answering]), strict=False):
            _, _, gate_0, shift_1, scale_1, gate_1 = change
            y = dense(width, self.compute, f"{name}output", bias=self.bias)(y.reshape(*stream.shape[:2], -1))
            y = self._summed(f"{name}norm_0", stream, _gated(y, gate_0))
            if context is not None:
                y = self._summed(f"{name}norm_cross", y, self._cross_attention(name, y, context, context_mask))
            if self.experts is None:
                wide = fast.recomputed(TransformerBlock._widened, (1,))(self, name, y, scale_1, shift_1)
                narrow = fast.recomputed(TransformerBlock._narrowed, (1, 2))(self, name, width, wide)
            else:
                given = None if positions is None else jnp.asarray(positions)[:, : y.shape[1], 0] >= 0
                narrow, routing = self._routed(self.experts, self._before(f"{name}norm_1", y, scale_1, shift_1), given)
            results.append(self._summed(f"{name}norm_1", y, _gated(narrow, gate_1)))
        answer = tuple(results) if isinstance(x, tuple) else results[0]
        return (answer, cache) if self.experts is None else (answer, cache, routing)

    def _checked(self, streams: tuple[Any, ...], condition: Any, positions: Any, mask: Any, cache: Any) -> int:
        """Return how many streams answer."""
        checks.choice("activation", self.activation, ACTIVATIONS)
        checks.choice("norm", self.norm, NORMS)
        if condition is not None and not self.norm_first:
            raise ValueError("a condition changes what attention and MLP are given: it needs norm_first = True")
        widths = [stream.shape[-1] for stream in streams]
        if len(set(widths)) > 1:
            raise ValueError(f"streams of widths {widths} cannot share one attention: map them to one width first")
        if self.experts is not None and len(streams) > 1:
            raise ValueError(f"experts are for one stream, and here are {len(streams)}: a router would be needed for each")
        if self.head_size is None and widths[0] % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide the width {widths[0]}")
        if self.heads % self._shared_heads:
            raise ValueError(f"key_value_heads = {self.key_value_heads} does not divide heads = {self.heads}")
        if cache is not None and not callable(mask):
            raise ValueError("a cache needs a rule as the mask, such as attention.causal: it says what of the cache is seen")
        if callable(mask) and positions is None:
            raise ValueError("a rule needs positions, which say where the tokens stand")
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

    @property
    def _shared_heads(self) -> int:
        return self.heads if self.key_value_heads is None else self.key_value_heads

    def _heads(self, stream: str, answers: bool, x: jax.Array, shift: Any, scale: Any) -> list[Any]:
        """Query, key and value, each (b, s, heads, size); no query for a stream that does not answer."""
        size = x.shape[-1] // self.heads if self.head_size is None else self.head_size
        counts = [self.heads, self._shared_heads, self._shared_heads][0 if answers else 1 :]
        y = fast.recomputed(TransformerBlock._projected, (1, 2, 3))(self, stream, answers, sum(counts) * size, x, scale, shift)
        parts = jnp.split(y.reshape(*x.shape[:2], sum(counts), size), np.cumsum(counts)[:-1], 2)
        return [None] * (3 - len(counts)) + parts

    def _projected(
        self, stream: str, answers: bool, features: int, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None
    ) -> jax.Array:
        layer = dense(features, self.compute, f"{stream}{'qkv' if answers else 'key_value'}", bias=self._qkv_biased)
        return layer(self._before(f"{stream}norm_0", x, scale, shift))

    def _cross_attention(self, stream: str, x: jax.Array, context: jax.Array, mask: Any) -> jax.Array:
        """Cross-attention: what the tokens of x see in the context."""
        split = (*x.shape[:1], -1, self.heads, x.shape[-1] // self.heads)
        query = fast.recomputed(TransformerBlock._cross_query, (1,))(self, stream, x)
        both = dense(2 * x.shape[-1], self.compute, f"{stream}cross_key_value", bias=self._qkv_biased)(context)
        key, value = jnp.split(both, 2, -1)
        y = attend(
            query.reshape(split),
            key.reshape(split),
            value.reshape(split),
            None if mask is None else jnp.asarray(mask)[:, None, None, :],
            implementation=self.compute.attention,
            precision=self.compute.precision,
        )
        return dense(x.shape[-1], self.compute, f"{stream}cross_output", zero=True, bias=self.bias)(y.reshape(x.shape))

    def _cross_query(self, stream: str, x: jax.Array) -> jax.Array:
        layer = dense(x.shape[-1], self.compute, f"{stream}cross_query", bias=self._qkv_biased)
        return layer(self._before(f"{stream}norm_cross", x))

    @property
    def _qkv_biased(self) -> bool:
        return self.bias if self.qkv_bias is None else self.qkv_bias

    @property
    def _mlp_biased(self) -> bool:
        return self.bias if self.mlp_bias is None else self.mlp_bias

    def _widened(self, stream: str, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None) -> jax.Array:
        layer = dense((1 + self.gated) * self._inner(x), self.compute, f"{stream}mlp_0", bias=self._mlp_biased)
        return layer(self._before(f"{stream}norm_1", x, scale, shift))

    def _inner(self, x: jax.Array) -> int:
        return self.expansion * x.shape[-1] if self.mlp_width is None else self.mlp_width

    def _routed(self, experts: Experts, x: jax.Array, given: jax.Array | None) -> tuple[jax.Array, Any]:
        layer = MixtureOfExperts(experts, self._inner(x), self.compute, self.activation, self.gated, self._mlp_biased, name="experts")
        return layer(x, given)

    def _narrowed(self, stream: str, width: int, x: jax.Array) -> jax.Array:
        activation = ACTIVATIONS[self.activation]
        if self.gated:
            gate, x = jnp.split(x, 2, -1)
            x = activation(gate) * x
        else:
            x = activation(x)
        return dense(width, self.compute, f"{stream}mlp_1", bias=self._mlp_biased)(x)

    def _before(self, norm: str, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None) -> jax.Array:
        return self._normed(norm, x, scale, shift) if self.norm_first else x

    def _summed(self, norm: str, x: jax.Array, y: jax.Array) -> jax.Array:
        return x + y if self.norm_first else self._normed(norm, x + y)

    def _normed(self, norm: str, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None) -> jax.Array:
        epsilon = self.mlp_epsilon if norm.endswith("norm_1") else self.epsilon
        return NORMS[self.norm](self.compute, epsilon, name=norm)(x, scale, shift)


def _joined(parts: list[jax.Array]) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, 1)


def _parted(y: jax.Array, streams: tuple[jax.Array, ...]) -> list[jax.Array]:
    """Invert `_joined`, for parts as long as the streams."""
    ends = np.cumsum([stream.shape[1] for stream in streams])
    return [y] if len(streams) == 1 else jnp.split(y, ends[:-1], 1)


def _gated(x: jax.Array, gate: jax.Array | None) -> jax.Array:
    return x if gate is None else x * gate[:, None, :]
