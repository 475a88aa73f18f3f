"""What all commands that draw have in common: options, each with one help text and one check. JAX is not loaded."""

import dataclasses
import math
from typing import Annotated

import tyro

from gendiff.core.errors import ConfigError
from gendiff.runs import configuration, ranges

MOST_FILES = 100_000
"""Samples that are files of their own, or in memory at once."""
SAMPLERS = (
    *"ddim euler heun rk4 dpm_solver_multistep-1 dpm_solver_multistep-2".split(),
    *"dpm_solver_multistep-2-exact dpm_solver_multistep-3 dpm_solver_multistep-3-published".split(),
    *"dpm_solver_single-1 dpm_solver_single-2 dpm_solver_single-3 unipc-1 unipc-2 unipc-2-bh1".split(),
    *"unipc-3 deis-1 deis-2 deis-3 deis-3-ratio deis-3-plain deis-4 pndm pndm-runge_kutta".split(),
    *"reversible_heun ddim-stochastic ddpm-small ddpm-large euler_ancestral predictor_corrector".split(),
    *"fixed_path churn dpm_solver_multistep-1-sde dpm_solver_multistep-2-sde".split(),
    *"dpm_solver_multistep-3-sde dpm_solver_single-1-sde dpm_solver_single-2-sde ddpm".split(),
)
"""Every sampler of the library for a network without learned variances, by its name in the catalogue with "-" for a
space.
"""
BETWEEN = ("karras", "log_snr")
"""Grids between two ratios sigma/alpha."""
GRIDS = ("trailing", "cosine", *BETWEEN, "resolved")
"""Every grid that any schedule has."""
DEFAULT_GRID = "trailing"
HELP = {
    "steps": "Steps of the sampler, at least 1.",
    "guidance": "Scale of classifier-free guidance: 0 ignores the condition, 1 adds nothing, more is less diverse.",
    "sampler": f"Which sampler: {', '.join(SAMPLERS)}.",
    "together": "Samples drawn at a time, which changes memory and speed only.",
}
"""How the help of an option begins that many commands have, each with another default."""


def option(name: str, rest: str = "") -> object:
    """What tyro shows of an option in HELP. rest: of one command, such as its default in words."""
    return tyro.conf.arg(help=f"{HELP[name]} {rest}".strip())


@dataclasses.dataclass(frozen=True)
class DrawingOptions:
    """Of every command that draws. A command has defaults of its own."""

    num: int | None = None
    """Number of samples. A sample is the same whatever is drawn beside it."""
    seed: int = 0
    """Seed of the samples' noise, from 0 to 2**32 - 1."""
    out: str | None = None
    """Where to write."""


@dataclasses.dataclass(frozen=True)
class SteppedOptions(DrawingOptions):
    """Of every command that draws by a sampler, and replaces no file unless it is told to."""

    steps: Annotated[int | None, option("steps", "None takes those of the run.")] = None
    force: tyro.conf.FlagCreatePairsOff[bool] = False
    """Replace the files that are there."""


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """Of every command that draws from a run."""

    trained_seed: int | None = None
    """Which of the run's training seeds; None takes the first."""


def check(options: DrawingOptions, *, num: int | None = MOST_FILES, steps: int | None = None) -> None:
    """ConfigError for a shared option that is out of its range; a command need not have all of them.

    Args:
        options: of a command.
        num: the most samples; None for no limit.
        steps: likewise.
    """
    for name, most in (("num", num), ("steps", steps), ("together", None)):
        ranges.counted(name, getattr(options, name, None), most)
    configuration.check_seed(options.seed)
    if (scale := getattr(options, "guidance", None)) is not None and not 0 <= scale < math.inf:
        raise ConfigError(f"--guidance {scale:g} is outside [0, inf)")
    if (sampler := getattr(options, "sampler", None)) is not None:
        ranges.known("sampler", [sampler], SAMPLERS)
