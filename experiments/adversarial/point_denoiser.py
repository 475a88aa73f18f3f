"""The diffusion model beside the GANs: linear layers of the same width and depth, which see a point and its noise
level.
"""

import jax
import jax.numpy as jnp

from experiments.adversarial import waves
from gendiff.core.types import Loss, Params
from gendiff.diffusion import denoiser, grids, objectives, parameterization, samplers, sampling, schedules, weighting
from gendiff.networks import embeddings, fast

TIMES, PACE = 32, 100.0
"""Waves that show the level to the network, and the factor on t: between neighbouring levels the fastest ones
differ.
"""
SCHEDULE = schedules.edm(sigma_min=0.002, sigma_max=20.0)
FORM = parameterization.edm(data_std=1.0)
"""Data of unit variance."""


def init(size: int, width: int, depth: int, count: int, key: jax.Array) -> Params:
    """Parameters for points of `size` numbers beside so many waves, with `depth` hidden layers. The output begins at
    0.
    """
    sizes = [waves.size(size, count) + TIMES, *[width] * depth, size]
    layers = {}
    for number, (rows, columns) in enumerate(zip(sizes, sizes[1:], strict=False)):
        scale = 0.0 if number == depth else (2 / rows) ** 0.5
        kernel = scale * jax.random.normal(jax.random.fold_in(key, number), (rows, columns))
        layers[f"layer_{number}"] = {"kernel": kernel, "bias": jnp.zeros(columns)}
    return layers


def predict(params: Params, x: jax.Array, t: jax.Array) -> jax.Array:
    """What the network answers to x (b, size) at t (b,). Each hidden layer but the first is added to its input."""
    width = len(params["layer_0"]["kernel"]) - TIMES
    x = waves.beside(x, (width // x.shape[1] - 1) // 2)
    y = jnp.concatenate([x, embeddings.sinusoidal(PACE * t, TIMES).astype(x.dtype)], axis=1)
    last = len(params) - 1
    for number in range(len(params)):
        layer = params[f"layer_{number}"]
        linear = y @ layer["kernel"] + layer["bias"][None]
        y = linear if number == last else fast.silu(linear) + (y if number else 0.0)
    return y


LOSS: Loss = objectives.denoising(
    predict,
    SCHEDULE,
    FORM,
    weight=weighting.edm(1.0),
    levels=weighting.log_normal_levels(-2.0, 1.2),
    drop_condition=0.0,
)


def draw(params: Params, key: jax.Array, index: jax.Array, size: int, steps: int) -> jax.Array:
    """Samples (n, size) by Heun's method in so many steps."""
    levels = grids.karras(SCHEDULE, steps)
    return sampling.sample(key, denoiser.from_network(predict, params, FORM), samplers.heun(), levels, (size,), index)
