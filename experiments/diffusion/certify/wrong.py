"""Null controls of the certify experiment: samplers that are wrong on purpose."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import records
from gendiff.core.types import Count
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level


@records.record
class WrongHeun(runge_kutta.Heun):
    """Heun's method with the weights 0.4 and 0.6 in place of a half each: order 1."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        first = denoise(state.x, level)
        moved = ancestral.ddim_step(first, level, cleaner)
        return State(moved + 1.2 * runge_kutta.heun_correction(first, denoise(moved, cleaner), level, cleaner))


def previous_timestep(schedule: Schedule) -> Sampler:
    """DDIM to entry t - T // n of a table of T entries in n steps, as is common, in place of the level that the grid visits next.

    The next step asks the network at the grid's level all the same. An entry below 0 is where the grid ends. Raises ValueError without a
    table.
    """
    table = schedule.table
    if table is None:
        raise ValueError("t - T // n is an entry of a table, and this schedule has none")
    return PreviousTimestep(jnp.asarray(table.alpha), jnp.asarray(table.sigma))


@records.record
class PreviousTimestep(Sampler):
    """alpha, sigma (T,): the table's. The memory counts the steps taken."""

    alpha: Any
    sigma: Any

    def init(self, x: Array) -> State:
        return State(x, jnp.zeros((), jnp.int32))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        entry = jnp.round(level.t).astype(jnp.int32) - len(self.alpha) // (state.memory + left + 1)
        inside, at = entry >= 0, jnp.maximum(entry, 0)
        reached = Level(entry, jnp.where(inside, self.alpha[at], cleaner.alpha), jnp.where(inside, self.sigma[at], cleaner.sigma))
        moved = ancestral.ddim_step(denoise(state.x, level), level, reached)
        return State(moved, state.memory + 1)
