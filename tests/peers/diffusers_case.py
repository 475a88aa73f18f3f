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

EVERY_KIND = ("epsilon", "sample", "v_prediction")
SDE = {"algorithm_type": "sde-dpmsolver++"}
NOISE_FORM = {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}
EVEN = {"use_exponential_sigmas": True, "lower_order_final": True}
TO_CLEAN, TO_FIRST, FURTHER = "without_last_start(linspace(SD, 11))", "linspace(SD, 11)[:-1]", "linspace(SD, 21)[:-1]"
PAIRS, TRIPLES = "[0, 2, 4, 6, 8, 10, 11]", "[0, 3, 6, 9, 10]"
"""Ends of steps on a grid that lists their stages as well."""


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
    proof: Callable[[], Sampler] | None = None

    def __str__(self) -> str:
        return str(self.case)


def case(scheduler: str, sampler: str, levels: str = "own", steps: int = 10, **options: Any) -> Case:
    """A name without "Scheduler". Arguments that no field of `Case` takes are options of the scheduler."""
    fields = {name: options.pop(name) for name in ("kinds", "note") if name in options}
    return Case(scheduler, sampler, levels, steps, options=options, **fields)


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
