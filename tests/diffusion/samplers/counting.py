"""How often a sampler asks the network."""

import jax
import jax.numpy as jnp

from gendiff.core import records
from gendiff.diffusion import oracles, sampling


def evaluations_made(sampler, levels, *, learned_variance=False):
    """Counted in a draw without a jit, so that nothing is compiled."""
    calls = []

    def denoise(x, level):
        calls.append(None)
        prediction = oracles.gaussian(0.5)(x, level)
        return records.replace(prediction, variance_share=jnp.full_like(x, 0.5)) if learned_variance else prediction

    with jax.disable_jit():
        sampling.sample(jax.random.key(0), denoise, sampler, levels, (2,), jnp.arange(2))
    return len(calls) - 1  # one checks the denoiser's output before the loop
