"""A scheduler of diffusers with its options, and gendiff's side of the comparison.

That is written as its user writes it, `sampler` in the names of gendiff.samplers and `levels` in those of gendiff.grids, and evaluated:
so the tables show what the tests run.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from gendiff.diffusion import grids, samplers, schedules
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Level

PAIRED = "some(log_snr(SD, 11), [0, 2, 4, 6, 8, 10, 11])"
TRIPLED = "some(log_snr(SD, 10), [0, 3, 6, 9, 10])"
"""Ends of steps on a grid that lists their stages as well."""
WORDS = {
    "SECOND": "dpm_solver_multistep(2, lower_order_final=True)",
    "SECOND_SDE": "dpm_solver_multistep(2, eta=1.0, lower_order_final=True)",
    "PUBLISHED": "dpm_solver_multistep(3, formula='published', lower_order_final=True)",
    "PLAIN": "dpm_solver_multistep(3, start='plain', lower_order_final=True)",
    "COGVIDEO": "trailing(zero_terminal_snr(shifted(SD, 3**0.5)), 10)",
    "TO_CLEAN": "without_last_start(linspace(SD, 11))",
    "TO_FIRST": "linspace(SD, 11)[:-1]",
    "FURTHER": "linspace(SD, 21)[:-1]",
    "PAIRED": PAIRED,
    "TRIPLED": TRIPLED,
}
"""What a line of a table may have in place of a sampler or of levels."""
OPTIONS = {
    "EVERY_KIND": ("epsilon", "sample", "v_prediction"),
    "VELOCITY": ("v_prediction",),
    "FLOW": ("flow_prediction",),
    "UNNAMED": (None,),
    "TRAILING": {"timestep_spacing": "trailing"},
    "ZERO": {"rescale_betas_zero_snr": True},
    "TO_MIN": {"final_sigmas_type": "sigma_min"},
    "SDE": {"algorithm_type": "sde-dpmsolver++"},
    "NOISE_FORM": {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
    "EVEN": {"use_exponential_sigmas": True, "lower_order_final": True},
}
"""What its scheduler's arguments may be."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A scheduler, gendiff's sampler and levels ("own": the scheduler's), and arguments of `diffusers_runs.run`.

    kinds: the prediction types to run it with. note: for the table, an argument that has no short text.
    """

    scheduler: str
    sampler: str
    levels: str = "own"
    steps: int = 10
    kinds: tuple[str | None, ...] = ("epsilon",)
    note: str = ""
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        steps = [] if self.steps == 10 else [f"{self.steps} steps"]
        return ", ".join([self.scheduler, *steps, *self._shown(), *([self.note] if self.note else [])])

    def ours(self) -> Sampler:
        return eval(self.sampler, NAMES)

    def grid(self, own: Level) -> Level:
        return eval(self.levels, NAMES, {"own": own})

    def _shown(self) -> list[str]:
        """Options of the scheduler itself, those of its step, and the prediction type where it is not the usual one."""
        options = {name: value for name, value in self.options.items() if name not in ("calls", "timesteps", "step")}
        step = self.options.get("step", {})
        kind = {"prediction_type": self.kinds[0]} if self.kinds[0] not in ("epsilon", None) else {}
        every = {**options, **(step if isinstance(step, dict) else {}), **kind}
        return [f"{name}={value}" for name, value in every.items() if not callable(value)]


@dataclasses.dataclass(frozen=True)
class Difference:
    """size: the largest difference of an entry of x, measured. shipped: in the peer's own precision, where its formula agrees.

    proof: a sampler made to do what the cause says, which then agrees with the peer.
    """

    case: Any
    size: float
    cause: str
    shipped: bool = False
    proof: Sampler | None = None

    def __str__(self) -> str:
        return str(self.case)


def cases(table: str, names: dict[str, Any], make: Callable[..., Any] = Case) -> list[Any]:
    """A case of each line "Scheduler(arguments) | sampler | levels". Arguments that no field of `make` takes are its options."""
    return [_case(line.split(" | "), names, make) for line in table.strip().splitlines()]


def differences(table: str, names: dict[str, Any], make: Callable[..., Any] = Case, shipped: bool = False) -> list[Difference]:
    """A difference of each two lines "size | Scheduler(arguments) | sampler | levels" and "cause" or "cause | proof"."""
    lines = [line.strip().split(" | ") for line in table.strip().splitlines()]
    return [
        Difference(_case(case, names, make), float(size), cause, shipped, eval(proof[0], NAMES | names) if proof else None)
        for (size, *case), (cause, *proof) in zip(lines[::2], lines[1::2], strict=True)
    ]


def _case(cells: list[str], names: dict[str, Any], make: Callable[..., Any]) -> Any:
    scheduler, _, arguments = cells[0].removesuffix(")").partition("(")
    options = eval(f"dict({arguments})", OPTIONS | names)
    fields = {field.name: options.pop(field.name) for field in dataclasses.fields(make) if field.name in options}
    sampler, levels = (WORDS.get(cell, cell) for cell in cells[1:])
    return make(scheduler, sampler, levels, options=options, **fields)


def without_last_start(levels: Level) -> Level:
    """What is left of n + 1 starts and the end: the spacing of the multistep schedulers."""
    return levels[np.r_[0 : len(levels) - 2, len(levels) - 1]]


def some(levels: Level, entries: list[int]) -> Level:
    """Those entries of the grid."""
    return levels[np.asarray(entries)]


NAMES: dict[str, Any] = {
    **{name: getattr(samplers, name) for name in samplers.__all__},
    **{name: getattr(grids, name) for name in ("leading", "trailing", "linspace", "karras", "log_snr")},
    "without_last_start": without_last_start,
    "some": some,
    "SD": schedules.scaled_linear(),
    "ZERO_SNR": schedules.zero_terminal_snr(schedules.scaled_linear()),
    "COSINE": schedules.cosine(),
    "EDM": schedules.edm(),
    "FLOW": schedules.flow(),
    "edm": schedules.edm,
    "shifted": schedules.shifted,
    "zero_terminal_snr": schedules.zero_terminal_snr,
}
