"""The diffusion chapter.

In reading order: types, schedules, process, parameterization, weighting, conditions, objectives, denoiser, guidance, grids, sampling,
samplers, remembering, cached_features, parallel. What is built on them: immiscible, alignment, oracles, certify, likelihood, elbo,
learned_schedule, inversion, adaptive, editing, inpainting, linear_operators, posterior, latent, accept_or_reflect, distillation.
"""

from gendiff.diffusion import (
    adaptive,
    alignment,
    certify,
    conditions,
    denoiser,
    distillation,
    editing,
    elbo,
    flow_coordinates,
    grids,
    guidance,
    immiscible,
    inpainting,
    inversion,
    latent,
    learned_schedule,
    likelihood,
    linear_operators,
    objectives,
    oracles,
    parallel,
    parameterization,
    posterior,
    process,
    remembering,
    samplers,
    sampling,
    schedules,
    weighting,
)
from gendiff.diffusion.accept_or_reflect import accept_or_reflect
from gendiff.diffusion.cached_features import cached_features
from gendiff.diffusion.denoiser import from_network
from gendiff.diffusion.remembering import remember
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
    "alignment",
    "ancestral",
    "cached_features",
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
    "immiscible",
    "in_chunks",
    "inpainting",
    "inversion",
    "latent",
    "learned_schedule",
    "likelihood",
    "linear_operators",
    "objectives",
    "oracles",
    "parallel",
    "parameterization",
    "posterior",
    "process",
    "remember",
    "remembering",
    "sample",
    "samplers",
    "sampling",
    "schedules",
    "weighting",
]
