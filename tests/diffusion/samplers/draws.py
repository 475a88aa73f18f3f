"""What the tests of samplers share: a mixture, two starts, one compiled draw with its noise, and a grid even in
log-SNR.
"""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays
from gendiff.diffusion import oracles, sampling
from gendiff.diffusion.types import Level


def rand(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


KEY = jax.random.key(0)
START = rand(0, 2, 3)
MIXTURE = oracles.mixture([0.3, 0.7], rand(1, 2, 3), [0.4, 0.6])


def trajectory(sampler, levels, start=START, denoise=MIXTURE, steps=None):
    """(steps + 1, b, …): the state at each level. `denoise` is a record or a jax.tree_util.Partial."""
    return _trajectory(sampler, levels, jnp.asarray(start), denoise, steps)


@jax.jit
def _trajectory(sampler, levels, start, denoise, steps):
    index = jnp.arange(len(start))
    return sampling.sample(
        KEY, denoise, sampler, levels, start.shape[1:], index, start=start, trajectory=True, num_steps=steps
    )


def noises(steps):
    """The standard normal noise of both samples in each step, by the library's rule for keys."""
    keys = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(KEY, jnp.arange(2))
    like = jax.ShapeDtypeStruct(START.shape, jnp.result_type(float))
    return [np.asarray(arrays.normal(arrays.fold_in(keys, j + 1), like)) for j in range(steps)]


def even_levels(steps):
    """`steps` intervals even in log-SNR, sigma/alpha from 10 to 0.1, alpha² + sigma² = 1; t is the log-SNR."""
    log_snr = jnp.linspace(-2 * np.log(10.0), 2 * np.log(10.0), steps + 1)
    return Level(t=log_snr, alpha=jnp.sqrt(jax.nn.sigmoid(log_snr)), sigma=jnp.sqrt(jax.nn.sigmoid(-log_snr)))
