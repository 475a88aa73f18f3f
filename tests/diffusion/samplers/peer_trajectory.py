"""The trajectory on which diffusers' scheduler tests publish end values: its sample, its model x t / (t + 1), ten steps of a table."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.diffusion import parameterization, sampling, schedules

LINEAR = schedules.linear()


def levels(indices, schedule=LINEAR):
    """Those entries of the table, the last being where the last step ends."""
    return jax.tree.map(lambda field: jnp.asarray(field[np.asarray(indices)]), schedule.table)


def linspace():
    """diffusers' "linspace" spacing of ten steps, whose last step ends at the first entry ("sigma_min")."""
    return levels(np.append(np.round(np.linspace(0, 999, 11))[:0:-1].astype(int), 0))


def leading(schedule=LINEAR):
    """diffusers' "leading" spacing of ten steps, whose last step stays at the first entry (set_alpha_to_one = False)."""
    return levels(np.append(np.arange(900, -1, -100), 0), schedule)


def end(sampler, grid, kind=parameterization.noise):
    """|x| at the end (4, 3, 8, 8), from arange / size as (3, 8, 8, 4) with the last axis moved to the front."""
    start = jnp.asarray(np.moveaxis(np.arange(768.0).reshape(3, 8, 8, 4) / 768, -1, 0))

    def denoise(x, level):
        return kind().predict(x, x * level.t / (level.t + 1), level)

    @jax.jit
    def run(sampler, grid):
        return sampling.sample(jax.random.key(0), denoise, sampler, grid, start.shape[1:], jnp.arange(4), start=start)

    return np.abs(run(sampler, grid))
