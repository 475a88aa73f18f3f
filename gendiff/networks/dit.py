"""The diffusion transformer (Peebles & Xie, 2023): patches as tokens, adaLN-zero, fixed 2-D positions."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.networks import fast, image_inputs
from gendiff.networks.conditioning import Condition, check_fields, checked_conditions
from gendiff.networks.embeddings import Embedding, grid_positions
from gendiff.networks.layers import Compute, LayerNorm, dense, dtype_of
from gendiff.networks.text import SeenTokens, Text
from gendiff.networks.transformer import EPSILON, TransformerBlock


class DiT(nn.Module):
    """A network of images (b, h, w, c), whose height and width the patch divides; the output starts at 0.

    Args:
        patch: side of a token's square of pixels.
        width: channels of a token, divisible by 4 and by heads.
        depth: number of blocks.
        heads: number of attention heads.
        expansion: width of the MLPs over that of the tokens.
        num_classes: the condition is then a label in 0 … num_classes − 1, or NO_LABEL. None: no condition.
        out_channels: None for those of x.
        dtype: of activations: "float32", "bfloat16", or None for that of x, at least float32. Parameters stay float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: True computes each block again in the backward pass rather than keep it, "products" all of it but linear layers and
            convolutions; both gather parameters that devices share late.
        mlp_epsilon: what the norms before the MLPs add to a variance; elsewhere it is 1e-6.
        frequency_shift: of the sinusoidal time, 0 or 1 (see embeddings.py).
        text_channels: of the tokens of a `Text`, which is then a condition. None: no text.
        pooled_channels: of its pooled encoding, which joins the time. None: it has none.
        text_attention: "cross" lets the image look at the text after self-attention; "joint" makes the text a second stream with weights of
            its own, and has one attention over both.
        null_text: True: a text of which no token is there (NO_TEXT) is one learned token. False: there is nothing to look at.
        image_size: whether an `ImageSize` is a condition; it joins the time. "score": one whose score stands in place of its target.

    References:
        Peebles & Xie, 2023. Chen et al., 2023, section 2.3, for "cross"; Esser et al., 2024, section 4, for "joint" (both from memory).
    """

    patch: int = 2
    width: int = 384
    depth: int = 12
    heads: int = 6
    expansion: int = 4
    num_classes: int | None = None
    out_channels: int | None = None
    dtype: Any = None
    precision: str | None = None
    attention_implementation: str = "auto"
    remat: bool | str = False
    mlp_epsilon: float = EPSILON
    frequency_shift: int = 0
    text_channels: int | None = None
    pooled_channels: int | None = None
    text_attention: str = "cross"
    null_text: bool = True
    image_size: bool | str = False

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w c"], t: Shaped[ArrayLike, " b"], *condition: Condition) -> Float[Array, "b h w d"]:
        """Predict from x, in the dtype of x.

        Args:
            x: (b, h, w, c) images.
            t: (b,) one time per sample.
            *condition: a label (b,) or (), a `Text` and an `ImageSize`, those that the fields name, in any order. NO_LABEL and a text
                of which no token is there stand for nothing.

        Raises:
            ValueError: for inputs or fields against the rules above.
            TypeError: for inputs of the wrong type.
        """
        self._check()
        image_inputs.check(x, t, self.patch, "patch")
        fields = self.num_classes, self.text_channels, self.pooled_channels, self.image_size
        conditions = checked_conditions(condition, x.shape[0], *fields)
        compute = Compute(dtype_of(self.dtype, x), self.precision, attention=self.attention_implementation, late=bool(self.remat))
        if conditions.text is not None:
            conditions = conditions._replace(text=SeenTokens(self.null_text, compute, name="text")(conditions.text))
        embed = Embedding(256, self.width, self.num_classes, compute, self.frequency_shift, name="embedding")
        embedding = fast.silu(embed(jnp.asarray(t), conditions.label, conditions.added(compute.dtype)))

        rows, columns = x.shape[1] // self.patch, x.shape[2] // self.patch
        y = dense(self.width, compute, "input")(patches(jnp.asarray(x).astype(compute.dtype), self.patch))
        y = y + jnp.asarray(grid_positions(rows, columns, self.width), compute.dtype)[None]
        y = self._blocks(y, embedding, conditions.text, compute)

        shift, scale = jnp.split(dense(2 * self.width, compute, "output_modulation", zero=True)(embedding), 2, -1)
        y = LayerNorm(compute, EPSILON, name="output_norm")(y, scale, shift)
        y = dense(self.patch**2 * (self.out_channels or x.shape[-1]), compute, "output", zero=True)(y)
        return image(y, rows, columns, self.patch).astype(x.dtype)

    def _check(self) -> None:
        for name in ("patch", "width", "depth", "heads", "expansion"):
            checks.integer(name, getattr(self, name), 1)
        for name in ("num_classes", "out_channels"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), 1)
        checks.in_range("mlp_epsilon", self.mlp_epsilon, 0.0, float("inf"))
        checks.choice("text_attention", self.text_attention, ("cross", "joint"))
        check_fields(self.text_channels, self.pooled_channels)

    def _blocks(self, y: jax.Array, embedding: jax.Array, text: Text | None, compute: Compute) -> jax.Array:
        def block(number: int, answers: int | None = None) -> Any:
            build = fast.remat(TransformerBlock, self.remat)
            return build(self.heads, self.expansion, compute, self.mlp_epsilon, answers=answers, name=f"block_{number}")

        if text is None:
            for number in range(self.depth):
                y, _ = block(number)(y, embedding)
            return y
        tokens = dense(self.width, compute, "text_0")(text.tokens)
        if self.text_attention == "cross":
            tokens = dense(self.width, compute, "text_1")(fast.gelu(tokens))
            for number in range(self.depth):
                y, _ = block(number)(y, embedding, None, None, None, tokens, text.mask)
            return y
        seen = jnp.concatenate([jnp.ones(y.shape[:2], bool), text.mask], 1)[:, None, None, :]
        streams = (y, tokens)
        for number in range(self.depth):
            last = number == self.depth - 1  # after which nothing looks at the text
            streams, _ = block(number, 1 if last else None)(streams, embedding, None, seen)
        return streams[0]


def patches(x: Float[Array, "b h w c"], patch: int) -> Float[Array, "b s p"]:
    """Cut an image into its squares of patch × patch pixels, row by row."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // patch, patch, w // patch, patch, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, (h // patch) * (w // patch), patch * patch * c)


def image(tokens: Float[Array, "b s p"], rows: int, columns: int, patch: int) -> Float[Array, "b h w c"]:
    """Invert `patches`."""
    b = tokens.shape[0]
    x = tokens.reshape(b, rows, columns, patch, patch, -1).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, rows * patch, columns * patch, x.shape[-1])
