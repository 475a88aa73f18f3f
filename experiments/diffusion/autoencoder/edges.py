"""The loss that fine-tunes a decoder on edges: differences of neighbouring pixels, and Fourier amplitudes of high
frequencies.

A decoder that minimises the distance of pixels gives the middle of what it cannot know, which is soft. Differences of
neighbours weigh edges more; amplitudes ask for the energy at high frequencies wherever it lies, so what no latent knows
may be made up.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core.types import Loss, Metrics, Params
from gendiff.diffusion.types import Batch

CUTOFF = 0.25
"""The lowest of the high frequencies, in cycles per pixel; 0.5 is the highest along an axis."""


def loss(decode: Callable[..., Any]) -> Loss:
    """Mean absolute difference of pixels + that of neighbours' differences + that of high Fourier amplitudes.

    decode: (decoder's parameters, latents) -> pictures. The condition of a batch is the latents and (b,) a
    weight of each picture's edges, 0 for the first part alone: as data, so that one compiled step trains with edges and
    without.
    """

    def weighted(params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        latents, weight = batch.condition
        image, clean = decode(params, latents), jnp.asarray(batch.clean)
        pixels = jnp.mean(jnp.abs(image - clean))
        steps, waves = neighbours(image, clean), amplitudes(image, clean)
        edges = jnp.mean(weight * (steps + waves))
        return pixels + edges, {"reconstruction": pixels, "gradient": jnp.mean(steps), "amplitude": jnp.mean(waves)}

    return weighted


def neighbours(image: Float[Array, "b h w c"], clean: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Mean absolute difference of the differences of neighbouring pixels, down plus across, per picture."""
    down, across = (jnp.mean(jnp.abs(jnp.diff(image - clean, axis=axis)), axis=(1, 2, 3)) for axis in (1, 2))
    return down + across


def amplitudes(image: Float[Array, "b h w c"], clean: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Mean absolute difference of Fourier amplitudes from the cutoff on, per picture; noise of standard deviation s has
    some near s.
    """
    high = jnp.asarray(_high(*image.shape[1:3]))[None, :, :, None]
    difference = jnp.abs(_amplitude(image) - _amplitude(clean)) * high
    return jnp.sum(difference, axis=(1, 2, 3)) / (image.shape[-1] * jnp.sum(high))


def _amplitude(image: jax.Array) -> jax.Array:
    waves = jnp.fft.fft2(image, axes=(1, 2), norm="ortho")
    return jnp.sqrt(jnp.real(waves) ** 2 + jnp.imag(waves) ** 2 + 1e-8)  # its slope is finite at 0


@functools.lru_cache
def _high(height: int, width: int) -> np.ndarray:
    """(h, w) 1 where a mode is at the cutoff or above."""
    return (np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) >= CUTOFF).astype(np.float32)
