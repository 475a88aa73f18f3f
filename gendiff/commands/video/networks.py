"""The three networks: how each sees a clip, what it is trained by, and the operations of everything that it does."""

import functools
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import networks
from gendiff.commands.video.config import CAUSAL, FACTORISED, FULL, PATCH, Config
from gendiff.core.types import Loss, Params
from gendiff.data import digits
from gendiff.diffusion import objectives, parameterization, schedules, video, weighting
from gendiff.runs import devices

T = TypeVar("T")
SCHEDULE, FORM = schedules.shifted(schedules.flow(), 2.0), parameterization.flow()
"""The noise path, and what the output of a network means. Frames of a clip tell the same, so that it takes more noise
to hide it.
"""
EXPANSION, FREQUENCIES = 4, 256
"""Width of the MLPs over that of the tokens, and the waves that tell a network the level."""
ROTARY_BASE = 10.0
"""Of rotary positions: clips are short, and frames have few patches."""


def network(config: Config, attention: str) -> networks.VideoTransformer:
    """The network of an attention. The causal one works frame by frame, and sees as many frames as a training clip
    has.
    """
    return networks.VideoTransformer(
        patch=PATCH,
        width=config.width,
        depth=config.depth,
        heads=config.heads,
        expansion=EXPANSION,
        num_classes=digits.CLASSES,
        attention=attention,
        rotary_base=ROTARY_BASE,
        added_positions=True,
        window=config.frames if attention == CAUSAL else None,
    )


@functools.lru_cache(maxsize=8)  # one object, so that all that is made of it is compiled once
def predict(config: Config, attention: str) -> networks.module.PureFunction:
    """The network as a function of its parameters."""
    return networks.pure(network(config, attention))


def example(
    config: Config, attention: str, clips: int = 1, *, frames: int | None = None, side: int | None = None
) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
    """Shapes of clips, of what the network is told of their noise in training, and of labels; None takes those of
    training clips.
    """
    frames, side = frames or config.frames, side or config.side
    times = (clips, frames) if attention == CAUSAL else (clips,)
    x = jax.ShapeDtypeStruct((clips, frames, side, side, 1), np.float32)
    return x, jax.ShapeDtypeStruct(times, np.float32), jax.ShapeDtypeStruct((clips,), np.int32)


def init(config: Config, attention: str, key: jax.Array) -> Params:
    """Fresh parameters."""
    return networks.init(network(config, attention), key, *example(config, attention))


def loss(config: Config, attention: str) -> Loss:
    """The error of the network's own target: at one level per clip, or for the causal network at one per frame
    (Diffusion Forcing).
    """
    apply = predict(config, attention)
    if attention == CAUSAL:
        return video.diffusion_forcing(apply, SCHEDULE, FORM, drop_condition=0.0)
    return objectives.denoising(apply, SCHEDULE, FORM, levels=weighting.stratified_levels(), drop_condition=0.0)


def libraries() -> bool:
    """Whether libraries do the work (see `devices.compiler_options`): they are faster and take long to compile, so a
    smoke run has none.
    """
    return not jax.config.read("jax_disable_most_optimizations")


def jit(function: Callable[..., T]) -> Callable[..., T]:
    """`devices.jit`, as `libraries` says."""
    return devices.jit(function, libraries=libraries())


def forward_flops(config: Config, attention: str, frames: int, side: int) -> float:
    """Operations of one evaluation of one clip, 2 per multiplication and addition, as `accounting.count` has them."""
    width, tokens = config.width, (side // PATCH) ** 2
    half = config.depth // 2
    pairs = {FULL: config.depth * frames * tokens, CAUSAL: config.depth * frames * tokens}
    pairs[FACTORISED] = (config.depth - half) * tokens + half * frames
    each = config.depth * (8 + 4 * EXPANSION) * width**2 + 4 * PATCH**2 * width + 4 * width * pairs[attention]
    conditioning = 2 * (FREQUENCIES + width) * width + (12 * config.depth + 4) * width**2
    return float(frames * tokens * each + (frames if attention == CAUSAL else 1) * conditioning)


def steps(config: Config, attention: str) -> int:
    """Of a training: as many as its operations allow, at least two. A step takes three forward passes."""
    return max(
        2, round(config.flops / (3 * config.batch * forward_flops(config, attention, config.frames, config.side)))
    )


def spent(config: Config, attention: str) -> float:
    """Operations of a training of one seed."""
    return 3.0 * config.batch * steps(config, attention) * forward_flops(config, attention, config.frames, config.side)


def cached_flops(config: Config) -> float:
    """Operations of one evaluation of the causal network on one frame, when the cache is full."""
    tokens = (config.side // PATCH) ** 2
    earlier = 4 * config.width * config.depth * tokens * tokens * (config.frames - 1)
    return forward_flops(config, CAUSAL, 1, config.side) + earlier


def parameters(config: Config, attention: str) -> int:
    """How many numbers a network has."""
    return networks.count(jax.eval_shape(functools.partial(init, config, attention), jax.random.key(0)))


def zeros(config: Config, attention: str, *, frames: int, side: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One clip of zeros with all that the network is told."""
    x, t, label = example(config, attention, frames=frames, side=side)
    return jnp.zeros(x.shape), jnp.zeros(t.shape), jnp.zeros(label.shape, jnp.int32)
