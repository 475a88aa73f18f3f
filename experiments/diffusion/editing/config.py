"""The numbers of the editing experiment, and the network that they describe."""

import dataclasses
from typing import Annotated

import msgspec

from gendiff.commands.images import image_training
from gendiff.commands.images.image_model import Model
from gendiff.data.digits import HELD_OUT
from gendiff.diffusion import parameterization, schedules
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Positive, Share


@dataclasses.dataclass(frozen=True)
class Config(image_training.SeededLearning):
    """Every number of the experiment."""

    train_steps: Count = 2000
    """Optimizer steps."""
    optimizer: image_training.Optimizer = "muon"
    """adamw, or muon: Muon on matrices and kernels, and AdamW on the rest."""
    drop_condition: Share = 0.9
    """Share of labels replaced by the null label in training, under which all is restored."""
    digits: Annotated[int, msgspec.Meta(ge=20, le=HELD_OUT)] = 450
    """Held-out digits, from the first."""
    guided_steps: Count = 50
    """Steps of PiGDM and DPS, with trailing spacing."""
    pigdm_eta: Share = 1.0
    """Share of DDPM's noise that the steps of PiGDM draw (the paper's is 1), in [0, 1]."""
    data_std: Positive = 1.0
    """Standard deviation that PiGDM takes digits to have (the paper's is 1), in units of pixels."""
    dps_scales: Annotated[tuple[Positive, ...], msgspec.Meta(min_length=1), ranges.DISTINCT] = (
        5.0,
        10.0,
        20.0,
        40.0,
        80.0,
    )
    """Scales of DPS that are tried on training digits, in units of pixels."""
    scale_digits: Annotated[int, msgspec.Meta(ge=2, le=image_training.IMAGES)] = 100
    """Training digits, from the first, on which the scale is chosen."""
    posterior_samples: Count = 4
    """Samples of super-resolution and deblurring by PiGDM behind the mean whose error is measured."""
    repaint_steps: Count = 64
    """Levels of RePaint's grid before it rises."""
    resamples: Count = 10
    """Times that RePaint walks each stretch."""
    jump: Count = 5
    """Steps of a stretch."""
    blur_std: Positive = 1.0
    """Deblurring: standard deviation of the circular Gaussian kernel, in pixels."""
    noise_std: Positive = 0.05
    """Deblurring: standard deviation of the noise on the blurred digits, in units of pixels."""
    round_trips: Annotated[tuple[Count, ...], msgspec.Meta(min_length=2), ranges.DISTINCT] = (10, 20, 50, 100)
    """Steps of DDIM inversion, and as many back."""
    reversible_steps: Count = 50
    """Steps of reversible Heun, and as many back."""
    strengths: Annotated[tuple[Share, ...], msgspec.Meta(min_length=2), ranges.DISTINCT] = (
        0.0,
        0.1,
        0.25,
        0.5,
        0.75,
        1.0,
    )
    """Shares of the steps that img2img runs."""
    edit_steps: Count = 50
    """Steps of DDPM that img2img takes its share of."""
    checkpoint_every: Count = 1000
    """Steps between checkpoints."""


def model(config: Config) -> Model:
    """The network of the digits experiment in this size, on the flow process; PiGDM and DPS take gradients through it
    at every step.
    """
    return image_training.unet(config, schedules.flow(), parameterization.flow(), convolution="fast_backward")
