"""The autoencoder with a codebook (VQ-VAE): each latent becomes the nearest of a few learned vectors.

Van den Oord et al., 2017.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike
from gendiff.networks.images import diagonal_gaussian
from gendiff.networks.images.autoencoder import LatentAutoencoder
from gendiff.networks.layers import initializers, parameter


@records.record
class Quantized:
    """Quantised latents, their entries of the codebook, and the losses of the choice.

    Args:
        latent: (b, h, w, c) the chosen entries, normalised. Its gradient goes straight through to what was quantised.
        index: (b, h, w) the number of each entry.
        codebook_loss: (b,) mean squared distance to the entries, which moves the entries alone.
        commitment_loss: (b,) the same number, which moves the encoder alone.
        entries: of the codebook.
    """

    latent: Array
    index: Array
    codebook_loss: Array
    commitment_loss: Array
    entries: int = records.static()

    def shares(self) -> Float[Array, "k"]:
        """The share of positions that chose each entry."""
        counts = jnp.bincount(self.index.reshape(-1), length=self.entries)
        return counts.astype(self.codebook_loss.dtype) / self.index.size

    def perplexity(self) -> Float[Array, ""]:
        """exp(entropy) of the shares: how many entries would be in use if all were used alike, in [1, entries]."""
        shares = self.shares()
        return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(shares, shares)))

    def usage(self) -> Float[Array, ""]:
        """The share of entries that were chosen at least once."""
        return jnp.mean((self.shares() > 0).astype(self.codebook_loss.dtype))


class VQAutoencoder(LatentAutoencoder):
    """The autoencoder with a codebook.

    Quantising belongs to the decoder, so diffusion works on what `encode` gives, before it.

    Its fields are those of `LatentAutoencoder` and `entries`. The codebook is a parameter that the gradient of its loss
    trains; entries that nothing chooses stay where they are, which `Quantized.usage` shows.

    Args:
        entries: of the codebook, at least 2. The distances take b · h · w · entries numbers.

    References:
        van den Oord et al., 2017, section 3; Esser et al., 2021, section 3.1; Rombach et al., 2022, section 3.1
        ("VQ-reg.").
    """

    entries: int = 1024

    def setup(self) -> None:
        """Name the halves and the codebook, whose entries start normal with the spread of a fresh encoder's output."""
        checks.integer("entries", self.entries, 2)
        self.encoder, self.decoder = self._halves(1)
        self.codebook = parameter(self, "codebook", initializers.normal(0.5), (self.entries, self.latent_channels))

    def __call__(self, x: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w d"]:
        """Decode the entries that are nearest to each picture's latent."""
        return self.reconstruct(x)[0]

    def encode(self, x: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Return the latent of each picture before the codebook, normalised, in the dtype of x.

        Arguments are those of `Autoencoder`.
        """
        self._check_picture(x)
        raw = self.encoder(x)
        return (raw - diagonal_gaussian.expanded(self.shift, raw)) * diagonal_gaussian.expanded(self.scale, raw)

    def quantize(self, latent: Float[ArrayLike, "b h w c"]) -> Quantized:
        """Replace each position of a normalised latent by the nearest entry."""
        return self._quantized(self._restored(latent))[1]

    def decode(self, latent: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Quantise a normalised latent, and return its picture.

        Arguments and errors are those of `Autoencoder.decode`.
        """
        return self.decoder(self._quantized(self._restored(latent))[0])

    def reconstruct(self, x: Float[ArrayLike, "b h w c"]) -> tuple[Float[Array, "b h w d"], Quantized]:
        """Go both ways: the decoded picture, and how its latent was quantised. What a loss of training needs."""
        self._check_picture(x)
        chosen, quantized = self._quantized(self.encoder(x))
        return self.decoder(chosen), quantized

    def _quantized(self, raw: jax.Array) -> tuple[jax.Array, Quantized]:
        """The entries before the normalisation, for the decoder, and the record.

        Gradients of both go straight through.
        """
        codebook = jnp.asarray(self.codebook).astype(raw.dtype)
        index = nearest(raw, codebook)
        entries = codebook[index]
        chosen = straight_through(raw, entries)
        scale, shift = diagonal_gaussian.expanded(self.scale, raw), diagonal_gaussian.expanded(self.shift, raw)
        to_codebook, to_encoder = (
            jnp.mean(arrays.flatten_samples(jnp.square(first - jax.lax.stop_gradient(second))), axis=1)
            for first, second in ((entries, raw), (raw, entries))
        )
        return chosen, Quantized((chosen - shift) * scale, index, to_codebook, to_encoder, self.entries)


def nearest(x: Float[Array, "*shape c"], codebook: Float[Array, "k c"]) -> Int[Array, "*shape"]:
    """Return the number of the entry nearest to each vector, the first of equal ones.

    Args:
        x: (…, c) vectors.
        codebook: (k, c) entries.

    References:
        van den Oord et al., 2017, Eq. 1.
    """
    products = jnp.einsum("...c,kc->...k", x, codebook, precision="highest")  # fewer digits would choose other entries
    squares = jnp.sum(jnp.square(codebook), axis=-1).reshape((1,) * (x.ndim - 1) + (-1,))
    return jnp.argmin(squares - 2 * products, axis=-1)


def straight_through(x: Float[Array, "*shape"], chosen: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return what was chosen in place of x, bit for bit, with the gradient of x itself.

    References:
        Bengio et al., 2013, section 4; van den Oord et al., 2017, section 3.2 (both from memory).
    """
    return jax.lax.stop_gradient(chosen) + (x - jax.lax.stop_gradient(x))
