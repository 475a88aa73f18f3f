"""The noise path of a configuration: alpha and sigma of its chain, exactly or in float32 as in diffusers."""

import numpy as np

from gendiff.core.errors import ConfigError
from gendiff.core.types import Config
from gendiff.diffusion import schedules
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.pipelines.diffusers_schedulers.configurations import SCALED, SOLVERS, Configuration

SMALLEST = 2.0**-24
"""The alpha² that stands for 0 in schedulers of diffusers that work with sigma / alpha."""


def schedule(configuration: Configuration) -> Schedule:
    """The chain in float64, or the straight path with its fixed shift."""
    fields = configuration.fields
    if configuration.straight:
        shift = fields.get("flow_shift", fields.get("shift"))
        return (
            schedules.flow()
            if fields.get("use_dynamic_shifting") or shift == 1
            else schedules.shifted(schedules.flow(), shift)
        )
    chain = _chain(fields)
    return schedules.zero_terminal_snr(chain) if fields.get("rescale_betas_zero_snr") else chain


def as_shipped(configuration: Configuration) -> Schedule:
    """The chain with alpha² as diffusers has it: in float32, and in some classes 2^-24 in place of 0.

    Raises:
        ConfigError: where the chain does not fall strictly in float32.
    """
    fields = configuration.fields
    if configuration.straight:
        return schedule(configuration)
    alpha_bar = _cumulated(1 - _betas(fields))
    if fields.get("rescale_betas_zero_snr"):
        root = np.sqrt(alpha_bar)
        root = (root - root[-1]) * (root[0] / (root[0] - root[-1]))
        ratios = np.append(root[:1] ** 2, root[1:] ** 2 / root[:-1] ** 2)
        alpha_bar = _cumulated(1 - (1 - ratios))
        if configuration.name in (*SCALED, *SOLVERS):
            alpha_bar[-1] = SMALLEST
    try:
        return schedules.from_alpha_bar(alpha_bar)
    except ValueError as error:
        raise ConfigError(
            f"{configuration.name}: like diffusers, in float32, its chain cannot be followed: {error}"
        ) from error


def table(chain: Schedule) -> Level:
    """The entries (t,) of a chain."""
    if chain.table is None:
        raise TypeError(f"{type(chain).__name__} has no table")
    return chain.table


def ratios(chain: Schedule) -> np.ndarray:
    """Sigma / alpha of each entry, as diffusers computes it from alpha² in float32."""
    alpha_bar = (table(chain).alpha ** 2).astype(np.float32)
    result: np.ndarray = ((1 - alpha_bar) / alpha_bar) ** np.float32(0.5)
    return result


def _chain(fields: Config) -> Schedule:
    steps, start, end = fields["num_train_timesteps"], fields["beta_start"], fields["beta_end"]
    if fields["trained_betas"] is not None:
        return schedules.from_betas(fields["trained_betas"])
    if fields["beta_schedule"] == "squaredcos_cap_v2":
        return schedules.cosine(steps)
    family = {"linear": schedules.linear, "scaled_linear": schedules.scaled_linear}[fields["beta_schedule"]]
    return family(steps, start, end)


def _betas(fields: Config) -> np.ndarray:
    """In float32."""
    steps, start, end = fields["num_train_timesteps"], fields["beta_start"], fields["beta_end"]
    if fields["trained_betas"] is not None:
        return np.asarray(fields["trained_betas"], np.float32)
    if fields["beta_schedule"] == "squaredcos_cap_v2":
        share = np.append(1.0, table(_chain(fields)).alpha ** 2)
        betas: np.ndarray = 1 - share[1:] / share[:-1]
        return betas.astype(np.float32)
    if fields["beta_schedule"] == "linear":
        return np.linspace(start, end, steps, dtype=np.float32)
    roots: np.ndarray = np.linspace(start**0.5, end**0.5, steps, dtype=np.float32)
    return np.square(roots)


def _cumulated(alphas: np.ndarray) -> np.ndarray:
    """The running product, rounded once per entry."""
    return np.cumprod(alphas.astype(np.float64)).astype(np.float32)
