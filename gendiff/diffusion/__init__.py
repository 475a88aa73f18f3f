"""The diffusion chapter, in reading order: schedules, process, parameterization, weighting, objectives, denoiser, guidance, grids,
sampling, samplers, oracles."""

from gendiff.diffusion import (
    denoiser,
    grids,
    guidance,
    objectives,
    oracles,
    parameterization,
    process,
    samplers,
    sampling,
    schedules,
    weighting,
)
from gendiff.diffusion.samplers import ancestral

__all__ = [
    "ancestral",
    "denoiser",
    "grids",
    "guidance",
    "objectives",
    "oracles",
    "parameterization",
    "process",
    "samplers",
    "sampling",
    "schedules",
    "weighting",
]
