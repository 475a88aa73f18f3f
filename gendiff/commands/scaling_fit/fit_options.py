"""Options of the command `scaling-fit`."""

import dataclasses
from typing import Annotated

import tyro

from gendiff.runs.registry import Late, Tool


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


COMMAND = Tool(FitOptions, Late("gendiff.commands.scaling_fit.command"), "Which scaling laws fit a table of trainings?")
