"""The marks, and the compiled programs that draw, invert and redraw pictures under any parameters."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.provenance.watermark_image.changes import stored
from experiments.provenance.watermark_image.config import SHAPE, SIDE, Config
from gendiff.commands.images.image_model import Model
from gendiff.core.types import NO_LABEL, Params
from gendiff.diffusion import editing, grids, inversion, samplers, sampling
from gendiff.provenance import image_watermarks, spread_spectrum
from gendiff.provenance.image_watermarks import GaussianShading, ImageWatermark
from gendiff.runs import devices, drawing
from gendiff.runs.progress import Progress

RING, SHADING, SPREAD = "Tree-Ring", "Gaussian Shading", "spread spectrum"
SECRET = 0x5EC2E700000000
"""Of the first seed; the secret key of seed s is SECRET + s."""
DRAW, NONCE, REDRAW = range(3)


def marks(config: Config, seed: int) -> dict[str, ImageWatermark]:
    """The marks of one seed, with its secret key."""
    secret = SECRET + seed
    bits = np.random.default_rng(secret).integers(0, 2, config.bits).tolist()
    return {
        RING: image_watermarks.tree_ring(secret, SHAPE, radius=config.radius),
        SHADING: image_watermarks.gaussian_shading(secret, SHAPE, bits),
        SPREAD: spread_spectrum.spread_spectrum(secret, SHAPE, strength=config.strength),
    }


def key_of(purpose: int, seed: int) -> jax.Array:
    """The key of one purpose in one seed."""
    return jax.random.fold_in(jax.random.key(purpose), seed)


class WatermarkPrograms:
    """Draws from given noise by DDIM, goes back by DDIM inversion, and redraws by img2img; no program is told a class
    or a mark.
    """

    def __init__(self, config: Config, model: Model, progress: Progress) -> None:
        self._config, self._model, self._progress = config, model, progress
        # flat pictures differ by less than the last of even steps, so levels are even in log-SNR down to rounding
        least, most = grids.resolved_limits(model.schedule, resolution=2 / 255, norm=float(SIDE))
        self._levels, self._received = (
            grids.log_snr(model.schedule, config.sampling_steps, sigma_min=low, sigma_max=most, end=end)
            for low, end in ((least, "clean"), (config.received, "first"))
        )
        self._drawn, self._back, self._again = (
            devices.jit(program) for program in (self._draw, self._invert, self._redraw)
        )

    def draw(self, params: Params, noise: Any, index: np.ndarray) -> np.ndarray:
        """Stored pictures (n, 32, 32, 1) from standard normal noise of that shape."""
        return stored(self._parts("draw", functools.partial(self._drawn, params), index, np.asarray(noise)))

    def invert(self, params: Params, images: np.ndarray) -> np.ndarray:
        """The noise of pictures and of parts of them, in units of its standard deviation."""
        return self._parts("invert", functools.partial(self._back, params), np.arange(len(images)), images)

    def redraw(self, params: Params, images: np.ndarray, seed: int, strength: float) -> np.ndarray:
        """Stored pictures after img2img by DDPM."""
        again = functools.partial(self._again, params, key_of(REDRAW, seed), jnp.float32(strength))
        return stored(self._parts("img2img", again, np.arange(len(images)), images))

    def _parts(self, title: str, program: Any, index: np.ndarray, images: np.ndarray) -> np.ndarray:
        options: Any = {"together": self._config.together, "title": title, "progress": self._progress}
        return drawing.finite(drawing.draw_all(program, index, images, **options), title)

    def _denoise(self, params: Params) -> Any:
        return self._model.denoiser(params, NO_LABEL)

    def _draw(self, params: Params, index: Any, noise: Any) -> jax.Array:
        # DDIM draws nothing from the key
        key, start = key_of(DRAW, 0), self._levels.sigma[0].astype(np.float32) * noise
        return sampling.sample(key, self._denoise(params), samplers.ddim(), self._levels, SHAPE, index, start=start)

    def _invert(self, params: Params, index: Any, images: Any) -> jax.Array:
        # what a picture gained on its way is noise of the level where the walk begins
        levels = self._received
        noise = inversion.ddim_invert(self._denoise(params), levels.alpha[-1].astype(np.float32) * images, levels)
        return noise / levels.sigma[0].astype(np.float32)

    def _redraw(self, params: Params, key: Any, strength: Any, index: Any, images: Any) -> jax.Array:
        levels = grids.trailing(self._model.schedule, self._config.sampling_steps)
        options: Any = {"index": index, "strength": strength}
        return editing.image_to_image(key, self._denoise(params), samplers.ddim(1.0), levels, images, **options)


@functools.partial(jax.jit, static_argnames="alike")
def noise_of(
    mark: ImageWatermark | None, seed: Any, index: Any, *, alike: bool = False
) -> tuple[jax.Array, jax.Array | None]:
    """(the noise of pictures, their nonces where the mark needs them). alike: the known mistake, one nonce for all."""
    key = key_of(DRAW, seed)
    if mark is None:
        return image_watermarks.first_noise(key, index, SHAPE), None
    if not isinstance(mark, GaussianShading):
        return mark.write(key, index), None  # type: ignore[attr-defined]
    nonce = image_watermarks.nonces(key_of(NONCE, seed), jnp.zeros_like(index) if alike else index)
    return mark.write(key, index, nonce), nonce
