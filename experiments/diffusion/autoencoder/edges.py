"""The loss that fine-tunes a decoder on edges: differences of neighbouring pixels, and Fourier amplitudes of high frequencies.

A decoder that minimises the distance of pixels gives the middle of what it cannot know, which is soft. Differences of neighbours weigh
edges more; amplitudes ask for the energy at high frequencies wherever it lies, so what no latent knows may be made up.
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


def loss(decode: Callable[..., Any], *, gradient: float, amplitude: float, cutoff: float) -> Loss:
    """Mean absolute difference of pixels + gradient · that of neighbours' differences + amplitude · that of high Fourier amplitudes.

    decode: (decoder's parameters, latents) -> pictures. cutoff: in cycles per pixel. The condition of a batch is the latents and (b,) a
    weight of each picture's edges, 0 for the first part alone: as data, so that one compiled step trains with edges and without.
    """

    def of(params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        latents, weight = batch.condition
        image, clean = decode(params, latents), jnp.asarray(batch.clean)
        pixels = jnp.mean(jnp.abs(image - clean))
        steps, waves = neighbours(image, clean), amplitudes(image, clean, cutoff)
        edges = jnp.mean(weight * (gradient * steps + amplitude * waves))
        return pixels + edges, {"reconstruction": pixels, "gradient": jnp.mean(steps), "amplitude": jnp.mean(waves)}

    return of


def neighbours(image: Float[Array, "b h w c"], clean: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Mean absolute difference of the differences of neighbouring pixels, down plus across, per picture."""
    down, across = (jnp.mean(jnp.abs(jnp.diff(image - clean, axis=axis)), axis=(1, 2, 3)) for axis in (1, 2))
    return down + across


def amplitudes(image: Float[Array, "b h w c"], clean: Float[Array, "b h w c"], cutoff: float) -> Float[Array, "b"]:
    """Mean absolute difference of Fourier amplitudes from `cutoff` on, per picture; noise of standard deviation s has some near s."""
    kept = jnp.asarray(_high(*image.shape[1:3], cutoff))[None, :, :, None]
    difference = jnp.abs(_amplitude(image) - _amplitude(clean)) * kept
    return jnp.sum(difference, axis=(1, 2, 3)) / (image.shape[-1] * jnp.sum(kept))


def _amplitude(image: jax.Array) -> jax.Array:
    waves = jnp.fft.fft2(image, axes=(1, 2), norm="ortho")
    return jnp.sqrt(jnp.real(waves) ** 2 + jnp.imag(waves) ** 2 + 1e-8)  # its slope is finite at 0


@functools.lru_cache
def _high(height: int, width: int, cutoff: float) -> np.ndarray:
    """(h, w) 1 where a mode is at `cutoff` or above."""
    return (np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) >= cutoff).astype(np.float32)
