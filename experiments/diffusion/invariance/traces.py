"""How often JAX traces a draw while every number in it changes."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.image_model import Model
from experiments.diffusion.invariance.config import Config
from experiments.framework import devices
from gendiff.core.types import NO_LABEL, Count, Params
from gendiff.diffusion import denoiser, grids, guidance, parameterization, samplers, sampling, schedules
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.samplers.catalogue import Method
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level, Predict

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


def of_design(
    predict: Predict, kind: Parameterization, schedule: Schedule, shape: tuple[int, ...], params: Iterable[Params], config: Config,
    *, static: bool = False,
) -> Traces:  # fmt: skip
    """The draw of the design over steps × guidance scales × etas × parameters. static: the step count is part of the program."""

    def draw(params: Params, key: Any, index: Any, label: Any, scale: Any, eta: Any, levels: Level, num_steps: Count) -> jax.Array:
        given = denoiser.from_network(predict, params, kind, label)
        guided = guidance.classifier_free(given, given.with_condition(NO_LABEL), scale, batched=True)
        return sampling.sample(key, guided, samplers.ddim(eta=eta), levels, shape, index, num_steps=num_steps)

    most = max(config.trace_steps)
    return _counted(
        draw,
        [
            (values, jax.random.key(0), INDEX, INDEX, scale, eta, grids.padded(grids.trailing(schedule, steps), most), steps)
            for steps, scale, eta, values in itertools.product(config.trace_steps, config.guidance, (0.0, 0.5, 1.0), params)
        ],
        static=(7,) if static else (),
    )


def of_model(model: Model, params: Iterable[Params], config: Config) -> Traces:
    """`of_design` with a trained network."""
    return of_design(model.predict, model.parameterization, model.schedule, model.shape, params, config)


def of_static(config: Config) -> Traces:
    """`of_design` with the small network, and the step count as part of the program."""
    return of_design(small_network, parameterization.velocity(), schedules.scaled_linear(), SHAPE, small_params(), config, static=True)


def of_sampler(method: Method, config: Config) -> Traces:
    """One sampler, rebuilt for every call, over its numbers × parameters × steps, with the small network."""
    schedule = schedules.scaled_linear()

    def draw(params: Params, sampler: Any, key: Any, index: Any, label: Any, levels: Level, num_steps: Count) -> jax.Array:
        denoise = denoiser.from_network(_with_variance, params, parameterization.velocity(), label, learned_variance=True)
        return sampling.sample(key, denoise, sampler, levels, SHAPE, index, num_steps=num_steps)

    most = max(config.trace_steps)
    calls = [
        (params, sampler, jax.random.key(0), INDEX, INDEX, levels, steps)
        for steps in config.trace_steps
        for levels in [grids.padded(grids.trailing(schedule, steps), most)]
        for sampler, params in itertools.product(variants(method), small_params())
    ]
    return _counted(draw, calls)


def variants(method: Method) -> list[Sampler]:
    """The method's sampler, built anew for Stable Diffusion's schedule, with the first and the second value of each number it has."""
    if method.make is None:
        raise ValueError(f"{method.name} has no sampler")
    sampler = method.make(schedules.scaled_linear())
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


def _counted(draw: Callable[..., jax.Array], calls: list[tuple[Any, ...]], static: tuple[int, ...] = ()) -> Traces:
    """static: positions of arguments that are part of the program."""
    traces: list[None] = []

    def traced(*arguments: Any) -> jax.Array:
        traces.append(None)
        return draw(*arguments)

    compiled = jax.jit(traced, static_argnums=static, compiler_options=devices.compiler_options())
    results = {np.asarray(compiled(*call)).tobytes() for call in calls}
    return Traces(len(traces), len(calls), len(results))
