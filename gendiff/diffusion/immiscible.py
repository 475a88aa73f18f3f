"""Immiscible diffusion: training pairs each clean sample with noise near it, so that paths cross less.

The paper assigns the noises of a batch to its samples, so that their total distance is least. That needs the whole
batch on one device, and ties each sample to its neighbours. Here each sample takes the nearest of k candidates of
its own: it runs under `jit`, on any mesh, and a sample depends on no other.

This changes the law of the noise, which is no longer standard normal nor independent of the sample c. With m_k the mean
of the largest of k standard normal numbers, for samples of d numbers and to first order in 1/√d,

    E[ε | c] = 2 m_k c / s        E|ε|² / d = 1 - 2 m_k / s        s = √(2 d + 4 |c|²)

For data of unit variance and k = 4, s = √(6 d): the noise has 0.84 / √d less variance. Sampling begins at noise of
variance 1 all the same, so k is to be small where d is.

References:
    Li et al., 2024 (arXiv 2406.12303), for assignment; Li et al., 2025 (arXiv 2505.18521), for the nearest of k (from
    memory).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.core import arrays, checks, records

NoiseSampler = Callable[[jax.Array, jax.Array], jax.Array]
"""(key, clean (b, …)) -> noise (b, …)."""


@records.record
class IndependentNoise:
    """Standard normal noise that knows nothing of the clean samples: the one of `objectives.denoising`."""

    def __call__(self, key: jax.Array, clean: jax.Array) -> jax.Array:
        """Draw noise for clean samples (b, …)."""
        return jax.random.normal(key, clean.shape, clean.dtype)


@records.record
class NearestNoise:
    """What `nearest` builds."""

    candidates: int = records.static()

    def __call__(self, key: jax.Array, clean: jax.Array) -> jax.Array:
        """Draw noise for clean samples (b, …)."""
        draws = jax.random.normal(key, (self.candidates, *clean.shape), clean.dtype)
        wide = draws.astype(arrays.at_least_float32(clean.dtype)) - clean[None]
        distance = jnp.sum(jnp.square(wide), axis=tuple(range(2, wide.ndim)))
        return draws[jnp.argmin(distance, axis=0), jnp.arange(clean.shape[0])]


def nearest(candidates: int = 4) -> NoiseSampler:
    """The nearest of k noises for each clean sample: an option for the `noise` of `objectives.denoising`.

    Also known as: immiscible diffusion.

    Args:
        candidates: k, at least 1: draws per sample, all of which are in memory. 1 is independent noise, bit for bit.

    Raises:
        ValueError: for fewer than 1.
        TypeError: unless it is an integer.
    """
    checks.integer("candidates", candidates, 1)
    return NearestNoise(int(candidates))
