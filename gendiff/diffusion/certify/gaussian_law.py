"""The exact law of a sampler on Gaussian data, without sampling.

The denoiser of Gaussian data is affine in x. A sampler that is affine in x and in its noise therefore ends at m + M
x_T + the sum of C z over its draws z. That is Gaussian, with M² times the variance of x_T plus the sum of C² as
variance. Impulses give the factors: in each row of a batch the noise is 0, except for the one draw (step, part) that
the row names. One more row has every draw at once, at values that depend on step, part and place. Where the factors do
not add up to its end point, the sampler is not affine, and no law is given.
"""

import functools
import math
import operator
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, errors, records
from gendiff.core.types import ArrayLike, Count, Numeric
from gendiff.diffusion import sampling
from gendiff.diffusion.certify import oracles
from gendiff.diffusion.sampling import Part, Sampler
from gendiff.diffusion.types import Level

ROUNDING = 1e-9
"""How far the factors may miss the end point of all draws at once, relative to it."""
CHUNK = 2048
"""Rows per call, so that one compile serves every number of steps."""

_NONE, _EVERY = -1, -2  # as the step of a row: no draw, every draw


class NoLawError(errors.GendiffError, ValueError):
    """The sampler is not affine in x and in the noise of its steps, so its law cannot be read off."""


@dataclass(frozen=True)
class Law:
    """The law of the end points for n Gaussians in one dimension, and what it should be.

    Args:
        mean: (n,) mean of the end points.
        std: (n,) their standard deviation.
        carried: (n,) by how much an end point moves when its start moves by 1.
        exact_mean: (n,) mean of the exact marginal.
        exact_std: (n,) its standard deviation.
    """

    mean: np.ndarray
    std: np.ndarray
    carried: np.ndarray
    exact_mean: np.ndarray
    exact_std: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """(n,) Wasserstein-2 distance from the exact law, by means and standard deviations (Givens & Shortt, 1984)."""
        distance: np.ndarray = np.hypot(self.mean - self.exact_mean, self.std - self.exact_std)
        return distance


def law(
    sampler: Sampler, std: Float[ArrayLike, "n"], mean: Float[ArrayLike, "n"], levels: Level, num_steps: int
) -> Law:
    """The law of x after some steps, started in the exact marginal. It needs float64.

    Args:
        sampler: any sampler that is affine in x and in its noise on Gaussian data.
        std: (n,) standard deviation of the data, >= 0.
        mean: (n,) its mean.
        levels: the grid (t + 1,).
        num_steps: how many of its intervals to walk, 1 … t.

    Returns:
        The law at `levels[num_steps]`.

    Raises:
        ValueError: for what is no grid, and for more steps than it has.
        NoLawError: for a sampler that is not affine, or whose noise comes from a source of its own, such as a Brownian
            path.

    References:
        Givens & Shortt, 1984 (from memory), for the distance.
    """
    sampling.steps_of(levels, num_steps)
    std, mean = np.asarray(std, np.float64), np.asarray(mean, np.float64)
    alpha, sigma, to_alpha, to_sigma = (
        float(field[j]) for j in (0, num_steps) for field in (levels.alpha, levels.sigma)
    )
    parts = parts_of(sampler, levels[0])
    step, part = (axis.ravel() for axis in np.meshgrid(np.arange(num_steps), np.arange(len(parts)), indexing="ij"))
    rows = np.concatenate([[_NONE, _NONE, _NONE, _EVERY], step]), np.concatenate([[0, 0, 0, 0], part])
    offset = np.zeros((len(rows[0]), 1))
    offset[1:3, 0] = 1.0, -2.0
    start = alpha * mean + offset * np.hypot(alpha * std, sigma)
    ends = _ends(sampler, levels, num_steps, start, std, mean, rows, parts)
    base, moved, everything, factors = ends[0], ends[1] - ends[0], ends[3] - ends[0], ends[4:] - ends[0]
    size = ROUNDING * np.max(np.abs(ends), axis=0)
    if np.any(np.abs(ends[2] - base + 2 * moved) > size):
        raise NoLawError("the sampler is not affine in x on Gaussian data")
    if np.any(np.abs(everything - _together(step, part, np.zeros_like(step)) @ factors) > size):
        raise NoLawError(
            "the sampler is not affine in its noise: its end point is no sum over one normal draw per step and part"
        )
    spread = np.sqrt(moved**2 + np.sum(factors**2, axis=0))
    return Law(base, spread, moved / np.hypot(alpha * std, sigma), to_alpha * mean, np.hypot(to_alpha * std, to_sigma))


def parts_of(sampler: Sampler, level: Level) -> tuple[tuple[int, ...], ...]:
    """The parts that a step draws, found by tracing one.

    Args:
        sampler: any sampler.
        level: any level ().

    Raises:
        NoLawError: for a sampler that brings its own source of noise.
    """
    if type(sampler).noise_for_step is not Sampler.noise_for_step:
        raise NoLawError("the sampler's noise is not the noise of its steps: it comes from a source of its own")
    parts: list[tuple[int, ...]] = []

    def noise(like: Array, part: Part = 0, /) -> Array:
        parts.append(sampling.path(part))
        return jnp.zeros(like.shape, like.dtype)

    def step(sampler: Sampler, level: Level, x: Array) -> Array:  # numbers are tracers here, as they are under jit
        return sampler.step(noise, oracles.Gaussian(1.0), sampler.init(x), level, level, 1).x

    jax.eval_shape(step, sampler, level, jax.ShapeDtypeStruct((1, 1), level.sigma.dtype))
    return tuple(dict.fromkeys(parts))


@records.record
class Impulses:
    """The noise of one step: rows (b,) that name this step and the part are 1 at the first place, all others 0."""

    step: Count
    rows_step: Int[ArrayLike, "b"]
    rows_part: Int[ArrayLike, "b"]
    parts: tuple[tuple[int, ...], ...] = records.static()

    def __call__(self, like: Array, part: Part = 0, /) -> Array:
        """The noise of that part, like x (b, …)."""
        number, shape = self.parts.index(sampling.path(part)), (1, *like.shape[1:])
        position = jnp.arange(math.prod(shape)).reshape(shape)
        alone = arrays.expand((self.rows_step == self.step) & (self.rows_part == number), like) * (position == 0)
        all_steps = arrays.expand(self.rows_step == _EVERY, like)
        total: Array = alone + all_steps * _together(self.step, number, position)
        return total.astype(like.dtype)


def _together(step: Count | np.ndarray, part: int | np.ndarray, position: Array | np.ndarray) -> Numeric:
    """What is drawn at an address when all draws are on: 1 or -2, without a pattern.

    NumPy's where the steps are: it compiles nothing.
    """
    xp = arrays.namespace(step)
    factors = (step, 0x85EBCA6B), (part, 0xC2B2AE35), (position, 0x27D4EB2F)
    mixed = functools.reduce(
        operator.xor, ((xp.asarray(value).astype(xp.uint32) + 1) * xp.uint32(odd) for value, odd in factors)
    )
    return xp.where((mixed * xp.uint32(0x9E3779B1)) >> 31 == 0, 1.0, -2.0)


def _ends(
    sampler: Sampler,
    levels: Level,
    num_steps: int,
    start: np.ndarray,
    std: np.ndarray,
    mean: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray],
    parts: tuple[tuple[int, ...], ...],
) -> np.ndarray:
    """The end points (r, n) from start (r, n), with the noise of each row."""
    columns = [
        np.broadcast_to(column, start.shape).ravel()
        for column in (start, std, mean, rows[0][:, None], rows[1][:, None])
    ]
    ends = []
    for k in range(0, start.size, CHUNK):
        chosen = np.minimum(np.arange(k, k + CHUNK), start.size - 1)  # the last part repeats the last row
        ends.append(
            np.asarray(
                _end(
                    sampler, levels, jnp.asarray(num_steps), *(jnp.asarray(column[chosen]) for column in columns), parts
                )
            )
        )
    return np.concatenate(ends)[: start.size].reshape(start.shape)


@functools.partial(jax.jit, static_argnames="parts")
def _end(
    sampler: Sampler, levels: Level, num_steps: Count, start: Array, std: Array, mean: Array, step: Array, part: Array,
    parts: tuple[tuple[int, ...], ...],
) -> Array:  # fmt: skip
    gaussian = oracles.Gaussian(std, mean)

    def advance(j: Count, state: sampling.State) -> sampling.State:
        return sampler.step(
            Impulses(j, step, part, parts), gaussian, state, levels[j], levels[j + 1], num_steps - 1 - j
        )

    ends: Array = jax.lax.fori_loop(0, num_steps, advance, sampler.init(start[:, None])).x[:, 0]
    return ends
