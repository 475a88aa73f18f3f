"""The numbers of the gan-progressive experiment."""

import dataclasses
from typing import Annotated, Literal, TypeAlias

import msgspec

from gendiff.commands.images import emoji_pictures, image_training
from gendiff.commands.images.image_features import Judging
from gendiff.commands.images.image_training import IMAGES, Recipe
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Decay, Distinct, NonNegative, Positive, Seed, Several

DIGITS, EMOJI = "digits", "emoji"
SUBJECTS = (DIGITS, EMOJI)
PROGRESSIVE, DIRECT, DIFFUSION = "progressive", "direct", "diffusion"
METHODS = (PROGRESSIVE, DIRECT, DIFFUSION)
_Width: TypeAlias = Annotated[int, msgspec.Meta(ge=4, le=4096)]
_Part: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=1)]
_Sample: TypeAlias = Annotated[int, msgspec.Meta(ge=8, le=100_000)]


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run. The issue names what is compared; the numbers and where they come from are explained here."""

    equal: float = 0.02
    """Largest distance from 1 of the operations of the progressive training over those of the direct one: steps are whole numbers."""
    progressive: float = 1.0
    """Largest Fréchet distance of the progressive GAN over that of the direct one, in every seed. Progressive growing is said to give
    better pictures in less time (Karras et al., 2018, section 4.1 and Table 1), so at equal cost it should at least not lose."""
    recall: float = 0.0
    """Least recall of the progressive GAN minus that of the direct one, in every seed: it is said to lose less variation."""
    copies: float = 0.05
    """Largest rate of near-copies of the progressive GAN above that of held-out pictures. The digits experiment allows 0.01 of 5,000
    samples; of some hundred samples no rate below this can be told from that of held-out pictures."""
    copied: float = 0.5
    """Training pictures themselves must have more near-copies than held-out ones by this, at least."""
    untrained: float = 2.0
    """Least Fréchet distance of an untrained generator over that of the progressive one, as in the latent experiment.

    So far must the mean training picture be too.
    """
    few: float = 5.0
    """Least seconds of a picture in the few steps of diffusion over those of the GAN: half of the evaluations, by default 10. The other
    half is left for networks that cost different amounts."""
    many: float = 25.0
    """The same in the many steps of diffusion, by default 50."""


@dataclasses.dataclass(frozen=True)
class PictureNumbers:
    """Those of one kind of pictures."""

    flops: Positive = 3e12
    """Operations of each training of a GAN; diffusion is trained for as many seconds as the direct GAN."""
    width: _Width = 8
    """Channels of the finest maps of generator and critic; each map of half the size has twice as many."""
    widest: _Width = 64
    """No map has more channels."""
    noise: Count = 64
    """Numbers that a picture of a GAN is made from."""
    batch: Several = 16
    """Real pictures of a step of a GAN."""
    learning_rate: Positive = 1e-3
    """Of generator and critic (Karras et al., 2018, App. A.1)."""
    slopes_weight: NonNegative = 1.0
    """Of R1; 0 leaves it out."""
    denoiser: Recipe = Recipe(batch=16, channels=(16, 32, 64), learning_rate=1e-3, checkpoint_every=1000, log_every=20)
    """Of the diffusion model."""
    samples: _Sample = 400
    """Samples of each seed at each place of a training."""
    draw_size: Annotated[int, msgspec.Meta(ge=4, le=100_000)] = 300
    """Samples in a draw behind distances and recall."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2, 3, 4)
    """Seeds of training."""
    subjects: Distinct[str] = SUBJECTS
    """What is drawn: digits of 8×8 pixels, and emoji."""
    digits: PictureNumbers = PictureNumbers(
        flops=6e11, width=16, denoiser=Recipe(channels=(16, 32), log_every=20), samples=1000, draw_size=800
    )
    emoji: PictureNumbers = PictureNumbers()
    size: Literal[8, 16, 32] = 32
    """Pixels of a side of the emoji."""
    pictures: emoji_pictures.Training = 1500
    """Emoji to train on."""
    held_out: emoji_pictures.HeldOut = 380
    """Held-out emoji, to which distances are measured."""
    features: Judging = "classifier"
    """What distances and recall of emoji are of: features of EfficientNet-Lite0 (extra `judge`), or fixed random ones.

    Digits are compared by their pixels."""
    fading: _Part = 0.5
    """Share of a stage during which its block fades in (Karras et al., 2018, App. A.1)."""
    ema: Decay = 0.99
    """Decay of the averages of generators that samples come from; those of diffusion have their own."""
    shares: Distinct[_Part] = (0.05, 0.2, 0.5, 1.0)
    """Places of a training, as shares of its operations, at which samples are drawn; the last is 1."""
    few: Count = 10
    """Steps of diffusion's sampler at every place."""
    many: Several = 50
    """Steps of diffusion's sampler at the end, beside the few."""
    together: Count = 50
    """Samples drawn in one call."""
    rounds: Several = 7
    """Rounds in which steps, and draws, are timed in turn."""
    call_seconds: Positive = 0.1
    """Least length of a timed call: shorter work is repeated."""
    draws: Several = 20
    """Draws behind each distance and recall."""
    checkpoint_every: Count = 500
    """Steps of a GAN between checkpoints."""
    log_every: Count = 10
    """Steps of a GAN between lines of metrics."""
    thresholds: Thresholds = Thresholds()


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
        raise ConfigError(f"--shares {ranges.shown(config.shares)}: the last must be 1, the end of a training")
    if config.few >= config.many:
        raise ConfigError(f"--few {config.few} must be below --many {config.many}: both are steps of diffusion's sampler")
    for subject, there in ((DIGITS, IMAGES), (EMOJI, config.pictures)):
        of = numbers(config, subject)
        ranges.at_most(f"{subject}.draw-size", of.draw_size, f"{subject}.samples", of.samples)
        image_training.check_batch(of.denoiser, f"{subject}.denoiser.", images=there)
        image_training.check_side(of.denoiser, f"{subject}.denoiser.", shape(config, subject)[0])
        for name, value in (("batch", of.batch), ("draw-size", of.draw_size)):
            if value > there:
                raise ConfigError(f"--{subject}.{name} {value} is above {there}, the number of training images")
        if of.widest < of.width:
            raise ConfigError(f"--{subject}.widest {of.widest} is below --{subject}.width {of.width}: it is the most channels of a map")
