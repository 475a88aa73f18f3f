"""The transformer layer of latent diffusion: how a U-Net reads text."""

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float

from gendiff.core import checks
from gendiff.core.types import Config
from gendiff.networks import fast
from gendiff.networks.blocks.transformer import TransformerBlock
from gendiff.networks.layers import Compute, GroupNorm, dense

DESIGNS: dict[str, Config] = {
    "plain": {},
    "stable_diffusion": {"activation": "gelu", "gated": True, "qkv_bias": False, "epsilon": 1e-5, "mlp_epsilon": 1e-5},
}
"""What the blocks are made of, by name: fields of `TransformerBlock`.

The second one is that of Stable Diffusion 1, 2 and XL.

References:
    Rombach et al., 2022, App. E.2.1; Shazeer, 2020, Eq. 6, for gated MLPs (from memory).
"""
GROUP_EPSILON = 1e-6


class ImageTransformer(nn.Module):
    """Transformer blocks whose tokens are the pixels of a feature map, with cross-attention to a text.

    They start as the identity. Group norm, a linear layer, blocks of self-attention, cross-attention and MLP, a linear
    layer, added to x.

    Args:
        heads: their number, which divides the channels.
        groups: of the norm, which divide the channels.
        compute: how to compute.
        epsilon: what the group norm adds to a variance; with the design "stable_diffusion" it is 1e-6.
        depth: how many blocks stand one after the other.
        design: what they are made of, one of `DESIGNS`.

    References:
        Rombach et al., 2022, section 3.3 and App. E.2.1; Podell et al., 2023, Table 1, for several blocks (from
        memory).
    """

    heads: int
    groups: int
    compute: Compute = Compute()
    epsilon: float = 1e-5
    depth: int = 1
    design: str = "plain"

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], tokens: Float[Array, "b k e"], mask: Bool[Array, "b k"]
    ) -> Float[Array, "b h w c"]:
        """Add to each pixel what it sees in the other pixels and in the tokens that the mask shows.

        Raises:
            ValueError: when the heads or the groups do not divide the channels, and for an unknown design.
        """
        checks.choice("design", self.design, DESIGNS)
        b, h, w, c = x.shape
        y = fast.recomputed(ImageTransformer._projected)(self, x).reshape(b, h * w, c)
        for number in range(self.depth):
            block = TransformerBlock(self.heads, compute=self.compute, name=f"block_{number}", **DESIGNS[self.design])
            y, _ = block(y, None, None, None, None, tokens, mask)
        return x + dense(c, self.compute, "output", zero=True)(y).reshape(x.shape)

    def _projected(self, x: jax.Array) -> jax.Array:
        epsilon = GROUP_EPSILON if self.design == "stable_diffusion" else self.epsilon
        return dense(x.shape[-1], self.compute, "input")(GroupNorm(self.groups, self.compute, epsilon, name="norm")(x))
