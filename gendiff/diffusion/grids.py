"""Grids: which levels a sampler visits.

Each answers a Level of shape (n + 1,): n starts, and the level where the last step ends.

`end="clean"` ends at alpha 1, sigma 0; `end="first"` at the cleanest level that the schedule has (entry 0 of a table).
Entries of a table are chosen by index arithmetic and everything is computed in float64, then cast once to the default
dtype.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import checks
from gendiff.core.types import Count
from gendiff.diffusion import sampling, schedules
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level

ROUNDING = 1 / math.sqrt(12)
"""The least sigma/alpha of `resolved`, in steps between two values of the data: the std of rounding to such steps."""
START = 2.0
"""The largest sigma/alpha of `resolved`, in norms of a sample."""


def leading(schedule: Schedule, n: int, *, offset: int = 0, end: str = "clean") -> Level:
    """Entries k · floor(T/n) + offset, k = n-1 … 0.

    With offset 0 it starts at the last entry only for n = T. It starts there with offset floor(T/n) + T mod n - 1.

    Also known as: leading spacing of timesteps, with steps_offset as `offset`.

    Args:
        schedule: one with a table of T >= n entries.
        n: steps, at least 1.
        offset: 0 in DDPM and DDIM, 1 in Stable Diffusion.
        end: "clean" or "first".

    Raises:
        ValueError: if there is no table, or the offset leaves it.
    """
    steps = _table_length("leading", schedule, n)
    checks.integer("offset", offset)
    indices = np.arange(n - 1, -1, -1) * (steps // n) + offset
    if indices[0] >= steps:
        raise ValueError(
            f"leading spacing of {n} steps with offset {offset} leaves the table: entry {indices[0]} of 0…{steps - 1}"
        )
    return _entries(schedule, indices, end)


def trailing(schedule: Schedule, n: int, *, end: str = "clean") -> Level:
    """Entries round(T (n-k) / n) - 1, k = 0 … n-1, halves rounded up: it starts at the last entry.

    Also known as: trailing spacing of timesteps.

    Without a table: u = 1 - k/n.

    Args:
        schedule: any; a table has T >= n entries.
        n: steps, at least 1.
        end: "clean", or "first" on a table.

    References:
        Lin et al., 2024, Tab. 2.
    """
    if schedule.table is None:
        _steps("trailing", n)
        return _finish(schedule, schedule.at(np.arange(n, 0, -1) / n), end)
    steps = _table_length("trailing", schedule, n)
    return _entries(schedule, (2 * steps * np.arange(n, 0, -1) + n) // (2 * n) - 1, end)


def linspace(schedule: Schedule, n: int, *, end: str = "clean") -> Level:
    """Entries round((T-1) (n-1-k) / (n-1)), halves rounded up, from the last entry to the first.

    Also known as: linspace spacing of timesteps.

    n = 1 is the last entry.

    Args:
        schedule: one with a table of T >= n entries.
        n: steps, at least 1.
        end: "clean" or "first".
    """
    steps = _table_length("linspace", schedule, n)
    last = max(n - 1, 1)
    indices = (2 * (steps - 1) * np.arange(n - 1, -1, -1) + last) // (2 * last) if n > 1 else np.array([steps - 1])
    return _entries(schedule, indices, end)


def cosine(schedule: Schedule, n: int, *, end: str = "clean") -> Level:
    """Positions cos(pi k / 2n) of the way from clean to noise: short steps near noise, long ones near clean.

    Args:
        schedule: any. On a table the position runs over 0 … T-1 and may lie between two entries.
        n: steps, at least 1.
        end: "clean", or "first" on a table.
    """
    _steps("cosine", n)
    points = np.cos(np.pi / 2 * np.arange(n) / n)
    if schedule.table is None:
        return _finish(schedule, schedule.at(points), end)
    steps = len(schedule.table)
    return _finish(schedule, schedule.at((1 + (steps - 1) * points) / steps), end)


def karras(
    schedule: Schedule,
    n: int,
    *,
    rho: float = 7.0,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    end: str = "clean",
) -> Level:
    """Levels with (sigma/alpha)^(1/rho) evenly spaced from `sigma_max` to `sigma_min`, both included.

    Also known as: Karras sigmas.

    Args:
        schedule: any.
        n: steps, at least 1.
        rho: above 0; larger values put more levels at low noise.
        sigma_min: a ratio sigma / alpha; default the schedule's own.
        sigma_max: a ratio sigma / alpha; default the schedule's own.
        end: with "first" the n + 1 levels share the interval.

    Raises:
        ValueError: unless 0 < sigma_min < sigma_max < inf.

    References:
        Karras et al., 2022, Eq. 5.
    """
    checks.in_range("rho", rho, 0.0, math.inf, open_low=True, open_high=True)
    low, high = _ratio_limits("karras", schedule, sigma_min, sigma_max)
    ratio = (high ** (1 / rho) + _fractions("karras", n, end) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return _at_ratio(schedule, ratio, end)


def log_snr(
    schedule: Schedule, n: int, *, sigma_min: float | None = None, sigma_max: float | None = None, end: str = "clean"
) -> Level:
    """Levels with log-SNR evenly spaced.

    Args:
        schedule: any.
        n: steps, at least 1.
        sigma_min: as for `karras`.
        sigma_max: as for `karras`.
        end: as for `karras`.

    Raises:
        ValueError: unless 0 < sigma_min < sigma_max < inf.

    References:
        Lu et al., 2022, Sec. 3.4.
    """
    low, high = _ratio_limits("log_snr", schedule, sigma_min, sigma_max)
    return _at_ratio(schedule, np.exp(np.log(high) + _fractions("log_snr", n, end) * (np.log(low) - np.log(high))), end)


def resolved(schedule: Schedule, n: int, *, resolution: float, norm: float, end: str = "clean") -> Level:
    """Levels evenly spaced in log-SNR between `resolved_limits`, over the noise that matters to the data.

    A schedule often reaches noise that hides no detail of the data, and noise in which nothing of them is left. With
    few steps, levels there are wasted. For limits of your own use `log_snr`.

    Args:
        schedule: any.
        n: steps, at least 1.
        resolution: as for `resolved_limits`.
        norm: as for `resolved_limits`.
        end: as for `karras`.

    Raises:
        ValueError: as `resolved_limits` does.
    """
    low, high = resolved_limits(schedule, resolution=resolution, norm=norm)
    return log_snr(schedule, n, sigma_min=low, sigma_max=high, end=end)


def resolved_limits(schedule: Schedule, *, resolution: float, norm: float) -> tuple[float, float]:
    """The least and largest sigma/alpha worth a step: `sigma_min` and `sigma_max` for `karras` and `log_snr`.

    The least is resolution / √12, the standard deviation of rounding to the resolution: noise below it hides no detail
    that the data have. From there the last step goes to the clean prediction. That prediction and the end of the exact
    flow both lie within this ratio of x / alpha, root mean square per number. For Gaussian data they differ by at most
    0.301 of it.

    The largest is 2 norm, the largest distance that two samples of this norm may have. Sampling starts there from
    sigma * noise, without alpha * clean. The error is a Kullback-Leibler divergence of at most
    (norm / ratio)² / 2 = 1/8 nats, whatever the data, and the exact flow carries it to the end unchanged. So total
    variation is at most 1/4, by Pinsker's inequality. A point mass reaches the 1/8. For a Gaussian of mean 0 with d
    numbers the divergence is below 1 / (64 d). Pass a larger norm for a smaller one: it falls with the square.

    Limits that the schedule does not have are its own: there, nothing is cut.

    Args:
        schedule: any.
        resolution: the least distance of two values of a number that the data tell apart, above 0: 2/255 for pictures
            of 8 bits in [-1, 1], 2/16 for 17 levels. For values without steps, such as latents, √12 times the standard
            deviation of their noise.
        norm: the root mean square of the Euclidean norm of a whole sample, above 0. For d numbers of mean square m it
            is √(d m), so at most √d for pictures in [-1, 1].

    Returns:
        The two ratios. For pictures of 8 bits the least is 0.0023, near the 0.002 of Karras et al.

    Raises:
        ValueError: for numbers that are not positive, and where the schedule has no level between the limits.

    References:
        Song & Ermon, 2020, Technique 1, whose largest noise is the largest distance of two samples (from memory). The
        bounds are derived here: the divergence is convex, and that of N(alpha c, sigma²) from N(0, sigma²) is (alpha
        c / sigma)² / 2.
    """
    checks.in_range("resolution", resolution, 0.0, math.inf, open_low=True, open_high=True)
    checks.in_range("norm", norm, 0.0, math.inf, open_low=True, open_high=True)
    least, largest = _own_limits(schedule)
    low, high = max(ROUNDING * resolution, least), min(START * norm, largest)
    if not low < high:
        raise ValueError(
            f"a resolution of {resolution:g} and a norm of {norm:g} leave no level: sigma / alpha from {low:g} to "
            f"{high:g}, where the schedule has {least:g} to {largest:g}; the norm is that of a whole sample"
        )
    return low, high


def padded(levels: Level, length: int) -> Level:
    """The grid with its last level repeated.

    Grids of different n padded to one length share a compiled sampler: pass n as `num_steps`.

    Args:
        levels: (t + 1,).
        length: intervals of the result, at least t; it has `length` + 1 levels.

    Raises:
        ValueError: for what is no grid of at least 2 levels, and a length below t.
    """
    sampling.steps_of(levels)
    have = len(levels) - 1
    checks.integer("length", length, have)
    grid: Level = jax.tree.map(
        lambda field: jnp.concatenate([field, jnp.broadcast_to(field[-1], (length - have,))]), levels
    )
    return grid


def remaining(levels: Level, first: Count) -> Level:
    """The grid from one entry on, with its last level repeated until it is as long as before.

    Args:
        levels: (t + 1,).
        first: () the entry to start from, in 0 … t; data under jit.

    Raises:
        ValueError: for what is no grid of at least 2 levels, and a concrete `first` outside 0 … t.
    """
    sampling.steps_of(levels)
    last = len(levels) - 1
    checks.integer("first", first, 0, last)
    rows = jnp.minimum(jnp.arange(last + 1) + first, last)
    rest: Level = jax.tree.map(lambda field: jnp.asarray(field)[rows], levels)
    return rest


def _steps(name: str, n: int) -> None:
    checks.integer(f"{name} n", n, 1)


def _table_length(name: str, schedule: Schedule, n: int) -> int:
    if schedule.table is None:
        raise ValueError(
            f"{name} spacing picks entries of a table, and this schedule has none: use trailing, cosine, karras or "
            "log_snr"
        )
    checks.integer(f"{name} n", n, 1, len(schedule.table))
    return len(schedule.table)


def _entries(schedule: Schedule, indices: np.ndarray, end: str) -> Level:
    return _finish(schedule, jax.tree.map(lambda field: field[indices], schedule.table), end)


def _finish(schedule: Schedule, starts: Level, end: str) -> Level:
    """Append where the last step ends, and cast."""
    checks.choice("end", end, ("clean", "first"))
    if end == "clean":
        last = schedule.clean
    elif schedule.table is not None:
        last = schedule.table[0]
    else:
        raise ValueError('end="first" needs a schedule with a table, or the karras or log_snr spacing')
    grid: Level = jax.tree.map(
        lambda field, final: _cast(np.append(np.asarray(field, np.float64), final)), starts, last
    )
    return grid


def _cast(field: np.ndarray) -> jax.Array:
    """In the default dtype, by NumPy: JAX would compile a conversion for every length of grid."""
    array: jax.Array = jax.device_put(np.asarray(field, jnp.result_type(float)))
    return array


def _fractions(name: str, n: int, end: str) -> np.ndarray:
    """0 at the noisy limit to 1 at the clean one."""
    _steps(name, n)
    checks.choice("end", end, ("clean", "first"))
    points = n + 1 if end == "first" else n
    return np.linspace(0.0, 1.0, points) if points > 1 else np.zeros(1)


def _ratio_limits(
    name: str, schedule: Schedule, sigma_min: float | None, sigma_max: float | None
) -> tuple[float, float]:
    least, largest = _own_limits(schedule)
    low, high = least if sigma_min is None else sigma_min, largest if sigma_max is None else sigma_max
    if not 0 < low < high < math.inf:
        raise ValueError(
            f"{name} spacing needs 0 < sigma_min < sigma_max < inf for sigma / alpha, got {low:g} and {high:g}; "
            "pass sigma_min and sigma_max where the schedule reaches pure noise or has no cleanest level"
        )
    return low, high


def _own_limits(schedule: Schedule) -> tuple[float, float]:
    """The least sigma/alpha of the schedule, 0 if it reaches clean, and the largest, inf if it reaches pure noise."""
    cleanest = schedule.cleanest
    return float(cleanest.sigma / cleanest.alpha), schedules.max_noise_ratio(schedule)


def _at_ratio(schedule: Schedule, ratio: np.ndarray, end: str) -> Level:
    levels = schedule.at_log_snr(-2 * np.log(ratio))
    return jax.tree.map(_cast, levels) if end == "first" else _finish(schedule, levels, end)
