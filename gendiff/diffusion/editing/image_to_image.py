"""Editing by the start of a draw: from an image noised part of the way, and from noises between those of two images."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from gendiff.core import arrays, checks, sample_keys
from gendiff.core.types import ArrayLike, Count, Scalar
from gendiff.diffusion import grids, process, sampling
from gendiff.diffusion.editing import inversion
from gendiff.diffusion.samplers.reversible_heun import reversible_heun
from gendiff.diffusion.sampling import OnLevel, Sampler
from gendiff.diffusion.types import Denoiser, Level

SLACK = 7e-4
"""How far below a half a count of steps still rounds up: a strength in float32 does not hold 0.35 of 10 steps."""


def first_entry(levels: Level, strength: Scalar, *, num_steps: Count | None = None) -> Count:
    """Find the entry n - k of a grid of n intervals where an edit begins, with k = strength · n rounded, halves up.

    Args:
        levels: (t + 1,) the grid.
        strength: () in [0, 1], the share of the steps that are run; data under jit.
        num_steps: n, default t.

    Returns:
        () in 0 … n, an int where strength and num_steps are concrete.

    Raises:
        ValueError: for a concrete strength outside [0, 1].
    """
    checks.in_range("strength", strength, 0.0, 1.0)
    steps = sampling.steps_of(levels, num_steps)
    if isinstance(steps, int) and arrays.is_concrete(strength):
        return steps - min(int(np.floor(float(strength) * steps + 0.5 + SLACK)), steps)
    count = jnp.floor(jnp.asarray(strength, jnp.result_type(float)) * steps + 0.5 + SLACK).astype(jnp.int32)
    return steps - jnp.minimum(count, steps)


def image_to_image(
    key: jax.Array,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    clean: Float[ArrayLike, "b *shape"],
    index: Int[ArrayLike, "b"],
    *,
    strength: Scalar,
    num_steps: Count | None = None,
    trajectory: bool = False,
) -> Float[Array, "..."]:
    """Edit images by `from_entry` at the entry that `first_entry` finds for a strength. Also known as: SDEdit, img2img.

    Args:
        key: as for `sample`.
        denoise: as for `sample`.
        sampler: as for `sample`.
        levels: (t + 1,) as for `sample`.
        clean: (b, …) the images.
        index: (b,) as for `sample`.
        strength: () in [0, 1], the share of the steps to run, rounded to whole steps. 1 is plain sampling, 0 the image
            as it came.
        num_steps: as for `sample`.
        trajectory: as for `from_entry`.

    References:
        Meng et al., 2022, Alg. 1 (from memory).
    """
    first = first_entry(levels, strength, num_steps=num_steps)
    return from_entry(
        key, denoise, sampler, levels, clean, index, first=first, num_steps=num_steps, trajectory=trajectory
    )


def from_entry(
    key: jax.Array,
    denoise: Denoiser,
    sampler: Sampler,
    levels: Level,
    clean: Float[ArrayLike, "b *shape"],
    index: Int[ArrayLike, "b"],
    *,
    first: Count,
    num_steps: Count | None = None,
    temperature: Scalar = 1.0,
    trajectory: bool = False,
    on_level: OnLevel | None = None,
) -> Float[Array, "..."]:
    """Noise clean samples to entry `first` of the grid and draw from there: SDEdit, img2img.

    The noise is that of x_T: sample i's own, from fold_in(fold_in(key, index[i]), 0). Steps are counted from the edit's
    first one. At `first` = 0 nothing of the image is left, and the result is that of `sample`, bit for bit; at the last
    entry it is the image.

    Args:
        key: as for `sample`.
        denoise: as for `sample`.
        sampler: as for `sample`.
        levels: (t + 1,) as for `sample`.
        clean: (b, …) floating, scaled to the data's range.
        index: (b,) as for `sample`.
        first: () in 0 … n, data under jit. A traced one makes the steps a `while_loop`, which is not differentiable in
            reverse.
        num_steps: n, as for `sample`.
        temperature: as for `sample`, where `first` is 0; behind it the noise is that of the level.
        trajectory: return all t + 1 entries: the steps first, and then the result repeated.
        on_level: as for `sample`, with steps counted from the edit's first one.

    Raises:
        TypeError: for images that are not floating.
        ValueError: for pixels 0…255, a concrete `first` outside 0 … n, and a temperature that is not positive.

    References:
        Meng et al., 2022, Alg. 1 (from memory).
    """
    checks.floating("clean", clean)
    checks.unscaled_pixels("clean", clean)
    checks.in_range("temperature", temperature, 0.0, math.inf, open_low=True, open_high=True)
    steps = sampling.steps_of(levels, num_steps)
    checks.integer("first", first, 0, steps if isinstance(steps, int) else len(levels) - 1)
    first = int(first) if arrays.is_concrete(first) else first
    clean, levels = jnp.asarray(clean), jax.tree.map(jnp.asarray, levels)
    start = _start(key, clean, levels, index, first, steps, temperature)
    left = steps - first
    if isinstance(left, int) and left == 0:
        return jnp.broadcast_to(start, (len(levels), *start.shape)) if trajectory else start
    rest, shape = grids.remaining(levels, first), clean.shape[1:]
    return sampling.sample(
        key, denoise, sampler, rest, shape, index, start=start, num_steps=left, trajectory=trajectory, on_level=on_level
    )


def slerp(
    first: Float[ArrayLike, "b *shape"], second: Float[ArrayLike, "b *shape"], share: Scalar
) -> Float[Array, "b *shape"]:
    """Find the point at `share` of the great circle from first to second, of each sample by itself.

    The norm runs linearly from one to the other: noises, whose norms are close to sqrt(d), stay noises, which a
    straight line does not. The straight line is taken where one vector is zero, or both are parallel within the root of
    the rounding. Between opposite vectors no circle is the shortest, and the line goes through 0. Values and gradients
    are finite everywhere.

    Args:
        first: (b, …).
        second: (b, …).
        share: () or (b,); 0 is first and 1 is second, exactly.

    References:
        Shoemake, 1985, Sec. 3.3 (from memory).
    """
    checks.same_shape("first", first, "second", second)
    a, b = jnp.asarray(first), jnp.asarray(second)
    wide = jnp.promote_types(a.dtype, jnp.float32)
    sizes = [arrays.safe_sqrt(jnp.sum(arrays.flatten_samples(v).astype(wide) ** 2, axis=1)) for v in (a, b)]
    units = [
        arrays.flatten_samples(v).astype(wide) * arrays.safe_divide(1.0, n)[:, None]
        for v, n in zip((a, b), sizes, strict=True)
    ]
    difference, total = (arrays.safe_sqrt(jnp.sum((units[0] + sign * units[1]) ** 2, axis=1)) for sign in (-1, 1))
    bent = (jnp.minimum(difference, total) > jnp.sqrt(jnp.finfo(wide).eps)) & (sizes[0] > 0) & (sizes[1] > 0)
    # accurate for small and for flat angles
    angle = 2 * jnp.arctan2(jnp.where(bent, difference, 1.0), jnp.where(bent, total, 1.0))
    share = jnp.broadcast_to(jnp.asarray(share, wide), angle.shape)
    size = (1 - share) * sizes[0] + share * sizes[1]
    weights = []
    for part, length in zip((1 - share, share), sizes, strict=True):
        turned = jnp.sin(part * angle) / jnp.sin(angle) * arrays.safe_divide(size, length, otherwise=1.0)
        weights.append(arrays.expand(jnp.where(bent, turned, part), a))
    return weights[0] * a + weights[1] * b


def between_images(
    denoise: Denoiser,
    first: Float[ArrayLike, "b *shape"],
    second: Float[ArrayLike, "b *shape"],
    share: Scalar,
    levels: Level,
    *,
    num_steps: Count | None = None,
    trajectory: bool = False,
) -> Float[Array, "..."]:
    """Draw the image from the noise at `share` of the great circle between those of two images.

    Both are inverted by `inversion.reversible_invert`, and sample and companion are turned alike. So shares 0 and 1
    return the images to rounding at any number of steps. The exception is a single step from alpha = 0 to sigma = 0,
    which keeps nothing of its start. It is refused for concrete levels; under jit its result is finite and is neither
    image. n steps take 3 n + 2 evaluations.

    Args:
        denoise: the denoiser.
        first: (b, …) images.
        second: (b, …) images.
        share: () or (b,), data under jit.
        levels: (t + 1,) as for `sample`.
        num_steps: as for `sample`.
        trajectory: as for `sample`.

    Raises:
        TypeError: for images that are not floating.
        ValueError: for images of different shapes, and a concrete single step from alpha = 0 to sigma = 0.

    References:
        Song et al., 2021, Sec. 5.3 (from memory), by another inversion.
    """
    checks.floating("first", first)
    checks.same_shape("first", first, "second", second)
    steps = sampling.steps_of(levels, num_steps)
    known = isinstance(steps, int) and arrays.is_concrete(levels.alpha) and arrays.is_concrete(levels.sigma)
    if known and steps == 1 and np.asarray(levels.alpha)[0] == 0 and np.asarray(levels.sigma)[1] == 0:
        raise ValueError(
            "one step from alpha = 0 to sigma = 0 keeps nothing of its start, so nothing lies between: use 2 steps or "
            "more"
        )
    ends = [
        inversion.reversible_invert(denoise, jnp.asarray(image), levels, num_steps=num_steps)
        for image in (first, second)
    ]
    start, companion = (slerp(one, other, share) for one, other in zip(*ends, strict=True))
    sampler, index = reversible_heun(companion), jnp.arange(len(start))
    key, shape = jax.random.key(0), start.shape[1:]  # a key that nothing draws from
    return sampling.sample(
        key, denoise, sampler, levels, shape, index, start=start, num_steps=num_steps, trajectory=trajectory
    )


def _start(
    key: jax.Array,
    clean: jax.Array,
    levels: Level,
    index: ArrayLike,
    first: Count,
    steps: Count,
    temperature: Scalar,
) -> jax.Array:
    """The samples noised to entry `first`: pure noise at entry 0, as `sample` draws it, clean at the last entry."""
    keys = sample_keys.keys_of(key, index)
    if len(keys) != len(clean):
        raise ValueError(f"index names {len(keys)} samples, but clean has {len(clean)}")
    noise = sample_keys.first_noise(keys, clean.shape[1:], clean.dtype)
    level = levels[first]
    noised = process.add_noise(clean, noise, level)
    pure_noise = arrays.expand(temperature, noise) * arrays.expand(level.sigma, clean) * noise
    return jnp.where(jnp.asarray(first) == 0, pure_noise, jnp.where(jnp.asarray(first) == steps, clean, noised))
