"""Two formulas in common use beside the right ones: the third-order multistep step, and the previous timestep t - T //
n.

Both are judged on a mixture of two Gaussians in one dimension.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gendiff.core import records
from gendiff.core.types import Count
from gendiff.diffusion import certify, grids, oracles, sampling, schedules
from gendiff.diffusion.certify import Curve
from gendiff.diffusion.certify.oracles import Mixture
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.samplers.dpm_solver_multistep import dpm_solver_multistep
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level
from gendiff.metrics import bootstrap
from gendiff.runs.reporting.verdicts import Number

FORMULAS = {"exact": "dpm_solver_multistep 3", "published": "dpm_solver_multistep 3 published"}
"""Of the second difference, and what the catalogue calls the method."""
LENGTH = 1000
TABLE = schedules.scaled_linear(LENGTH)
"""Stable Diffusion's."""
SPACINGS = {"linspace": grids.linspace, "trailing": grids.trailing, "leading": grids.leading}


def two_gaussians() -> Mixture:
    """In one dimension; make it under `jax.enable_x64`."""
    return oracles.mixture([0.3, 0.7], [[-1.0], [1.2]], [0.4, 0.6])


# The third order.


@dataclass(frozen=True)
class Range:
    """Two levels, as sigma / alpha, and a word for them."""

    name: str
    sigma_max: float
    sigma_min: float

    def __str__(self) -> str:
        return f"sigma/alpha {self.sigma_max:g}…{self.sigma_min:g}"


def third_order(between: Range, steps: tuple[int, ...], starts: int, seed: int) -> dict[str, Curve]:
    """Error curves of the third-order multistep method by each of `FORMULAS`, between two levels."""
    with jax.enable_x64(True):
        measure = functools.partial(
            certify.certify,
            schedule=schedules.edm(),
            oracle=two_gaussians(),
            sigma_max=between.sigma_max,
            sigma_min=between.sigma_min,
        )
        return {
            formula: measure(
                dpm_solver_multistep(3, formula=formula), theory, steps=steps, starts=starts, seed=seed
            ).curve("flow")
            for formula, theory in FORMULAS.items()
        }


# The previous timestep.


def wrong_targets(spacing: str, n: int) -> int:
    """How many of n steps aim at another entry by t - T // n than the grid does. Entries below 0 are the clean end,
    t = -1.
    """
    t = np.asarray(SPACINGS[spacing](TABLE, n).t).round().astype(int)
    return int(np.count_nonzero(np.maximum(t[:-1] - LENGTH // n, -1) != t[1:]))


def wrong_counts(spacing: str, most: int) -> tuple[int, ...]:
    """The numbers of steps, of 1 … most, for which some step aims at another entry than the grid's next."""
    return tuple(n for n in range(1, most + 1) if wrong_targets(spacing, n))


@dataclass(frozen=True)
class Errors:
    """Squared distances (counts, starts) of DDIM's end points from the exact flow, by the grid's levels and by the
    formula.
    """

    counts: tuple[int, ...]
    grid: np.ndarray
    formula: np.ndarray

    def error(self, way: str, count: int) -> Number:
        """Root mean square over the start points."""
        return _interval(_root, self._row(way, count))

    def ratio(self, count: int) -> Number:
        """The formula's error in multiples of the grid's."""
        return _interval(
            lambda formula, grid: _root(formula) / _root(grid), self._row("formula", count), self._row("grid", count)
        )

    def order(self, way: str, counts: tuple[int, ...]) -> Number:
        """Minus the least-squares slope of log error against log steps, wherever the errors lie."""
        rows = np.stack([self._row(way, count) for count in counts], axis=1)  # (starts, counts)
        return _interval(lambda rows: -np.polyfit(np.log(counts), np.log(np.mean(rows, axis=0)) / 2, 1)[0], rows)

    def _row(self, way: str, count: int) -> np.ndarray:
        squares = self.grid if way == "grid" else self.formula
        return squares[self.counts.index(count)]


def previous_timestep(spacing: str, counts: tuple[int, ...], starts: int, seed: int) -> Errors:
    """Errors of DDIM with and without the formula, on grids of a thousand levels that end at the table's first one."""
    squares: list[list[np.ndarray]] = []
    with jax.enable_x64(True):
        oracle, samplers = two_gaussians(), (ancestral.ddim(), PreviousTimestep(TABLE.table))
        for n in counts:
            levels = SPACINGS[spacing](TABLE, n, end="first")
            start = oracles.draw_noised(oracle, jax.random.key(seed), levels[0], starts)
            exact = oracle.flow(start, levels[0], levels[-1])
            padded = grids.padded(levels, LENGTH)  # one compile for all counts
            ends = [_end(oracle, sampler, padded, start, jnp.asarray(n)) for sampler in samplers]
            squares.append([np.sum(np.asarray(end - exact) ** 2, axis=1) for end in ends])
    return Errors(counts, *np.moveaxis(np.array(squares), 1, 0))


@jax.jit
def _end(oracle: Mixture, sampler: Sampler, levels: Level, start: Array, steps: Count) -> Array:
    key, index = jax.random.key(0), jnp.arange(len(start))  # neither sampler draws
    return sampling.sample(key, oracle, sampler, levels, start.shape[1:], index, num_steps=steps, start=start)


def _root(squares: np.ndarray) -> float:
    return math.sqrt(np.mean(squares))


def _interval(statistic: Callable[..., float], *rows: np.ndarray) -> Number:
    return bootstrap.interval(np.random.default_rng(0), statistic, *rows).number


# Samplers that are wrong on purpose.


@records.record
class WrongHeun(runge_kutta.Heun):
    """Heun's method with the weights 0.4 and 0.6 in place of a half each: order 1."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        first = denoise(state.x, level)
        moved = ancestral.ddim_step(first, level, cleaner)
        return State(moved + 1.2 * runge_kutta.heun_correction(first, denoise(moved, cleaner), level, cleaner))


@records.record
class PreviousTimestep(Sampler):
    """DDIM to entry t - T // n of a table of T entries in n steps, as is common, in place of the level that the grid
    visits next.

    The next step asks the network at the grid's level all the same. An entry below 0 is where the grid ends. The memory
    counts the steps. table: the Level (T,) of a schedule.
    """

    table: Any

    def init(self, x: Array) -> State:
        return State(x, jnp.zeros((), jnp.int32))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        entry = jnp.round(level.t).astype(jnp.int32) - len(self.table) // (state.memory + left + 1)
        inside, aimed = entry >= 0, self.table[jnp.maximum(entry, 0)]
        reached = jax.tree.map(lambda target, end: jnp.where(inside, target, end), aimed, cleaner)
        return State(ancestral.ddim_step(denoise(state.x, level), level, reached), state.memory + 1)
