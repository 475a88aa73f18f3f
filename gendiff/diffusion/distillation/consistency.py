"""Sampling of consistency models: a step predicts the clean sample and noises it afresh.

It is for networks that were distilled to predict the end of the probability flow. With the posterior mean of an
ordinary denoiser it draws from no stated law, so it is not among the samplers of the catalogue.
"""

import math

import jax.numpy as jnp

from gendiff.core import arrays, checks, records
from gendiff.core.types import Count, Scalar
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level

DATA_STD = 0.5
"""Of the skip connection of latent consistency models."""


@records.record
class Consistency(Sampler):
    """Multistep consistency sampling. Built by `consistency`."""

    scaling: Scalar | None

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        prediction = denoise(state.x, level)
        clean = prediction.clean
        if self.scaling is not None:
            t = arrays.expand(jnp.asarray(self.scaling) * level.t, clean) / DATA_STD
            clean = state.x / (1 + t**2) + t / jnp.sqrt(1 + t**2) * clean
        return State(ancestral.ddim_step(records.replace(prediction, clean=clean, noise=noise(clean)), level, cleaner))


def consistency(scaling: Scalar | None = None) -> Consistency:
    """Multistep consistency sampling: x' = alpha' f + sigma' · fresh noise. One evaluation per step.

    Args:
        scaling: () above 0, data under jit: f = c_skip x + c_out clean, c_skip = s² / (t² + s²),
            c_out = t / sqrt(t² + s²), where s = 0.5 and t is that of the level times `scaling`, 10 in latent
            consistency models. None: f is the clean prediction.

    Raises:
        ValueError: for a scaling that is not positive.

    References:
        Song et al., 2023, Alg. 1; Luo et al., 2023, for the skip connection (both from memory).
    """
    if scaling is not None:
        checks.in_range("scaling", scaling, 0.0, math.inf, open_low=True, open_high=True)
    return Consistency(scaling)
