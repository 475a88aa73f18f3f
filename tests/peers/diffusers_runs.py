"""Drives a scheduler of diffusers with the exact denoiser, in double precision, with our noise in place of its own."""

import contextlib
import dataclasses
import inspect
import sys
from collections.abc import Callable, Iterator
from typing import Any

import diffusers
import jax.numpy as jnp
import numpy as np
import torch

from gendiff.diffusion.types import Level
from tests.peers import exact
from tests.peers.diffusers_views import VIEWS, View

torch.set_num_threads(1)

USUAL = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


@dataclasses.dataclass(frozen=True)
class Run:
    """x over its length where the scheduler started and ended, the levels that it stepped between, how often it asked the network."""

    start: np.ndarray
    end: np.ndarray
    levels: Level
    evaluations: int


def run(
    name: str,
    steps: int,
    *,
    timesteps: dict[str, Any] | None = None,
    step: dict[str, Any] | Callable[[Any, int], dict[str, Any]] | None = None,
    noise: Callable[[int], np.ndarray] = exact.step_noise,
    calls: int | None = None,
    shipped: bool = False,
    **config: Any,
) -> Run:
    """`steps` steps of the scheduler of that name, of Stable Diffusion's table where it asks for one, without clipping.

    timesteps, step: further arguments of its methods. noise: of each call of `step`. calls: stop after so many. shipped: in the
    scheduler's own precision.
    """
    kind, view = scheduler_of(name), VIEWS[name]
    takes = inspect.signature(kind.__init__).parameters
    with contextlib.nullcontext() if shipped else double(kind):
        scheduler = kind(**{option: value for option, value in USUAL.items() if option in takes} | config)
        scheduler.set_timesteps(**({"num_inference_steps": steps} if timesteps is None else timesteps))
        levels, visited = view.levels(scheduler), scheduler.timesteps[:calls]
        given = exact.start(levels.alpha[0], levels.sigma[0])
        x, current = torch.as_tensor(given, dtype=torch.float32 if shipped else torch.float64), 0
        if hasattr(scheduler, "noise_sampler"):
            scheduler.noise_sampler = lambda *_: torch.as_tensor(noise(current), dtype=x.dtype)
        with noise_of(kind, lambda: noise(current)):
            for current, t in enumerate(visited):  # noqa: B007
                answer = _answer(view, scheduler, current, t, x)
                more = step(scheduler, current) if callable(step) else step or {}
                x = scheduler.step(answer, view.time(t), x, **more).prev_sample
    levels = levels if calls is None else levels[: calls - view.more + 1]
    return Run(given / exact.length(levels[0]), x.numpy() / exact.length(levels[-1]), levels, len(visited))


def scheduler_of(name: str) -> type:
    """The class of that name."""
    return getattr(diffusers, f"{name}Scheduler")


class Stand:
    """A module with some of its names replaced."""

    def __init__(self, module: Any, **names: Any):
        self.__dict__.update(names, _module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


@contextlib.contextmanager
def double(kind: type) -> Iterator[None]:
    """What the scheduler's module makes float32, it makes float64: its tables, and the samples that its steps cast."""
    default = torch.get_default_dtype()
    stands = {"torch": Stand(torch, float32=torch.float64), "np": Stand(np, float32=np.float64)}
    torch.set_default_dtype(torch.float64)
    try:
        with _replaced(kind, **stands):
            yield
    finally:
        torch.set_default_dtype(default)


@contextlib.contextmanager
def noise_of(kind: type, draw: Callable[[], np.ndarray]) -> Iterator[None]:
    """What the scheduler draws is `draw()`."""
    with _replaced(kind, randn_tensor=lambda shape, dtype=None, **_: torch.as_tensor(draw(), dtype=dtype)):
        yield


@contextlib.contextmanager
def _replaced(kind: type, **names: Any) -> Iterator[None]:
    """Those names of the scheduler's module, where it has them."""
    module = sys.modules[kind.__module__]
    before = {name: getattr(module, name) for name in names if hasattr(module, name)}
    try:
        for name in before:
            setattr(module, name, names[name])
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


def _answer(view: View, scheduler: Any, call: int, t: Any, x: torch.Tensor) -> torch.Tensor:
    """The exact network's, of what the scheduler shows it: which is checked."""
    shown = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
    level, network = view.at(scheduler, call, t), view.network(scheduler)
    given = jnp.asarray(x.numpy(), jnp.float64)
    clean, noise, share = exact.predicted(given, level.alpha, level.sigma)
    scale = 1 / exact.length(level) if view.scaled else 1.0
    seen = Level(level.t, level.alpha * scale, level.sigma * scale)
    np.testing.assert_allclose(shown.numpy(), network.scale_in(given * scale, seen), rtol=1e-5, atol=1e-6)
    output = np.asarray(network.target(clean, noise, seen))
    if getattr(scheduler.config, "variance_type", None) == "learned_range":
        output = np.concatenate([output, 2 * np.asarray(share) - 1], axis=1)
    return torch.as_tensor(output, dtype=x.dtype)
