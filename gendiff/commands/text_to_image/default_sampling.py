"""How the pictures of a prompt are sampled where options leave it open."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

from gendiff.commands.text_to_image.trained import Trained
from gendiff.core.errors import ConfigError
from gendiff.diffusion import grids
from gendiff.diffusion.types import Level
from gendiff.runs import errors

TRAILING, RESOLVED = "trailing", "resolved"
GRIDS = (TRAILING, RESOLVED)
"""Those of `gendiff.diffusion.grids` that any of the networks has."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """sampler: its name in `sampling_options.SAMPLERS`. grid: one of GRIDS."""

    sampler: str
    grid: str
    steps: int

    def __str__(self) -> str:
        return f"{self.steps} steps of {self.sampler}"


FROM_NOISE = Sampling("dpm_solver_multistep-2", TRAILING, 16)
"""How pictures are drawn from noise. `few-step-text` holds it against DDIM."""
EDITED = Sampling("ddim", TRAILING, 30)
"""How a picture is drawn from another one, of which only a share of the steps is run, and what goes with any other sampler or grid."""


def settled(sampler: str | None, grid: str | None, steps: int | None, *, edited: bool = False) -> Sampling:
    """What options say, with the defaults in place of None. ConfigError for a grid that is none.

    edited: whether the draw begins from a picture.
    """
    if grid is not None and grid not in GRIDS:
        raise ConfigError(f"--grid {grid}: no grid of these networks has that name; {errors.hint(grid, GRIDS)}")
    default = FROM_NOISE if sampler is None and grid is None and not edited else EDITED
    chosen: dict[str, Any] = {"sampler": sampler, "grid": grid, "steps": steps}
    return dataclasses.replace(default, **{name: value for name, value in chosen.items() if value is not None})


def levels(given: Trained, sampling: Sampling) -> Level:
    """The levels (steps + 1,) that are visited. ConfigError for a grid or a number of steps that the network does not have."""
    resolution = given.resolution
    grid: Callable[..., Level] = grids.trailing
    if sampling.grid == RESOLVED:
        if resolution is None:
            raise ConfigError(f"--grid {RESOLVED}: the file of this network does not say how fine its data are: use --grid {TRAILING}")
        grid = functools.partial(grids.resolved, resolution=resolution, norm=math.sqrt(math.prod(given.model.shape)))
    try:
        return grid(given.model.schedule, sampling.steps)
    except ValueError as error:
        raise ConfigError(f"--steps {sampling.steps}: {error}") from error
