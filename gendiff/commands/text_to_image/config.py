"""The numbers of the text-to-image experiment."""

import dataclasses
from typing import Annotated, Literal

import msgspec

from gendiff.commands.images.image_coding import LatentChannels
from gendiff.commands.images.image_training import Learning
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Natural, NonNegative, Seed, Several, Some

NOUNS = (
    *("cat", "dog", "bird", "house", "sun", "star", "umbrella", "banana", "pizza", "hamburger"),
    *("key", "bicycle", "airplane", "rocket", "crown", "mushroom", "strawberry", "turtle", "tomato", "butterfly"),
)
COMBINATIONS = (
    *("red cat", "red star", "red frog", "red butterfly", "blue dog", "blue crown", "blue mushroom", "blue bear"),
    *("green balloon", "green umbrella", "green telephone", "green cat", "yellow turtle", "yellow dress"),
    *("yellow butterfly", "yellow balloon", "purple dog", "purple frog", "purple star", "purple tomato"),
)


@dataclasses.dataclass(frozen=True)
class Drawings:
    """The numbers of the second part: a network of the latents of emoji, drawings of 64×64 pixels."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of the network of latents; the first one trains the autoencoder too."""
    styles: Distinct[Literal["openmoji", "noto", "twemoji", "fluent"]] = ("openmoji",)
    """Who drew them. Captions name the style, but for OpenMoji's; drawings of the first one are judged."""
    styles_folder: str = "."
    """Where npm installed the styles other than OpenMoji."""
    pictures: Annotated[int, msgspec.Meta(ge=32, le=2**16)] = 1534
    """Training drawings, of all styles together."""
    held_out: Annotated[int, msgspec.Meta(ge=32, le=2**16)] = 384
    """Drawings of concepts that no training drawing shows."""
    recoloured: Natural = 767
    """Training drawings that are learned a second time in another colour, which their captions then name; at most as
    many as have colour. No pair of a colour and a thing that is asked for is among them.
    """
    autoencoder: Learning = Learning(
        train_steps=2000, batch=16, channels=(24, 48, 64), optimizer="muon", drop_condition=0.0
    )
    """Of the autoencoder, whose three sizes make latents a quarter as large."""
    latent_channels: LatentChannels = 4
    """Channels of a latent."""
    kl_weight: NonNegative = 1e-6
    """Weight of the divergence in nats."""
    perceptual_weight: NonNegative = 0.1
    """Weight of the distance in a map of EfficientNet-Lite0 beside that of pixels, in training the autoencoder."""
    latents: Learning = Learning(
        train_steps=5000,
        batch=64,
        channels=(80, 96),
        optimizer="muon",
        learning_rate=1e-3,
        ema=0.998,
        checkpoint_every=500,
    )
    """Of the network, whose U-Net sees latents folded 2×2 into channels."""
    keywords: Natural = 4
    """CLDR's keywords that follow the name of a drawing in one of its texts; without the package there are none."""
    captions: Literal["names", "articles", "varied"] = "articles"
    """What the network reads of a drawing: its name, and its name with keywords; or also its name with an article; or
    also its concept with an article, the keywords alone and before the name, and a negative caption, which says nothing
    but the style. Guidance then leads away from that one."""
    scales: Some[NonNegative] = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
    """Guidance scales."""
    prompts: Annotated[int, msgspec.Meta(ge=4, le=ranges.LARGEST)] = 128
    """Captions of each of three sets: training captions that choose the scale, others that are judged, and held-out
    ones.
    """
    candidates: Annotated[int, msgspec.Meta(ge=2, le=ranges.LARGEST)] = 32
    """Drawings among which the right one is looked for, which is one of them."""
    nouns: Distinct[str] = NOUNS
    """Names of training drawings. Two judges look at the pictures of these prompts, such as "a cat"."""
    combinations: Distinct[str] = COMBINATIONS
    """Colours with names of training drawings, which no drawing has, for the same: "a red cat"."""
    ordinary_repeats: Count = 4
    """Pictures of each of these prompts."""
    features: Literal["classifier", "squares"] = "classifier"
    """What likeness is taken of: the features of EfficientNet-Lite0 (extra `judge`), or means of squares of 4 × 4
    pixels.

    Squares find the right drawing in a blur too."""
    together: Count = 64
    """Pictures drawn in one call."""
    stored: Literal["float16", "int8"] = "float16"
    """How the file of the network holds kernels. Either way it holds more bits where pictures would change too much."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment; those of its own fields are of the first part, scenes of shapes."""

    seeds: Distinct[Seed] = (0, 1)
    """Seeds of training; each trains a network that reads the frozen encoder, the first one the others too."""
    shapes: Learning = Learning(train_steps=2000, channels=(32, 64), optimizer="muon", checkpoint_every=400, ema=0.995)
    """Of the networks on scenes of shapes, whose U-Net sees pixels folded 2×2 into channels."""
    reading: Literal["middle", "coarsest"] = "coarsest"
    """Where the U-Net reads the text: between its two middle blocks, or there and after each block of its coarsest
    level.
    """
    shuffled_steps: Count = 600
    """Optimizer steps of the control that learns from shuffled captions."""
    scenes: Annotated[int, msgspec.Meta(ge=16, le=2**20)] = 16384
    """Training pictures with their captions."""
    scratch_width: Annotated[int, msgspec.Meta(ge=8, le=4096, multiple_of=8)] = 64
    """Channels of a token of the encoder that is trained from scratch."""
    scratch_depth: Annotated[int, msgspec.Meta(ge=1, le=32)] = 2
    """Its blocks."""
    scales: Some[NonNegative] = (0.0, 1.0, 2.0, 3.0, 5.0, 8.0)
    """Guidance scales: 0 ignores the prompt, 1 is the conditional network."""
    sampling_steps: Count = 20
    """DDIM steps."""
    prompts: Annotated[int, msgspec.Meta(ge=8, le=ranges.LARGEST)] = 160
    """Prompts of each set, held out and seen, each with one picture per scale."""
    repeated: Count = 8
    """Held-out prompts with several pictures, for their diversity."""
    repeats: Annotated[int, msgspec.Meta(ge=2, le=ranges.LARGEST)] = 8
    """Pictures of each of these."""
    together: Count = 160
    """Pictures drawn in one call."""
    shown: Count = 8
    """Pictures of each scale in the report."""
    explored_steps: Distinct[Count] = (5, 10, 20)
    """DDIM steps that the slider chooses among; at most `sampling_steps`."""
    resamples: Several = 1000
    """Bootstrap resamples behind each interval."""
    permutations: Count = 20000
    """Random orders behind each p-value."""
    drawings: Drawings = Drawings()
    """Of the second part."""
