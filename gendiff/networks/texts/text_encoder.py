"""Encoders of text: ids of tokens in, a vector per token and one per text out.

CLIP's towers and BERT are settings of one network.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import arrays, checks, packed
from gendiff.core.condition_records import Text
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.blocks.transformer import TransformerBlock
from gendiff.networks.layers import Compute, LayerNorm, attention, dense, dtype_of, initializers, parameter
from gendiff.networks.layers.embeddings import token_rows

POOLING = ("end", "mean")


class TextEncoder(nn.Module):
    """A transformer over tokens with learned positions.

    `clip_vit_l_14`, `open_clip_vit_h_14`, `open_clip_vit_bigg_14` and `mini_lm_l6` build the published ones, for which
    `weights` loads parameters.

    Args:
        vocabulary: number of ids.
        positions: the largest number of tokens.
        width: channels of a token, divisible by heads.
        depth: number of blocks.
        heads: number of attention heads.
        expansion: width of the MLPs over that of the tokens.
        causal: each token sees itself and those before it (CLIP), or all (BERT). Either way none sees what the mask
            leaves out.
        norm_first: the blocks' norms stand first, and one follows the last block (CLIP), or they stand last, and one
            precedes the first block (BERT).
        activation: of the MLPs: "gelu", "gelu_tanh" or "quick_gelu" (see layers/).
        epsilon: what every norm adds to a variance.
        token_types: number of kinds of tokens, each with a vector that is added (BERT has 2). None: there are none.
        pooling: the vector of a text is that of its first token `end`, or the "mean" of its tokens.
        end: id of the token that ends a text. None: the last of the vocabulary, as in CLIP.
        projection: width of `pooled` after a linear layer without bias. None: there is no such layer.
        normalize: give each vector in `pooled` the length 1.
        skip_last: `tokens` are those before so many of the last blocks, behind the last norm where there is one. Stable
            Diffusion 2 has 1. `pooled` comes from the last block all the same; where it is not used, jit leaves those
            blocks out.
        norm_tokens: whether `tokens` go through the last norm. Stable Diffusion XL takes them before it.
        dtype: of activations: "float32", "bfloat16", or None for that of the parameters, at least float32. Parameters
            stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers.

    References:
        Radford et al., 2021, section 2.4; Devlin et al., 2019, section 3; Reimers & Gurevych, 2019, section 3, for the
        mean (from memory).
    """

    vocabulary: int = 49408
    positions: int = 77
    width: int = 512
    depth: int = 12
    heads: int = 8
    expansion: int = 4
    causal: bool = True
    norm_first: bool = True
    activation: str = "gelu"
    epsilon: float = 1e-5
    token_types: int | None = None
    pooling: str = "end"
    end: int | None = None
    projection: int | None = None
    normalize: bool = False
    skip_last: int = 0
    norm_tokens: bool = True
    dtype: DType | None = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False

    @nn.compact
    def __call__(
        self,
        ids: Int[ArrayLike, "b s"],
        mask: Bool[ArrayLike, "b s"] | None = None,
        types: Int[ArrayLike, "b s"] | None = None,
    ) -> Text:
        """Encode texts.

        Under jit, where values cannot be looked at, an unknown id makes its own text NaN, and so does a text without
        the token or tokens that its pooled vector comes from.

        Args:
            ids: (b, s) from 0 … vocabulary − 1.
            mask: (b, s) false for padding. None: every token counts, as Stable Diffusion calls CLIP.
            types: (b, s) from 0 … token_types − 1. None: all are 0.

        Raises:
            ValueError: for inputs or fields against the rules above, an unknown id, and a text that cannot be pooled.
            TypeError: for ids or types that are no integers, and a mask that is not boolean.
        """
        self._check(ids, mask, types)
        table = parameter(self, "token", initializers.normal(0.02), (self.vocabulary, self.width))
        places = parameter(self, "position", initializers.normal(0.01), (self.positions, self.width))
        compute = Compute(
            dtype_of(self.dtype, table), self.precision, attention=self.attention_implementation, late=bool(self.remat)
        )
        ids = jnp.asarray(ids)
        present = jnp.ones(ids.shape, bool) if mask is None else jnp.asarray(mask)

        x = token_rows(table, ids) + packed.as_array(places, places.dtype)[None, : ids.shape[1]]
        if self.token_types is not None:
            kinds = parameter(self, "type", initializers.normal(0.02), (self.token_types, self.width))
            x = x + token_rows(kinds, jnp.zeros_like(ids) if types is None else jnp.asarray(types))
        x = x.astype(compute.dtype)
        if not self.norm_first:
            x = LayerNorm(compute, self.epsilon, name="embedding_norm")(x)
        last, chosen = self._blocks(x, self._seen(present), compute)
        if self.norm_first:
            norm = LayerNorm(compute, self.epsilon, name="output_norm")
            last, chosen = norm(last), norm(chosen) if self.norm_tokens else chosen

        pooled = self._at_end(last, (ids == self._end) & present) if self.pooling == "end" else _mean(last, present)
        if self.projection is not None:
            pooled = dense(self.projection, compute, "projection", bias=False)(pooled)
        return Text(chosen, present, _of_length_one(pooled) if self.normalize else pooled)

    @property
    def _end(self) -> int:
        return self.vocabulary - 1 if self.end is None else self.end

    def _seen(self, present: Bool[Array, "b s"]) -> Bool[Array, "#b 1 #s s"]:
        """Which tokens each one sees."""
        if not self.causal:
            return present[:, None, None, :]
        positions = jnp.broadcast_to(jnp.arange(present.shape[1])[None], present.shape)
        return attention.causal(positions, jnp.where(present, positions, -1))

    def _blocks(self, x: jax.Array, visible: jax.Array, compute: Compute) -> tuple[jax.Array, jax.Array]:
        """(output of the last block, output of the one that `skip_last` names)."""
        build, chosen = fast.remat(TransformerBlock, self.remat), x
        for number in range(self.depth):
            block = build(
                self.heads,
                self.expansion,
                compute,
                self.epsilon,
                self.epsilon,
                self.activation,
                self.norm_first,
                name=f"block_{number}",
            )
            x, _ = block(x, None, None, visible)
            chosen = x if number == self.depth - 1 - self.skip_last else chosen
        return x, chosen

    def _at_end(self, tokens: Float[Array, "b s d"], is_end: Bool[Array, "b s"]) -> Float[Array, "b d"]:
        """The vector of the first token that ends a text; NaN without one."""
        first = tokens[jnp.arange(tokens.shape[0]), jnp.argmax(is_end, -1)]
        return jnp.where(is_end.any(-1, keepdims=True), first, jnp.nan)

    def _check(self, ids: ArrayLike, mask: ArrayLike | None, types: ArrayLike | None) -> None:
        optional = "token_types", "projection"
        checks.counts(self, "vocabulary", "positions", "width", "depth", "heads", "expansion", optional=optional)
        checks.integer("end", self._end, 0, self.vocabulary - 1)
        checks.integer("skip_last", self.skip_last, 0, self.depth - 1)
        checks.in_range("epsilon", self.epsilon, 0.0, float("inf"))
        checks.choice("pooling", self.pooling, POOLING)
        check_tokens(ids, mask, self.vocabulary, self.positions)
        if types is not None:
            if self.token_types is None:
                raise ValueError("types were given to an encoder without: build it with token_types=…, or pass None")
            checks.same_shape("ids", ids, "types", types)
            checks.ids("types", types, self.token_types)
        self._check_pooled(ids, mask)

    def _check_pooled(self, ids: ArrayLike, mask: ArrayLike | None) -> None:
        if not all(arrays.is_concrete(value) for value in (ids, mask)):
            return
        present = np.ones(ids.shape, bool) if mask is None else np.asarray(mask)
        pooled = present & (np.asarray(ids) == self._end) if self.pooling == "end" else present
        if not pooled.any(-1).all():
            lacks = (
                f"has no token {self._end}, which ends a text (end)"
                if self.pooling == "end"
                else "has no token in the mask"
            )
            raise ValueError(f"text {int(np.argmin(pooled.any(-1)))} {lacks}: its pooled vector would mean nothing")


def check_tokens(ids: ArrayLike, mask: ArrayLike | None, vocabulary: int, most: int | None) -> None:
    """Refuse what is no batch of texts.

    Args:
        ids: should be integers (texts, tokens) of 0 … vocabulary − 1.
        mask: should be booleans of the same shape, or None.
        vocabulary: number of ids.
        most: the largest number of tokens. None: there is none.

    Raises:
        ValueError: for another shape, and for an id out of range whose value is known.
        TypeError: for other types.
    """
    checks.ids("ids", ids, vocabulary)
    if ids.ndim != 2 or ids.shape[1] < 1 or (most is not None and ids.shape[1] > most):
        needed = "1 token or more is needed" if most is None else f"1 to {most} tokens is needed (positions)"
        raise ValueError(f"ids has shape {ids.shape}: (texts, tokens) with {needed}")
    if mask is not None:
        checks.same_shape("ids", ids, "mask", mask)
        if mask.dtype != jnp.bool_:
            raise TypeError(f"mask must be boolean, true where a token counts, got {mask.dtype}: use mask > 0")


def clip_vit_l_14(**options: object) -> TextEncoder:
    """The text tower of OpenAI's CLIP ViT-L/14, the text encoder of Stable Diffusion 1.

    `projection=768` adds CLIP's projection.

    Args:
        **options: any field of TextEncoder.

    References:
        Radford et al., 2021, section 2.4 and Table 19 (from memory).
    """
    build: Callable[..., TextEncoder] = functools.partial(
        TextEncoder, width=768, depth=12, heads=12, activation="quick_gelu"
    )
    return build(**options)


def open_clip_vit_h_14(**options: object) -> TextEncoder:
    """The text tower of OpenCLIP's ViT-H/14, the text encoder of Stable Diffusion 2.

    `skip_last=1` gives Stable Diffusion's tokens, and `projection=1024` adds the model's projection.

    Args:
        **options: any field of TextEncoder.

    References:
        Cherti et al., 2023 (from memory).
    """
    build: Callable[..., TextEncoder] = functools.partial(TextEncoder, width=1024, depth=24, heads=16)
    return build(**options)


def open_clip_vit_bigg_14(**options: object) -> TextEncoder:
    """The text tower of OpenCLIP's ViT-bigG/14, the second text encoder of Stable Diffusion XL and 3.

    They read its tokens before the last block.

    Args:
        **options: any field of TextEncoder.

    References:
        Cherti et al., 2023 (from memory).
    """
    build: Callable[..., TextEncoder] = functools.partial(TextEncoder, width=1280, depth=32, heads=20, projection=1280)
    return build(**options)


def mini_lm_l6(**options: object) -> TextEncoder:
    """The encoder of sentences all-MiniLM-L6-v2: a BERT of 6 layers, whose mean over tokens gets the length 1.

    Args:
        **options: any field of TextEncoder.

    References:
        Wang et al., 2020; Reimers & Gurevych, 2019 (from memory).
    """
    build: Callable[..., TextEncoder] = functools.partial(
        TextEncoder,
        vocabulary=30522,
        positions=512,
        width=384,
        depth=6,
        heads=12,
        causal=False,
        norm_first=False,
        epsilon=1e-12,
        token_types=2,
        pooling="mean",
        normalize=True,
    )
    return build(**options)


def _mean(tokens: Float[Array, "b s d"], present: Bool[Array, "b s"]) -> Float[Array, "b d"]:
    """The mean of tokens that the mask shows; NaN where there are none."""
    accumulate = jnp.promote_types(tokens.dtype, jnp.float32)
    total = jnp.sum(jnp.where(present[..., None], tokens, 0).astype(accumulate), 1)
    return (total / jnp.sum(present, 1, keepdims=True).astype(accumulate)).astype(tokens.dtype)


def _of_length_one(x: Float[Array, "b d"]) -> Float[Array, "b d"]:
    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    squared = jnp.sum(jnp.square(x.astype(accumulate)), -1, keepdims=True)
    return (x / jnp.sqrt(jnp.maximum(squared, 1e-24))).astype(x.dtype)
