"""Clips whose law is known: each pixel is a Gaussian process in time, so that what a network should answer has a closed
form.
"""

import jax.numpy as jnp
import numpy as np

RHO = 0.8


def covariance(frames):
    """Of frames (f, f): RHO to the power of their distance."""
    at = np.arange(frames)
    return RHO ** np.abs(at[:, None] - at[None, :])


def knows_the_law(params, x, t, *condition):
    """The posterior mean of clean frames x (b, f, …), each noised to its own time t (b, f) or (b,) of the flow
    schedule.
    """
    f = x.shape[1]
    sigma = jnp.broadcast_to(t.reshape(t.shape[0], -1), x.shape[:2]) / 1000
    alpha, prior = 1 - sigma, jnp.asarray(covariance(f), x.dtype)[None]
    noised = alpha[:, :, None] * prior * alpha[:, None, :] + sigma[:, :, None] ** 2 * jnp.eye(f, dtype=x.dtype)[None]
    pixels = x.reshape(*x.shape[:2], -1)
    return (prior * alpha[:, None, :] @ jnp.linalg.solve(noised, pixels)).reshape(x.shape)
