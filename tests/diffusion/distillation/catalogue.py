"""Every objective of distillation, with a batch and its frozen trees. Tests run over all of them; a new one is one
entry.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.diffusion import denoiser, distillation, grids, objectives, parameterization, schedules
from gendiff.diffusion.types import Batch

FLOW, VELOCITY = schedules.flow(), parameterization.velocity()
B = 6


class Case(NamedTuple):
    loss: Any
    batch: Any
    frozen: tuple[Any, ...]


def network(params, x, t, *condition):
    """Smooth in x, told the time and all conditions."""
    inputs = t / 1000 + sum(jax.tree.leaves(condition)) / 10
    return params["gain"] * jnp.tanh(x) + params["bias"] * inputs.astype(x.dtype)[:, None]


def linear(params, x, t, label):
    """A velocity that is linear in x and in the label."""
    return params * x + label.astype(x.dtype)[:, None]


def params(gain=0.7, bias=0.2, dtype=float):
    return {"gain": jnp.asarray(gain, dtype), "bias": jnp.asarray(bias, dtype)}


def taught(gain, dtype=float):
    return denoiser.from_network(network, params(gain, -0.3, dtype), VELOCITY)


def rows(seed, dtype=float, count=B):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(count, 3)), dtype)


def cost(critic, x, level, condition):
    return jax.nn.softplus(critic * jnp.mean(jnp.square(x), axis=1))


def in_four_intervals(loss):
    return lambda params, key, batch, *frozen: loss(params, key, batch, 4, *frozen)


GENERATE = distillation.one_step(network, FLOW, VELOCITY)
LOSSES = {
    "guidance_distillation": distillation.guidance_distillation(network, FLOW, VELOCITY, null=0),
    "progressive_distillation": lambda: distillation.progressive_distillation(
        network, VELOCITY, grids.trailing(FLOW, 4)
    ),
    "reflow": distillation.reflow(network, FLOW),
    "distribution_matching": distillation.distribution_matching(GENERATE, FLOW, adversary=cost, adversary_weight=0.1),
    "on_generated": distillation.on_generated(GENERATE, objectives.denoising(network, FLOW, VELOCITY, null=0)),
    "shortcut": distillation.shortcut(network, FLOW, VELOCITY, steps=8, share=0.5, null=0),
    "mean_flow": distillation.mean_flow(
        network, FLOW, VELOCITY, interval_share=0.5, power=0.5, scale=1.5, mix=0.2, null=0
    ),
    "consistency_training": in_four_intervals(distillation.consistency_training(network, FLOW, VELOCITY)),
    "consistency_distillation": in_four_intervals(distillation.consistency_distillation(network, FLOW, VELOCITY)),
}


def case(name, dtype=float, count=B):
    """The objective with a batch of labelled samples (count, 3)."""
    label = jnp.arange(count) % 3
    batch = Batch(rows(0, dtype, count), (label,))
    pairs = distillation.Pairs(rows(1, dtype, count), rows(0, dtype, count), (label,))
    frozen = {
        "guidance_distillation": (taught(0.4, dtype),),
        "progressive_distillation": (taught(0.4, dtype),),
        "reflow": (),
        "distribution_matching": (taught(0.4, dtype), taught(0.9, dtype), jnp.asarray(2.0, dtype)),
        "on_generated": (params(0.4, -0.3, dtype),),
        "shortcut": (params(0.4, -0.3, dtype),),
        "mean_flow": (),
        "consistency_training": (params(0.4, -0.3, dtype),),
        "consistency_distillation": (taught(0.4, dtype), params(0.6, -0.3, dtype)),
    }
    # its grid is an array, so it is made where it is used
    loss = LOSSES[name]() if name == "progressive_distillation" else LOSSES[name]
    return Case(loss, pairs if name == "reflow" else batch, frozen[name])
