"""Pictures of captions under guidance: one compiled program serves every scale, number of steps, caption and parameters of a network."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.encoded_captions import Encoded
from gendiff.commands.images.image_model import Model
from gendiff.core.types import Params
from gendiff.diffusion import grids, samplers, sampling
from gendiff.diffusion.types import Level
from gendiff.networks import NO_TEXT
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress


@dataclass(frozen=True, eq=False)
class Draws:
    """Pictures, or latents, of one network. steps: most steps, and how many are taken unless a call says otherwise.

    read: captions as the network reads them. together: pictures per call of the program.
    """

    model: Model
    read: Callable[[tuple[str, ...]], Encoded]
    steps: int
    together: int
    progress: Progress

    def __call__(self, title: str, params: Params, captions: Sequence[str], scale: float, steps: int | None = None) -> np.ndarray:
        """(n, h, w, c), not clipped. Picture i starts from the same noise whatever else differs.

        Raises NonFiniteError with the indices of those that are not finite.
        """
        words = self.read(tuple(captions)).rows(np.arange(len(captions)))
        leaves, structure = jax.tree.flatten(words)
        levels = grids.padded(grids.trailing(self.model.schedule, steps or self.steps), self.steps)
        numbers: dict[str, Any] = {"scale": jnp.float32(scale), "levels": levels, "num_steps": jnp.int32(steps or self.steps)}
        draw = functools.partial(_program(self.model), params, structure=structure, **numbers)
        index, shown = np.arange(len(captions), dtype=np.int32), f"sample {title}, scale {scale:g}"
        images = drawing.whole(draw, index, *leaves, together=self.together, title=shown, progress=self.progress)
        drawing.check_finite(images, index, shown)
        return images


@functools.cache
def _program(model: Model) -> Any:
    """(params, index, *leaves of the words) -> pictures."""

    def sample(
        params: Params, index: jax.Array, *leaves: jax.Array, structure: Any, scale: jax.Array, levels: Level, num_steps: jax.Array
    ) -> jax.Array:
        guided = model.guided(params, jax.tree.unflatten(structure, leaves), scale, absent=NO_TEXT)
        return sampling.sample(jax.random.key(0), guided, samplers.ddim(), levels, model.shape, index, num_steps=num_steps)

    return devices.jit(sample, static_argnames="structure")
