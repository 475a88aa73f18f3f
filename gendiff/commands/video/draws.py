"""Clips of trained networks: whole ones at once, and rollouts of the causal network, frame by frame against its
cache.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.commands import drawing_programs
from gendiff.commands.video import networks
from gendiff.commands.video.config import CAUSAL, Config
from gendiff.core.types import ArrayLike, KVCache, Params, Scalar
from gendiff.data import digits, scaling
from gendiff.diffusion import denoiser, grids, samplers, sampling, video
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.networks import frame_cache
from gendiff.runs import drawing
from gendiff.runs.progress import Progress

SEED = 1
"""Of the noise that clips are made from; training has its own seeds."""


def labels(count: int) -> np.ndarray:
    """(count,) the digits of clips: 0, 1, … in turn."""
    return (np.arange(count) % digits.CLASSES).astype(np.int32)


@functools.lru_cache(maxsize=4)
def clips_at_once(config: Config, attention: str, steps: int) -> Callable[..., jax.Array]:
    """The `draw_program` of clips (b, frames, side, side, 1), all frames of which are drawn together, by their
    labels.
    """
    predict, levels = networks.predict(config, attention), grids.trailing(networks.SCHEDULE, steps)

    def denoise(params: Params, scale: Scalar, label: jax.Array) -> NetworkDenoiser:
        return denoiser.from_network(predict, params, networks.FORM, label)

    return drawing_programs.draw_program(
        denoise, samplers.ddim(), shape(config), levels=levels, libraries=networks.libraries()
    )


def rollout(
    config: Config,
    steps: int,
    frames: int,
    params: Params,
    key: jax.Array,
    index: jax.Array,
    label: jax.Array,
    noise: Scalar,
    cache: KVCache = None,
) -> video.DrawnClips:
    """Clips (b, frames, side, side, 1), frame by frame, and the cache from which they go on. Frames are rounded to the
    levels of digits before the next one sees them, so that errors below half a level do not add up.

    noise: the place u on the noise path at which frames are kept in the cache. cache: of the frames before; None begins
        without any.
    """
    return video.rollout(
        key,
        networks.predict(config, CAUSAL),
        params,
        networks.FORM,
        empty(config, index.shape[0]) if cache is None else cache,
        samplers.ddim(),
        grids.trailing(networks.SCHEDULE, steps),
        shape(config)[1:],
        index,
        block=1,
        num_blocks=frames,
        condition=(label,),
        context=networks.SCHEDULE.at(noise),
        finish=lambda frames: jnp.asarray(scaling.round_to_levels(frames, digits.LEVELS)),
    )


def empty(config: Config, batch: int) -> KVCache:
    """A cache of the causal network without any frame."""
    return frame_cache(networks.network(config, CAUSAL), batch, config.frames, config.side, config.side)


def next_frame(
    config: Config, steps: int, params: Params, key: jax.Array, before: jax.Array, index: jax.Array, label: jax.Array
) -> jax.Array:
    """The last frame of clips (b, frames, side, side, 1) whose other frames are known, without a cache: each call
    computes all frames.
    """
    conditional = denoiser.from_network(networks.predict(config, CAUSAL), params, networks.FORM, label)
    known = jnp.arange(config.frames) < config.frames - 1
    held = video.known_frames(conditional, before, known, networks.SCHEDULE.clean)
    return sampling.sample(key, held, samplers.ddim(), grids.trailing(networks.SCHEDULE, steps), shape(config), index)[
        :, -1
    ]


def shape(config: Config) -> tuple[int, int, int, int]:
    """Of a training clip."""
    return config.frames, config.side, config.side, 1


def clips(config: Config, attention: str, params: Params, count: int, title: str, progress: Progress) -> np.ndarray:
    """(count, frames, side, side, 1) clips of the digits in turn, as long as those of training. NonFiniteError as
    `check_finite` says.
    """
    if attention == CAUSAL:
        return long_clips(config, params, count, 1, 0.0, title, progress)
    program = clips_at_once(config, attention, config.sampling_steps)
    return _drawn(config, functools.partial(program, params, jax.random.key(SEED), 1.0, 1.0), count, title, progress)


def long_clips(
    config: Config, params: Params, count: int, times: int, noise: float, title: str, progress: Progress
) -> np.ndarray:
    """(count, times · frames, side, side, 1) rollouts of the causal network, each part from the cache of the one
    before; as `clips`.
    """
    program, key = rollouts(config), jax.random.key(SEED)

    def draw(index: jax.Array, label: jax.Array) -> np.ndarray:
        cache, parts = empty(config, len(index)), []
        for _ in range(times):
            block = program(params, key, index, label, jnp.float32(noise), cache)
            cache = block.cache
            parts.append(np.asarray(block.frames))
        return np.concatenate(parts, 1)

    return _drawn(config, draw, count, title, progress)


@functools.lru_cache(maxsize=2)
def rollouts(config: Config) -> Callable[..., video.DrawnClips]:
    """The compiled `rollout` of as many frames as a training clip has: (params, key, index, label, noise, cache) ->
    frames and cache.
    """
    return networks.jit(functools.partial(rollout, config, config.sampling_steps, config.frames))


def to_levels(samples: np.ndarray) -> np.ndarray:
    """Clips rounded to the levels of digits, as all measures take them: no faint noise on a black ground."""
    return np.asarray(scaling.round_to_levels(samples, digits.LEVELS))


def _drawn(config: Config, draw: Callable[..., ArrayLike], count: int, title: str, progress: Progress) -> np.ndarray:
    """draw: (index, label) -> clips."""
    index = np.arange(count, dtype=np.int32)
    samples = drawing.draw_all(
        draw, index, labels(count), together=min(config.together, count), title=title, progress=progress
    )
    drawing.check_finite(samples, index, title)
    return np.asarray(samples)
