"""The levels that a configuration asks for, by the grids of this library: every step ends where the next one starts."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from gendiff.core import checks
from gendiff.diffusion import grids
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.pipelines.diffusers_schedulers import chains
from gendiff.pipelines.diffusers_schedulers.configurations import LCM, SINGLE, SOLVERS, Configuration

RHO = 7.0
"""Of Karras et al. (2022), which diffusers fixes."""
BETA = 0.6
"""Both parameters of the Beta distribution, which diffusers fixes."""


def grid(configuration: Configuration, chain: Schedule, steps: int) -> Level:
    """The levels of a class that follows a chain.

    Args:
        configuration: of the scheduler.
        chain: its noise path.
        steps: how often diffusers asks the network, Heun's and PNDM's further evaluations aside.
    """
    checks.integer("steps", steps, 1, most_steps(configuration))
    end = "clean" if configuration.ends_clean else "first"
    fields = configuration.fields
    if configuration.name == LCM:
        return joined(chains.table(chain)[consistency_entries(configuration, steps)], chain.clean)
    steps = whole_steps(configuration, steps)
    if configuration.spread is not None:
        return _spread(configuration, chain, steps, end)
    spacing = fields.get("timestep_spacing", "linspace")
    if spacing == "trailing":
        return grids.trailing(chain, steps, end=end)
    points = steps + (configuration.name in SOLVERS)
    if spacing == "leading":
        levels = grids.leading(chain, points, offset=fields["steps_offset"], end=end)
    else:
        levels = grids.linspace(chain, points, end=end)
    return levels[np.append(np.arange(steps), points)]  # the solvers leave out the last start


def straight(sigmas: Sequence[float] | np.ndarray) -> Level:
    """The grid of the straight path with these sigma (n,), falling, and the clean level behind them."""
    sigma = np.asarray(sigmas, np.float64)
    return joined(Level(1000 * sigma, 1 - sigma, sigma), Level(0.0, 1.0, 0.0))


def straight_sigmas(configuration: Configuration, sigmas: np.ndarray, shift: float) -> np.ndarray:
    """The sigmas (n,) of a straight path after shift, stretch and spread, in this order."""
    sigmas = stretched(shifted(sigmas, shift), configuration.fields.get("shift_terminal"))
    return sigmas if configuration.spread is None else spread(configuration.spread, sigmas[0], sigmas[-1], len(sigmas))


def shifted(sigmas: np.ndarray, shift: float) -> np.ndarray:
    """Sigma / (1 - sigma) multiplied by the shift (Esser et al., 2024, Eq. 23)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def dynamic_shift(configuration: Configuration, tokens: int, log_shift: float | None = None) -> float:
    """The shift for pictures of so many tokens: its logarithm, or itself, is linear in their number, or is given.

    References:
        FLUX's published sampler (from memory).
    """
    fields = configuration.fields
    slope = (fields["max_shift"] - fields["base_shift"]) / (fields["max_image_seq_len"] - fields["base_image_seq_len"])
    mu = log_shift if log_shift is not None else fields["base_shift"] + slope * (tokens - fields["base_image_seq_len"])
    return math.exp(mu) if fields["time_shift_type"] == "exponential" else mu


def stretched(sigmas: np.ndarray, last: float | None) -> np.ndarray:
    """The sigmas with 1 - sigma scaled so that they end at `last`; as they are without it, or where they end at 1."""
    if last is None or sigmas[-1] == 1:
        return sigmas
    result: np.ndarray = 1 - (1 - sigmas) * (1 - last) / (1 - sigmas[-1])
    return result


def spread(field: str, high: float, low: float, points: int) -> np.ndarray:
    """Numbers from `high` to `low`, both included, as a field such as use_karras_sigmas spreads them (n,)."""
    fractions = np.linspace(0.0, 1.0, points) if points > 1 else np.zeros(1)
    if field == "use_karras_sigmas":
        values: np.ndarray = (high ** (1 / RHO) + fractions * (low ** (1 / RHO) - high ** (1 / RHO))) ** RHO
    elif field == "use_beta_sigmas":
        values = low + scipy.special.betaincinv(BETA, BETA, 1 - fractions) * (high - low)
    else:
        values = np.exp(np.log(high) + fractions * (np.log(low) - np.log(high)))
    return values


def consistency_entries(configuration: Configuration, steps: int) -> np.ndarray:
    """Entries (n,) of the table that a latent consistency model visits: some of those on which it was distilled.

    References:
        Luo et al., 2023, Sec. 4.3 (from memory).
    """
    distilled = configuration.fields["original_inference_steps"]
    numbers = distilled - np.floor(np.linspace(0, distilled, steps, endpoint=False)).astype(int)
    entries: np.ndarray = numbers * (configuration.fields["num_train_timesteps"] // distilled) - 1
    return entries


def most_steps(configuration: Configuration) -> int:
    """The largest number of steps."""
    latent = configuration.name == LCM
    most: int = configuration.fields["original_inference_steps" if latent else "num_train_timesteps"]
    return most - (configuration.name in SOLVERS)


def whole_steps(configuration: Configuration, steps: int) -> int:
    """How many steps so many evaluations pay for: the single-step solver has several a step, and one to clean."""
    if configuration.name != SINGLE:
        return steps
    order: int = configuration.fields["solver_order"]
    return (steps - 1) // order + 1 if configuration.ends_clean else max(steps // order, 1)


def joined(starts: Level, last: Level) -> Level:
    """The grid (n + 1,) with these starts (n,) and this last level (), cast once to the default dtype."""
    dtype = jnp.result_type(float)
    grid: Level = jax.tree.map(
        lambda field, end: jax.device_put(np.append(np.asarray(field, np.float64), end).astype(dtype)), starts, last
    )
    return grid


def _spread(configuration: Configuration, chain: Schedule, steps: int, end: str) -> Level:
    low, high = configuration.fields.get("sigma_min"), configuration.fields.get("sigma_max")
    if configuration.spread == "use_karras_sigmas":
        return grids.karras(chain, steps, rho=RHO, sigma_min=low, sigma_max=high, end=end)
    if configuration.spread != "use_beta_sigmas":
        return grids.log_snr(chain, steps, sigma_min=low, sigma_max=high, end=end)
    ends = grids.karras(chain, 2, sigma_min=low, sigma_max=high)  # which checks the limits and knows the chain's own
    noisiest, cleanest = (float(ends.sigma[position] / ends.alpha[position]) for position in (0, 1))
    levels = chain.at_log_snr(-2 * np.log(spread("use_beta_sigmas", noisiest, cleanest, steps + (end == "first"))))
    return joined(levels, chain.clean) if end == "clean" else joined(levels[:-1], levels[-1])
