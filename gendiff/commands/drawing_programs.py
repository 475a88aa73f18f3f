"""The program that options of drawing name: levels, a sampler, and both with a network."""

import functools
import math
from collections.abc import Callable, Hashable

import jax
import jax.numpy as jnp

from gendiff.commands.drawing_options import BETWEEN, DEFAULT_GRID, GRIDS, SAMPLERS
from gendiff.commands.images.image_model import Model
from gendiff.core import records
from gendiff.core.errors import ConfigError
from gendiff.core.types import Condition, Params, PyTree, Scalar
from gendiff.diffusion import grids, sampling
from gendiff.diffusion.samplers import catalogue
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction
from gendiff.runs import devices, ranges

_MADE = {
    name.replace(" ", "-"): method.make
    for name, method in catalogue.METHODS.items()
    if method.make and not method.learned_variance
}
_SAMPLERS: dict[str, Callable[[Schedule], Sampler]] = _MADE | {"ddpm": _MADE["ddpm-small"]}
_GRIDS: dict[str, Callable[..., Level]] = {name: getattr(grids, name) for name in GRIDS}


def levels(
    grid: str,
    between: tuple[float | None, float | None],
    steps: int,
    model: Model,
    *,
    resolution: float | None = None,
    option: str = "--grid",
) -> Level:
    """The levels (steps + 1,) that are visited. ConfigError for an unknown grid, and for numbers that do not suit it or
    the model.

    Args:
        grid: a name in GRIDS.
        between: the least and the most noise, as ratios sigma/alpha; None is the schedule's own.
        steps: how many.
        model: whose schedule and shape they are.
        resolution: how fine the data are; None takes what the model says.
        option: how the command calls the grid.
    """
    ranges.known(option.removeprefix("--"), [grid], GRIDS)
    limits = dict(zip(("sigma_min", "sigma_max"), between, strict=True))
    named = [f"--{name.replace('_', '-')} {value:g}" for name, value in limits.items() if value is not None]
    if named and grid not in BETWEEN:
        raise ConfigError(
            f"{named[0]} belongs to {option} {' or '.join(BETWEEN)}, and {option} {grid} finds its own levels"
        )
    numbers = limits if grid in BETWEEN else {}
    if grid == "resolved":
        fine = 2 / (model.levels - 1) if resolution is None and model.levels is not None else resolution
        if fine is None:
            raise ConfigError(f"{option} resolved: this model does not say how fine its data are: use {DEFAULT_GRID}")
        numbers = {"resolution": fine, "norm": math.sqrt(math.prod(model.shape))}  # the largest norm within [-1, 1]
    try:
        return _GRIDS[grid](model.schedule, steps, **numbers)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"--steps {steps} of {option} {grid}: {error}") from error


def sampler(name: str, eta: float | None, schedule: Schedule) -> Sampler:
    """The sampler of that name. ConfigError for an unknown one, and for an eta that it does not have or that is out of
    range.
    """
    ranges.known("sampler", [name], SAMPLERS)
    try:
        chosen = _SAMPLERS[name](schedule)
        if eta is None:
            return chosen
        if "eta" not in vars(chosen):
            raise ConfigError(f"--eta {eta:g}: --sampler {name} has no such number")
        return records.replace(chosen, eta=eta)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"--sampler {name}: {error}") from error


def draw_program(
    denoiser: Callable[..., Denoiser],
    sampler: Sampler,
    shape: tuple[int, ...],
    *,
    libraries: bool = True,
    **fixed: PyTree,
) -> Callable[..., jax.Array]:
    """A network, its guidance, a sampler and levels as one compiled program.

    It is (params, key, scale, temperature, index, *condition, **options) -> samples, and `runs.drawing` calls it in
    chunks. All that it takes is data.

    Args:
        denoiser: (params, scale, *condition) -> the guided network.
        sampler: a step of it.
        shape: of one sample.
        libraries: as for `devices.compiler_options`.
        **fixed: options of `diffusion.sample` that are part of the program, such as levels. Others come with each call.
    """

    def draw(
        params: Params,
        key: jax.Array,
        scale: Scalar,
        temperature: Scalar,
        index: jax.Array,
        *condition: Condition,
        **options: PyTree,
    ) -> jax.Array:
        guided = denoiser(params, scale, *condition)
        return sampling.sample(
            key, guided, sampler, shape=shape, index=index, temperature=temperature, **fixed, **options
        )

    return devices.jit(draw, libraries=libraries)


@functools.lru_cache(maxsize=8)
def label_program(
    model_of: Callable[..., Model],
    described: Hashable,
    steps: int,
    method: str,
    eta: float | None = None,
    guided: bool = False,
    grid: str = DEFAULT_GRID,
    between: tuple[float | None, float | None] = (None, None),
) -> Callable[..., jax.Array]:
    """The `draw_program` that options name, whose condition is a label, compiled once for equal arguments.

    Args:
        model_of: makes the model of `described`.
        described: a configuration, or what it became.
        steps: how many.
        method: the name of a sampler.
        eta: as for `sampler`.
        guided: whether by classifier-free guidance.
        grid: as for `levels`.
        between: as for `levels`.
    """
    model = model_of(described)
    visited, solver = levels(grid, between, steps, model), sampler(method, eta, model.schedule)
    try:  # what the sampler refuses, it refuses with any denoiser
        index = jnp.zeros((1,), jnp.int32)
        none = functools.partial(sampling.sample, jax.random.key(0), lambda x, _: Prediction(x, x))
        jax.eval_shape(lambda: none(solver, visited, model.shape, index))
    except (ValueError, ImportError) as error:
        raise ConfigError(f"--sampler {method}: {error}") from error

    def denoiser(params: Params, scale: Scalar, label: jax.Array) -> Denoiser:
        if guided:
            return model.guided(params, label, scale)
        return model.denoiser(params, *((label,) if model.num_classes else ()))

    return draw_program(denoiser, solver, model.shape, levels=visited)
