"""The sets of images that experiments on digits judge: samples of a trained network."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.image_model import Model
from experiments.framework import devices
from experiments.framework.progress import Progress
from gendiff.core.types import NO_LABEL, Params
from gendiff.diffusion import denoiser, grids, guidance, samplers, sampling
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Level


class Draws:
    """Samples of one network under any parameters, guidance and number of steps: two compiled programs serve all of them.

    steps: most steps, and how many are taken unless a call says otherwise. sampler: default DDIM. grid: (schedule, steps) -> levels.
    """

    def __init__(
        self,
        model: Model,
        steps: int,
        together: int,
        progress: Progress,
        sampler: Sampler | None = None,
        grid: Callable[..., Level] = grids.trailing,
    ) -> None:
        self._model, self._steps, self._together, self._progress = model, steps, together, progress
        self._sampler, self._grid = samplers.ddim() if sampler is None else sampler, grid
        options = devices.compiler_options()
        self._plain = jax.jit(self._draw, static_argnames="guided", compiler_options=options)

    def _draw(
        self, params: Params, key: Any, index: Any, label: Any, scale: Any, levels: Any, steps: Any, temperature: Any, *, guided: bool
    ) -> jax.Array:
        model = self._model
        denoise: Any = denoiser.from_network(model.predict, params, model.parameterization, label)
        if guided:
            denoise = guidance.classifier_free(denoise, denoise.with_condition(NO_LABEL), scale, batched=True)
        return sampling.sample(key, denoise, self._sampler, levels, model.shape, index, num_steps=steps, temperature=temperature)

    def __call__(
        self,
        title: str,
        params: Params,
        count: int,
        *,
        scale: float = 1.0,
        steps: int | None = None,
        temperature: float | None = None,
        schedule: Schedule | None = None,
    ) -> np.ndarray:
        """`count` images (n, h, w, c) of the classes 0, 1, … in turn; sample i always starts from the same noise.

        temperature, schedule: None takes the model's.
        """
        temperature = self._model.temperature if temperature is None else temperature
        steps = self._steps if steps is None else steps
        levels = grids.padded(self._grid(schedule or self._model.schedule, steps), self._steps)
        drawn = []
        with self._progress.task(f"sample {title}", count) as task:
            for index in parts(count, self._together):
                images = self._plain(
                    params,
                    jax.random.key(0),
                    jnp.asarray(index),
                    jnp.asarray(index % self._model.num_classes),
                    jnp.float32(scale),
                    levels,
                    jnp.int32(steps),
                    jnp.float32(temperature),
                    guided=scale != 1.0,
                )
                drawn.append(np.asarray(images))
                task.update(min(sum(map(len, drawn)), count))
        return np.concatenate(drawn)[:count]

    def trajectory(self, params: Params, count: int, scale: float) -> np.ndarray:
        """(steps + 1, count, h, w, c): the images at every level, at guidance `scale`."""
        index = jnp.arange(count)
        given = denoiser.from_network(self._model.predict, params, self._model.parameterization, index % self._model.num_classes)
        guided = guidance.classifier_free(given, given.with_condition(NO_LABEL), scale, batched=True)
        levels = self._grid(self._model.schedule, self._steps)
        warm = self._model.temperature

        def frames(key: jax.Array) -> jax.Array:
            return sampling.sample(key, guided, self._sampler, levels, self._model.shape, index, temperature=warm, trajectory=True)

        return np.asarray(jax.jit(frames)(jax.random.key(0)))


def labels(count: int, classes: int) -> np.ndarray:
    """The labels that `Draws` asks for: 0, 1, … in turn."""
    return (np.arange(count) % classes).astype(np.int32)


def parts(count: int, together: int) -> Iterator[np.ndarray]:
    """Indices in parts of one size, so that one program serves: the last part runs past the end."""
    for begin in range(0, count, together):
        yield np.arange(begin, begin + together, dtype=np.int32)
