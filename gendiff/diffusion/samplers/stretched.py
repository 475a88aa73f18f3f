"""A sampler with a factor on the change of each step; the factors may be learned."""

import math

import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count
from gendiff.diffusion import flow_coordinates
from gendiff.diffusion.sampling import Noise, Sampler, State, Wrapper
from gendiff.diffusion.types import Denoiser, Level


@records.record
class Stretched(Wrapper):
    """A sampler with a factor on the change of each step. Built by `stretched`."""

    gains: ArrayLike

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        moved = self.sampler.step(noise, denoise, state, level, cleaner, left)
        gains = jnp.asarray(self.gains)
        gain = jnp.where(jnp.asarray(left) < len(gains), gains[-1 - left], jnp.nan)  # too few are refused by NaN
        gain = arrays.expand(gain, state.x)
        before, after = flow_coordinates.scaled(state.x, level), flow_coordinates.scaled(moved.x, cleaner)
        return State(flow_coordinates.unscaled(before + gain * (after - before), cleaner), moved.memory)


def stretched(sampler: Sampler, gains: ArrayLike) -> Stretched:
    """The same sampler, but step j changes w = x / sqrt(alpha² + sigma²) by gains[j] times as much.

    Also known as: bespoke solvers, their scale coefficients.

    Evaluations as before.

    In w the exact flow is finite from end to end (`flow_coordinates`). Samplers of few steps contract samples, so that
    gains above 1 are of use. `learned_grid.learn` finds them.

    Args:
        sampler: any.
        gains: (t,) one per step, data under jit; 1 leaves a step as it is. The last is that of the last step: give as
            many as steps are run. With fewer samples are NaN.

    Raises:
        ValueError: for gains that are no single axis, or concrete ones that are not finite.

    References:
        Shaul et al., 2023, whose solvers scale the path in between as well (from memory).
    """
    if np.ndim(gains) != 1 or np.shape(gains)[0] < 1:
        raise ValueError(f"gains must be (t,), one number for each step, got shape {np.shape(gains)}")
    checks.in_range("gains", gains, -math.inf, math.inf, open_low=True, open_high=True)
    return Stretched(sampler, gains)
