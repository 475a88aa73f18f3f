"""How often JAX traces a draw while every number in it changes."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.invariance.config import Config
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Count, Params
from gendiff.diffusion import denoiser, grids, parameterization, samplers, sampling, schedules
from gendiff.diffusion.samplers.catalogue import Method
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level
from gendiff.runs import devices

INDEX = np.arange(4, dtype=np.int32)
SHAPE = (4, 4, 1)
"""Of the samples of the small network."""


@dataclasses.dataclass(frozen=True)
class Traces:
    """traces: of all calls together. own: how many results there are, equal ones counted once."""

    traces: int
    calls: int
    own: int

    @property
    def share(self) -> float:
        return self.own / self.calls


def of_model(model: Model, params: Iterable[Params], config: Config, *, static: bool = False) -> Traces:
    """The draw of the design over steps × parameters × guidance scales × etas. static: the step count is part of the
    program.
    """

    def draw(
        params: Params, numbers: Any, key: Any, index: Any, label: Any, levels: Level, num_steps: Count
    ) -> jax.Array:
        scale, eta = numbers
        guided = model.guided(params, label, scale)
        return sampling.sample(key, guided, samplers.ddim(eta=eta), levels, model.shape, index, num_steps=num_steps)

    numbers = list(itertools.product(config.guidance, (0.0, 0.5, 1.0)))
    return _counted(draw, lambda: itertools.product(params, numbers), model.schedule, config, static)


def of_static(config: Config) -> Traces:
    """`of_model` with the small network, and the step count as part of the program."""
    small = Model(
        small_network, lambda key: small_params()[0], schedules.scaled_linear(), parameterization.velocity(), SHAPE
    )
    return of_model(small, small_params(), config, static=True)


def of_sampler(method: Method, config: Config) -> Traces:
    """One sampler, rebuilt for every call, over steps × its numbers × parameters, with the small network."""

    def draw(
        params: Params, sampler: Any, key: Any, index: Any, label: Any, levels: Level, num_steps: Count
    ) -> jax.Array:
        denoise = denoiser.from_network(
            _with_variance, params, parameterization.velocity(), label, learned_variance=True
        )
        return sampling.sample(key, denoise, sampler, levels, SHAPE, index, num_steps=num_steps)

    return _counted(
        draw,
        lambda: itertools.product(small_params(), variants(method)),
        schedules.scaled_linear(),
        config,
        static=False,
    )


def variants(method: Method) -> list[Sampler]:
    """The method's sampler, built anew for Stable Diffusion's schedule, with the first and the second value of each
    number it has.
    """
    sampler = method.make(schedules.scaled_linear())  # type: ignore[misc]  # every method of the catalogue has a sampler
    values = [{name: two[k] for name, two in method.numbers} for k in range(2)] if method.numbers else [{}]
    return [dataclasses.replace(sampler, **numbers) for numbers in values]  # type: ignore[type-var]  # every sampler is a record


def small_params() -> list[Params]:
    """Two sets of parameters of the small network."""
    return [{"gain": jnp.float32(gain), "label": jnp.float32(0.1)} for gain in (0.5, 0.9)]


def small_network(params: Params, x: jax.Array, t: jax.Array, label: jax.Array) -> jax.Array:
    """Two numbers: what a trace costs does not depend on the network, what a compile costs does."""
    hint = params["label"] * label.astype(x.dtype) + 1e-3 * t
    return jnp.tanh(params["gain"] * x + hint[:, None, None, None])


def _with_variance(params: Params, x: jax.Array, t: jax.Array, label: jax.Array) -> jax.Array:
    output = small_network(params, x, t, label)
    return jnp.concatenate([output, jax.nn.sigmoid(output)], axis=-1)


def _counted(
    draw: Callable[..., jax.Array],
    settings: Callable[[], Iterable[tuple[Params, Any]]],
    schedule: Schedule,
    config: Config,
    static: bool,
) -> Traces:
    """Of draw(params, setting, key, index, label, levels, num_steps), with settings that are built anew for every
    number of steps.
    """
    traces: list[None] = []

    def traced(*arguments: Any, num_steps: Count) -> jax.Array:
        traces.append(None)
        return draw(*arguments, num_steps)

    compiled, results = devices.jit(traced, static_argnames="num_steps" if static else ()), []
    for steps in config.trace_steps:
        levels = grids.padded(grids.trailing(schedule, steps), max(config.trace_steps))
        for params, setting in settings():
            samples = compiled(params, setting, jax.random.key(0), INDEX, INDEX, levels, num_steps=steps)
            results.append(np.asarray(samples).tobytes())
    return Traces(len(traces), len(results), len(set(results)))
