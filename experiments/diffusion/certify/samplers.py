"""Every sampler of the library as the certify experiment measures it, each under its entry in `methods.METHODS`; and two that are wrong."""

import functools
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from gendiff.core import records
from gendiff.core.types import Count
from gendiff.diffusion import samplers, schedules
from gendiff.diffusion.certify.theory import METHODS, Method
from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction

FAMILIES = (
    "Runge-Kutta",
    "DPM-Solver++ multistep",
    "DPM-Solver++ single step",
    "UniPC",
    "DEIS",
    "PNDM and reversible Heun",
    "ancestral",
    "SDE",
)


@dataclass(frozen=True)
class Entry:
    """One sampler. call: how a user makes it. name: of its method. along_path: whether its noise comes from Brownian paths.

    short: its name in a plot, empty for one that draws the very curve of another.
    """

    call: str
    name: str
    sampler: Sampler
    family: str
    short: str
    along_path: bool = False

    @property
    def id(self) -> str:
        """A word of letters, digits, hyphens and underscores, one for each call."""
        kept = "".join(letter if letter.isalnum() or letter == "_" else " " for letter in self.call)
        return "-".join(kept.split())

    @property
    def method(self) -> Method:
        """What theory says of it."""
        return METHODS[self.name]


def entries(schedule: Schedule | None = None) -> tuple[Entry, ...]:
    """All of them. schedule: for those that visit levels between two of the grid, default `schedules.flow()`."""
    schedule = schedules.flow() if schedule is None else schedule
    return (*_deterministic(schedule), *_stochastic(schedule))


def _deterministic(schedule: Schedule) -> tuple[Entry, ...]:
    multi, single = samplers.dpm_solver_multistep, functools.partial(samplers.dpm_solver_single, schedule)
    rk, many, one, uni, exponential, rest = FAMILIES[:6]
    return (
        Entry("ddim()", "ddim", samplers.ddim(), rk, "DDIM, Euler"),
        Entry("euler()", "euler", samplers.euler(), rk, ""),
        Entry("heun()", "heun", samplers.heun(), rk, "Heun"),
        Entry("rk4(schedule)", "rk4", samplers.rk4(schedule), rk, "RK4"),
        Entry("dpm_solver_multistep(1)", "dpm_solver_multistep 1", multi(1), many, ""),
        Entry("dpm_solver_multistep(2)", "dpm_solver_multistep 2", multi(2), many, "2M"),
        Entry('dpm_solver_multistep(2, formula="exact")', "dpm_solver_multistep 2", multi(2, formula="exact"), many, "2M exact"),
        Entry("dpm_solver_multistep(3)", "dpm_solver_multistep 3", multi(3), many, "3M"),
        Entry(
            'dpm_solver_multistep(3, formula="published")',
            "dpm_solver_multistep 3 published",
            multi(3, formula="published"),
            many,
            "3M published",
        ),
        Entry("dpm_solver_single(schedule, 1)", "dpm_solver_single 1", single(1), one, ""),
        Entry("dpm_solver_single(schedule, 2)", "dpm_solver_single 2", single(2), one, "2S"),
        Entry("dpm_solver_single(schedule, 3)", "dpm_solver_single 3", single(3), one, "3S"),
        Entry("unipc(1)", "unipc 1", samplers.unipc(1), uni, "1"),
        Entry("unipc(2)", "unipc 2", samplers.unipc(2), uni, "2"),
        Entry('unipc(2, variant="bh1")', "unipc 2", samplers.unipc(2, variant="bh1"), uni, "2 bh1"),
        Entry("unipc(3)", "unipc 3", samplers.unipc(3), uni, "3"),
        Entry("deis(1)", "deis 1", samplers.deis(1), exponential, ""),
        Entry("deis(2)", "deis 2", samplers.deis(2), exponential, "2"),
        Entry("deis(3)", "deis 3", samplers.deis(3), exponential, "3"),
        Entry('deis(3, variable="ratio")', "deis 3", samplers.deis(3, variable="ratio"), exponential, "3 ratio"),
        Entry('deis(3, start="plain")', "deis 3 plain", samplers.deis(3, start="plain"), exponential, "3 plain"),
        Entry("deis(4)", "deis 4", samplers.deis(4), exponential, "4"),
        Entry("pndm()", "pndm", samplers.pndm(), rest, "PLMS"),
        Entry("pndm(schedule)", "pndm runge_kutta", samplers.pndm(schedule), rest, "F-PNDM"),
        Entry("reversible_heun()", "reversible_heun", samplers.reversible_heun(), rest, "reversible Heun"),
    )


def _stochastic(schedule: Schedule) -> tuple[Entry, ...]:
    multi, single = samplers.dpm_solver_multistep, functools.partial(samplers.dpm_solver_single, schedule)
    learned = samplers.ddpm("learned")
    old, sde = FAMILIES[6:]
    return (
        Entry("ddim(0.6)", "ddim stochastic", samplers.ddim(0.6), old, "DDIM, eta 0.6"),
        Entry("ddpm()", "ddpm small", samplers.ddpm(), old, "DDPM"),
        Entry('ddpm("large")', "ddpm large", samplers.ddpm("large"), old, "DDPM large"),
        Entry('ddpm("learned")', "ddpm learned", HalfWay(learned), old, "DDPM half-way"),
        Entry("euler_ancestral()", "euler_ancestral", samplers.euler_ancestral(), old, ""),
        Entry("churn(schedule)", "churn", samplers.churn(schedule), sde, "churn 40"),
        Entry("dpm_solver_multistep(1, eta=1.0)", "dpm_solver_multistep 1 sde", multi(1, eta=1.0), sde, "SDE 1"),
        Entry("dpm_solver_multistep(2, eta=1.0)", "dpm_solver_multistep 2 sde", multi(2, eta=1.0), sde, "SDE 2M"),
        Entry("dpm_solver_multistep(3, eta=1.0)", "dpm_solver_multistep 3 sde", multi(3, eta=1.0), sde, "SDE 3M"),
        Entry("dpm_solver_single(schedule, 1, eta=1.0)", "dpm_solver_single 1 sde", single(1, eta=1.0), sde, ""),
        Entry("dpm_solver_single(schedule, 2, eta=1.0)", "dpm_solver_single 2 sde", single(2, eta=1.0), sde, "SDE 2S"),
        Entry("predictor_corrector()", "predictor_corrector", samplers.predictor_corrector(), old, "predictor-corrector"),
        Entry("fixed_path(ddim(1.0))", "fixed_path", samplers.fixed_path(samplers.ddim(1.0)), old, "DDIM along a path", along_path=True),
    )


@records.record
class HalfWay(Sampler):
    """`ddpm("learned")` with a network that answers the middle between both variances, in the logarithm."""

    sampler: Sampler

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        def told(x: Array, level: Level) -> Prediction:
            prediction = denoise(x, level)
            return records.replace(prediction, variance_share=jnp.full_like(prediction.clean, 0.5))

        return self.sampler.step(noise, told, state, level, cleaner, left)


# Null controls: samplers that are wrong on purpose.


@records.record
class WrongHeun(runge_kutta.Heun):
    """Heun's method with the weights 0.4 and 0.6 in place of a half each: order 1."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        first = denoise(state.x, level)
        moved = ancestral.ddim_step(first, level, cleaner)
        return State(moved + 1.2 * runge_kutta.heun_correction(first, denoise(moved, cleaner), level, cleaner))


def previous_timestep(schedule: Schedule) -> Sampler:
    """DDIM to entry t - T // n of a table of T entries in n steps, as is common, in place of the level that the grid visits next.

    The next step asks the network at the grid's level all the same. An entry below 0 is where the grid ends. Raises ValueError without a
    table.
    """
    table = schedule.table
    if table is None:
        raise ValueError("t - T // n is an entry of a table, and this schedule has none")
    return PreviousTimestep(jnp.asarray(table.alpha), jnp.asarray(table.sigma))


@records.record
class PreviousTimestep(Sampler):
    """alpha, sigma (T,): the table's. The memory counts the steps taken."""

    alpha: Any
    sigma: Any

    def init(self, x: Array) -> State:
        return State(x, jnp.zeros((), jnp.int32))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        length = self.alpha.shape[0]
        entry = jnp.round(level.t).astype(jnp.int32) - length // (state.memory + left + 1)
        inside = entry >= 0
        reached = [
            jnp.where(inside, field[jnp.maximum(entry, 0)], end)
            for field, end in ((self.alpha, cleaner.alpha), (self.sigma, cleaner.sigma))
        ]
        moved = ancestral.ddim_step(denoise(state.x, level), level, Level(entry, *reached))
        return State(moved, state.memory + 1)
