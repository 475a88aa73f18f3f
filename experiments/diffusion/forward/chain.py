"""The chain q(x_t | x_{t-1}), step by step: its moments composed exactly, and those of drawn chains in standard errors."""

import functools
from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.forward import prior
from gendiff.diffusion import process
from gendiff.diffusion.types import Level
from gendiff.runs.reporting.results import Cell, Table

SCHEDULES = ("linear", "scaled_linear", "cosine", "sigmoid", "zero_terminal_snr(scaled_linear)")
"""The chains that are run, all of 1,000 steps."""
KINDS = ("chain", "closed", "shifted")
Scores: TypeAlias = Mapping[str, np.ndarray]
"""z of every (level, moment, schedule, group): of the chain, of `add_noise` itself, and of the chain against the shifted form."""


def path() -> Level:
    """(schedules, 1 + T): from the clean level along each table."""
    tables = [prior.SCHEDULES[name]().table for name in SCHEDULES]
    first = {"t": -1.0, "alpha": 1.0, "sigma": 0.0}
    return Level(**{name: np.stack([np.append(start, getattr(table, name)) for table in tables]) for name, start in first.items()})


def composed(path: Level, shift: int = 0) -> float:
    """The largest difference of the chain's mean factor and variance from alpha and sigma² of the closed form, `shift` steps ahead.

    Mean and variance follow from `forward_step` alone: of a mean without noise, of a standard deviation without noise, and of noise alone.
    """
    mean, variance = (np.asarray(moment) for moment in _compose(jax.tree.map(jnp.asarray, path)))
    expected = _ahead(path, np.arange(1, path.shape[1]), shift)
    return float(max(np.abs(mean - expected.alpha).max(), np.abs(variance - expected.sigma**2).max()))


def scores(path: Level, images: np.ndarray, levels: tuple[int, ...], groups: int, shift: int, chains: int, seed: int) -> Scores:
    """Of `chains` chains from the images (n, …) in turn, after each number of steps in `levels`; rising, within the path."""
    clean = jnp.asarray(images[np.arange(chains) % len(images)])
    walk_key, closed_key = jax.random.split(jax.random.key(seed))
    x, done = jnp.broadcast_to(clean, (path.shape[0], *clean.shape)), 0
    whole = jax.tree.map(jnp.asarray, path)
    rows = []
    for steps in levels:
        x, done = _walk(x, walk_key, whole, done, steps), steps
        level, ahead = (_ahead(path, np.array(steps), by) for by in (0, shift))
        drawn = _add_noise(clean, jax.random.normal(jax.random.fold_in(closed_key, steps), clean.shape), level)
        rows.append([np.asarray(_scores(values, clean, at, groups)) for values, at in ((x, level), (drawn, level), (x, ahead))])
    return dict(zip(KINDS, map(np.stack, zip(*rows, strict=True)), strict=True))


def table(of_seeds: list[Scores], levels: tuple[int, ...]) -> Table:
    """The largest |z| of each schedule and level, over seeds, groups and moments."""
    largest = [np.max([np.abs(scores[kind]).max(axis=(1, 3)) for scores in of_seeds], axis=0) for kind in KINDS]
    rows: list[tuple[Cell, ...]] = []
    for number, name in enumerate(SCHEDULES):
        rows += [(name, steps, *(float(of[at, number]) for of in largest)) for at, steps in enumerate(levels)]
    columns = ("schedule", "steps", "chain", "add_noise itself", "chain against the shifted form")
    return Table("Largest |z| of mean, slope and variance", columns, tuple(rows))


def _ahead(path: Level, steps: np.ndarray, shift: int) -> Level:
    """(schedules, …) the levels after so many steps, or `shift` later, at most the last."""
    return path[:, np.minimum(steps + shift, path.shape[1] - 1)]


@jax.jit
def _compose(path: Level) -> tuple[jax.Array, jax.Array]:
    """Mean factor and variance after each step, (schedules, T)."""

    def advance(moments: tuple[jax.Array, jax.Array], j: jax.Array) -> Any:
        mean, variance = moments
        zero, one = jnp.zeros_like(mean), jnp.ones_like(mean)

        def step(x: jax.Array, noise: jax.Array) -> jax.Array:
            return process.forward_step(x, noise, path[:, j], path[:, j + 1])

        after = step(mean, zero), step(jnp.sqrt(variance), zero) ** 2 + step(zero, one) ** 2
        return after, after

    _, (mean, variance) = jax.lax.scan(advance, (jnp.ones(len(path)), jnp.zeros(len(path))), jnp.arange(path.shape[1] - 1))
    return mean.T, variance.T


@jax.jit
def _walk(x: jax.Array, key: jax.Array, path: Level, begin: int, end: int) -> jax.Array:
    """Return x (schedules, n, …) from step `begin` to step `end`; all schedules meet the same noise."""

    def advance(j: jax.Array, x: jax.Array) -> jax.Array:
        noise = jax.random.normal(jax.random.fold_in(key, j), x.shape[1:], x.dtype)
        return jax.vmap(process.forward_step, in_axes=(0, None, 0, 0))(x, noise, path[:, j], path[:, j + 1])

    return jax.lax.fori_loop(begin, end, advance, x)


_add_noise = jax.jit(jax.vmap(process.add_noise, in_axes=(None, None, 0)))
"""(schedules, n, …) the closed form, at one level per schedule, of clean and noise (n, …)."""


def _scores(x: jax.Array, clean: jax.Array, level: Level, groups: int) -> jax.Array:
    """(moment, schedules, groups) of x (schedules, n, …): each is N(0, 1) where the closed form holds.

    With z = (x - alpha clean) / sigma over the N entries of a group: sum z / sqrt(N), sum z clean / sqrt(sum clean²), and
    (sum z² - N) / sqrt(2N), the last one in the limit of large N.
    """
    zero = jnp.zeros_like(clean)
    mean, std = _add_noise(clean, zero, level), _add_noise(zero, jnp.ones_like(clean), level)
    z = ((x - mean) / std).reshape(*x.shape[:2], groups, -1)
    over = jnp.broadcast_to(clean.reshape(1, len(clean), groups, -1), z.shape)
    count = z.shape[1] * z.shape[3]
    total = functools.partial(jnp.sum, axis=(1, 3))
    slope = total(z * over) / jnp.sqrt(total(over**2))
    return jnp.stack([total(z) / np.sqrt(count), slope, (total(z**2) - count) / np.sqrt(2 * count)])
