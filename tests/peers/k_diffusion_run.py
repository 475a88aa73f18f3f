"""Drives a function of k_diffusion.sampling with the exact denoiser, in double precision, with our noise in place of
its own.

Importing it raises ImportError where k-diffusion, torchdiffeq or torchsde is missing.
"""

import importlib
import importlib.util
import inspect
import itertools
import sys
import types
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch

from tests.peers import exact
from tests.peers.cases import Case
from tests.peers.stand_ins import standing_in


def _load() -> types.ModuleType:
    """k_diffusion.sampling alone: the package itself imports what only its networks, data and metrics need."""
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("k-diffusion is not installed")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    unused = {
        name: types.ModuleType(name)
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")
    }
    unused["torchvision.transforms"].functional = unused["torchvision.transforms.functional"]
    with mock.patch.dict(sys.modules, {**unused, "k_diffusion": package}):
        return importlib.import_module("k_diffusion.sampling")


sampling = _load()


def run(case: Case, kind: str | None = None, *, shipped: bool = False) -> exact.Run:
    """The function's run along levels with alpha = 1. A function that chooses its own steps gets the ends in place of
    levels.

    shipped: in single precision.
    """
    levels, dtype = jax.tree.map(np.asarray, case.grid()), torch.float32 if shipped else torch.float64
    sigmas, calls, counter = torch.as_tensor(levels.sigma, dtype=dtype), [], itertools.count()
    start = exact.start(1.0, levels.sigma[0])

    def denoised(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        calls.append(sigma)
        clean, _, _ = exact.predicted(jnp.asarray(x.numpy(), jnp.float64), 1.0, float(sigma[0]))
        return torch.as_tensor(np.asarray(clean), dtype=dtype)

    def between(sigma: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        step = int(torch.argmin((sigmas[:-1] - sigma).abs()))
        return torch.as_tensor(
            exact.noise(step, bool(following > sigmas[step + 1] * (1 + 1e-6)), levels, case.path), dtype=dtype
        )

    function = getattr(sampling, case.name)
    takes = inspect.signature(function).parameters
    options = (
        {"sigmas": sigmas} if "sigmas" in takes else {"sigma_min": sigmas[-1].item(), "sigma_max": sigmas[0].item()}
    )
    if "noise_sampler" in takes:
        options["noise_sampler"] = between
    with standing_in(sampling, lambda: exact.noise(next(counter)), double=not shipped):
        end = function(denoised, torch.as_tensor(start, dtype=dtype), disable=True, **options, **case.options)
    return exact.Run(start / exact.length(levels[0]), end.numpy() / exact.length(levels[-1]), levels, len(calls))
