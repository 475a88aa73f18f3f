"""The compiled programs of the editing experiment: one for each method and kind of measurement, with all numbers as
data.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.editing.config import Config
from experiments.diffusion.editing.problems import Problem
from gendiff.commands.images.image_model import Model
from gendiff.core import sample_keys
from gendiff.core.types import NO_LABEL, Params
from gendiff.diffusion import editing, grids, inpainting, inversion, posterior, samplers, sampling
from gendiff.runs import devices, drawing

KEY = 0
"""Of every draw. Digit i of sample k draws from index i + n k, whatever method and network."""


class EditingPrograms:
    """Restores, inverts and edits images with one network under any parameters; no program is told a label."""

    def __init__(self, config: Config, model: Model) -> None:
        self._config, self._model = config, model
        self._reversible = grids.trailing(model.schedule, config.reversible_steps)
        self._guided = devices.jit(self._guide, static_argnames="method")
        self._painted = devices.jit(self._paint, static_argnames="resamples")
        programs = (self._trip, self._invert, self._draw, self._edit)
        self._tripped, self._back, self._forth, self._edited = (devices.jit(program) for program in programs)

    def restore(
        self,
        method: str,
        params: Params,
        problem: Problem,
        *,
        sample: int = 0,
        measured: np.ndarray | None = None,
        scale: float = math.nan,
    ) -> np.ndarray:
        """Sample number `sample` (n, 8, 8, 1) of each digit by "PiGDM", "DPS", "RePaint" or "RePaint, walked once".

        measured: in place of the problem's own. scale: of DPS, which needs one.
        """
        target = jnp.asarray(problem.measured if measured is None else measured)
        index = jnp.arange(len(target)) + len(target) * sample
        if method.startswith("RePaint"):
            resamples = self._config.resamples if method == "RePaint" else 1
            restored = self._painted(params, index, target, jnp.asarray(problem.mask), resamples=resamples)
        else:
            operator = jax.tree.map(jnp.asarray, problem.operator)
            numbers = jnp.float32(problem.noise_std), jnp.float32(scale)
            restored = self._guided(params, index, target, operator, *numbers, method=method)
        return drawing.finite(restored, method)

    def round_trips(self, params: Params, images: np.ndarray) -> tuple[dict[int, np.ndarray], np.ndarray]:
        """(steps -> DDIM's images after inversion and back, what DDIM at most steps draws from fresh noise), each (n,
        8, 8, 1).
        """
        most, index = max(self._config.round_trips), jnp.arange(len(images))
        trips = {}
        for steps in self._config.round_trips:
            levels = grids.padded(grids.trailing(self._model.schedule, steps), most)
            there, fresh = self._tripped(params, index, images, levels, jnp.int32(steps))
            trips[steps] = drawing.finite(there, f"DDIM in {steps} steps and back")
        return trips, drawing.finite(fresh, "DDIM from fresh noise")

    def reversible_trip(self, params: Params, images: np.ndarray) -> np.ndarray:
        """Images after reversible Heun's inversion and back."""
        return drawing.finite(self._forth(params, *self._back(params, images)), "reversible Heun and back")

    def edit(self, params: Params, images: np.ndarray, strength: float) -> np.ndarray:
        """img2img by DDPM from that share of the steps."""
        edited = self._edited(params, images, jnp.arange(len(images)), jnp.float32(strength))
        return drawing.finite(edited, f"img2img of strength {strength:g}")

    def between(self, params: Params, images: np.ndarray, partners: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """(share, n, 8, 8, 1): from each image to images[partners], by slerp of their noises and companions
        (editing.between_images).
        """
        pair = self._back(params, images)
        turned = [[editing.slerp(one, one[partners], np.float32(share)) for one in pair] for share in shares]
        return np.stack([drawing.finite(self._forth(params, *pair), "from digit to digit") for pair in turned])

    def _denoise(self, params: Params) -> Any:
        return self._model.denoiser(params, NO_LABEL)

    def _sample(self, denoise: Any, sampler: Any, levels: Any, index: Any, **options: Any) -> jax.Array:
        return sampling.sample(jax.random.key(KEY), denoise, sampler, levels, self._model.shape, index, **options)

    def _guide(
        self, params: Params, index: Any, measured: Any, operator: Any, noise_std: Any, scale: Any, *, method: str
    ) -> jax.Array:
        config, inputs = self._config, (self._denoise(params), operator, measured)
        levels = grids.trailing(self._model.schedule, config.guided_steps)
        if method == "PiGDM":
            guided = posterior.pigdm(*inputs, noise_std, data_std=config.data_std)
            return self._sample(guided, samplers.ddim(config.pigdm_eta), levels, index)
        return self._sample(posterior.dps(*inputs, scale), samplers.ddim(), levels, index)

    def _paint(self, params: Params, index: Any, known: Any, mask: Any, *, resamples: int) -> jax.Array:
        config = self._config
        levels = inpainting.resampled(
            grids.trailing(self._model.schedule, config.repaint_steps), resamples, config.jump
        )
        return self._sample(self._denoise(params), inpainting.repaint(samplers.ddim(1.0), known, mask), levels, index)

    def _trip(self, params: Params, index: Any, images: Any, levels: Any, steps: Any) -> tuple[jax.Array, jax.Array]:
        denoise, keys = self._denoise(params), sample_keys.keys_of(jax.random.key(KEY), index)
        inverted = inversion.ddim_invert(denoise, images, levels, num_steps=steps)
        fresh = jnp.asarray(levels.sigma)[0] * sample_keys.first_noise(keys, self._model.shape, images.dtype)
        # together, to compile one loop
        start, twice = jnp.concatenate([inverted, fresh]), jnp.concatenate([index, index])
        samples = self._sample(denoise, samplers.ddim(), levels, twice, num_steps=steps, start=start)
        return samples[: len(images)], samples[len(images) :]

    def _invert(self, params: Params, images: Any) -> tuple[jax.Array, jax.Array]:
        return inversion.reversible_invert(self._denoise(params), images, self._reversible)

    def _draw(self, params: Params, start: Any, companion: Any) -> jax.Array:
        sampler, index = samplers.reversible_heun(companion), jnp.arange(len(start))  # nothing draws from the key
        return self._sample(self._denoise(params), sampler, self._reversible, index, start=start)

    def _edit(self, params: Params, images: Any, index: Any, strength: Any) -> jax.Array:
        key, levels = jax.random.key(KEY), grids.trailing(self._model.schedule, self._config.edit_steps)
        return editing.image_to_image(
            key, self._denoise(params), samplers.ddim(1.0), levels, images, index, strength=strength
        )
