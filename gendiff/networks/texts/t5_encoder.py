"""The encoder of T5 (Raffel et al., 2020), in its version 1.1: ids of tokens in, a vector per token out."""

import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import checks, packed
from gendiff.core.condition_records import Text
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.blocks.transformer import TransformerBlock
from gendiff.networks.layers import Compute, RMSNorm, dtype_of, initializers, parameter
from gendiff.networks.layers.embeddings import token_rows
from gendiff.networks.texts.text_encoder import check_tokens


class T5Encoder(nn.Module):
    """A transformer over tokens with relative positions: it knows the distance of two tokens, not their positions.

    Each head adds a learned number to the score of a pair of tokens, chosen by their distance; all blocks share these
    numbers. Norms are RMS norms, layers have no bias. The defaults are those of T5-XXL, which Stable Diffusion 3 and
    FLUX.1 read their prompts by.

    Args:
        vocabulary: number of ids.
        width: channels of a token.
        depth: number of blocks.
        heads: number of attention heads.
        head_size: channels of a head.
        mlp_width: width of the MLPs.
        activation: of their gates: "gelu_tanh", "gelu", "quick_gelu" or "silu" (see layers/).
        distances: how many classes of distances there are, half of them for each direction. Short ones have a class of
            their own, longer ones share one with others of their size.
        farthest: the distance from which all share one class.
        epsilon: what every norm adds to a mean square.
        dtype: of activations: "float32", "bfloat16", or None for that of the parameters, at least float32. Parameters
            stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers.

    References:
        Raffel et al., 2020, section 2.1, for distances; Shazeer, 2020, Eq. 6, for gates (from memory).
    """

    vocabulary: int = 32128
    width: int = 4096
    depth: int = 24
    heads: int = 64
    head_size: int = 64
    mlp_width: int = 10240
    activation: str = "gelu_tanh"
    distances: int = 32
    farthest: int = 128
    epsilon: float = 1e-6
    dtype: DType | None = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False

    @nn.compact
    def __call__(self, ids: Int[ArrayLike, "b s"], mask: Bool[ArrayLike, "b s"] | None = None) -> Text:
        """Encode texts of any length.

        Under jit, where values cannot be looked at, an unknown id makes its own text NaN.

        Args:
            ids: (b, s) from 0 … vocabulary − 1.
            mask: (b, s) false for padding. None: every token counts, as Stable Diffusion 3 and FLUX.1 call it.

        Returns:
            A `Text` without a pooled vector.

        Raises:
            ValueError: for inputs or fields against the rules above, and an unknown id.
            TypeError: for ids that are no integers, and a mask that is not boolean.
        """
        self._check()
        check_tokens(ids, mask, self.vocabulary, None)
        table = parameter(self, "token", initializers.normal(1.0), (self.vocabulary, self.width))
        compute = Compute(
            dtype_of(self.dtype, table), self.precision, attention=self.attention_implementation, late=bool(self.remat)
        )
        ids = jnp.asarray(ids)
        present = jnp.ones(ids.shape, bool) if mask is None else jnp.asarray(mask)
        visible = None if mask is None else present[:, None, None, :]

        x, score_bias = token_rows(table, ids).astype(compute.dtype), self._score_bias(ids.shape[1], compute)
        build = fast.remat(TransformerBlock, self.remat)
        for number in range(self.depth):
            block = build(
                self.heads,
                compute=compute,
                mlp_epsilon=self.epsilon,
                epsilon=self.epsilon,
                activation=self.activation,
                norm="rms",
                head_size=self.head_size,
                mlp_width=self.mlp_width,
                gated=True,
                bias=False,
                name=f"block_{number}",
            )
            x, _ = block(x, None, None, visible, None, None, None, score_bias)
        return Text(RMSNorm(compute, self.epsilon, name="output_norm")(x), present)

    def _score_bias(self, length: int, compute: Compute) -> Float[Array, "1 heads s s"]:
        table = parameter(self, "distance", initializers.normal(0.02), (self.distances, self.heads))
        table = packed.as_array(table, jnp.promote_types(compute.dtype, jnp.float32))
        classes = distance_classes(length, self.distances, self.farthest)
        return table[jnp.asarray(classes)].transpose(2, 0, 1)[None]

    def _check(self) -> None:
        checks.counts(self, "vocabulary", "width", "depth", "heads", "head_size", "mlp_width")
        checks.integer("distances", self.distances, 4)
        if self.distances % 4:
            raise ValueError(
                f"distances = {self.distances} must be divisible by 4: short and long ones, in each direction"
            )
        checks.integer("farthest", self.farthest, self.distances // 4 + 1)
        checks.in_range("epsilon", self.epsilon, 0.0, float("inf"))


def distance_classes(length: int, distances: int, farthest: int) -> Int[np.ndarray, "s s"]:
    """Return the class of each pair of positions: rows are queries, columns are keys.

    With n = distances / 4, a token looks back by 0 … n − 1 tokens in classes 0 … n − 1, and by a distance d ≥ n in
    class n + ⌊n log(d / n) / log(farthest / n)⌋, at most 2 n − 1. To look ahead by as much is the class 2 n behind it.

    Args:
        length: number of tokens.
        distances: number of classes, which 4 divides.
        farthest: the distance from which all share one class, above n.

    References:
        Raffel et al., 2020, section 2.1, and their code for the formula (from memory).
    """
    ahead = np.arange(length)[None, :] - np.arange(length)[:, None]
    distance, short = np.abs(ahead), distances // 4
    share = np.log(np.maximum(distance, short) / short) / math.log(farthest / short)
    # a distance at the edge of a class is in it, whatever rounding says
    long = short + np.floor(short * share + 1e-6).astype(int)
    classes: np.ndarray = np.where(distance < short, distance, np.minimum(long, 2 * short - 1))
    classes += 2 * short * (ahead > 0)
    return classes
