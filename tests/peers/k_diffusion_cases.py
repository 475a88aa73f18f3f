"""The functions of k_diffusion.sampling beside gendiff: where both agree, where they differ and why, and what has no counterpart."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from gendiff.diffusion import grids, samplers, schedules
from gendiff.diffusion.samplers import exponential_integrators
from gendiff.diffusion.samplers.dpm_solver_multistep import Coefficients, Multistep
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Level
from tests.peers.diffusers_case import cases, differences

USUAL = "karras(EDM, 10)"
NAMES: dict[str, Any] = {
    **{name: getattr(samplers, name) for name in samplers.__all__},
    **{name: getattr(grids, name) for name in ("karras", "log_snr")},
    "EDM": schedules.edm(0.02, 20.0),
    "CLEAN_HALF": schedules.edm(0.02, 0.7),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A function and its options; gendiff's sampler and levels, evaluated in NAMES. path: its steps draw twice, with this eta."""

    function: str
    sampler: str
    levels: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    path: float | None = None

    def __str__(self) -> str:
        levels = [] if self.levels == USUAL else [self.levels]
        return ", ".join([self.function, *levels, *[f"{name}={value}" for name, value in self.options.items()]])

    def ours(self) -> Sampler:
        return eval(self.sampler, NAMES)

    def grid(self) -> Level:
        return eval(self.levels, NAMES)


def second_step_exact(step: jax.Array, rate: Any, others: jax.Array, count: int) -> list[jax.Array]:
    """`exponential.halved` without its midpoint rule for one other prediction."""
    moments = exponential_integrators.moments(step, rate, others, count)
    return [jnp.where(others == 2, moment / 2, moment) if k == 2 else moment for k, moment in enumerate(moments, 1)]


def third_order(eta: float | None) -> Sampler:
    """The usual third-order stepper with an exact second step."""
    return Multistep(Coefficients(rule=second_step_exact), 3, "never", False, eta)


NAMED = {"third_order": third_order, "LIMITS": {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 0.5, "s_noise": 1.01}}
AGREE = """\
sample_euler | euler() | karras(EDM, 10)
sample_euler_ancestral(eta=1.0) | euler_ancestral(1.0) | karras(EDM, 10)
sample_euler_ancestral(eta=0.5) | euler_ancestral(0.5) | karras(EDM, 10)
sample_heun | heun() | karras(CLEAN_HALF, 10)
sample_heun(s_churn=4.0) | churn(EDM, 4.0) | karras(CLEAN_HALF, 10)
sample_heun(**LIMITS) | churn(EDM, 40.0, churn_min=0.05, churn_max=0.5, churn_noise=1.01) | karras(CLEAN_HALF, 10)
sample_lms | deis(4, variable='ratio', start='plain') | karras(EDM, 10, end='first')
sample_lms(order=3) | deis(3, variable='ratio', start='plain') | karras(EDM, 10, end='first')
sample_dpmpp_2s_ancestral(eta=0.0) | dpm_solver_single(EDM, 2) | karras(EDM, 10)
sample_dpmpp_sde(eta=0.0) | dpm_solver_single(EDM, 2) | karras(EDM, 10)
sample_dpmpp_sde(eta=1.0, path=1.0) | dpm_solver_single(EDM, 2, eta=1.0) | karras(EDM, 10)
sample_dpmpp_2m | dpm_solver_multistep(2) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=0.0) | dpm_solver_multistep(2) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=1.0) | dpm_solver_multistep(2, eta=1.0) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=0.5) | dpm_solver_multistep(2, eta=0.5**0.5) | karras(EDM, 10)
sample_dpmpp_2m_sde(eta=1.0, solver_type='heun') | dpm_solver_multistep(2, eta=1.0, formula='exact') | karras(EDM, 10)
"""
DIFFER = """\
0.164 | sample_heun | heun() | karras(EDM, 10)
    the trapezoid in x where sigma > 1 too; gendiff's is in x/sigma there
0.2 | sample_dpm_2 | dpm_solver_single(EDM, 2) | karras(EDM, 10)
    DPM-Solver-2 in noise form; gendiff has the data form
1.32e-3 | sample_lms | deis(4, variable='ratio', start='plain') | karras(EDM, 10)
    the step to sigma = 0 extrapolates noise; gendiff's is DDIM and returns the denoised prediction
1.33 | sample_dpmpp_2s_ancestral(eta=1.0, path=1.0) | dpm_solver_single(EDM, 2, eta=1.0) | karras(EDM, 10)
    a step of the flow to below the aim, then noise; gendiff follows the SDE, with noise in the middle of the step too
0.434 | sample_dpmpp_sde(eta=0.5, path=0.5) | dpm_solver_single(EDM, 2, eta=0.5) | karras(EDM, 10)
    eta multiplies the fresh noise of a step; in gendiff, the noise of the SDE. Equal for 0 and 1
1.54e-4 | sample_dpmpp_3m_sde(eta=0.0) | dpm_solver_multistep(3, formula='published') | karras(EDM, 10)
    its second step integrates the line exactly; the usual code, as published, by the midpoint rule | third_order(None)
6.35e-5 | sample_dpmpp_3m_sde(eta=1.0) | dpm_solver_multistep(3, eta=1.0, formula='published') | karras(EDM, 10)
    its second step integrates the line exactly; the usual code, as published, by the midpoint rule | third_order(1.0)
0.104 | sample_dpmpp_3m_sde(eta=0.0) | dpm_solver_multistep(3) | karras(EDM, 10)
    the second difference lacks a factor 2, and the first step is DDIM: order 2 | third_order(None)
0.206 | sample_dpm_fast(n=9) | dpm_solver_single(EDM, 3) | log_snr(EDM, 4, end='first')
    DPM-Solver in noise form with steps of order 3, 3, 2 and 1; gendiff has the data form, all of order 3
"""
AGREEMENTS, DIFFERENCES = cases(AGREE, NAMED, Case), differences(DIFFER, NAMED, Case)
HEUN = DIFFERENCES[0]

APART = {"sample_dpm_adaptive": "ends on the exact flow to 1e-5 with small tolerances; its steps depend on the whole batch"}
"""Compared with the exact flow, in test_k_diffusion."""

ABSENT = {"sample_dpm_2_ancestral": "DPM-Solver-2 to a level below the aim, then noise"}

TABLES = AGREEMENTS, DIFFERENCES, APART, ABSENT
