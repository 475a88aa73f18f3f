"""Samples of a trained network of images, in parts, under any parameters, guidance and number of steps."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.images.image_model import Model
from gendiff.core.types import NO_LABEL, Params, Scalar
from gendiff.diffusion import denoiser, grids, guidance, samplers, sampling
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress

Rule: TypeAlias = Callable[[NetworkDenoiser, NetworkDenoiser, NetworkDenoiser, Scalar], Denoiser]
"""(conditional, unconditional, a second network under the same condition, scale) -> the guided denoiser."""
Grid: TypeAlias = Callable[[Schedule, int], Level]


def unguided(given: NetworkDenoiser, absent: NetworkDenoiser, second: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """The conditional network alone."""
    return given


def classifier_free(given: NetworkDenoiser, absent: NetworkDenoiser, second: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """Classifier-free guidance, both predictions in one call of the network."""
    return guidance.classifier_free(given, absent, scale, batched=True)


@dataclasses.dataclass(eq=False)
class Draws:
    """Samples of one network. One compiled program per rule of guidance serves every scale, number of steps and parameters.

    Sample i starts from the same noise and shows class i mod classes, whatever else differs.
    steps: most steps, and how many are taken unless a call says otherwise. together: samples per call of the program.
    sampler: default DDIM. grid: (schedule, steps) -> levels. second: the model of a further network that rules of guidance may use.
    libraries: as of `devices.compiler_options`; False for packed parameters. built: what makes a denoiser of a network, by the arguments of
    `denoiser.from_network`.
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

    def __post_init__(self) -> None:
        self._draw = devices.jit(self._sample, libraries=self.libraries, static_argnames="rule")

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
    ) -> np.ndarray:
        """`count` images (n, h, w, c), not clipped.

        rule: None takes classifier-free guidance, or no guidance at scale 1. second: parameters of the second network.
        temperature, schedule: None takes the model's. Raises NonFiniteError with the indices of samples that are not finite.
        """
        draw = self._bound(params, second, scale, rule, steps or self.steps, temperature, schedule)
        index = np.arange(count, dtype=np.int32)
        images = drawing.whole(draw, index, together=self.together, title=f"sample {title}", progress=self.progress)
        drawing.check_finite(images, index, title)
        return images

    def compiled(self, params: Params) -> Any:
        """The program of an unguided call for `together` samples, as XLA compiled it: what it needs stands in its analyses."""
        draw, index = self._bound(params, None, 1.0, None, self.steps, None, None), jnp.arange(self.together, dtype=jnp.int32)
        return draw.func.lower(*draw.args, index, **draw.keywords).compile()  # type: ignore[attr-defined]  # of a jitted function

    def trajectory(self, params: Params, count: int, scale: float) -> np.ndarray:
        """(steps + 1, count, h, w, c): the images at every level, at guidance `scale`."""
        levels = self.grid(self.model.schedule, self.steps)
        draw = jax.jit(functools.partial(self._sample, levels=levels, rule=classifier_free, trajectory=True))
        images = draw(params, params, jnp.arange(count), scale=scale, temperature=self.model.temperature)
        return drawing.finite(images.swapaxes(0, 1), "trajectory").swapaxes(0, 1)

    def _bound(
        self,
        params: Params,
        second: Params,
        scale: float,
        rule: Rule | None,
        steps: int,
        temperature: float | None,
        schedule: Schedule | None,
    ) -> functools.partial[jax.Array]:
        """The program with all but the index."""
        return functools.partial(
            self._draw,
            params,
            second,
            scale=jnp.float32(scale),
            levels=grids.padded(self.grid(schedule or self.model.schedule, steps), self.steps),
            num_steps=jnp.int32(steps),
            temperature=jnp.float32(self.model.temperature if temperature is None else temperature),
            rule=rule or (unguided if scale == 1.0 else classifier_free),
        )

    def _sample(
        self, params: Params, second: Params, index: jax.Array, *, scale: Any, levels: Level, rule: Rule, **options: Any
    ) -> jax.Array:
        """options: of `sampling.sample`."""
        models = ((self.model, params), (self.second or self.model, second))
        label = index % self.model.num_classes
        given, other = (self.built(of.predict, values, of.parameterization, label) for of, values in models)
        guided = rule(given, given.with_condition(NO_LABEL), other, scale)
        return sampling.sample(jax.random.key(0), guided, self.sampler, levels, self.model.shape, index, **options)


def labels(count: int, classes: int) -> np.ndarray:
    """(count,) the classes of samples of `Draws`: 0, 1, … in turn."""
    return labels_of(np.arange(count), classes)


def labels_of(index: np.ndarray, classes: int) -> np.ndarray:
    """(n,) the classes of samples by their index."""
    return (index % classes).astype(np.int32)
