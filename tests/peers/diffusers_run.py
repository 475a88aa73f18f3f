"""Drives a scheduler of diffusers with the exact denoiser, in double precision, with our noise in place of its own."""

import inspect
from typing import Any

import diffusers
import jax.numpy as jnp
import numpy as np
import torch

from gendiff.diffusion.types import Level
from tests.peers import exact
from tests.peers.cases import Case
from tests.peers.diffusers_views import VIEWS, View, named
from tests.peers.stand_ins import standing_in

USUAL = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


def run(case: Case, kind: str | None, *, shipped: bool = False) -> exact.Run:
    """The scheduler's run, on Stable Diffusion's table where it asks for one, without clipping.

    kind: the prediction type, None for a scheduler that has but one. shipped: in the scheduler's own precision.
    """
    scheduler_class, view = getattr(diffusers, f"{case.name}Scheduler"), VIEWS[case.name]
    takes = inspect.signature(scheduler_class.__init__).parameters
    options = {option: value for option, value in USUAL.items() if option in takes} | case.options
    kinds = {} if kind is None else {"prediction_type": kind}

    def draw() -> np.ndarray:
        step, early = (call, False) if case.path is None else (call // 2, call % 2 == 0)
        return exact.noise(step, early, levels, case.path)

    with standing_in(inspect.getmodule(scheduler_class), draw, double=not shipped):
        scheduler = scheduler_class(**options, **kinds)
        scheduler.set_timesteps(**case.timesteps or {"num_inference_steps": case.steps})
        visited = view.visited(scheduler)
        ends = visited[view.ends(scheduler)]
        calls = min(len(scheduler.timesteps), len(visited) - 1)
        if not case.whole:
            ends, calls = ends[:-1], calls - 1
        levels = case.grid(ends)
        start = exact.start(ends.alpha[0], ends.sigma[0])
        x = torch.as_tensor(start, dtype=torch.float32 if shipped else torch.float64)
        if hasattr(scheduler, "noise_sampler"):
            scheduler.noise_sampler = lambda *_: torch.as_tensor(draw(), dtype=x.dtype)
        for call in range(calls):
            x = view.step(scheduler, call, _answer(view, scheduler, call, visited[call], x), x, **case.step)
    return exact.Run(start / exact.length(ends[0]), x.numpy() / exact.length(ends[-1]), levels, calls)


def _answer(view: View, scheduler: Any, call: int, level: Level, x: torch.Tensor) -> torch.Tensor:
    """The exact network's, of what the scheduler shows it: which is checked."""
    scaled = scheduler.scale_model_input(x, scheduler.timesteps[call]) if hasattr(scheduler, "scale_model_input") else x
    x64, network = jnp.asarray(x.numpy(), jnp.float64), view.network or named(scheduler)
    clean, noise, share = exact.predicted(x64, level.alpha, level.sigma)
    scale = 1 / exact.length(level) if view.scaled else 1.0
    rescaled = Level(level.t, level.alpha * scale, level.sigma * scale)
    np.testing.assert_allclose(scaled.numpy(), network.scale_in(x64 * scale, rescaled), rtol=1e-5, atol=1e-6)
    output = np.asarray(network.target(clean, noise, rescaled))
    if getattr(scheduler.config, "variance_type", None) == "learned_range":
        output = np.concatenate([output, 2 * np.asarray(share) - 1], axis=1)
    return torch.as_tensor(output, dtype=x.dtype)
