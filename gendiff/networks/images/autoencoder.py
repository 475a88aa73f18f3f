"""The autoencoder of latent diffusion: pictures to a smaller grid of latents, and back (Rombach et al., 2022).

Latents have one normalisation, (z - shift) · scale, and it stands at the door of the network: `encode` gives normalised
latents, and `decode` takes them. No caller multiplies, so none can forget to, or do it twice.
"""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.types import ArrayLike, DType, Scalar
from gendiff.networks import fast
from gendiff.networks.blocks.residual_block import Downsample, ResidualBlock, Upsample
from gendiff.networks.images import diagonal_gaussian
from gendiff.networks.images.diagonal_gaussian import DiagonalGaussian, PerChannel
from gendiff.networks.layers import Compute, GroupNorm, dense, dtype_of, image_inputs
from gendiff.networks.layers.attention import ImageAttention
from gendiff.networks.layers.convolution import Convolution

EPSILON = 1e-6
"""What every norm adds to a variance."""


class Half(nn.Module):
    """Shared layers of encoder and decoder.

    Args:
        channels: of each level, the finest first.
        blocks: residual blocks per level of the encoder; the decoder has one more.
        features: channels of the output.
        groups: of the group norms.
        attention: one head of self-attention at the coarsest level.
        pointwise: a convolution of single pixels on the side of the latents.
        compute: how to compute, in another dtype.
        remat: as for `Autoencoder`.
        dtype: of activations; None is that of the input, at least float32.
    """

    channels: tuple[int, ...]
    blocks: int
    features: int
    groups: int
    attention: bool = True
    pointwise: bool = True
    compute: Compute = Compute()
    remat: bool | str = False
    dtype: DType | None = None

    def _for(self, x: ArrayLike) -> Compute:
        return dataclasses.replace(self.compute, dtype=dtype_of(self.dtype, x))

    def _block(self, name: str, features: int, compute: Compute) -> ResidualBlock:
        build = fast.remat(ResidualBlock, self.remat)
        return build(features, self.groups, modulation=None, compute=compute, epsilon=EPSILON, name=name)

    def _middle(self, y: jax.Array, compute: Compute) -> jax.Array:
        y = self._block("middle_0", self.channels[-1], compute)(y)
        if self.attention:
            y = fast.remat(ImageAttention, self.remat)(1, self.groups, compute, EPSILON, name="middle_attention")(y)
        return self._block("middle_1", self.channels[-1], compute)(y)

    def _output(self, y: jax.Array, compute: Compute) -> jax.Array:
        y = GroupNorm(self.groups, compute, EPSILON, silu=True, name="output_norm")(y)
        return Convolution(self.features, compute=compute, name="output")(y)


class Encoder(Half):
    """Pictures (b, h, w, c) to maps that are smaller by 2^(levels − 1)."""

    @nn.compact
    def __call__(self, x: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Convolve, halve after each level but the last, and mix in the middle."""
        compute = self._for(x)
        y = Convolution(self.channels[0], compute=compute, name="input")(jnp.asarray(x))
        for level, features in enumerate(self.channels):
            for block in range(self.blocks):
                y = self._block(f"down_{level}_{block}", features, compute)(y)
            if level < len(self.channels) - 1:
                y = Downsample(features, compute, padding=0, name=f"down_{level}_resize")(y)
        y = self._output(self._middle(y, compute), compute)
        return (dense(self.features, compute, "pointwise")(y) if self.pointwise else y).astype(x.dtype)


class Decoder(Half):
    """Maps back to pictures that are larger by 2^(levels − 1)."""

    @nn.compact
    def __call__(self, latent: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Mix in the middle, and double before each level but the coarsest."""
        compute = self._for(latent)
        y = jnp.asarray(latent)
        if self.pointwise:
            y = dense(latent.shape[-1], compute, "pointwise")(y)
        y = Convolution(self.channels[-1], compute=compute, name="input")(y)
        y = self._middle(y, compute)
        for level, features in reversed(list(enumerate(self.channels))):
            for block in range(self.blocks + 1):
                y = self._block(f"up_{level}_{block}", features, compute)(y)
            if level > 0:
                y = Upsample(features, compute, name=f"up_{level}_resize")(y)
        return self._output(y, compute).astype(latent.dtype)


class LatentAutoencoder(nn.Module):
    """Base of the autoencoders here: their fields, encoder, decoder and normalisation.

    Args:
        channels: of each level, the finest first; each level halves the size, so latents are smaller by 2^(levels − 1).
        blocks: residual blocks per level of the encoder; the decoder has one more.
        latent_channels: of a latent.
        in_channels: of a picture.
        out_channels: of a decoded picture; None for in_channels.
        groups: of the group norms; divides the channels of every level.
        attention: one head of self-attention at the coarsest level, in encoder and decoder.
        encoder_pointwise: a convolution of single pixels after the encoder (`quant_conv` elsewhere).
        decoder_pointwise: one before the decoder (`post_quant_conv` elsewhere).
        scale: of the normalisation (z - shift) · scale of latents, above 0: a number, or one per channel. `normalized`
            measures it.
        shift: of the normalisation, likewise.
        dtype: of activations: "float32", "bfloat16", or None for that of the input, at least float32. Parameters stay
            float32.
        precision: of products: None, "default", "high" or "highest" (jax.lax.Precision).
        convolution: which of several equal implementations (see convolution.py).
        attention_implementation: which of several equal implementations (see attention.py).
        remat: gradient checkpointing. True computes each block again in the backward pass, "products" all of it but
            linear layers and convolutions; both gather parameters that devices share late.
    """

    channels: tuple[int, ...] = (128, 256, 512, 512)
    blocks: int = 2
    latent_channels: int = 4
    in_channels: int = 3
    out_channels: int | None = None
    groups: int = 32
    attention: bool = True
    encoder_pointwise: bool = True
    decoder_pointwise: bool = True
    scale: PerChannel = 1.0
    shift: PerChannel = 0.0
    dtype: DType | None = None
    precision: str | None = None
    convolution: str = "direct"
    attention_implementation: str = "auto"
    remat: bool | str = False

    @property
    def factor(self) -> int:
        """How many times smaller than a picture its latent is, in each direction."""
        return 1 << len(self.channels) - 1

    @property
    def latent_multiple(self) -> int:
        """What divides the sides of a latent, and where a tile of it begins."""
        return 1

    def _halves(self, moments: int) -> tuple[Encoder, Decoder]:
        """Encoder and decoder. moments: how many numbers the encoder tells per channel of a latent."""
        self._check()
        how = self.precision, self.convolution, self.attention_implementation
        compute, remat, dtype = Compute(jnp.float32, *how, bool(self.remat)), self.remat, self.dtype
        size, rest = (self.channels, self.blocks), (self.groups, self.attention)
        return (
            Encoder(*size, moments * self.latent_channels, *rest, self.encoder_pointwise, compute, remat, dtype),
            Decoder(*size, self.out_channels or self.in_channels, *rest, self.decoder_pointwise, compute, remat, dtype),
        )

    def _restored(self, latent: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w c"]:
        """Return z of a normalised latent, which is checked."""
        self._check_latent(latent)
        latent = jnp.asarray(latent)
        return latent / diagonal_gaussian.expanded(self.scale, latent) + diagonal_gaussian.expanded(self.shift, latent)

    def _check(self) -> None:
        if not self.channels:
            raise ValueError("channels = () has no level: give the channels of each, the finest first")
        checks.counts(self, "blocks", "latent_channels", "in_channels", optional=("out_channels",))
        checks.in_range("scale", self.scale, 0.0, math.inf, open_low=True, open_high=True)
        checks.finite("shift", self.shift)
        for name in ("scale", "shift"):
            if np.size(getattr(self, name)) not in (1, self.latent_channels):
                raise ValueError(
                    f"{name} = {getattr(self, name)} must be one number, or one for each of latent_channels = "
                    f"{self.latent_channels}"
                )

    def _check_picture(self, x: ArrayLike) -> None:
        image_inputs.check_images(x, self.factor, "downsampling")
        if x.shape[-1] != self.in_channels:
            raise ValueError(
                f"x has {x.shape[-1]} channels: this autoencoder was built for pictures with in_channels = "
                f"{self.in_channels}"
            )

    def _check_latent(self, latent: ArrayLike) -> None:
        dtype = getattr(latent, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"latent must be a floating array (b, h, w, {self.latent_channels}), got "
                f"{dtype or type(latent).__name__}"
            )
        if latent.ndim != 4 or latent.shape[-1] != self.latent_channels:
            first = latent.ndim == 4 and latent.shape[1] == self.latent_channels
            hint = "; it looks channels-first: use numpy.moveaxis(latent, 1, -1)" if first else ""
            raise ValueError(f"latent has shape {latent.shape}: (b, h, w, {self.latent_channels}) is needed{hint}")
        image_inputs.check_finite("latent", latent)


class Autoencoder(LatentAutoencoder):
    """The KL autoencoder (VAE): it encodes an image as a Gaussian of latents, and decodes a latent as an image.

    Its fields are those of `LatentAutoencoder`. `networks.pure(autoencoder, "encode")` and
    `pure(autoencoder, "decode")` are its halves as functions of all its parameters; `pure(autoencoder)` goes through
    both. `weights.diffusers_autoencoder` loads published parameters of `AutoencoderKL`, the normalisation included.

    References:
        Rombach et al., 2022, section 3.1 and App. G; Esser et al., 2021, Table 7 (from memory).
    """

    def setup(self) -> None:
        """Name the halves."""
        self.encoder, self.decoder = self._halves(2)

    def __call__(self, x: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w d"]:
        """Decode the most likely latent of each picture."""
        return self.decode(self.encode(x).mode())

    def encode(self, x: Float[ArrayLike, "b h w c"]) -> DiagonalGaussian:
        """Return the Gaussian of each image's latent, normalised.

        It is (b, h / factor, w / factor, latent_channels), in the dtype of x.

        Args:
            x: (b, h, w, in_channels) pictures, whose height and width `factor` divides, in [-1, 1] by custom.

        Raises:
            ValueError: for other shapes, and for fields against the rules above.
            TypeError: unless x is floating.
        """
        self._check_picture(x)
        return diagonal_gaussian.from_moments(self.encoder(x), self.scale, self.shift)

    def decode(self, latent: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h2 w2 d"]:
        """Return the picture (b, factor · h, factor · w, out_channels) of each latent, in the dtype of the latent.

        Args:
            latent: (b, h, w, latent_channels), normalised, of any height and width.

        Raises:
            ValueError: for other shapes, and for concrete latents that are not finite.
            TypeError: unless it is floating.
        """
        return self.decoder(self._restored(latent))


def normalized(
    network: LatentAutoencoder, latent: Float[ArrayLike, "b h w c"], *, per_channel: bool = False
) -> LatentAutoencoder:
    """Return the network whose latents have mean 0 and variance 1, where those of `network` are `latent`.

    It reconstructs the same images. Call it once after training, with a large batch: diffusion expects unit variance.
    What it returns takes the same parameters.

    Args:
        network: an autoencoder, of any scale and shift.
        latent: (b, h, w, latent_channels) what that network encodes pictures to.
        per_channel: one mean and variance per channel; otherwise one for all.

    Raises:
        ValueError: for another number of channels, and for latents that are constant or not finite.

    References:
        Rombach et al., 2022, App. G, where only the scale is taken (from memory).
    """
    values = np.asarray(latent, np.float64)
    if values.ndim != 4 or values.shape[-1] != network.latent_channels:
        raise ValueError(f"latent has shape {values.shape}: (b, h, w, {network.latent_channels}) is needed")
    axes = (0, 1, 2) if per_channel else None
    mean, std = values.mean(axes), values.std(axes)
    checks.in_range("the standard deviation of latent", std, 0.0, math.inf, open_low=True, open_high=True)
    scale, shift = np.asarray(network.scale) / std, network.shift + mean / np.asarray(network.scale)
    return network.clone(scale=_fixed(scale), shift=_fixed(shift))


def _fixed(value: Scalar) -> PerChannel:
    return tuple(np.asarray(value).tolist()) if np.ndim(value) else float(value)
