"""The transformer block for images, language and video.

Positions, mask, condition, cache and context are optional.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import checks
from gendiff.core.types import ArrayLike, PyTree
from gendiff.networks import fast
from gendiff.networks.blocks.mixture_of_experts import Experts, MixtureOfExperts
from gendiff.networks.blocks.routing import Routing
from gendiff.networks.layers import ACTIVATIONS, NORMS, Compute, activated, dense, per_token
from gendiff.networks.layers.attention import Scores, attend
from gendiff.networks.layers.axial import Axial
from gendiff.networks.layers.rotary import Rotary, rotate

EPSILON = 1e-6

TENSOR_PARALLEL = (
    (r"block_\d+/(\w+_)?(qkv|query|key_value|mlp_0)/kernel$", (None, "tensor")),
    (r"block_\d+/(\w+_)?(qkv|query|key_value|mlp_0)/bias$", ("tensor",)),
    (r"block_\d+/(\w+_)?(output|mlp_1)/kernel$", ("tensor", None)),
)
"""Tensor parallelism, as rules for `training.sharding`.

Layers that widen a block are split by output, and layers that narrow it by input. They hold for every layer of a
`TransformerBlock`, those of cross-attention and of further streams too.

References:
    Shoeybi et al., 2019, section 3 (from memory).
"""
TENSOR_PARALLEL_UNBIASED = TENSOR_PARALLEL[::2]
"""The same rules for a network without biases, such as models of the Llama family.

A rule that fits no array is an error.
"""

EXPERT_PARALLEL = ((r"block_\d+/experts/mlp_[01]/kernel$", ("tensor", None, None)),)
"""Rules for `training.sharding`: each device holds a share of the experts.

With a capacity factor it computes what these answer; without
one, kernels are exchanged. They join those above.

References:
    Lepikhin et al., 2020, section 3 (from memory).
"""


Seen = Callable[[jax.Array, jax.Array], jax.Array]
"""(positions of queries (b, s), positions of keys (b, k)) -> which keys each query sees (b, 1, s, k)."""


@runtime_checkable
class LayerCache(Protocol):
    """KV cache of one block: keys and values of the tokens so far; `language.cache` has several kinds."""

    def updated(
        self, key: Float[Array, "b s heads size"], value: Float[Array, "b s heads size"], positions: Int[Array, "b s"]
    ) -> tuple["LayerCache", jax.Array, jax.Array, jax.Array]:
        """Write tokens, but those at negative positions, and return all that is there.

        Tokens of a call stand at positions that follow one another, or all at the last of these, as the patches of a
        picture do.

        Returns:
            The cache, keys (b, k, heads, size), values (b, k, heads, size), and their positions (b, k), negative where
            empty.
        """


class _View(NamedTuple):
    """What attention is told of the tokens: arguments of `TransformerBlock`."""

    positions: ArrayLike | None = None
    mask: ArrayLike | Seen | None = None
    cache: LayerCache | None = None
    score_bias: jax.Array | None = None


class TransformerBlock(nn.Module):
    """Self-attention and an MLP, each normalised first and added to x.

    With a condition it is the adaLN-zero block of DiT. Also known as: adaptive layer norm.

    With a context there is cross-attention to it between the two. With several streams there is one attention over all
    of them, and every other layer is each stream's own: the block of MM-DiT.

    Args:
        heads: their number, which divides the channels.
        expansion: width of the MLP over that of x.
        compute: how to compute.
        mlp_epsilon: what the second norm adds to a variance.
        epsilon: what the other norms add.
        activation: of the MLP: "gelu_tanh", "gelu", "quick_gelu" or "silu" (see layers/).
        norm_first: False normalises each sum, x + attention(x) and x + MLP(x), and not what attention and MLP are
            given.
        answers: how many streams, the first ones, look at the others and are given back; the rest is looked at
            only. None: all of them.
        norm_after: normalise what attention and MLP give, too, before it is added (Gemma 2).
        norm: "layer", "rms" or "rms_from_one" (see layers/).
        norm_heads: QK-norm: normalise each head's query and key by their root mean square, before they are turned.
        scores: how queries and keys give scores (see attention.py).
        key_value_heads: their number, which divides heads: each serves heads / key_value_heads queries (grouped-query
            attention, GQA; 1 is multi-query attention). None: as many as heads.
        head_size: channels of a head. None: those of x over heads, which then divides them.
        mlp_width: width of the MLP. None: `expansion` says it.
        gated: multiply the activation of one linear layer by another one (SwiGLU with "silu"). Both are one kernel, the
            gate first.
        bias: whether linear layers but query, key and value have one.
        qkv_bias: whether these have one, those of cross-attention too. None: as `bias` says.
        mlp_bias: whether those of the MLP have one. None: as `bias` says.
        rotary: how positions turn queries and keys (RoPE). None: they do not.
        experts: a mixture of experts in place of the MLP. None: one MLP.
        own_attention: the first stream also looks at itself alone. What it sees is added beside what it sees in all
            streams.
        parallel: the MLP is given what attention is given, the normalised x, and one linear layer narrows both
            together.
        fused: one linear layer of `parallel` widens for attention and the MLP.
        axial: the tokens are a table, and each sees those of its row, or of its column, alone. None: it sees all.

    References:
        Vaswani et al., 2017; Peebles & Xie, 2023, section 3.2; Xiong et al., 2020, Table 1 (from memory), for both
        places of the norm; Esser et al., 2024, Fig. 2b (from memory), for several streams; Ainslie et al., 2023,
        section 2.2, for grouped heads; Shazeer, 2020, Eq. 6, for gated MLPs; Dehghani et al., 2023, section 2, for
        normalised heads and parallel layers (from memory).
    """

    heads: int
    expansion: int = 4
    compute: Compute = Compute()
    mlp_epsilon: float = EPSILON
    epsilon: float = EPSILON
    activation: str = "gelu_tanh"
    norm_first: bool = True
    answers: int | None = None
    norm_after: bool = False
    norm: str = "layer"
    norm_heads: bool = False
    scores: Scores = Scores()
    key_value_heads: int | None = None
    head_size: int | None = None
    mlp_width: int | None = None
    gated: bool = False
    bias: bool = True
    qkv_bias: bool | None = None
    mlp_bias: bool | None = None
    rotary: Rotary | None = Rotary()
    experts: Experts | None = None
    own_attention: bool = False
    parallel: bool = False
    axial: Axial | None = None
    fused: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b s d"] | tuple[Float[Array, "b _ d"], ...],
        condition: Float[Array, "b e"] | Float[Array, "b groups e"] | dict[str, jax.Array] | None = None,
        positions: Int[ArrayLike, "b p axes"] | None = None,
        mask: Bool[ArrayLike, "#b #heads #s k"] | Seen | None = None,
        cache: LayerCache | None = None,
        context: Float[Array, "b m c"] | None = None,
        context_mask: Bool[ArrayLike, "b m"] | None = None,
        score_bias: Float[Array, "#b heads #s k"] | None = None,
    ) -> tuple[PyTree, ...]:
        """Return (x, cache): streams where x is streams, and the cache with the tokens of this call in it.

        With experts, also a `Routing`.

        Args:
            x: (b, s, d), or a tuple of streams (b, s_i, d), which are one sequence to attention, in their order.
            condition: (b, e), which shifts, scales and gates both halves; a fresh block is then the identity. (b,
                groups, e): one for each group of s / groups tokens that stand side by side, such as those of a frame;
                with s groups, one for each token. A dictionary has what linear layers would make of it, (b, 6 d) or (b,
                3 d) with `parallel`, for each stream, whose names are "", "stream_1_" and so on: blocks then have none
                of their own (shared modulation).
            positions: (b, p, axes) absolute ids in 1 to 3 coordinates, one per token of all streams, which turn queries
                and keys, and which a cache needs. A token at a negative one is padding.
            mask: which keys each query sees. A rule, (positions of queries (b, s), of keys (b, k)) -> (b, 1, s, k) such
                as `attention.causal`, reads the first coordinate of the positions, and is what a cache needs.
            cache: the tokens before these (see `LayerCache`).
            context: (b, m, c) what the tokens of every stream look at after attention. It adds 0 in a fresh block, and
                has no positions.
            context_mask: (b, m) which tokens of the context are seen. None: all of them; a sample that sees none gets
                one constant.
            score_bias: what is added to the scores of self-attention, as relative positions are.

        Raises:
            ValueError: when the heads do not divide the channels or `key_value_heads` the heads, for streams of unequal
                widths, `answers` outside 1 … their number, several streams with experts, a cache or a rule without
                positions, a cache without a rule, an unknown activation or norm, a condition, `own_attention`,
                `norm_after` or `parallel` where the norm stands last, `parallel` with streams, a context, experts,
                `norm_after` or `own_attention`, conditions of groups that do not divide the tokens, and of groups for
                streams, and axial attention with streams, a mask, a cache or a bias, or for rows that do not divide the
                tokens.
        """
        streams = x if isinstance(x, tuple) else (x,)
        width = streams[0].shape[-1]
        view = _View(positions, mask, cache, score_bias)
        answering = self._checked(streams, condition, view)
        if self.parallel:
            self._check_parallel(x, context)
            return self._in_parallel(streams[0], condition, view)
        names = ["", *(f"stream_{i}_" for i in range(1, len(streams)))]
        changes = [
            self._modulation(name, self._changes(name, i < answering), streams, condition)
            for i, name in enumerate(names)
        ]
        parts = [
            self._heads(name, i < answering, stream, *change[:2])
            for i, (name, stream, change) in enumerate(zip(names, streams, changes, strict=True))
        ]
        query, key, value = (_joined([part[at] for part in parts if len(part) >= -at]) for at in (-3, -2, -1))
        mixed, cache = self._attended(query, key, value, view)
        results, routing = [], None
        for name, stream, change, y in zip(names, streams, changes, _parted(mixed, streams[:answering]), strict=False):
            _, _, gate_0, shift_1, scale_1, gate_1 = change[:6]
            y = dense(width, self.compute, f"{name}output", bias=self.bias)(y.reshape(*stream.shape[:2], -1))
            y = self._summed(f"{name}norm_0", stream, y, gate_0)
            if self.own_attention and not name:
                y = y + self._own_attention(stream, change[6:], positions)
            if context is not None:
                y = self._summed(f"{name}norm_cross", y, self._cross_attention(name, y, context, context_mask))
            if self.experts is None:
                wide = fast.recomputed(TransformerBlock._widened, (1,))(self, name, y, scale_1, shift_1)
                narrow = fast.recomputed(TransformerBlock._narrowed, (1, 2))(self, name, width, wide)
            else:
                present = None if positions is None else jnp.asarray(positions)[:, : y.shape[1], 0] >= 0
                narrow, routing = self._routed(
                    self.experts, self._before(f"{name}norm_1", y, scale_1, shift_1), present
                )
            results.append(self._summed(f"{name}norm_1", y, narrow, gate_1))
        answer = tuple(results) if isinstance(x, tuple) else results[0]
        return (answer, cache) if self.experts is None else (answer, cache, routing)

    def _checked(
        self, streams: tuple[jax.Array, ...], condition: jax.Array | dict[str, jax.Array] | None, view: _View
    ) -> int:
        """Return how many streams answer."""
        positions, mask, cache, score_bias = view
        checks.choice("activation", self.activation, ACTIVATIONS)
        checks.choice("norm", self.norm, NORMS)
        if condition is not None and not self.norm_first:
            raise ValueError("a condition changes what attention and MLP are given: it needs norm_first = True")
        if (self.own_attention or self.parallel or self.norm_after) and not self.norm_first:
            raise ValueError("own_attention, parallel and norm_after follow a norm: they need norm_first = True")
        if self.axial is not None and (
            len(streams) > 1 or any(option is not None for option in (mask, cache, score_bias))
        ):
            raise ValueError(
                "axial attention is of one stream, and its table says what is seen: it takes no mask, cache or "
                "score_bias"
            )
        if (
            condition is not None
            and not isinstance(condition, dict)
            and condition.ndim == 3
            and (len(streams) > 1 or streams[0].shape[1] % condition.shape[1])
        ):
            raise ValueError(
                f"a condition of shape {condition.shape} is for one stream of tokens, in groups of equal size, and "
                f"here are {[stream.shape for stream in streams]}"
            )
        widths = [stream.shape[-1] for stream in streams]
        if len(set(widths)) > 1:
            raise ValueError(f"streams of widths {widths} cannot share one attention: map them to one width first")
        if self.experts is not None and len(streams) > 1:
            raise ValueError(
                f"experts are for one stream, and here are {len(streams)}: a router would be needed for each"
            )
        if self.head_size is None and widths[0] % self.heads:
            raise ValueError(f"heads = {self.heads} does not divide the width {widths[0]}")
        if self.heads % self._shared_heads:
            raise ValueError(f"key_value_heads = {self.key_value_heads} does not divide heads = {self.heads}")
        if cache is not None and not callable(mask):
            raise ValueError(
                "a cache needs a rule as the mask, such as attention.causal: it says what of the cache is seen"
            )
        if callable(mask) and positions is None:
            raise ValueError("a rule needs positions, which say where the tokens stand")
        if self.answers is None:
            return len(streams)
        checks.integer("answers", self.answers, 1, len(streams))
        return self.answers

    def _check_parallel(self, x: jax.Array | tuple[jax.Array, ...], context: jax.Array | None) -> None:
        others = {"streams": isinstance(x, tuple), "a context": context is not None, "norm_after": self.norm_after}
        others |= {"own_attention": self.own_attention, "experts": self.experts is not None}
        for name, is_set in others.items():
            if is_set:
                raise ValueError(f"parallel = True is for one sequence with attention and an MLP, and here are {name}")

    def _changes(self, stream: str, answers: bool) -> int:
        """Return how many vectors the condition gives a stream.

        They are shift, scale and gate of attention, of the MLP, and of the attention to itself.
        """
        if not answers:
            return 2  # it is normalised, shifted and scaled to be looked at
        return 9 if self.own_attention and not stream else 6

    def _modulation(
        self,
        stream: str,
        number: int,
        streams: tuple[jax.Array, ...],
        condition: jax.Array | dict[str, jax.Array] | None,
    ) -> list[jax.Array | None]:
        if condition is None:
            return [None] * number
        if isinstance(condition, dict):
            return list(jnp.split(condition[stream], number, -1))
        width = streams[0].shape[-1]
        change = dense(number * width, self.compute, f"{stream}modulation", zero=True)(condition, streams)
        return list(jnp.split(change, number, -1))

    @property
    def _shared_heads(self) -> int:
        return self.heads if self.key_value_heads is None else self.key_value_heads

    def _counts(self, answers: bool) -> list[int]:
        """Heads of query, key and value; of the last two for a stream that does not answer."""
        return [self.heads, self._shared_heads, self._shared_heads][0 if answers else 1 :]

    def _size(self, x: jax.Array) -> int:
        return x.shape[-1] // self.heads if self.head_size is None else self.head_size

    def _heads(
        self, stream: str, answers: bool, x: jax.Array, shift: jax.Array | None, scale: jax.Array | None
    ) -> list[jax.Array]:
        """Query, key and value, each (b, s, heads, size); no query for a stream that does not answer."""
        features = sum(self._counts(answers)) * self._size(x)
        y = fast.recomputed(TransformerBlock._projected, (1, 2, 3))(self, stream, answers, features, x, scale, shift)
        return self._split(stream, answers, y)

    def _split(self, stream: str, answers: bool, y: jax.Array) -> list[jax.Array]:
        """One linear layer's output as query, key and value, the first two normalised with `norm_heads`."""
        counts = self._counts(answers)
        parts = jnp.split(y.reshape(*y.shape[:2], sum(counts), -1), np.cumsum(counts)[:-1], 2)
        if self.norm_heads:
            for at, name in enumerate(("query", "key")[0 if answers else 1 :]):
                norm = NORMS["rms" if self.norm == "layer" else self.norm]
                parts[at] = norm(self.compute, self.epsilon, name=f"{stream}norm_{name}")(parts[at])
        return parts

    def _attended(
        self, query: jax.Array, key: jax.Array, value: jax.Array, view: _View
    ) -> tuple[jax.Array, LayerCache | None]:
        """The output of attention, (b, s, heads, size), and the cache."""
        positions, mask, cache, score_bias = view
        if positions is not None and self.rotary is not None:
            query = rotate(query, positions[:, : query.shape[1]], self.rotary)
            key = rotate(key, positions, self.rotary)
        visible, how = None if callable(mask) else mask, self.compute
        mix = functools.partial(attend, scores=self.scores, implementation=how.attention, precision=how.precision)
        if self.axial is not None:
            parts = (self.axial.split(tokens) for tokens in (query, key, value))
            return self.axial.together(mix(*parts), len(query)), None
        if callable(mask) and positions is not None:
            at = known = jnp.asarray(positions)[..., 0]
            if cache is not None:
                cache, key, value, known = cache.updated(key, value, at)
            visible = mask(at[:, : query.shape[1]], known)
        return mix(query, key, value, visible, bias=score_bias), cache

    def _own_attention(self, x: jax.Array, change: list[jax.Array | None], positions: ArrayLike | None) -> jax.Array:
        """What the tokens of x see in x alone."""
        shift, scale, gate = change
        at = None if positions is None else positions[:, : x.shape[1]]
        query, key, value = self._heads("own_", True, x, shift, scale)
        mixed, _ = self._attended(query, key, value, _View(at))
        y = dense(x.shape[-1], self.compute, "own_output", bias=self.bias)(mixed.reshape(*x.shape[:2], -1))
        return _gated(y, gate)

    def _in_parallel(
        self, x: jax.Array, condition: jax.Array | dict[str, jax.Array] | None, view: _View
    ) -> tuple[jax.Array, LayerCache | None]:
        """Attention and MLP of one norm, narrowed by one linear layer."""
        shift, scale, gate = self._modulation("", 3, (x,), condition)
        projected, wide = fast.recomputed(TransformerBlock._both_projected)(self, x, scale, shift)
        query, key, value = self._split("", True, projected)
        mixed, cache = self._attended(query, key, value, view)
        y = fast.recomputed(TransformerBlock._both_narrowed, (1,))(
            self, x.shape[-1], mixed.reshape(*x.shape[:2], -1), wide
        )
        return x + _gated(y, gate), cache

    def _both_projected(
        self, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        y = self._before("norm_0", x, scale, shift)
        features = sum(self._counts(True)) * self._size(x)
        inner = (1 + self.gated) * self._inner(x)
        if self.fused:
            both = dense(features + inner, self.compute, "qkv_mlp", bias=self._qkv_biased)(y)
            return both[..., :features], both[..., features:]
        query_key_value = dense(features, self.compute, "qkv", bias=self._qkv_biased)(y)
        return query_key_value, dense(inner, self.compute, "mlp_0", bias=self._mlp_biased)(y)

    def _both_narrowed(self, width: int, mixed: jax.Array, wide: jax.Array) -> jax.Array:
        return dense(width, self.compute, "output", bias=self.bias)(
            jnp.concatenate([mixed, activated(wide, self.activation, self.gated)], -1)
        )

    def _projected(
        self, stream: str, answers: bool, features: int, x: jax.Array, scale: jax.Array | None, shift: jax.Array | None
    ) -> jax.Array:
        layer = dense(features, self.compute, f"{stream}{'qkv' if answers else 'key_value'}", bias=self._qkv_biased)
        return layer(self._before(f"{stream}norm_0", x, scale, shift))

    def _cross_attention(self, stream: str, x: jax.Array, context: jax.Array, mask: ArrayLike | None) -> jax.Array:
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

    def _routed(self, experts: Experts, x: jax.Array, present: jax.Array | None) -> tuple[jax.Array, Routing]:
        layer = MixtureOfExperts(
            experts, self._inner(x), self.compute, self.activation, self.gated, self._mlp_biased, name="experts"
        )
        return layer(x, present)

    def _narrowed(self, stream: str, width: int, x: jax.Array) -> jax.Array:
        return dense(width, self.compute, f"{stream}mlp_1", bias=self._mlp_biased)(
            activated(x, self.activation, self.gated)
        )

    def _before(
        self, norm: str, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None
    ) -> jax.Array:
        return self._normed(norm, x, scale, shift) if self.norm_first else x

    def _summed(self, norm: str, x: jax.Array, y: jax.Array, gate: jax.Array | None = None) -> jax.Array:
        y = _gated(self._normed(f"{norm}_after", y) if self.norm_after else y, gate)
        return x + y if self.norm_first else self._normed(norm, x + y)

    def _normed(
        self, norm: str, x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None
    ) -> jax.Array:
        epsilon = self.mlp_epsilon if "norm_1" in norm else self.epsilon
        return NORMS[self.norm](self.compute, epsilon, name=norm)(x, scale, shift)


def _joined(parts: list[jax.Array]) -> jax.Array:
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, 1)


def _parted(y: jax.Array, streams: tuple[jax.Array, ...]) -> list[jax.Array]:
    """Invert `_joined`, for parts as long as the streams."""
    ends = np.cumsum([stream.shape[1] for stream in streams])
    return [y] if len(streams) == 1 else jnp.split(y, ends[:-1], 1)


def _gated(x: jax.Array, gate: jax.Array | None) -> jax.Array:
    return x if gate is None else x * per_token(gate, x)
