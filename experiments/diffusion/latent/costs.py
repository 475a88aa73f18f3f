"""What one evaluation of one small U-Net costs by resolution, in pixels and in latents that are 8 times smaller per
side, and decoding.

The network is the one of pixels without self-attention, so that all of its work but that of the time is per position.
Self-attention at the coarsest size has a part that grows with the square of the positions; its FLOPs are counted and
not timed.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.diffusion.latent.config import Config
from gendiff import networks
from gendiff.commands.images import image_coding
from gendiff.core.types import Params
from gendiff.runs import devices, paired_timing, program_costs
from gendiff.runs.reporting import intervals
from gendiff.runs.reporting.verdicts import Number

FACTOR, CHANNELS = 8, 4
"""Of the latents: 512² pixels of 3 numbers are 64² positions of 4."""
PIXELS, LATENTS, DECODER, AGAIN = "pixels", "latents", "decoder", "latents again"
"""What is timed; the last is the latent network once more, beside itself."""
TIMED = (PIXELS, LATENTS, DECODER)
PICTURE_STEPS = (1, 5, 20, 50)
"""Evaluations per picture for which the cost of a whole picture is computed, decoding included."""
Place = tuple[str, int]
"""(what, resolution)."""


@dataclass(frozen=True)
class Cost:
    """Of one call for one picture. shape: of what goes in. seconds: by round. flops, peak: by XLA's count and analysis,
    peak in bytes.
    """

    shape: tuple[int, int, int]
    seconds: tuple[float, ...]
    flops: float
    peak: int


@dataclass(frozen=True)
class Program:
    """A compiled call that is ready to be timed."""

    call: Callable[[], Any]
    shape: tuple[int, int, int]
    flops: float
    peak: int


def shape(what: str, resolution: int) -> tuple[int, int, int]:
    """Of what goes into the network, or into the decoder, for a picture of so many pixels per side."""
    side = resolution // FACTOR
    return (resolution, resolution, 3) if what == PIXELS else (side, side, CHANNELS)


def unet(config: Config, attention: bool = False) -> networks.UNet:
    """The network whose cost is measured. attention: at the coarsest size, as the trained ones have."""
    settings = config.pixels
    return networks.UNet(
        channels=settings.channels, blocks=settings.blocks, attention=(), middle_attention=attention, heads=2, groups=8
    )


def measure(config: Config) -> dict[Place, Cost]:
    """Every call at every resolution, all of them timed in turn."""
    programs = {
        (what, resolution): _program(config, what, resolution) for what in TIMED for resolution in config.resolutions
    }
    largest = config.resolutions[-1]
    programs[AGAIN, largest] = programs[LATENTS, largest]
    names = {f"{what} {resolution}": (what, resolution) for what, resolution in programs}
    works = {name: programs[index].call for name, index in names.items()}
    seconds = paired_timing.timed(works, config.cost_rounds)
    return {
        index: Cost(programs[index].shape, seconds[name], programs[index].flops, programs[index].peak)
        for name, index in names.items()
    }


def attention_flops(config: Config) -> dict[str, float]:
    """FLOPs of one evaluation at the largest resolution with self-attention, in pixels and in latents: from shapes
    alone.
    """
    # XLA counts the body of a loop once
    network = unet(config, attention=True).clone(attention_implementation="heads_first")
    predict, key = networks.pure(network), jax.random.key(0)
    flops = {}
    for what in (PIXELS, LATENTS):
        x, t = jax.ShapeDtypeStruct((1, *shape(what, config.resolutions[-1])), jnp.float32), jnp.zeros((1,))
        params = jax.eval_shape(functools.partial(_started, network, x.shape), key)
        flops[what] = program_costs.flops(jax.jit(predict).lower(params, x, t))
    return flops


def ratio(first: Cost, second: Cost, resamples: int) -> Number:
    """Seconds of the first over those of the second: the median over rounds."""
    return over_rounds(np.array(first.seconds) / np.array(second.seconds), resamples)


def over_rounds(values: np.ndarray, resamples: int) -> Number:
    """The median of a value of each round, with its interval over the rounds."""
    return intervals.interval(np.median, values, resamples=resamples)


def whole_picture(costs: Mapping[Place, Cost], resolution: int, steps: int, resamples: int) -> Number:
    """Seconds of a picture in pixels over one in latents, of so many evaluations each, of which the latter is decoded
    once.
    """
    pixels, latents, decoder = (np.array(costs[what, resolution].seconds) for what in TIMED)
    return over_rounds(steps * pixels / (steps * latents + decoder), resamples)


def _program(config: Config, what: str, resolution: int) -> Program:
    arguments: tuple[jax.Array, ...]
    start: Callable[[jax.Array], Params]
    input_shape, key = shape(what, resolution), jax.random.key(0)
    x = jnp.asarray(np.random.default_rng(1).normal(size=(1, *input_shape)), jnp.float32)
    if what == DECODER:
        coder = image_coding.network(config.autoencoder, FACTOR, CHANNELS)
        function, start, arguments = networks.pure(coder, "decode"), image_coding.init(coder), (x,)
    else:
        network, t = unet(config), jnp.full((1,), 500.0)
        function, start, arguments = networks.pure(network), functools.partial(_started, network, x.shape), (x, t)
    params = jax.tree.map(_drawn, jax.eval_shape(start, key))
    jitted: Any = devices.jit(function)
    lowered = jitted.lower(params, *arguments)
    flops, peak = program_costs.flops(lowered), program_costs.peak_bytes(lowered.compile())
    return Program(functools.partial(jitted, params, *arguments), input_shape, flops, peak)


def _started(network: networks.UNet, input_shape: tuple[int, ...], key: jax.Array) -> Params:
    return networks.init(network, key, jnp.zeros(input_shape), jnp.zeros((1,)))


def _drawn(leaf: jax.ShapeDtypeStruct) -> jax.Array:
    """Normal numbers, whose scale keeps maps finite: seconds depend on no value, and no program has to be compiled for
    these.
    """
    scale = np.sqrt(np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 10.0
    return jnp.asarray(np.random.default_rng(0).normal(size=leaf.shape) / scale, leaf.dtype)
