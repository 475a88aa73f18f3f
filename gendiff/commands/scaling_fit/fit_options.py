"""Options of the command `scaling-fit`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from gendiff.core.errors import ConfigError
from gendiff.runs import run_folder
from gendiff.runs.registry import Late, Tool

JSON = "fits.json"


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Fit scaling laws to a table of trainings: parameters, tokens or FLOPs, and loss of each."""

    data: Annotated[str, tyro.conf.arg(metavar="FILE.csv")]
    """The table. Its first line names the columns: N (or parameters, model size, …), D (tokens) or FLOP (flops,
    compute), and loss.
    """
    out: str | None = None
    """Folder for fits.json and the plots; None is runs/scaling-fit-data. An earlier one there is replaced."""
    flops: tuple[float, ...] = ()
    """Budgets whose best number of parameters is shown; none takes ten and a hundred times the largest of the table."""
    drop_largest: int = 0
    """How many of the largest losses to leave out, such as the 5 of Besiroglu et al. (2024)."""
    resamples: int = 200
    """Bootstrap draws of the trainings behind the intervals."""
    seed: int = 0
    """Seed of the draws, from 0 to 2**32 - 1."""


def check(options: FitOptions) -> Path:
    """The folder to write into. ConfigError for options out of range, and a place that cannot be written."""
    for name, value, low, high in (
        ("drop-largest", options.drop_largest, 0, 2**31 - 1),
        ("resamples", options.resamples, 2, 100_000),
        ("seed", options.seed, 0, 2**32 - 1),
    ):
        if not low <= value <= high:
            raise ConfigError(f"--{name} {value} is outside [{low}, {high}]")
    if wrong := [budget for budget in options.flops if not 1e3 <= budget <= 1e30]:
        raise ConfigError(f"--flops {wrong[0]:g} is outside [1000, 1e+30]")
    return run_folder.for_findings(Path("runs", "scaling-fit-data") if options.out is None else options.out, JSON)


COMMAND = Tool(
    FitOptions,
    Late("gendiff.commands.scaling_fit.command"),
    "Which scaling laws fit a table of trainings?",
    check=check,
)
