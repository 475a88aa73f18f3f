"""Rows of the comparison, as tables of text.

Both sides of a row are written as their users write them, `sampler` in the names of gendiff.samplers and `levels` in
those of gendiff.grids, and evaluated: so the page shows what the tests run.
"""

import dataclasses
from typing import Any

import numpy as np

from gendiff.diffusion import grids, samplers, schedules
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Level

LONG = {
    "SECOND": "dpm_solver_multistep(2, lower_order_final=True)",
    "SECOND_SDE": "dpm_solver_multistep(2, eta=1.0, lower_order_final=True)",
    "PUBLISHED": "dpm_solver_multistep(3, formula='published', lower_order_final=True)",
    "TO_CLEAN": "without_last_start(linspace(SD, 11))",
    "TO_FIRST": "linspace(SD, 11)[:-1]",
    "FURTHER": "linspace(SD, 21)[:-1]",
    "PAIRED": "some(log_snr(SD, 11), [0, 2, 4, 6, 8, 10, 11])",
    "TRIPLED": "some(log_snr(SD, 10), [0, 3, 6, 9, 10])",
}
"""Short names for a sampler or for levels. PAIRED and TRIPLED: the ends of steps on a grid that lists their stages as
well.
"""


@dataclasses.dataclass(frozen=True)
class Case:
    """A scheduler of diffusers or a function of k-diffusion, and gendiff's sampler and levels ("own": the scheduler's).

    options: of the scheduler or the function. timesteps, step: those of the scheduler's methods. kinds: prediction
        types to run it with.
    path: its steps draw twice, on one path with this eta. whole: with its last step. note: an argument that has no
        short text.
    """

    name: str
    sampler: str
    levels: str
    options: dict[str, Any]
    steps: int = 10
    timesteps: dict[str, Any] = dataclasses.field(default_factory=dict)
    step: dict[str, Any] = dataclasses.field(default_factory=dict)
    kinds: tuple[str | None, ...] = ("epsilon",)
    path: float | None = None
    whole: bool = True
    note: str = ""

    def __str__(self) -> str:
        kind = {"prediction_type": self.kinds[0]} if self.kinds[0] not in ("epsilon", None) else {}
        options = {name: value for name, value in (self.options | self.step | kind).items() if not callable(value)}
        steps = "" if self.steps == 10 else f"{self.steps} steps"
        parts = [self.name, steps, *(f"{name}={value}" for name, value in options.items()), self.note]
        return ", ".join(filter(None, [*parts, "" if self.whole else "all but the last step"]))

    def ours(self) -> Sampler:
        return eval(self.sampler, NAMES)

    def grid(self, levels: Level | None = None) -> Level:
        return eval(self.levels, NAMES, {"own": levels})


@dataclasses.dataclass(frozen=True)
class Difference:
    """size: the largest difference of an entry of x, measured. shipped: in the peer's own precision, where its formula
    agrees.

    proof: a sampler made to do what the cause says, which then agrees with the peer.
    """

    case: Case
    size: float
    cause: str
    shipped: bool = False
    proof: Sampler | None = None


def cases(table: str, names: dict[str, Any]) -> list[Case]:
    """A case of each line "name(arguments) | sampler | levels". Arguments that are no fields of a case are its
    options.
    """
    return [_case(line.split(" | "), names) for line in table.strip().splitlines()]


def differences(table: str, names: dict[str, Any], shipped: bool = False) -> list[Difference]:
    """A difference of each two lines "size | name(arguments) | sampler | levels" and "cause" or "cause | proof"."""
    lines = [line.strip().split(" | ") for line in table.strip().splitlines()]
    return [
        Difference(_case(case, names), float(size), cause, shipped, eval(proof[0], names) if proof else None)
        for (size, *case), (cause, *proof) in zip(lines[::2], lines[1::2], strict=True)
    ]


def _case(cells: list[str], names: dict[str, Any]) -> Case:
    name, _, arguments = cells[0].removesuffix(")").partition("(")
    options = eval(f"dict({arguments})", ARGUMENTS | names)
    fields = {field.name: options.pop(field.name) for field in dataclasses.fields(Case) if field.name in options}
    sampler, levels = (LONG.get(cell, cell) for cell in cells[1:])
    return Case(name, sampler, levels, options, **fields)


NAMES: dict[str, Any] = {
    **{name: getattr(samplers, name) for name in samplers.__all__},
    **{each.__name__: each for each in (grids.leading, grids.trailing, grids.linspace, grids.karras, grids.log_snr)},
    **{each.__name__: each for each in (schedules.edm, schedules.shifted, schedules.zero_terminal_snr)},
    "some": lambda levels, entries: levels[np.asarray(entries)],
    # the spacing of the multistep schedulers
    "without_last_start": lambda levels: levels[np.r_[0 : len(levels) - 2, len(levels) - 1]],
    "SD": schedules.scaled_linear(),
    "ZERO_SNR": schedules.zero_terminal_snr(schedules.scaled_linear()),
    "COSINE": schedules.cosine(),
    "EDM": schedules.edm(),
    "CLEAN_HALF": schedules.edm(0.02, 0.7),
    "FLOW": schedules.flow(),
}
"""What a sampler and levels are written in."""

ARGUMENTS: dict[str, Any] = {
    "EVERY_KIND": ("epsilon", "sample", "v_prediction"),
    "TWO": ("epsilon", "v_prediction"),
    "VELOCITY": ("v_prediction",),
    "FLOW": ("flow_prediction",),
    "UNNAMED": (None,),
    "TRAILING": {"timestep_spacing": "trailing"},
    "ZERO": {"rescale_betas_zero_snr": True},
    "TO_MIN": {"final_sigmas_type": "sigma_min"},
    "SDE": {"algorithm_type": "sde-dpmsolver++"},
    "NOISE_FORM": {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
    "EVEN": {"use_exponential_sigmas": True, "lower_order_final": True},
    "UNCORRECTED": {"disable_corrector": list(range(10))},
    "TAU_0": {"tau_func": lambda t: 0.0, "note": "tau=0"},
}
"""What a peer's arguments are written in."""
