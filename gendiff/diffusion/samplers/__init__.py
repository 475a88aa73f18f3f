"""Samplers, one family a file."""

from gendiff.diffusion.samplers import ancestral, catalogue, exponential_integrators, runge_kutta
from gendiff.diffusion.samplers.ancestral import ddim, ddpm
from gendiff.diffusion.samplers.churn import churn
from gendiff.diffusion.samplers.deis import deis
from gendiff.diffusion.samplers.dpm_solver_multistep import dpm_solver_multistep
from gendiff.diffusion.samplers.dpm_solver_single import dpm_solver_single
from gendiff.diffusion.samplers.euler_ancestral import euler_ancestral
from gendiff.diffusion.samplers.fixed_path import fixed_path
from gendiff.diffusion.samplers.pndm import pndm
from gendiff.diffusion.samplers.predictor_corrector import predictor_corrector
from gendiff.diffusion.samplers.reversible_heun import reversible_heun
from gendiff.diffusion.samplers.runge_kutta import euler, heun, rk4
from gendiff.diffusion.samplers.stretched import stretched
from gendiff.diffusion.samplers.unipc import unipc

__all__ = [
    "ancestral",
    "catalogue",
    "churn",
    "ddim",
    "ddpm",
    "deis",
    "dpm_solver_multistep",
    "dpm_solver_single",
    "euler",
    "euler_ancestral",
    "exponential_integrators",
    "fixed_path",
    "heun",
    "pndm",
    "predictor_corrector",
    "reversible_heun",
    "rk4",
    "runge_kutta",
    "stretched",
    "unipc",
]
