"""Samplers, one family a file."""

from gendiff.diffusion.samplers import ancestral, brownian, exponential, langevin, multistep, runge_kutta, singlestep, stochastic
from gendiff.diffusion.samplers.ancestral import ddim, ddpm
from gendiff.diffusion.samplers.brownian import fixed_path
from gendiff.diffusion.samplers.deis import deis
from gendiff.diffusion.samplers.langevin import predictor_corrector
from gendiff.diffusion.samplers.multistep import dpm_solver_multistep
from gendiff.diffusion.samplers.pndm import pndm
from gendiff.diffusion.samplers.runge_kutta import euler, heun, rk4
from gendiff.diffusion.samplers.singlestep import dpm_solver_single
from gendiff.diffusion.samplers.stochastic import churn, euler_ancestral
from gendiff.diffusion.samplers.unipc import unipc

__all__ = [
    "ancestral",
    "brownian",
    "churn",
    "ddim",
    "ddpm",
    "deis",
    "dpm_solver_multistep",
    "dpm_solver_single",
    "euler",
    "euler_ancestral",
    "exponential",
    "fixed_path",
    "heun",
    "langevin",
    "multistep",
    "pndm",
    "predictor_corrector",
    "rk4",
    "runge_kutta",
    "singlestep",
    "stochastic",
    "unipc",
]
