"""Samplers, one family a file."""

from gendiff.diffusion.samplers import ancestral, runge_kutta
from gendiff.diffusion.samplers.ancestral import ddim, ddpm
from gendiff.diffusion.samplers.runge_kutta import euler

__all__ = ["ancestral", "ddim", "ddpm", "euler", "runge_kutta"]
