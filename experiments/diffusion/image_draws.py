"""Samples of a trained network of images, in parts, under any parameters, guidance and number of steps."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands import drawing_programs
from gendiff.commands.images.image_model import Model
from gendiff.core.types import NO_LABEL, Params, Scalar
from gendiff.diffusion import denoiser, grids, guidance, samplers, sampling
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level
from gendiff.runs import drawing
from gendiff.runs.progress import Progress

Rule: TypeAlias = Callable[[NetworkDenoiser, NetworkDenoiser, NetworkDenoiser, Scalar], Denoiser]
"""(conditional, unconditional, a second network under the same condition, scale) -> the guided denoiser."""
Grid: TypeAlias = Callable[[Schedule, int], Level]


def unguided(conditioned: NetworkDenoiser, absent: NetworkDenoiser, second: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """The conditional network alone."""
    return conditioned


def classifier_free(
    conditioned: NetworkDenoiser, absent: NetworkDenoiser, second: NetworkDenoiser, scale: Scalar
) -> Denoiser:
    """Classifier-free guidance, both predictions in one call of the network."""
    return guidance.classifier_free(conditioned, absent, scale, batched=True)


@dataclasses.dataclass(eq=False)
class Draws:
    """Samples of one network. One compiled program per rule of guidance serves every scale, number of steps and
    parameters.

    Sample i starts from the same noise and shows class i mod classes, whatever else differs.
    steps: most steps, and how many are taken unless a call says otherwise. together: samples per call of the program.
    sampler: default DDIM. grid: (schedule, steps) -> levels. second: the model of a further network that rules of
        guidance may use.
    libraries: as of `devices.compiler_options`; False for packed parameters. built: what makes a denoiser of a network,
    by the arguments of `denoiser.from_network`. absent: the condition that guidance leads away from; None: the
        condition of a call is a pair, of which the second is that one, sample by sample.
    """

    model: Model
    steps: int
    together: int
    progress: Progress
    sampler: sampling.Sampler = dataclasses.field(default_factory=samplers.ddim)
    grid: Grid = grids.trailing
    second: Model | None = None
    libraries: bool = True
    built: Callable[..., Any] = denoiser.from_network
    absent: Any = NO_LABEL

    def __call__(
        self,
        title: str,
        params: Params,
        count: int,
        *,
        scale: float = 1.0,
        rule: Rule | None = None,
        second: Params = None,
        steps: int | None = None,
        temperature: float | None = None,
        schedule: Schedule | None = None,
        condition: Any = None,
    ) -> np.ndarray:
        """`count` images (n, h, w, c), not clipped.

        rule: None takes classifier-free guidance, or no guidance at scale 1. second: parameters of the second network.
        temperature, schedule: None takes the model's. condition: a pytree with a row per sample; None takes the classes
        in turn. Raises NonFiniteError with the indices of samples that are not finite.
        """
        index = np.arange(count, dtype=np.int32)
        leaves, structure = jax.tree.flatten(labels(count, self.model.num_classes) if condition is None else condition)
        rule = rule or (unguided if scale == 1.0 else classifier_free)
        bound = self._bound(rule, params, second, scale, steps, temperature, schedule)

        def draw(index: jax.Array, *leaves: jax.Array) -> jax.Array:
            images: jax.Array = bound(index, jax.tree.unflatten(structure, leaves))
            return images

        images = drawing.draw_all(
            draw, index, *leaves, together=self.together, title=f"sample {title}", progress=self.progress
        )
        drawing.check_finite(images, index, title)
        return images

    def compiled(self, params: Params) -> Any:
        """The program of an unguided call for `together` samples, as XLA compiled it: what it needs stands in its
        analyses.
        """
        draw, index = self._bound(unguided, params, None, 1.0), jnp.arange(self.together, dtype=jnp.int32)
        return draw.func.lower(*draw.args, index, index % self.model.num_classes, **draw.keywords).compile()

    def trajectory(self, params: Params, count: int, scale: float) -> np.ndarray:
        """(steps + 1, count, h, w, c): the images at every level, at guidance `scale`."""
        index = np.arange(count, dtype=np.int32)
        draw = self._bound(classifier_free, params, None, scale, trajectory=True)
        states = draw(index, labels_of(index, self.model.num_classes))
        return drawing.finite(states.swapaxes(0, 1), "trajectory").swapaxes(0, 1)

    def _bound(
        self,
        rule: Rule,
        params: Params,
        second: Params,
        scale: float,
        steps: int | None = None,
        temperature: float | None = None,
        schedule: Schedule | None = None,
        **options: Any,
    ) -> Any:
        """The program with all but the index and the condition. options: fixed ones of `sampling.sample`."""
        models, fixed = (self.model, self.second or self.model), tuple(options.items())
        grid = self.grid(schedule or self.model.schedule, steps or self.steps)
        return functools.partial(
            _program(models, self.built, rule, self.absent, self.sampler, self.libraries, fixed),
            (params, second),
            jax.random.key(0),
            jnp.float32(scale),
            jnp.float32(self.model.temperature if temperature is None else temperature),
            levels=grids.padded(grid, self.steps),
            num_steps=jnp.int32(steps or self.steps),
        )


@functools.lru_cache(maxsize=16)
def _program(
    models: tuple[Model, Model],
    built: Callable[..., Any],
    rule: Rule,
    absent: Any,
    sampler: sampling.Sampler,
    libraries: bool,
    fixed: tuple[tuple[str, Any], ...],
) -> Any:
    """Compiled once for equal arguments."""

    def denoiser(params: tuple[Params, Params], scale: Scalar, condition: Any) -> Denoiser:
        condition, away = condition if absent is None else (condition, absent)
        networks = zip(models, params, strict=True)
        conditioned, other = (
            built(each.predict, values, each.parameterization, condition) for each, values in networks
        )
        return rule(conditioned, conditioned.with_condition(away), other, scale)

    return drawing_programs.draw_program(denoiser, sampler, models[0].shape, libraries=libraries, **dict(fixed))


def labels(count: int, classes: int) -> np.ndarray:
    """(count,) the classes of samples of `Draws`: 0, 1, … in turn."""
    return labels_of(np.arange(count), classes)


def labels_of(index: np.ndarray, classes: int) -> np.ndarray:
    """(n,) the classes of samples by their index."""
    return (index % classes).astype(np.int32)
