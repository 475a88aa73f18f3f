"""Direct reward gradients: the gradient of a reward goes back through the last steps of the sampler (DRaFT).

A reward that is a known function of the sample needs no policy gradient: its own gradient has far less noise. Through
all steps it costs the memory of all of them and tends to explode; DRaFT-K keeps the last K, and DRaFT-LV averages
several endings of one sample (K = 1).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from gendiff.core import arrays, checks, sample_keys
from gendiff.core.types import ArrayLike, Denoiser, Level, Sampler, State


def truncated_sample(
    key: jax.Array,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    start: Float[ArrayLike, "b *shape"],
    index: Integer[ArrayLike, "b"],
    *,
    last: int,
    unroll: bool = False,
) -> Float[Array, "b *shape"]:
    """Draw samples of `diffusion.sample(key, …, index, start=start)`, with a gradient through the `last` last steps.

    The steps before cost no memory for the backward pass, and no gradient reaches `start` or the denoiser through them.
    For a denoiser that is a pytree, such as `diffusion.from_network` makes, they cost no derivative either.

    Args:
        key: one typed key.
        denoise: the denoiser, whose parameters are differentiated.
        sampler: any of `diffusion.samplers`, deterministic or not.
        levels: the grid (t + 1,).
        start: (b, …) x_T, such as sigma_0 times standard normal noise.
        index: (b,) integers that name the samples.
        last: K, from 1 to t; t is the whole gradient.
        unroll: write the last K steps out in place of a loop. It takes longer to compile, and on a CPU the gradients of
            convolutions within a loop of XLA take many times as long.

    Raises:
        ValueError: for K outside 1 … t.
        TypeError: for a K that is no integer, and for a legacy key.

    References:
        Clark et al., 2023 (DRaFT), Eq. 3 and section 3.2, Alg. 1 (from memory).
    """
    keys = sample_keys.keys_of(key, index)
    grid: Level = jax.tree.map(jnp.asarray, levels)
    steps = len(grid) - 1
    checks.integer("last", last, 1, steps)

    def through(denoise: Denoiser, state: State, first: int, end: int, unroll: bool) -> State:
        def advance(state: State, j: jax.Array) -> tuple[State, None]:
            level, cleaner = grid[j], grid[j + 1]
            noise = sampler.noise_for_step(keys, j, level, cleaner)
            return sampler.step(noise, denoise, state, level, cleaner, steps - 1 - j), None

        return jax.lax.scan(advance, state, jnp.arange(first, end), unroll=unroll)[0] if end > first else state

    state = sampler.init(jnp.asarray(start))
    if last < steps:
        frozen = jax.tree.map(
            lambda leaf: jax.lax.stop_gradient(leaf) if isinstance(leaf, jax.Array) else leaf, denoise
        )
        state = jax.lax.stop_gradient(through(frozen, state, 0, steps - last, False))
    return through(denoise, state, steps - last, steps, unroll).x


def renoised(
    key: jax.Array,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    clean: Float[ArrayLike, "b *shape"],
    index: Integer[ArrayLike, "b"],
    *,
    draws: int,
) -> Float[Array, "n b *shape"]:
    """End each sample `draws` times anew, with a gradient through that last step.

    The sample is noised back to the last level before the end, and stepped from there. The mean of the reward over them
    has the gradient of DRaFT-1 with less variance, for one sample drawn.

    Args:
        key: one typed key, another one than the samples were drawn from.
        denoise: the denoiser, whose parameters are differentiated.
        sampler: without memory.
        levels: the grid (t + 1,) that the samples were drawn on.
        clean: (b, …) the samples, through which no gradient passes.
        index: (b,) integers that name the samples.
        draws: n, at least 1.

    Returns:
        (n, b, …).

    Raises:
        ValueError: for fewer than 1 draws.
        TypeError: for draws that are no integer, a legacy key, and a sampler with memory.

    References:
        Clark et al., 2023 (DRaFT), section 3.2, DRaFT-LV (from memory).
    """
    checks.integer("draws", draws, 1)
    keys = sample_keys.keys_of(key, index)
    grid: Level = jax.tree.map(jnp.asarray, levels)
    fixed = jax.lax.stop_gradient(jnp.asarray(clean))
    if jax.tree.leaves(sampler.init(fixed).memory):
        raise TypeError(
            f"{type(sampler).__name__} remembers earlier steps, of which a sample that is noised anew has none"
        )
    level, cleaner = grid[-2], grid[-1]

    def ended(number: jax.Array) -> jax.Array:
        draw_keys = arrays.fold_in(keys, number)
        noise = arrays.normal(arrays.fold_in(draw_keys, 0), like=fixed)
        x = arrays.expand(level.alpha, fixed) * fixed + arrays.expand(level.sigma, fixed) * noise
        return sampler.step(
            sampler.noise_for_step(draw_keys, 0, level, cleaner), denoise, sampler.init(x), level, cleaner, 0
        ).x

    return jax.vmap(ended)(jnp.arange(draws))
