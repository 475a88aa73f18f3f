"""The network of the experiment, and draws and losses of many of them at once."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from experiments.provenance import side_by_side
from experiments.provenance.memorise.config import Config
from experiments.provenance.side_by_side import SCHEDULE, SHAPE
from gendiff import diffusion
from gendiff.core.types import Loss, Params
from gendiff.diffusion import grids, objectives, parameterization, samplers, sampling, weighting
from gendiff.diffusion.types import Denoiser
from gendiff.runs import devices

FORM = parameterization.clean()
predict = functools.partial(side_by_side.predict, pace=0.02, standardised=True)
"""An MLP that predicts the clean picture. In this form it memorises in far fewer steps than with the flow's own target."""
LOSS: Loss = objectives.denoising(predict, SCHEDULE, FORM, levels=weighting.stratified_levels(), drop_condition=0.0)


def draw(config: Config, denoise: Denoiser, index: jax.Array) -> jax.Array:
    """Samples (n, 8, 8, 1) of DDPM: sample i takes the same noise with every denoiser, at every step."""
    levels = grids.trailing(SCHEDULE, config.sampling_steps)
    return sampling.sample(jax.random.key(1), denoise, samplers.ddim(eta=1.0), levels, SHAPE, index)


def draws(config: Config) -> Callable[[Params, jax.Array], jax.Array]:
    """(parameters, index (n,)) -> samples (networks, n, 8, 8, 1)."""

    def of_one(params: Params, index: jax.Array) -> jax.Array:
        return draw(config, diffusion.from_network(predict, params, FORM), index)

    return devices.jit(jax.vmap(of_one, in_axes=(0, None)))


def losses() -> Callable[[Params, jax.Array, jax.Array], jax.Array]:
    """(parameters, seen (b, networks, 8, 8, 1), held-out (h, 8, 8, 1)) -> (2, networks) mean losses over 8 draws of level and noise."""

    def both(params: Params, seen: jax.Array, held_out: jax.Array) -> jax.Array:
        every = jnp.broadcast_to(held_out[:, None], (held_out.shape[0], seen.shape[1], *SHAPE))

        def of(key: jax.Array) -> jax.Array:
            pairs = zip(jax.random.split(key), (seen, every), strict=True)
            return jnp.stack([side_by_side.each_loss(params, each, images, LOSS) for each, images in pairs])

        return jnp.mean(jax.lax.map(of, jax.random.split(jax.random.key(2), 8)), axis=0)

    return devices.jit(both)
