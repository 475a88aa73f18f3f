"""Null controls of the certify experiment: samplers that are wrong on purpose."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import records
from gendiff.core.types import Count
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level


@records.record
class WrongHeun(runge_kutta.Heun):
    """Heun's method with the weights 0.4 and 0.6 in place of a half each: order 1."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        first = denoise(state.x, level)
        moved = ancestral.ddim_step(first, level, cleaner)
        return State(moved + 1.2 * runge_kutta.heun_correction(first, denoise(moved, cleaner), level, cleaner))


@records.record
class PreviousTimestep(Sampler):
    """DDIM to entry t - T // n of a table of T entries in n steps, as is common, in place of the level that the grid visits next.

    The next step asks the network at the grid's level all the same. An entry below 0 is where the grid ends. The memory counts the steps.
    table: the Level (T,) of a schedule.
    """

    table: Any

    def init(self, x: Array) -> State:
        return State(x, jnp.zeros((), jnp.int32))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        entry = jnp.round(level.t).astype(jnp.int32) - len(self.table) // (state.memory + left + 1)
        inside, aimed = entry >= 0, self.table[jnp.maximum(entry, 0)]
        reached = jax.tree.map(lambda own, end: jnp.where(inside, own, end), aimed, cleaner)
        return State(ancestral.ddim_step(denoise(state.x, level), level, reached), state.memory + 1)
