"""Drives a function of k_diffusion.sampling with the exact denoiser, in double precision, with our noise in place of its own."""

import contextlib
import importlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax.numpy as jnp
import numpy as np
import torch

from gendiff.diffusion.types import Level
from tests.peers import exact

torch.set_num_threads(1)


def load() -> types.ModuleType:
    """k_diffusion.sampling alone: the package itself imports what only its networks, data and metrics need.

    Raises ImportError where it, torchdiffeq or torchsde is missing.
    """
    spec = importlib.util.find_spec("k_diffusion")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("k-diffusion is not installed")
    package = types.ModuleType("k_diffusion")
    package.__path__ = list(spec.submodule_search_locations)
    unused = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")}
    unused["torchvision.transforms"].functional = unused["torchvision.transforms.functional"]
    with mock.patch.dict(sys.modules, {**unused, "k_diffusion": package}):
        return importlib.import_module("k_diffusion.sampling")


def run(
    sampling: types.ModuleType, name: str, levels: Level, *, noise: Callable[[int, bool], np.ndarray] | None = None, **options: Any
) -> tuple[np.ndarray, np.ndarray, int]:
    """Start and end over their lengths, and how often the denoiser was asked, along levels with alpha = 1.

    noise: of a step, and whether it ends before the step does. Functions that choose their own steps get the ends in place of levels.
    """
    sigmas, visited = torch.as_tensor(np.asarray(levels.sigma)), []
    x = torch.as_tensor(exact.start(1.0, sigmas[0].item()))
    draw = (lambda step, early: exact.step_noise(step)) if noise is None else noise

    def denoised(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        visited.append(float(sigma[0]))
        clean, _, _ = exact.predicted(jnp.asarray(x.numpy()), 1.0, float(sigma[0]))
        return torch.as_tensor(np.asarray(clean))

    def between(sigma: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        step = int(torch.argmin((sigmas[:-1] - sigma).abs()))
        return torch.as_tensor(draw(step, bool(following > sigmas[step + 1] * (1 + 1e-9))))

    counted = iter(range(len(sigmas)))
    standing = types.SimpleNamespace(**{**vars(torch), "randn_like": lambda x: torch.as_tensor(draw(next(counted), False))})
    function = getattr(sampling, name)
    takes = inspect.signature(function).parameters
    given = {"sigmas": sigmas} if "sigmas" in takes else {"sigma_min": sigmas[-1].item(), "sigma_max": sigmas[0].item()}
    if "noise_sampler" in takes:
        given["noise_sampler"] = between
    with double(), mock.patch.object(sampling, "torch", standing):
        end = function(denoised, x, disable=True, **given, **options)
    lengths = [np.sqrt(1 + float(sigma) ** 2) for sigma in (sigmas[0], sigmas[-1])]
    return x.numpy() / lengths[0], end.numpy() / lengths[1], len(visited)


@contextlib.contextmanager
def double() -> Iterator[None]:
    """New tensors are double."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
