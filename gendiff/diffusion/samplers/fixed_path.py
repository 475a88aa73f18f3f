"""Stochastic samplers along one Brownian path a sample: more steps refine one image instead of drawing another.

The path belongs to the sample's key, not to the grid. Its time is log(1 + (alpha/sigma)²), 0 where nothing is left of
the clean sample, and the noise of a step is what the path does over it, scaled to unit variance. Were the clean
prediction constant, the noises of two steps would add up to that of the whole step exactly in the time (alpha/sigma)².
The logarithm is the same at the noisy end; towards the clean end it keeps the time in bounds, for a correlation of 0.98
over a step that halves sigma/alpha.
"""

import math
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt32

from gendiff.core import arrays, checks, extras, records
from gendiff.core.types import Count, Keys
from gendiff.diffusion import sampling
from gendiff.diffusion.sampling import Noise, Part, Sampler, State, Wrapper
from gendiff.diffusion.types import Denoiser, Level

CLEANEST = 1e-6
"""The sigma/alpha where paths end: cleaner levels share its time, and a step between two of them adds no noise."""
LATEST = math.log1p(CLEANEST**-2)
_PATH = np.uint32(2**32 - 1)  # folded into a sample's key it names the path: no step has this number


def paths(keys: Keys) -> UInt32[Array, "b word"]:
    """The Brownian path of each sample's key (b,), as plain key data.

    diffrax draws in a loop in which JAX's checker of typed keys believes to see a reuse. Drawn as bits, any kind of key
    will do.
    """
    words = jax.random.key_data(jax.random.key(0)).shape
    return jax.vmap(lambda key: jax.random.bits(key, words, jnp.uint32))(arrays.fold_in(keys, _PATH))


def time(level: Level, like: Array) -> Array:
    """log(1 + (alpha/sigma)²), at most LATEST, of the level's shape; in the dtype of `like` but at least float32."""
    alpha, sigma = (
        jnp.asarray(field).astype(arrays.at_least_float32(like.dtype)) for field in (level.alpha, level.sigma)
    )
    return jnp.minimum(jnp.log1p((alpha / jnp.maximum(sigma, CLEANEST * alpha)) ** 2), LATEST)


def increments(
    paths: UInt32[Array, "b word"],
    level: Level,
    cleaner: Level,
    like: Float[Array, "b *shape"],
    *,
    tolerance: float = 1e-5,
) -> Float[Array, "b *shape"]:
    """Increments of the Brownian paths between two levels, scaled to unit variance: standard normal, like x (b, …).

    They are 0 between equal times. Neighbouring steps are independent. No gradient reaches the levels, as a path has
    none.

    Args:
        paths: (b, word) the paths, from `paths`.
        level: where the step begins, () or (b,).
        cleaner: where it ends.
        like: an array (b, …) of the shape and dtype of the noise.
        tolerance: steps shorter than this in time are not resolved; log2(LATEST / tolerance) draws of noise, 22, find
            the path at a time.

    Raises:
        TypeError: inside `shard_map` with its check of varying axes, which diffrax does not support.
    """
    # it varies over a mesh; the attribute that says so has another name in every version of JAX
    if "{V:" in str(jax.typeof(like)):
        raise TypeError(
            "a Brownian path inside shard_map needs jax.shard_map(..., check_vma=False): diffrax does not support that "
            "check"
        )
    virtual_tree, dtype = _diffrax().VirtualBrownianTree, arrays.at_least_float32(like.dtype)
    start, end = (jnp.broadcast_to(jax.lax.stop_gradient(time(at, like)), like.shape[:1]) for at in (level, cleaner))

    def moved(path: Array, start: Array, end: Array) -> Array:
        increment: Array = virtual_tree(
            0.0, LATEST, tolerance, jax.ShapeDtypeStruct(like.shape[1:], dtype), path
        ).evaluate(start, end)
        return increment

    scale = arrays.safe_divide(jnp.ones_like(start), arrays.safe_sqrt(end - start))
    walked = jax.vmap(moved)(paths, start, end)
    return (arrays.expand(scale, walked) * walked).astype(like.dtype)


@records.record
class PathNoise:
    """Noise from what the samples' paths (b, word) do between two levels."""

    paths: Array
    level: Level
    cleaner: Level
    tolerance: float = records.static()

    def __call__(self, like: Array, part: Part = 0, /) -> Array:
        """The noise (b, …) of the only part of the step."""
        if part:
            raise TypeError(
                "fixed_path needs a sampler whose steps draw noise once (part 0), such as ddpm(), ddim(1.0) or "
                "euler_ancestral(); this one draws several times per step"
            )
        return increments(self.paths, self.level, self.cleaner, like, tolerance=self.tolerance)


@records.record
class FixedPath(Wrapper):
    """A sampler whose noise comes from one Brownian path per sample. Built by `fixed_path`."""

    tolerance: float = records.static()

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        return self.sampler.step(noise, denoise, state, level, cleaner, left)

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        """What the path of each key does over the step."""
        return PathNoise(paths(keys), level, cleaner, self.tolerance)


def fixed_path(sampler: Sampler, *, tolerance: float = 1e-5) -> FixedPath:
    """The same sampler, but a sample's noise comes from one Brownian path, whatever the grid and the number of steps.

    As steps get shorter, samples converge to the solution of their stochastic equation along the path, at order 1 where
    the noise does not depend on x. Evaluations as before; a sampler that draws nothing stays as it is. Paths are
    virtual trees, never stored.

    Args:
        sampler: one whose steps draw once, such as `ddpm()`, `ddim(1.0)` or `euler_ancestral()`.
        tolerance: in (0, 1], as for `increments`; make it smaller for steps shorter than it.

    Raises:
        ImportError: without diffrax.
        TypeError: for a sampler that already brings its own source of noise, and, in its first step, for one that draws
            several times.
        ValueError: for a tolerance outside (0, 1].

    References:
        Kloeden & Platen, 1992, Sec. 10.2; Li et al., 2020.
    """
    _diffrax()
    checks.in_range("tolerance", tolerance, 0.0, 1.0, open_low=True)
    sampling.check_no_noise_source("sampler", sampler)
    return FixedPath(sampler, float(tolerance))


def _diffrax() -> ModuleType:
    try:
        import diffrax
    except ImportError as error:
        raise ImportError(extras.needs("Brownian paths need", "diffrax", "ode")) from error
    return diffrax
