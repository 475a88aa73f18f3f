"""The numbers of the latent experiment."""

import dataclasses
from typing import Annotated, TypeAlias

import msgspec

from gendiff.commands.images import emoji_pictures
from gendiff.commands.images.image_coding import Factor, LatentChannels
from gendiff.commands.images.image_features import Judging
from gendiff.commands.images.image_training import Learning, Recipe
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Seed, Several

_Part: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Side: TypeAlias = Annotated[int, msgspec.Meta(ge=32, le=2048, multiple_of=32)]


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of training; each trains an autoencoder, a model of its latents, and a model of pixels."""
    side: _Side = 64
    """Pixels of a side of the pictures that are learned."""
    pictures: emoji_pictures.Training = 1500
    """Training pictures."""
    held_out: emoji_pictures.HeldOut = 380
    """Held-out pictures, to which Fréchet distances are measured."""
    factor: Factor = 4
    """How many times smaller than a picture its latent is, in each direction."""
    channels: LatentChannels = 4
    """Of a latent."""
    kl_weight: NonNegative = 1e-6
    """Weight of the divergence in nats, in the unit of the published one."""
    perceptual_weight: NonNegative = 0.1
    """Weight of the distance in a map of EfficientNet-Lite0 (extra `judge`) beside that of pixels, in training the
    autoencoder; 0 leaves it out.
    """
    autoencoder: Learning = Learning(
        train_steps=3000, batch=16, channels=(16, 32, 64, 64), optimizer="muon", drop_condition=0.0
    )
    """Of the autoencoder; a factor of 2, 4 or 8 takes the first 2, 3 or 4 channels. No condition is dropped, since
    there is none.
    """
    latents: Recipe = Recipe(
        batch=16, channels=(16, 32, 64), learning_rate=1e-3, ema=0.999, checkpoint_every=1000, log_every=50
    )
    """Of the diffusion model of latents. It does more steps, so its average is longer."""
    pixels: Recipe = Recipe(batch=16, channels=(16, 32, 64), learning_rate=1e-3, warmup=20, checkpoint_every=100)
    """Of the diffusion model of pixels, and of the network whose cost is measured by resolution."""
    seconds: Positive = 300.0
    """Training of each diffusion model; the optimizer steps that this gives follow from their measured seconds."""
    fractions: Distinct[_Part] = (0.0625, 0.125, 0.25, 0.5, 1.0)
    """Parts of these seconds, ascending, after which the averaged parameters are kept; the last is 1."""
    step_rounds: Several = 15
    """Rounds in which the steps of all networks are timed in turn."""
    sampling_steps: Count = 15
    """DDIM steps."""
    features: Judging = "classifier"
    """What Fréchet distances are of: features of EfficientNet-Lite0 (extra `judge`), or fixed random ones."""
    samples: Annotated[int, msgspec.Meta(ge=8, le=100_000)] = 240
    """Samples of each model after each part; as many reconstructions and training pictures stand beside them."""
    together: Count = 60
    """Pictures that are encoded, decoded or drawn in one call."""
    sampling_rounds: Several = 4
    """Rounds in which such calls are timed in turn."""
    draws: Several = 20
    """Draws behind each Fréchet distance."""
    draw_size: Annotated[int, msgspec.Meta(ge=4, le=100_000)] = 180
    """Pictures in a draw."""
    shown: Annotated[int, msgspec.Meta(ge=1, le=64)] = 10
    """Pictures of each kind in the grid."""
    resolutions: Distinct[_Side] = (64, 128, 256, 512)
    """Sides in pixels, ascending, at which the cost of one evaluation is measured; latents are 8 times smaller and have
    4 channels.
    """
    cost_rounds: Several = 15
    """Rounds in which these are timed in turn."""
    resamples: Several = 1000
    """Bootstrap resamples behind each interval."""
