"""What an encoder says of the latent of a picture: independent Gaussians, in the coordinates that diffusion sees."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from gendiff.core import arrays, records, sample_keys
from gendiff.core.types import ArrayLike

SMALLEST, LARGEST = -30.0, 20.0
"""Bounds of the logarithm of a variance, before the scale."""

PerChannel = float | tuple[float, ...]
"""A number, or one per channel."""


@records.record
class DiagonalGaussian:
    """Independent Gaussians of normalised latents (z - shift) · scale, where z is what the encoder computes.

    Everything here is normalised, except that `kl` is that of z.

    Args:
        mean: (b, h, w, c).
        log_variance: (b, h, w, c).
        scale: of the normalisation, above 0, a number or one per channel.
        shift: of the normalisation, likewise.
    """

    mean: Array
    log_variance: Array
    scale: PerChannel = records.static(default=1.0)
    shift: PerChannel = records.static(default=0.0)

    def mode(self) -> Float[Array, "b h w c"]:
        """The most likely latent, which is the mean."""
        return self.mean

    def std(self) -> Float[Array, "b h w c"]:
        """The standard deviations."""
        return jnp.exp(self.log_variance / 2)

    def sample(self, key: jax.Array, index: Integer[ArrayLike, "b"]) -> Float[Array, "b h w c"]:
        """Draw one latent per picture.

        Args:
            key: one typed key. Picture i draws from fold_in(key, index[i]), so it does not depend on its batch.
            index: (b,) integers 0 … 2**32 - 1, the number of each picture.

        Raises:
            TypeError: for what is no typed key, and an index that holds no integers.
            ValueError: for several keys, a concrete negative index, or an index of another length.
        """
        keys = sample_keys.keys_of(key, index)
        if np.shape(index) != self.mean.shape[:1]:
            raise ValueError(
                f"index has shape {np.shape(index)}: one number per picture, {self.mean.shape[:1]}, is needed"
            )
        return self.mean + self.std() * arrays.normal(keys, like=self.mean)

    def kl(self) -> Float[Array, "b"]:
        """Nats of KL(z || N(0, 1)) per picture, summed over positions and channels. No scale or shift changes it.

        References:
            Kingma & Welling, 2014, App. B.
        """
        scale, shift = expanded(self.scale, self.mean), expanded(self.shift, self.mean)
        mean, log_variance = self.mean / scale + shift, self.log_variance - 2 * jnp.log(scale)
        nats = (jnp.square(mean) + jnp.exp(log_variance) - 1 - log_variance) / 2
        return jnp.sum(arrays.flatten_samples(nats), axis=1)


def from_moments(
    moments: Float[ArrayLike, "b h w c2"], scale: PerChannel = 1.0, shift: PerChannel = 0.0
) -> DiagonalGaussian:
    """Read an encoder's output as Gaussians, and normalise them.

    Args:
        moments: (b, h, w, 2 c), the means of z before the logarithms of its variances, which are clamped to [-30, 20].
        scale: of the normalisation, above 0, a number or one per channel.
        shift: of the normalisation, likewise.

    Raises:
        ValueError: for an odd number of channels.
    """
    if moments.shape[-1] % 2:
        raise ValueError(
            f"moments has {moments.shape[-1]} channels: as many means as logarithms of variances are needed"
        )
    mean, log_variance = jnp.split(jnp.asarray(moments), 2, -1)
    factor = expanded(scale, mean)
    return DiagonalGaussian(
        (mean - expanded(shift, mean)) * factor,
        jnp.clip(log_variance, SMALLEST, LARGEST) + 2 * jnp.log(factor),
        scale,
        shift,
    )


def expanded(value: PerChannel, like: Float[ArrayLike, "b h w c"]) -> Float[Array, "1 1 1 _"]:
    """A number, or one per channel, shaped to broadcast against `like`, in its dtype."""
    return jnp.asarray(np.reshape(value, (1, 1, 1, -1)), like.dtype)
