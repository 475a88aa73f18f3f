"""The transformer layer of latent diffusion: how a U-Net reads text."""

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, Float

from gendiff.networks import fast
from gendiff.networks.layers import Compute, GroupNorm, dense
from gendiff.networks.transformer import TransformerBlock


class ImageTransformer(nn.Module):
    """A transformer block whose tokens are the pixels of a feature map, with cross-attention to a text; it starts as the identity.

    Group norm, a linear layer, self-attention, cross-attention and MLP of one block, a linear layer, added to x. The MLP is that of every
    block here, with GELU; theirs is gated.

    Args:
        heads: their number, which divides the channels.
        groups: of the norm, which divide the channels.
        compute: how to compute.
        epsilon: what the group norm adds to a variance.

    References:
        Rombach et al., 2022, section 3.3 and App. E.2.1 (from memory).
    """

    heads: int
    groups: int
    compute: Compute = Compute()
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"], tokens: Float[Array, "b k e"], mask: Bool[Array, "b k"]) -> Float[Array, "b h w c"]:
        """Add to each pixel what it sees in the other pixels and in the tokens that the mask shows.

        Raises:
            ValueError: when the heads or the groups do not divide the channels.
        """
        b, h, w, c = x.shape
        y = fast.recomputed(ImageTransformer._projected)(self, x).reshape(b, h * w, c)
        y, _ = TransformerBlock(self.heads, compute=self.compute, name="block_0")(y, None, None, None, None, tokens, mask)
        return x + dense(c, self.compute, "output", zero=True)(y).reshape(x.shape)

    def _projected(self, x: jax.Array) -> jax.Array:
        return dense(x.shape[-1], self.compute, "input")(GroupNorm(self.groups, self.compute, self.epsilon, name="norm")(x))
