"""The network between the tokens of a denoiser and the features of another network, to which they are aligned."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.networks import fast
from gendiff.networks.layers import Compute, dense, dtype_of


class Projector(nn.Module):
    """A perceptron of three layers with SiLU, on each token by itself.

    Args:
        channels: of what it answers: those of the features.
        width: of the two layers inside.

    References:
        Yu et al., 2024 (REPA), section 3.3 and appendix (from memory).
    """

    channels: int
    width: int = 2048

    @nn.compact
    def __call__(self, tokens: Float[ArrayLike, "b *s w"]) -> Float[Array, "b *s c"]:
        """Project each token, in float32 at least."""
        checks.counts(self, "channels", "width")
        compute = Compute(dtype_of(None, tokens))
        y = jnp.asarray(tokens, compute.dtype)
        for number in range(2):
            y = fast.silu(dense(self.width, compute, f"hidden_{number}")(y))
        return dense(self.channels, compute, "output")(y)
