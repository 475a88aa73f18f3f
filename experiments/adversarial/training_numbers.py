"""The numbers of a training that experiments on GANs share, for one kind of data."""

import dataclasses
from typing import Annotated

import msgspec

from experiments.adversarial import recipes
from experiments.adversarial.methods import Weights
from experiments.adversarial.recipes import Rates, Recipe, Shape
from gendiff.runs.ranges import Count, NonNegative, Positive, Several


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Those of one kind of data."""

    flops: Positive = 5e11
    """Operations of each training of one seed."""
    width: Annotated[int, msgspec.Meta(ge=8, le=4096)] = 64
    """Numbers of a hidden layer."""
    depth: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3
    """Hidden layers."""
    noise: Count = 2
    """Numbers that a sample of a GAN is made from."""
    batch: Annotated[int, msgspec.Meta(ge=2, le=65536, multiple_of=2)] = 64
    """Real samples of one step of a critic."""
    denoising_batch: Count = 256
    """Samples of one step of the diffusion model."""
    waves: Annotated[int, msgspec.Meta(ge=0, le=16)] = 4
    """Waves of each coordinate that critics and the diffusion model see beside it, each twice as fast as the one
    before.
    """
    learning_rate: Positive = 2e-3
    """Of both networks of a GAN; clipping takes half of it."""
    denoising_rate: Positive = 2e-3
    """Of the diffusion model."""
    gradient_weight: NonNegative = 0.1
    """Of the gradient penalty."""
    slopes_weight: NonNegative = 0.1
    """Of R1 and of R2."""
    limit: Positive = 0.05
    """Of clipped weights."""
    samples: Several = 2500
    """Samples of each seed at each place of the training."""
    last_samples: Several = 10000
    """The same at its end."""

    def shape(self, size: int) -> Shape:
        """Sizes of the networks and of the batch, for samples of so many numbers."""
        return Shape(size, self.width, self.depth, self.noise, self.batch, self.denoising_batch, self.waves)

    def recipe(self, method: str, size: int, ema: float, sampling_steps: int, *, paced: bool = False) -> Recipe:
        """How a method learns samples of so many numbers. ema: decay of averages. Others as of `recipes.build`."""
        rates = Rates(self.learning_rate, self.denoising_rate, ema)
        weights = Weights(self.gradient_weight, self.slopes_weight, self.limit)
        return recipes.build(method, self.shape(size), rates, weights, sampling_steps, paced)
