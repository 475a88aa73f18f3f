"""Generative modelling as pure functions in JAX.

A forward process, a network, a sampler's step and a guidance rule are functions from arrays to arrays; `jit`, `vmap`, `grad` and sharding
are the caller's to apply. Every noised sample is `x = alpha * clean + sigma * noise`.

This page is the table of contents; `import gendiff as gd` and read from `schedules` to `sampling`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from gendiff import core, data, diffusion, metrics, training, weights
from gendiff.core import errors
from gendiff.core.types import NO_LABEL, Batch, Denoiser, Level, Loss, Network, Prediction
from gendiff.diffusion import (
    adaptive,
    bound,
    certify,
    denoiser,
    editing,
    grids,
    guidance,
    inpainting,
    inversion,
    learned,
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
from gendiff.diffusion.samplers import ancestral

if TYPE_CHECKING:
    from gendiff import networks

__version__ = "0.1.0"

__all__ = [
    "NO_LABEL",
    "Batch",
    "Denoiser",
    "Level",
    "Loss",
    "Network",
    "Prediction",
    "adaptive",
    "ancestral",
    "bound",
    "certify",
    "core",
    "data",
    "denoiser",
    "diffusion",
    "editing",
    "errors",
    "grids",
    "guidance",
    "inpainting",
    "inversion",
    "learned",
    "likelihood",
    "linear_operators",
    "metrics",
    "networks",
    "objectives",
    "oracles",
    "parameterization",
    "posterior",
    "process",
    "samplers",
    "sampling",
    "schedules",
    "training",
    "weighting",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name == "networks":  # loaded on first use: flax takes as long to import as all the rest
        return importlib.import_module("gendiff.networks")
    raise AttributeError(f"module 'gendiff' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
