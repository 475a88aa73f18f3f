"""The numbers of the study."""

import dataclasses
from typing import Annotated, Literal, TypeAlias

import msgspec

from gendiff.commands.images import emoji_pictures, image_training
from gendiff.commands.images.image_features import Judging
from gendiff.commands.images.image_training import IMAGES, Recipe
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, NonNegative, Positive, Seed, Several

DIGITS, EMOJI = "digits", "emoji"
SUBJECTS = (DIGITS, EMOJI)
PROGRESSIVE, DIRECT, DIFFUSION = "progressive", "direct", "diffusion"
METHODS = (PROGRESSIVE, DIRECT, DIFFUSION)
_Width: TypeAlias = Annotated[int, msgspec.Meta(ge=4, le=4096)]
_Part: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Sample: TypeAlias = Annotated[int, msgspec.Meta(ge=8, le=100_000)]


@dataclasses.dataclass(frozen=True)
class PictureNumbers:
    """Those of one kind of pictures."""

    flops: Positive = 9e12
    """Operations of each training of a GAN; diffusion is trained for as many seconds as the direct GAN."""
    width: _Width = 8
    """Channels of the finest maps of generator and critic; each map of half the size has twice as many."""
    widest: _Width = 64
    """No map has more channels."""
    batch: Several = 16
    """Real pictures of a step of a GAN."""
    slopes_weight: NonNegative = 1.0
    """Of R1; 0 leaves it out."""
    denoiser: Recipe = Recipe(batch=16, channels=(16, 32, 64), learning_rate=1e-3, checkpoint_every=1000, log_every=20)
    """Of the diffusion model."""
    samples: _Sample = 300
    """Samples of each seed at each place of a training."""
    draw_size: Annotated[int, msgspec.Meta(ge=4, le=100_000)] = 300
    """Samples in a draw behind distances and recall."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds of training."""
    subjects: Distinct[str] = (EMOJI,)
    """What is drawn: emoji, and digits of 8×8 pixels."""
    digits: PictureNumbers = PictureNumbers(
        flops=6e11, width=16, denoiser=Recipe(channels=(16, 32), log_every=20), samples=1000, draw_size=800
    )
    emoji: PictureNumbers = PictureNumbers()
    size: Literal[8, 16, 32, 64] = 64
    """Pixels of a side of the emoji."""
    pictures: emoji_pictures.Training = 1500
    """Emoji to train on."""
    held_out: emoji_pictures.HeldOut = 380
    """Held-out emoji, to which distances are measured."""
    features: Judging = "classifier"
    """What distances and recall of emoji are of: features of EfficientNet-Lite0 (extra `judge`), or fixed random ones.

    Digits are compared by their pixels."""
    shares: Distinct[_Part] = (0.1, 0.3, 1.0)
    """Places of a training, as shares of its operations, at which samples are drawn; the last is 1."""
    few: Count = 10
    """Steps of diffusion's sampler at every place."""
    many: Several = 50
    """Steps of diffusion's sampler at the end, beside the few."""
    rounds: Several = 7
    """Rounds in which steps, and draws, are timed in turn."""
    draws: Several = 20
    """Draws behind each distance and recall."""


def numbers(config: Config, subject: str) -> PictureNumbers:
    """Those of the pictures of a subject."""
    return config.digits if subject == DIGITS else config.emoji


def shape(config: Config, subject: str) -> tuple[int, int, int]:
    """Of a picture."""
    return (8, 8, 1) if subject == DIGITS else (config.size, config.size, 3)


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    ranges.known("subjects", config.subjects, SUBJECTS)
    ranges.rising("shares", config.shares)
    if config.shares[-1] != 1:
        raise ConfigError(f"--shares {ranges.as_typed(config.shares)}: the last must be 1, the end of a training")
    if config.few >= config.many:
        raise ConfigError(
            f"--few {config.few} must be below --many {config.many}: both are steps of diffusion's sampler"
        )
    for subject, there in ((DIGITS, IMAGES), (EMOJI, config.pictures)):
        settings = numbers(config, subject)
        ranges.at_most(f"{subject}.draw-size", settings.draw_size, f"{subject}.samples", settings.samples)
        image_training.check_batch(settings.denoiser, f"{subject}.denoiser.", images=there)
        image_training.check_side(settings.denoiser, f"{subject}.denoiser.", shape(config, subject)[0])
        for name, value in (("batch", settings.batch), ("draw-size", settings.draw_size)):
            if value > there:
                raise ConfigError(f"--{subject}.{name} {value} is above {there}, the number of training images")
        if settings.widest < settings.width:
            raise ConfigError(
                f"--{subject}.widest {settings.widest} is below --{subject}.width {settings.width}: it is the most "
                "channels of a map"
            )
