"""The blocks that networks are made of: the U-Net's residual block and its changes of size."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.networks import fast
from gendiff.networks.layers import Compute, GroupNorm, convolution, dense


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, embedding, norm, SiLU, dropout, convolution, added to x.

    The second convolution starts at 0, so that a fresh block is its shortcut.

    Args:
        features: channels of the output.
        groups: of both norms.
        modulation: "scale_shift" lets the embedding scale and shift the second norm, "shift" adds it before that norm.
            None is for a block without an embedding.
        resize: "half" or "double" changes the size inside of the block; None keeps it.
        dropout: share of activations dropped when there is a key.
        compute: how to compute.
        epsilon: what the norms add to a variance.

    References:
        Ho et al., 2020, App. B; Dhariwal & Nichol, 2021, App. A (from memory).
    """

    features: int
    groups: int
    modulation: str | None = "scale_shift"
    resize: str | None = None
    dropout: float = 0.0
    compute: Compute = Compute()
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None = None
    ) -> Float[Array, "b h2 w2 d"]:
        """Add to x, or to its shortcut, what the block computes.

        Raises:
            ValueError: for an embedding without a modulation, or a modulation without an embedding.
        """
        if (embedding is None) != (self.modulation is None):
            raise ValueError(
                f"modulation = {self.modulation!r} {'needs an' if embedding is None else 'has no use for the'} "
                "embedding"
            )
        y = fast.recomputed(ResidualBlock._first)(self, x)
        x = self._resized(x)
        if embedding is None:
            change = []
        elif self.modulation == "scale_shift":
            change = jnp.split(dense(2 * self.features, self.compute, "embedding")(embedding), 2, -1)
        else:
            y, change = y + dense(self.features, self.compute, "embedding")(embedding)[:, None, None, :], []
        y = fast.recomputed(ResidualBlock._second)(self, y, *change)
        if x.shape[-1] != self.features:
            x = dense(self.features, self.compute, "shortcut")(x)
        return x + y

    def _first(self, x: jax.Array) -> jax.Array:
        y = GroupNorm(self.groups, self.compute, self.epsilon, silu=True, name="norm_0")(x)
        return convolution.Convolution(self.features, compute=self.compute, name="convolution_0")(self._resized(y))

    def _second(self, x: jax.Array, *change: jax.Array) -> jax.Array:
        y = GroupNorm(self.groups, self.compute, self.epsilon, silu=True, name="norm_1")(x, *change)
        y = nn.Dropout(self.dropout, deterministic=not self.has_rng("dropout"))(y)
        return convolution.Convolution(self.features, zero=True, compute=self.compute, name="convolution_1")(y)

    def _resized(self, x: jax.Array) -> jax.Array:
        return x if self.resize is None else {"half": convolution.halve, "double": convolution.double}[self.resize](x)


class Downsample(nn.Module):
    """A convolution of stride 2.

    Args:
        features: channels of the output.
        compute: how to compute.
        padding: zeros above and to the left: 1 centres the kernel on the first of each two pixels, 0 on the second.
    """

    features: int
    compute: Compute = Compute()
    padding: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None = None
    ) -> Float[Array, "b h2 w2 d"]:
        """Halve the size. The embedding is ignored: it is there so that every change of size is called alike."""
        return convolution.Convolution(
            self.features, stride=2, compute=self.compute, padding=self.padding, name="convolution"
        )(x)


class Upsample(nn.Module):
    """Each pixel repeated to 2 × 2, then a convolution.

    Args:
        features: channels of the output.
        compute: how to compute.
    """

    features: int
    compute: Compute = Compute()

    @nn.compact
    def __call__(
        self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None = None
    ) -> Float[Array, "b h2 w2 d"]:
        """Double the size. The embedding is ignored, as in `Downsample`."""
        return convolution.Convolution(self.features, compute=self.compute, name="convolution")(convolution.double(x))
