"""A grid between two fixed levels, even in log-SNR."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.diffusion.types import Level

NOISY, CLEANER = 10.0, 0.1  # sigma / alpha


def levels(steps):
    """`steps` intervals even in log-SNR with alpha² + sigma² = 1; t is the log-SNR."""
    log_snr = jnp.linspace(-2 * np.log(NOISY), -2 * np.log(CLEANER), steps + 1)
    return Level(t=log_snr, alpha=jnp.sqrt(jax.nn.sigmoid(log_snr)), sigma=jnp.sqrt(jax.nn.sigmoid(-log_snr)))
