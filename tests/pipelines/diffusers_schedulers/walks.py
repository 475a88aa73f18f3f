"""A sampler driven step by step: one program per sampler, whatever the levels."""

import jax.numpy as jnp
import numpy as np

from tests.pipelines.diffusers_schedulers.cases import noise
from tests.quickly import quickly


def walk(sampler, denoise, levels, x):
    """Where the sampler ends from x at the first level, with the noise of the cases."""

    @quickly
    def step(state, level, cleaner, left, noise):
        return sampler.step(lambda like, part=0: noise, denoise, state, level, cleaner, left)

    count, fields = len(levels) - 1, [np.asarray(field) for field in (levels.t, levels.alpha, levels.sigma)]
    state = sampler.init(jnp.asarray(x))
    for number in range(count):
        level, cleaner = (type(levels)(*(field[entry] for field in fields)) for entry in (number, number + 1))
        state = step(state, level, cleaner, np.int32(count - 1 - number), noise(number).astype(state.x.dtype))
    return np.asarray(state.x)
