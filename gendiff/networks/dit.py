"""The diffusion transformer (Peebles & Xie, 2023): patches as tokens, adaLN-zero, fixed 2-D positions."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.networks import fast, image_inputs
from gendiff.networks.embeddings import Embedding, Label, checked_label, grid_positions
from gendiff.networks.layers import Compute, LayerNorm, dense, dtype_of
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

    References:
        Peebles & Xie, 2023.
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

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w c"], t: Shaped[ArrayLike, " b"], label: Label = None) -> Float[Array, "b h w d"]:
        """Predict from x, in the dtype of x.

        Args:
            x: (b, h, w, c) images.
            t: (b,) one time per sample.
            label: (b,) or () integers, or NO_LABEL.

        Raises:
            ValueError: for inputs or fields against the rules above.
            TypeError: for inputs of the wrong type.
        """
        for name in ("patch", "width", "depth", "heads", "expansion"):
            checks.integer(name, getattr(self, name), 1)
        for name in ("num_classes", "out_channels"):
            if getattr(self, name) is not None:
                checks.integer(name, getattr(self, name), 1)
        checks.in_range("mlp_epsilon", self.mlp_epsilon, 0.0, float("inf"))
        image_inputs.check(x, t, self.patch, "patch")
        label = checked_label(label, self.num_classes, x.shape[0])
        compute = Compute(dtype_of(self.dtype, x), self.precision, attention=self.attention_implementation, late=bool(self.remat))
        embed = Embedding(256, self.width, self.num_classes, compute, self.frequency_shift, name="embedding")
        condition = nn.silu(embed(jnp.asarray(t), label))

        rows, columns = x.shape[1] // self.patch, x.shape[2] // self.patch
        y = dense(self.width, compute, "input")(patches(jnp.asarray(x).astype(compute.dtype), self.patch))
        y = y + jnp.asarray(grid_positions(rows, columns, self.width), compute.dtype)[None]
        build = fast.remat(TransformerBlock, self.remat)
        for block in range(self.depth):
            y, _ = build(self.heads, self.expansion, compute, self.mlp_epsilon, name=f"block_{block}")(y, condition)

        shift, scale = jnp.split(dense(2 * self.width, compute, "output_modulation", zero=True)(condition), 2, -1)
        y = LayerNorm(compute, EPSILON, name="output_norm")(y, scale, shift)
        y = dense(self.patch**2 * (self.out_channels or x.shape[-1]), compute, "output", zero=True)(y)
        return image(y, rows, columns, self.patch).astype(x.dtype)


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
