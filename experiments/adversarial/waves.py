"""Points as critics and the diffusion model see them: with waves of their coordinates beside them.

A mode is forty times as narrow as the space between modes. Small networks that see coordinates alone need far longer
trainings than a comparison of many methods can pay to find that scale.
"""

import jax
import jax.numpy as jnp
import numpy as np

SLOWEST = 0.5
"""Waves per unit of the slowest wave; each further one is twice as fast."""


def beside(x: jax.Array, count: int) -> jax.Array:
    """(b, d (1 + 2 count)) of x (b, d): x, then sine and cosine of each coordinate at so many frequencies (Tancik et
    al., 2020, Eq. 4).
    """
    if not count:
        return x
    speeds = jnp.asarray(2 * np.pi * SLOWEST * 2.0 ** np.arange(count), x.dtype)
    angles = (x[:, :, None] * speeds[None, None]).reshape(len(x), -1)
    return jnp.concatenate([x, jnp.sin(angles), jnp.cos(angles)], axis=1)


def size(numbers: int, count: int) -> int:
    """How many numbers `beside` makes of so many."""
    return numbers * (1 + 2 * count)
