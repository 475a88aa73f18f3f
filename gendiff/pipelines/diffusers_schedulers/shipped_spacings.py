"""The levels that schedulers of diffusers visit, with their roundings, for comparison.

Halves are rounded to the even timestep. Some classes keep timesteps between two entries, with sigma / alpha on a
straight line there. Where sigma / alpha is spread between limits, t is interpolated in its logarithm, and some classes
round or cut it to whole numbers.
"""

import numpy as np

from gendiff.core import checks
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.pipelines.diffusers_schedulers import chains, shipped_steps, spacings
from gendiff.pipelines.diffusers_schedulers.configurations import (
    DDIM,
    LCM,
    MULTISTEP,
    PNDM,
    SCALED,
    SOLVERS,
    UNIPC,
    Configuration,
)

SHY = 1e-6
"""How far below 1 the first sigma of UniPC's straight path is, where it would be 1."""


def grid(configuration: Configuration, chain: Schedule, steps: int) -> Level:
    """The levels of a class that follows a chain.

    Arguments as for `spacings.grid`; the chain is that of `chains.as_shipped`.

    Raises:
        ValueError: where diffusers itself leaves its table.
    """
    checks.integer("steps", steps, 1, spacings.most_steps(configuration))
    if configuration.name in (*SCALED, *SOLVERS):
        return _by_ratio(configuration, chain, steps)
    t = (
        spacings.consistency_entries(configuration, steps)
        if configuration.name == LCM
        else timesteps(configuration, steps)
    )
    entries = t.astype(int)
    table = chains.table(chain)
    starts = Level(table.t[entries], table.alpha[entries], table.sigma[entries])
    if configuration.name not in (DDIM, PNDM):
        return spacings.joined(starts, chain.clean)
    end = shipped_steps.entry(chain, entries[-1] - gap(configuration, steps), configuration.ends_clean)
    return spacings.joined(starts, Level(*(float(field) for field in (end.t, end.alpha, end.sigma))))


def gap(configuration: Configuration, steps: int) -> int:
    """How many entries below its start a step of DDIM and PNDM ends."""
    entries: int = configuration.fields["num_train_timesteps"]
    return entries // steps


def timesteps(configuration: Configuration, steps: int) -> np.ndarray:
    """What set_timesteps makes of a spacing (n,), falling, float64."""
    total, inner = configuration.fields["num_train_timesteps"], configuration.name in SOLVERS
    spacing, points = configuration.fields.get("timestep_spacing", "linspace"), steps + inner
    if spacing == "linspace":
        t = np.linspace(0, total - 1, points)
        t = t.astype(np.float32).astype(np.float64) if configuration.name in SCALED else np.round(t)
        t = t[::-1]
    elif spacing == "leading":
        t = np.arange(points)[::-1] * float(total // points) + configuration.fields["steps_offset"]
    else:
        t = np.round(np.arange(total, 0, -total / steps)) - 1
    if spacing != "trailing":
        t = t[:steps]
    if len(t) != steps or t[0] > total - 1 or t[-1] < 0:
        raise ValueError(
            f"steps = {steps}: diffusers leaves its table of {total} timesteps here, from {t[0]:g} to {t[-1]:g}"
        )
    return t


def _by_ratio(configuration: Configuration, chain: Schedule, steps: int) -> Level:
    """Of the classes that work with sigma / alpha."""
    if configuration.straight:
        return _straight_solver(configuration, steps)
    ratio, places, solver = chains.ratios(chain), np.arange(len(chains.table(chain))), configuration.name in SOLVERS
    t = timesteps(configuration, steps)
    sigma = np.interp(t, places, ratio)
    if configuration.spread is not None:
        high, low = (ratio[-1], ratio[0]) if solver else (sigma[0], sigma[-1])
        high, low = (
            configuration.fields.get(name) or float(limit) for name, limit in (("sigma_max", high), ("sigma_min", low))
        )
        sigma = spacings.spread(configuration.spread, high, low, steps)
        t = np.interp(np.log(sigma), np.log(ratio), places)
        t = _whole(configuration, t) if solver else t
    cleanest = sigma[-1] if configuration.name == UNIPC and configuration.spread is not None else ratio[0]
    levels = _preserving(
        np.append(sigma, 0.0 if configuration.ends_clean else cleanest).astype(np.float32), np.append(t, -1.0)
    )
    return spacings.joined(levels[:-1], levels[-1])


def _whole(configuration: Configuration, t: np.ndarray) -> np.ndarray:
    """What the solvers tell the network: cut to whole numbers, after rounding in some cases."""
    fractional = configuration.name == MULTISTEP and configuration.fields["beta_schedule"] == "squaredcos_cap_v2"
    if configuration.spread in ("use_karras_sigmas", "use_lu_lambdas") and not fractional:
        t = np.round(t)
    return np.trunc(t)


def _preserving(ratio: np.ndarray, t: np.ndarray) -> Level:
    ratio = ratio.astype(np.float64)
    alpha = 1 / np.sqrt(1 + ratio**2)
    return Level(t, alpha, ratio * alpha)


def straight(configuration: Configuration, steps: int, shift: float, sigmas: np.ndarray | None) -> Level:
    """Levels of FlowMatchEulerDiscreteScheduler: even sigmas from 1 to a last one, shifted twice, or the given ones."""
    if sigmas is None:
        last = (
            1 / 1000
            if configuration.fields["use_dynamic_shifting"]
            else spacings.shifted(np.array([1 / 1000]), shift)[0]
        )
        sigmas = np.linspace(1.0, last, steps)
    return spacings.straight(spacings.straight_sigmas(configuration, sigmas, shift))


def _straight_solver(configuration: Configuration, steps: int) -> Level:
    """Sigma in float32 decides alpha = 1 - sigma, and the network is told whole numbers."""
    sigmas = np.linspace(1, 1 / 1000, steps + 1)
    sigmas = sigmas[:-1] if configuration.name == UNIPC else (1 - sigmas)[:0:-1]
    sigmas = spacings.straight_sigmas(configuration, sigmas, configuration.fields["flow_shift"])
    if configuration.name == UNIPC and abs(sigmas[0] - 1) < SHY:
        sigmas = np.append(sigmas[0] - SHY, sigmas[1:])
    t, rounded = np.trunc(1000 * sigmas), sigmas.astype(np.float32)
    return spacings.joined(Level(t, np.float32(1) - rounded, rounded), Level(0.0, 1.0, 0.0))
