"""The numbers of the autoencoder experiment."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import emoji_pictures
from gendiff.commands.images.image_coding import Factor, LatentChannels
from gendiff.commands.images.image_training import Learning
from gendiff.runs.ranges import Count, Distinct, NonNegative, Seed, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run. A lack is the share of the originals' energy at high frequencies that pictures do not have."""

    psnr: float = 22.0
    """Least PSNR of held-out pictures at the smallest factor and the most channels, in dB."""
    rival: float = 1.0
    """Least PSNR of the chosen autoencoder less that of pictures made smaller by its factor and larger again (bicubic), in dB."""
    more_channels: float = 1.0
    """Least PSNR that the most channels gain over the fewest, at each factor, in dB."""
    smaller_factor: float = 1.0
    """Least PSNR that the smallest factor gains over the largest, at equal channels, a mean over these, in dB."""
    samples_soft: float = 0.15
    """Least lack of the samples of the latent model: that they have soft edges."""
    decoder_share: float = 0.5
    """Least share of that lack which reconstructions have as well: the essay's "from the VAE, not from the diffusion model"."""
    pixels_sharper: float = 0.1
    """Least lack of the samples of the latent model less that of the samples of the pixel model."""
    mended: float = 0.25
    """Least share of the lack of reconstructions that a decoder fine-tuned on edges mends."""
    mending_cost: float = 1.0
    """Largest PSNR of held-out pictures that this costs, in dB."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of training; the first trains every autoencoder, each further one the chosen autoencoder, and all what stands on that."""
    pictures: emoji_pictures.Training = 1500
    """Training pictures of each subject: emoji and textures."""
    held_out: emoji_pictures.HeldOut = 380
    """Held-out pictures of each subject."""
    factors: Distinct[Factor] = (4, 8)
    """Downsampling factors, ascending; claims compare the first and the last of several."""
    latent_channels: Distinct[LatentChannels] = (4, 8, 16)
    """Channels of a latent, ascending; likewise."""
    factor: Factor = 4
    """Of the autoencoder that the latent model stands on, one of `factors`."""
    channels: Count = 4
    """Likewise, one of `latent_channels`."""
    kl_weight: NonNegative = 1e-6
    """Weight of the divergence in nats, in the unit of the published one."""
    autoencoders: Learning = Learning(train_steps=1000, batch=32, channels=(16, 32, 64, 64))
    """Of each autoencoder; a factor of 2, 4 or 8 takes the first 2, 3 or 4 channels. No condition is dropped, since there is none."""
    decoders: Learning = Learning(train_steps=400, batch=32, learning_rate=5e-4)
    """Of the decoder alone, once with the further loss on edges and once without; its channels are those of the autoencoder."""
    gradient_weight: NonNegative = 1.0
    """Weight of the mean absolute difference of neighbouring pixels' differences."""
    amplitude_weight: NonNegative = 1.0
    """Weight of the mean absolute difference of Fourier amplitudes from `cutoff` on."""
    latents: Learning = Learning(train_steps=1500, channels=(48, 96), drop_condition=0.0)
    """Of the diffusion model of latents, whose condition is the subject."""
    pixels: Learning = Learning(train_steps=1500, batch=32, channels=(16, 32, 64), drop_condition=0.0)
    """Of the diffusion model of pixels, likewise."""
    cutoff: Annotated[float, msgspec.Meta(gt=0, le=0.5)] = 0.25
    """The lowest of the high frequencies, in cycles per pixel; 0.5 is the highest along an axis."""
    sampling_steps: Count = 30
    """DDIM steps."""
    samples: Annotated[int, msgspec.Meta(ge=8, le=100_000, multiple_of=2)] = 640
    """Samples of each diffusion model, as many of each subject."""
    together: Count = 128
    """Pictures that are encoded, decoded or drawn in one call."""
    shown: Annotated[int, msgspec.Meta(ge=1, le=64)] = 10
    """Pictures of each kind and subject in the grids."""
    resamples: Several = 1000
    """Bootstrap resamples behind each interval."""
    thresholds: Thresholds = Thresholds()
