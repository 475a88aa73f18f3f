"""The denoising error at every noise level, on training and on held-out pictures: where they part, the network knows pictures by heart."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands.images.image_model import Model
from gendiff.core.types import Params
from gendiff.data import scaling
from gendiff.diffusion import process
from gendiff.runs import devices, drawing
from gendiff.runs.reporting.plots import Curve

LOG_SNR = np.linspace(-8.0, 8.0, 17)
SEED = 0


def curves(model: Model, params: Params, sides: dict[str, tuple[np.ndarray, np.ndarray]], together: int) -> list[Curve]:
    """A curve for each side, (uint8 pictures, labels): the mean squared error of the noise over log-SNR, with its 95 % interval."""
    program = devices.jit(functools.partial(_errors, model))
    return [_curve(name, program, params, images, labels, together) for name, (images, labels) in sides.items()]


def _curve(name: str, program: Any, params: Params, images: np.ndarray, labels: np.ndarray, together: int) -> Curve:
    errors = np.stack([_all(program, params, images, labels, together, value) for value in LOG_SNR])
    mean, spread = errors.mean(axis=1), 1.96 * errors.std(axis=1) / np.sqrt(errors.shape[1])
    return Curve(name, LOG_SNR, mean, mean - spread, mean + spread)


def _all(program: Any, params: Params, images: np.ndarray, labels: np.ndarray, together: int, log_snr: float) -> np.ndarray:
    draw = functools.partial(program, params, jnp.float32(log_snr))
    clean = np.asarray(scaling.to_unit(images, 256))
    parts = drawing.stream(draw, [(None, (np.arange(len(images), dtype=np.int32), clean, labels))], together=together)
    return np.concatenate([errors for *_, errors in parts])


def _errors(model: Model, params: Params, log_snr: jax.Array, index: jax.Array, clean: jax.Array, label: jax.Array) -> jax.Array:
    """(n,) the mean squared error of the predicted noise of each picture. The noise of picture i is the same at all levels."""
    keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(SEED)))(index)
    noise = jax.vmap(lambda key: jax.random.normal(key, clean.shape[1:]))(keys)
    level = model.schedule.at_log_snr(log_snr)
    condition = (label,) if model.num_classes else ()
    denoise = model.denoiser(params, *condition)
    prediction = denoise(process.add_noise(clean, noise, level), level)
    return jnp.mean(jnp.square(prediction.noise - noise), axis=(1, 2, 3))
