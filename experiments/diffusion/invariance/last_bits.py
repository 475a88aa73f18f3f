"""How far rounding alone moves a sample: x_T and all noise move by one last bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.invariance import differences
from experiments.diffusion.invariance.draw import Case, Way
from gendiff.core import records
from gendiff.core.types import Count, Keys
from gendiff.diffusion.sampling import Noise, Part, Sampler, State, path
from gendiff.diffusion.types import Denoiser, Level

NUDGES = 8
"""Directions in which the last bits move: one alone would be a draw of chance."""


def largest_change(case: Case, reference: Way) -> float:
    """The largest difference that a last bit of x_T and of the noise of every step makes; a last bit of a sample at
    least.
    """
    still, *moved = (
        dataclasses.replace(case, sampler=Nudged(case.sampler, nudge)).draw(reference) for nudge in range(NUDGES + 1)
    )
    return max(float(np.finfo(np.float32).eps), *(differences.difference(samples, still) for samples in moved))


@records.record
class Nudged(Sampler):
    """A sampler whose x_T and noise are moved by one last bit, up or down by chance. nudge: names the directions; 0
    moves nothing.
    """

    sampler: Sampler
    nudge: int

    def begin(self, denoise: Denoiser, x: jax.Array) -> State:
        return self.sampler.begin(denoise, self._moved(x, jax.random.key(self.nudge)))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        return self.sampler.step(noise, denoise, state, level, cleaner, left)

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        exact = self.sampler.noise_for_step(keys, step, level, cleaner)
        key = jax.random.fold_in(jax.random.key(self.nudge), step + 1)

        def noise(like: jax.Array, part: Part = 0, /) -> jax.Array:
            directions = key
            for number in path(part):
                directions = jax.random.fold_in(directions, number)
            return self._moved(exact(like, part), directions)

        return noise

    def _moved(self, x: jax.Array, key: jax.Array) -> jax.Array:
        towards = jnp.where(jax.random.bernoulli(key, 0.5, x.shape), jnp.inf, -jnp.inf).astype(x.dtype)
        return jnp.where(jnp.asarray(self.nudge) == 0, x, jnp.nextafter(x, towards))
