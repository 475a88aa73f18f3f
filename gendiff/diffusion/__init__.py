"""The diffusion chapter.

In reading order: types, schedules, process, parameterization, weighting, conditions, objectives, denoiser, guidance, grids, sampling,
samplers. What is built on them: oracles, certify, likelihood, elbo, learned_schedule, inversion, adaptive, editing, inpainting,
linear_operators, posterior, latent, accept_or_reflect, distillation.
"""

from gendiff.diffusion import (
    adaptive,
    certify,
    conditions,
    denoiser,
    distillation,
    editing,
    elbo,
    flow_coordinates,
    grids,
    guidance,
    inpainting,
    inversion,
    latent,
    learned_schedule,
    likelihood,
    linear_operators,
    objectives,
    oracles,
    parameterization,
    posterior,
    process,
    samplers,
    sampling,
    schedules,
    weighting,
)
from gendiff.diffusion.accept_or_reflect import accept_or_reflect
from gendiff.diffusion.denoiser import from_network
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.sampling import in_chunks, sample
from gendiff.diffusion.types import Batch, Denoiser, Level, Prediction

__all__ = [
    "Batch",
    "Denoiser",
    "Level",
    "Prediction",
    "accept_or_reflect",
    "adaptive",
    "ancestral",
    "certify",
    "conditions",
    "denoiser",
    "distillation",
    "editing",
    "elbo",
    "flow_coordinates",
    "from_network",
    "grids",
    "guidance",
    "in_chunks",
    "inpainting",
    "inversion",
    "latent",
    "learned_schedule",
    "likelihood",
    "linear_operators",
    "objectives",
    "oracles",
    "parameterization",
    "posterior",
    "process",
    "sample",
    "samplers",
    "sampling",
    "schedules",
    "weighting",
]
