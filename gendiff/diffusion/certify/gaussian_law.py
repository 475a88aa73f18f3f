"""The exact law of a sampler on Gaussian data, without sampling.

The denoiser of Gaussian data is affine in x, so a sampler that is affine in x and in its noise ends at m + M x_T + the sum over its draws z
of C z: Gaussian, of variance M² v + the sum of C². The factors are read off with impulse keys: typed keys whose normal draws are all 0,
except for the one whose address (number of the step, path of the key within the step) is the sample's index. One more sample turns on every
draw at once, at values that depend on the address. Where the factors do not add up to its answer, a draw was missed or the sampler is not
affine, and no law is given.
"""

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import random as key_types
from jaxtyping import Array, Float

from gendiff.core import errors
from gendiff.core.types import ArrayLike, Count
from gendiff.diffusion import oracles, sampling
from gendiff.diffusion.sampling import Sampler
from gendiff.diffusion.types import Level

FOLDS = 16
"""Where draws are looked for: the step's own key, fold_in(key, k) and split(key)[k], k below this."""
ROUNDING = 1e-9
"""How far the factors may miss the answer to all draws at once, relative to it."""
CHUNK = 2048
"""Samples a call, so that one compile serves every number of steps."""

_EVERY = 0xFFFF  # as the number of the step: every draw of every step
_SECOND_FOLD = 0x9E3779B1  # spreads the paths of keys folded more than once; they are met, and refused, but never searched


class NoLawError(errors.GendiffError, ValueError):
    """The sampler is not affine in x and in normal draws from the keys of its steps, so its law cannot be read off."""


@dataclass(frozen=True)
class Law:
    """Mean and standard deviation (n,) of the end points for n Gaussians in one dimension, and what they should be."""

    mean: np.ndarray
    std: np.ndarray
    exact_mean: np.ndarray
    exact_std: np.ndarray

    @property
    def distance(self) -> np.ndarray:
        """(n,) Wasserstein-2 distance from the exact law (Givens & Shortt, 1984): of means and of standard deviations, by Pythagoras."""
        return np.hypot(self.mean - self.exact_mean, self.std - self.exact_std)


def law(
    sampler: Sampler, std: Float[ArrayLike, "n"], mean: Float[ArrayLike, "n"], levels: Level, num_steps: int, draws: Sequence[int]
) -> Law:
    """The law of x after `num_steps` of the intervals of `levels` (t + 1,), started in the exact marginal. Needs float64.

    draws: addresses within a step, as found by `find_draws`. Raises NoLawError if the sampler is not affine in x and in those draws.
    """
    std, mean = np.asarray(std, np.float64), np.asarray(mean, np.float64)
    to_alpha, to_sigma = float(levels.alpha[num_steps]), float(levels.sigma[num_steps])
    addresses = [_address(step, path) for step in range(1, num_steps + 1) for path in draws]
    ends = _ends(sampler, std, mean, levels, num_steps, [0, 0, 0, _address(_EVERY, 0), *addresses], [0.0, 1.0, -2.0])
    base, carried, everything, moved = ends[0], ends[1] - ends[0], ends[3] - ends[0], ends[4:] - ends[0]
    factors = moved / _values(addresses)[:, None]
    size = ROUNDING * np.max(np.abs(ends), axis=0)
    if np.any(np.abs(ends[2] - base + 2 * carried) > size):
        raise NoLawError("the sampler is not affine in x on Gaussian data")
    if np.any(np.abs(everything - _values(addresses, every=True) @ factors) > size):
        raise NoLawError(f"the sampler's noise is no sum over normal draws from the keys of its steps (looked below fold {FOLDS})")
    variance = carried**2 + np.sum(factors**2, axis=0)
    return Law(base, np.sqrt(variance), to_alpha * mean, np.hypot(to_alpha * std, to_sigma))


def find_draws(sampler: Sampler, levels: Level, num_steps: int) -> tuple[int, ...]:
    """The addresses within a step whose draws move the end point: 0 the step's own key, 2k + 1 its fold k, 2k + 2 its part k."""
    paths, steps = range(2 * FOLDS + 1), range(1, num_steps + 1)
    addresses = [_address(step, path) for path in paths for step in steps]
    ends = _ends(sampler, np.array([0.5]), np.array([0.5]), levels, num_steps, [0, *addresses], [])
    moved = np.any(np.reshape(ends[1:] != ends[:1], (len(paths), -1)), axis=1)
    return tuple(path for path in paths if moved[path])


def _ends(
    sampler: Sampler, std: np.ndarray, mean: np.ndarray, levels: Level, num_steps: int, index: list[int], offsets: list[float]
) -> np.ndarray:
    """(len(index), n) end points from the mean of the first level, plus that many standard deviations."""
    alpha, sigma = float(levels.alpha[0]), float(levels.sigma[0])
    offset = np.zeros(len(index))
    offset[: len(offsets)] = offsets
    start = alpha * mean + offset[:, None] * np.hypot(alpha * std, sigma)
    columns = [np.broadcast_to(column, start.shape).ravel() for column in (start, std, mean, np.asarray(index)[:, None])]
    parts = []
    for k in range(0, start.size, CHUNK):
        rows = np.minimum(np.arange(k, k + CHUNK), start.size - 1)  # the last part repeats the last row
        parts.append(np.asarray(_end(sampler, levels, jnp.asarray(num_steps), *(jnp.asarray(column[rows]) for column in columns))))
    return np.concatenate(parts)[: start.size].reshape(start.shape)


@jax.jit
def _end(sampler: Sampler, levels: Level, num_steps: Count, start: Array, std: Array, mean: Array, index: Array) -> Array:
    gaussian = oracles.Gaussian(std, mean)
    key = jax.random.key(0, impl=_impulses())
    return sampling.sample(key, gaussian, sampler, levels, (1,), index, num_steps=num_steps, start=start[:, None])[:, 0]


def _address(step: int, path: int) -> int:
    return step + (path << 16)


def _values(addresses: list[int], every: bool = False) -> np.ndarray:
    """What is drawn at each address when it is on, alone or with every other."""
    index = np.asarray(addresses, np.uint32)
    told = np.full_like(index, _EVERY) if every else index
    keys = np.stack([np.full_like(index, 2), told, index & 0xFFFF, index >> 16], axis=1)
    draw = jax.vmap(lambda key: jax.random.normal(key, (1,), jnp.float64))
    return np.asarray(draw(jax.random.wrap_key_data(jnp.asarray(keys), impl=_impulses())))[:, 0]


# The key type. A key holds (folds so far, at most 2; index of the sample; number of the step; path within the step), as `sample` folds.


@functools.cache
def _impulses() -> Hashable:
    return key_types.define_prng_impl(
        key_shape=(4,), seed=_seeded, split=_split, random_bits=_bits, fold_in=_folded, name="gendiff_impulse", tag="imp"
    )


def _seeded(seed: Any) -> Array:
    return jnp.zeros(4, jnp.uint32)


def _folded(key: Array, data: Any) -> Array:
    folds, index, step, path = key
    data = jnp.asarray(data).astype(jnp.uint32)
    deeper = path * jnp.uint32(_SECOND_FOLD) + 2 * data + 1
    named = jnp.where(folds == 0, data, index), jnp.where(folds == 1, data, step), jnp.where(folds == 2, deeper, path)
    return jnp.stack([jnp.minimum(folds + 1, 2), *named])


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    part = jnp.arange(np.prod(shape, dtype=int), dtype=jnp.uint32).reshape(shape)
    path = key[3] * jnp.uint32(_SECOND_FOLD) + 2 * part + 2
    return jnp.broadcast_to(key, (*shape, 4)).at[..., 3].set(path)


def _bits(key: Array, width: int, shape: tuple[int, ...]) -> Array:
    """Bits of a uniform draw of 1/2, which is a normal draw of 0; where the draw is on, of 3/4, or of 1/8 as well when all are on."""
    folds, index, step, path = key
    place = jnp.arange(np.prod(shape, dtype=int), dtype=jnp.uint32).reshape(shape)
    on = (folds == 2) & (index == step + (path << 16)) & (path < 1 << 16) & (place == 0)
    mixed = (step * jnp.uint32(0x85EBCA6B) ^ path * jnp.uint32(0xC2B2AE35) ^ place * jnp.uint32(0x27D4EB2F)) * jnp.uint32(_SECOND_FOLD)
    eighths = jnp.where(on, 6, jnp.where((index & 0xFFFF) == _EVERY, jnp.where(mixed >> 31 == 0, 6, 1), 4))
    return eighths.astype(f"uint{width}") << (width - 3)
