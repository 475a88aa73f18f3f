"""A language model as a text encoder: ids of tokens in, what they are after some of its blocks out."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from gendiff.core import arrays, checks
from gendiff.core.condition_records import Text
from gendiff.core.types import ArrayLike, DType
from gendiff.networks import fast
from gendiff.networks.blocks.transformer import TransformerBlock
from gendiff.networks.layers import Compute, attention, dtype_of, initializers, parameter
from gendiff.networks.layers.embeddings import token_rows
from gendiff.networks.layers.rotary import Rotary


class LanguageEncoder(nn.Module):
    """The first blocks of a decoder of the family of Llama, whose hidden states encode a text.

    Nothing behind the last block that is read is computed, and it has no parameters. The defaults are those of
    Qwen3-4B, which Z-Image and FLUX.2 [klein] read their prompts by.

    Args:
        vocabulary: number of ids.
        context: the largest number of tokens.
        width: channels of a token.
        read: numbers of blocks after which tokens are read, from 1, in rising order. Those after several blocks stand
            side by side.
        heads: number of attention heads.
        key_value_heads: number of heads of keys and values, which divides `heads`. None: as many.
        head_size: channels of a head. None: width / heads.
        mlp_width: width of the MLPs.
        activation: of their gates: "silu", "gelu", "gelu_tanh" or "quick_gelu" (see layers/).
        epsilon: what every norm adds to a mean square.
        bias: whether the layers of attention have one.
        rotary_base: of the frequencies of rotary positions, above 1.
        dtype: of activations: "float32", "bfloat16", or None for that of the parameters, at least float32. Parameters
            stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers.

    References:
        Yang et al., 2025 (Qwen3), section 2 (from memory).
    """

    vocabulary: int = 151936
    context: int = 40960
    width: int = 2560
    read: tuple[int, ...] = (35,)
    heads: int = 32
    key_value_heads: int | None = 8
    head_size: int | None = 128
    mlp_width: int = 9728
    activation: str = "silu"
    epsilon: float = 1e-6
    bias: bool = False
    rotary_base: float = 1e6
    dtype: DType | None = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False

    @property
    def text_width(self) -> int:
        """Channels of an encoded token."""
        return self.width * len(self.read)

    @nn.compact
    def __call__(self, ids: Int[ArrayLike, "b s"]) -> Text:
        """Encode texts. Under jit, where values cannot be looked at, an unknown id makes its own text NaN.

        Args:
            ids: (b, s) from 0 … vocabulary − 1, behind which padding may stand: −1 − id is a token with the vector of
                that id which no token sees.

        Returns:
            A `Text` without a pooled vector, whose mask leaves padding out.

        Raises:
            ValueError: for inputs or fields against the rules above, and an unknown id.
            TypeError: for ids that are no integers.
        """
        self._check(ids)
        table = parameter(self, "token", initializers.normal(0.02), (self.vocabulary, self.width))
        compute = Compute(
            dtype_of(self.dtype, table), self.precision, attention=self.attention_implementation, late=bool(self.remat)
        )
        ids = jnp.asarray(ids)
        present = ids >= 0
        places = jnp.broadcast_to(jnp.arange(ids.shape[1], dtype=jnp.int32)[None], ids.shape)
        visible = attention.causal(places, jnp.where(present, places, -1))
        x, states = token_rows(table, jnp.where(present, ids, -1 - ids)).astype(compute.dtype), []
        build = fast.remat(TransformerBlock, self.remat)
        for number in range(self.read[-1]):
            block = build(
                self.heads,
                compute=compute,
                mlp_epsilon=self.epsilon,
                epsilon=self.epsilon,
                activation=self.activation,
                norm="rms",
                norm_heads=True,
                key_value_heads=self.key_value_heads,
                head_size=self.head_size,
                mlp_width=self.mlp_width,
                gated=True,
                bias=self.bias,
                mlp_bias=False,
                rotary=Rotary(self.rotary_base),
                name=f"block_{number}",
            )
            x, _ = block(x, None, places[..., None], visible)
            if number + 1 in self.read:
                states.append(x)
        return Text(jnp.concatenate(states, -1), present)

    def _check(self, ids: ArrayLike) -> None:
        optional = "key_value_heads", "head_size"
        checks.counts(self, "vocabulary", "context", "width", "heads", "mlp_width", optional=optional)
        checks.in_range("epsilon", self.epsilon, 0.0, float("inf"))
        for number in self.read:
            checks.integer("read", number, 1)
        if not self.read or list(self.read) != sorted(set(self.read)):
            raise ValueError(f"read = {self.read} must be one number or more, in rising order")
        if ids.ndim != 2 or not 1 <= ids.shape[1] <= self.context:
            raise ValueError(
                f"ids has shape {ids.shape}: (texts, tokens) with 1 to {self.context} tokens is needed (context)"
            )
        values = np.where(np.asarray(ids) >= 0, ids, -1 - np.asarray(ids)) if arrays.is_concrete(ids) else ids
        checks.ids("ids", values, self.vocabulary)
