"""The autoencoder of FLUX.2: that of latent diffusion, whose latents are normalised by numbers among its parameters."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import records
from gendiff.core.types import ArrayLike
from gendiff.networks.images import diagonal_gaussian
from gendiff.networks.images.autoencoder import Autoencoder
from gendiff.networks.images.diagonal_gaussian import DiagonalGaussian
from gendiff.networks.layers import initializers

PATCH = 2
"""Side of the squares of latents that have a mean and a variance for each place and channel."""


class PatchNormedAutoencoder(Autoencoder):
    """An `Autoencoder` of which each place in a square of 2 × 2 latents has a mean and a variance of its own.

    They are parameters, such as a batch norm has estimated. Fields are those of `Autoencoder`; height and width of
    pictures are multiples of twice its factor. The `kl` of what it encodes is that of normalised latents.

    Args:
        variance_epsilon: what is added to a variance.

    References:
        The code of FLUX.2 (from memory).
    """

    variance_epsilon: float = 1e-4

    @property
    def latent_multiple(self) -> int:
        """What divides the sides of a latent, and where a tile of it begins."""
        return PATCH

    def setup(self) -> None:
        """Name the halves, and the numbers of latents."""
        if self.scale != 1.0 or self.shift != 0.0:
            raise ValueError(
                f"scale = {self.scale}, shift = {self.shift}: latents are normalised by the parameters latent_mean and "
                "latent_variance, so set those"
            )
        super().setup()
        count = PATCH**2 * self.latent_channels
        self.latent_mean = self.param("latent_mean", initializers.zeros, (count,))
        self.latent_variance = self.param("latent_variance", initializers.ones, (count,))

    def encode(self, x: Float[ArrayLike, "b h w c"]) -> DiagonalGaussian:
        """Return the Gaussian of each image's latent, normalised. Arguments and errors are those of `Autoencoder`."""
        self._check_picture(x)
        raw = diagonal_gaussian.from_moments(self.encoder(x), 1.0, 0.0)
        mean, std = self._numbers(raw.mean)
        return records.replace(raw, mean=(raw.mean - mean) / std, log_variance=raw.log_variance - 2 * jnp.log(std))

    def decode(self, latent: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Return the picture of each latent. Arguments and errors are those of `Autoencoder`."""
        self._check_latent(latent)
        latent = jnp.asarray(latent)
        mean, std = self._numbers(latent)
        return self.decoder(latent * std + mean)

    def _numbers(self, latent: Float[Array, "b h w c"]) -> tuple[jax.Array, jax.Array]:
        """Mean and standard deviation (1, h, w, c)."""
        _, rows, columns, channels = latent.shape
        if rows % PATCH or columns % PATCH:
            raise ValueError(f"latents of {rows} by {columns}: both must be multiples of {PATCH}")
        times = (1, rows // PATCH, columns // PATCH, 1)
        mean, variance = (
            jnp.tile(number.astype(latent.dtype).reshape(1, PATCH, PATCH, channels), times)
            for number in (self.latent_mean, self.latent_variance)
        )
        return mean, jnp.sqrt(variance + self.variance_epsilon)
