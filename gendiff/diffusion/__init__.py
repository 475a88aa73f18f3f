"""The diffusion chapter, in reading order: schedules, process, parameterization, weighting, objectives, denoiser, guidance, grids,
sampling, samplers, and what is built on them: oracles, certify, likelihood, bound, learned, inversion, adaptive."""

from gendiff.diffusion import (
    adaptive,
    bound,
    certify,
    denoiser,
    grids,
    guidance,
    inversion,
    learned,
    likelihood,
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
    "adaptive",
    "ancestral",
    "bound",
    "certify",
    "denoiser",
    "grids",
    "guidance",
    "inversion",
    "learned",
    "likelihood",
    "objectives",
    "oracles",
    "parameterization",
    "process",
    "samplers",
    "sampling",
    "schedules",
    "weighting",
]
