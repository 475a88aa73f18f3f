"""The levels that a configuration asks for, by the grids of this library: every step ends where the next one starts."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

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


def grid(found: Configuration, chain: Schedule, steps: int) -> Level:
    """The levels of a class that follows a chain.

    Args:
        found: its configuration.
        chain: its noise path.
        steps: how often diffusers asks the network, Heun's and PNDM's further evaluations aside.
    """
    checks.integer("steps", steps, 1, most_steps(found))
    end = "clean" if found.ends_clean else "first"
    given = found.fields
    if found.name == LCM:
        return joined(_entries(chain, consistency_entries(found, steps)), chain.clean)
    steps = whole_steps(found, steps)
    if found.spread is not None:
        return _spread(found, chain, steps, end)
    spacing = given.get("timestep_spacing", "linspace")
    if spacing == "trailing":
        return grids.trailing(chain, steps, end=end)
    points = steps + (found.name in SOLVERS)
    if spacing == "leading":
        levels = grids.leading(chain, points, offset=given["steps_offset"], end=end)
    else:
        levels = grids.linspace(chain, points, end=end)
    return levels[np.append(np.arange(steps), points)]  # the solvers leave out the last start


def straight(sigmas: Sequence[float] | np.ndarray) -> Level:
    """The grid of the straight path with these sigma (n,), falling, and the clean level behind them."""
    sigma = np.asarray(sigmas, np.float64)
    return joined(Level(1000 * sigma, 1 - sigma, sigma), Level(0.0, 1.0, 0.0))


def straight_sigmas(found: Configuration, sigmas: np.ndarray, shift: float) -> np.ndarray:
    """The sigmas (n,) of a straight path after shift, stretch and spread, in this order."""
    sigmas = stretched(shifted(sigmas, shift), found.fields.get("shift_terminal"))
    return sigmas if found.spread is None else spread(found.spread, sigmas[0], sigmas[-1], len(sigmas))


def shifted(sigmas: np.ndarray, shift: float) -> np.ndarray:
    """Sigma / (1 - sigma) multiplied by the shift (Esser et al., 2024, Eq. 23)."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def dynamic_shift(found: Configuration, tokens: int) -> float:
    """The shift for pictures of so many tokens: its logarithm, or itself, is linear in their number.

    References:
        FLUX's published sampler (from memory).
    """
    given = found.fields
    slope = (given["max_shift"] - given["base_shift"]) / (given["max_image_seq_len"] - given["base_image_seq_len"])
    mu = given["base_shift"] + slope * (tokens - given["base_image_seq_len"])
    return math.exp(mu) if given["time_shift_type"] == "exponential" else mu


def stretched(sigmas: np.ndarray, last: float | None) -> np.ndarray:
    """The sigmas with 1 - sigma scaled so that they end at `last`; as they are without it, or where they end at 1."""
    if last is None or sigmas[-1] == 1:
        return sigmas
    return 1 - (1 - sigmas) * (1 - last) / (1 - sigmas[-1])


def spread(field: str, high: float, low: float, points: int) -> np.ndarray:
    """Numbers from `high` to `low`, both included, as a field such as use_karras_sigmas spreads them (n,)."""
    fractions = np.linspace(0.0, 1.0, points) if points > 1 else np.zeros(1)
    if field == "use_karras_sigmas":
        return (high ** (1 / RHO) + fractions * (low ** (1 / RHO) - high ** (1 / RHO))) ** RHO
    if field == "use_beta_sigmas":
        return low + scipy.special.betaincinv(BETA, BETA, 1 - fractions) * (high - low)
    return np.exp(np.log(high) + fractions * (np.log(low) - np.log(high)))


def consistency_entries(found: Configuration, steps: int) -> np.ndarray:
    """Entries (n,) of the table that a latent consistency model visits: some of those on which it was distilled.

    References:
        Luo et al., 2023, Sec. 4.3 (from memory).
    """
    distilled = found.fields["original_inference_steps"]
    every = np.arange(distilled, 0, -1) * (found.fields["num_train_timesteps"] // distilled) - 1
    return every[np.floor(np.linspace(0, distilled, steps, endpoint=False)).astype(int)]


def most_steps(found: Configuration) -> int:
    """The largest number of steps."""
    if found.name == LCM:
        return found.fields["original_inference_steps"]
    return found.fields["num_train_timesteps"] - (found.name in SOLVERS)


def whole_steps(found: Configuration, steps: int) -> int:
    """How many steps are taken: of the single-step solver those that so many evaluations pay for, where a last one to clean costs one."""
    if found.name != SINGLE:
        return steps
    order = found.fields["solver_order"]
    return (steps - 1) // order + 1 if found.ends_clean else max(steps // order, 1)


def joined(starts: Level, last: Level) -> Level:
    """The grid (n + 1,) with these starts (n,) and this last level (), cast once to the default dtype."""
    dtype = jnp.result_type(float)
    return jax.tree.map(
        lambda field, end: jax.device_put(np.append(np.asarray(field, np.float64), end).astype(dtype)), starts, last
    )


def _entries(chain: Schedule, indices: np.ndarray) -> Level:
    return jax.tree.map(lambda field: field[indices], chains.table(chain))


def _spread(found: Configuration, chain: Schedule, steps: int, end: str) -> Level:
    low, high = found.fields.get("sigma_min"), found.fields.get("sigma_max")
    if found.spread == "use_karras_sigmas":
        return grids.karras(chain, steps, rho=RHO, sigma_min=low, sigma_max=high, end=end)
    if found.spread != "use_beta_sigmas":
        return grids.log_snr(chain, steps, sigma_min=low, sigma_max=high, end=end)
    ends = grids.karras(chain, 2, sigma_min=low, sigma_max=high)  # which checks the limits and knows the chain's own
    noisiest, cleanest = (float(ends.sigma[place] / ends.alpha[place]) for place in (0, 1))
    levels = chain.at_log_snr(-2 * np.log(spread("use_beta_sigmas", noisiest, cleanest, steps + (end == "first"))))
    return joined(levels, chain.clean) if end == "clean" else joined(levels[:-1], levels[-1])
