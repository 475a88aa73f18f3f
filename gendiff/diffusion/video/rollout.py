"""Rollout: clips of any length, drawn block by block, each against a cache of the frames before it."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from gendiff.core import arrays, checks, records, sample_keys
from gendiff.core.types import ArrayLike, Condition, Count, KVCache, Params
from gendiff.diffusion import conditions, denoiser, process, sampling
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Denoiser, Level, Predict


@runtime_checkable
class EarlierFrames(Protocol):
    """What a network keeps of earlier frames, such as `networks.FrameCache`: a pytree of arrays (b, …)."""

    number: ArrayLike
    """(b,) how many frames there were."""


class DrawnClips(NamedTuple):
    """What `rollout` returns.

    Attributes:
        frames: (b, f, *frame_shape) the known ones, then the new ones.
        cache: with all of them read, from which another rollout goes on.
    """

    frames: Array
    cache: KVCache


@records.record
class _Reading:
    """A network that answers (output, cache) as one that answers the output: what it would write is dropped."""

    predict: Predict = records.static()

    def __call__(self, params: Params, x: Array, t: Array, *condition: Condition) -> Array:
        return self.predict(params, x, t, *condition)[0]


def rollout(
    key: jax.Array,
    predict: Predict,
    params: Params,
    parameterization: Parameterization,
    cache: EarlierFrames,
    sampler: Sampler,
    levels: Level,
    frame_shape: tuple[int, ...],
    index: Integer[ArrayLike, "b"],
    *,
    block: int,
    num_blocks: int,
    condition: tuple[Condition, ...] = (),
    context: Level | None = None,
    known: Float[ArrayLike, "b g *shape"] | None = None,
    guide: Callable[[NetworkDenoiser], Denoiser] | None = None,
    finish: Callable[[Array], Array] | None = None,
    num_steps: Count | None = None,
) -> DrawnClips:
    """Draw clips block by block: each block of frames along all levels, against a cache of the frames before it.

    Also known as: autoregressive video generation; the cache is a KV cache.

    Call it under `jit`.

    A block costs the evaluations of the sampler, which only read the cache, and one more that writes the finished
    frames into it. With a cache of a window, memory does not grow with the number of blocks but for the frames
    themselves.

    Block n of a clip, counted from its first frame, is a function of (params, key, index[i], n) and of the frames
    before it. Neither the number of blocks, nor batch, order and devices enter: a clip that goes on from a cache, or
    from its own frames as `known`, is the clip that was drawn at once.

    Args:
        key: one typed key.
        predict: the network, (params, x, t, *condition, cache) -> (output, cache), with x (b, block, …) and t (b,),
            such as a causal `networks.VideoTransformer` or `networks.VideoUNet`.
        params: its parameters.
        parameterization: what its output means.
        cache: of `networks.frame_cache`, empty or with as many frames of each clip. Without a window it needs room for
            all frames but those of the last block; a clip that it has no room for is NaN.
        sampler: a record such as `samplers.ddim()`.
        levels: the grid (t + 1,), from noise to clean.
        frame_shape: of one frame.
        index: (b,) integers 0 … 2**32 - 1 that name the clips.
        block: frames that are drawn at once: those of a block of the network.
        num_blocks: how many blocks to draw.
        condition: the network's conditions, as `from_network` takes them, but in a tuple.
        context: () the level at which finished frames are written: noise of it is added to what is written, not to what
            is returned, and the network is told of it. Errors of the frames then drown in that noise, as in training,
            and drift less. None: where the grid ends, without noise.
        known: (b, g, *frame_shape) clean first frames, in whole blocks, which enter the cache first. None: none.
        guide: makes the denoiser of a block, such as
            `lambda c: guidance.classifier_free(c, c.with_condition(NO_LABEL, c.condition[-1]), 2.0)`:
            the last condition is the cache, which is shared here. None: the network alone.
        finish: what a block becomes before it is written and returned, such as `lambda x: jnp.clip(x, -1, 1)`, or x
            rounded to the levels of the data: errors below half a level then do not add up. None: itself.
        num_steps: as in `sample`.

    Raises:
        TypeError: as `sample` does.
        ValueError: for counts below 1, known frames of another shape or in parts of blocks, concrete caches of
            clips of different lengths or of parts of blocks, and as `sample` does. Under jit, a clip that is not as
            long as the first one is NaN.

    References:
        Huang et al., 2025 (Self Forcing), Alg. 2, for the loop with a cache; Chen et al., 2024 (diffusion forcing),
        section 3.3, for noise on the context (from memory).
    """
    sample_keys.check_key(key)
    checks.integer("block", block, 1)
    checks.integer("num_blocks", num_blocks, 1)
    steps = sampling.steps_of(levels, num_steps)
    levels = jax.tree.map(jnp.asarray, levels)
    _check_lengths(cache.number, block)
    index, number = sample_keys.checked_index(index), jnp.asarray(cache.number)
    finished = levels[steps] if context is None else jax.tree.map(jnp.asarray, context)
    aligned = conditions.for_each(condition, index.shape[0])

    def written(cache: KVCache, clip: Array, block_key: jax.Array) -> KVCache:
        if context is not None:
            keys = sample_keys.keys_of(jax.random.fold_in(block_key, 1), index)
            clip = process.add_noise(clip, arrays.normal(keys, clip), finished)
        return predict(params, parameterization.scale_in(clip, finished), finished.t_for(clip), *aligned, cache)[1]

    def read(cache: KVCache, block_and_number: tuple[Array, Array]) -> tuple[KVCache, None]:
        clip, n = block_and_number
        return written(cache, clip, jax.random.fold_in(key, n)), None

    def next_block(cache: KVCache, n: Array) -> tuple[KVCache, Array]:
        block_key = jax.random.fold_in(key, n)
        alone = denoiser.from_network(_Reading(predict), params, parameterization, *condition, cache)
        denoise = alone if guide is None else guide(alone)
        draw_key, shape = jax.random.fold_in(block_key, 0), (block, *frame_shape)
        clip = sampling.sample(draw_key, denoise, sampler, levels, shape, index, num_steps=num_steps)
        clip = clip if finish is None else finish(clip)
        return written(cache, clip, block_key), clip

    first, blocks = number[0] // block, []
    if known is not None:
        blocks_known = _in_blocks(known, block, (index.shape[0], *frame_shape)).astype(levels.sigma.dtype)
        cache, _ = jax.lax.scan(read, cache, (blocks_known, first + jnp.arange(len(blocks_known))))
        first, blocks = first + len(blocks_known), [blocks_known]
    cache, clips = jax.lax.scan(next_block, cache, first + jnp.arange(num_blocks))
    frames = jnp.moveaxis(jnp.concatenate([*blocks, clips]), 0, 1).reshape(index.shape[0], -1, *frame_shape)
    alike = (number == number[0]).reshape(-1, *[1] * (frames.ndim - 1))
    return DrawnClips(jnp.where(alike, frames, jnp.nan), cache)


def _check_lengths(number: ArrayLike, block: int) -> None:
    if not arrays.is_concrete(number):
        return
    lengths = np.asarray(number)
    if np.any(lengths != lengths[0]) or lengths[0] % block:
        raise ValueError(
            f"the cache holds clips of {lengths} frames: all must be of one length, in whole blocks of {block}"
        )


def _in_blocks(known: ArrayLike, block: int, shape: tuple[int, ...]) -> Array:
    """The known frames (blocks, b, block, …), for clips of that batch and shape of a frame."""
    checks.floating("known", known)
    checks.unscaled_pixels("known", known)
    b, *frame_shape = shape
    if known.ndim != len(shape) + 1 or (known.shape[0], *known.shape[2:]) != shape or known.shape[1] % block:
        expected = f"({b}, frames, {', '.join(map(str, frame_shape))}) in whole blocks of {block}"
        raise ValueError(f"known has shape {known.shape}, but {expected} is needed")
    return jnp.moveaxis(jnp.asarray(known).reshape(b, -1, block, *frame_shape), 1, 0)
