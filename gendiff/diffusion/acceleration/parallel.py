"""Parallel sampling by Picard iteration: many steps of a draw are computed at once, until they no longer change.

Also known as: ParaDiGMS.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Integer, Shaped

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Scalar
from gendiff.diffusion import sampling
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Denoiser, Level


@records.record
class ParallelDraw:
    """What `picard` returns.

    Args:
        x: (b, …) the samples.
        sweeps: (b,) how many sweeps each sample took, 1 … number of steps. The batch takes the largest number, and each
            sweep is one evaluation of `window` times as many samples.
    """

    x: Float[Array, "b *shape"]
    sweeps: Int[Array, "b"]


def picard(
    key: jax.Array,
    denoise: Denoiser,
    levels: Level,
    shape: tuple[int, ...],
    index: Integer[ArrayLike, "b"],
    *,
    eta: Scalar = 0.0,
    window: int | None = None,
    tolerance: Scalar = 1e-3,
    num_steps: Count | None = None,
    start: Shaped[ArrayLike, "..."] | None = None,
) -> ParallelDraw:
    """Draw the samples of `samplers.ddim(eta)`, to a tolerance, by Picard iteration: fewer evaluations in sequence.

    Also known as: ParaDiGMS. Without a tolerance, it is `sample(key, denoise, samplers.ddim(eta), levels, …)`.

    A sweep moves all points x_j of a window at once, x_(j+1) = x_0 + sum over i <= j of (ddim_i(x_i) - x_i), from those
    of the sweep before. It makes at least one more point exact. Then the window moves on, past all points that the
    sweep left where they were. So there is more work, but less time
    where a device computes a batch `window` times as large in less than `window` times the time.

    A sample does not depend on its neighbours: each has its own window. Noise for eta > 0 is that of `sample`. The loop
    ends when the samples do, so that it has no reverse mode. Call it under `jit`.

    Args:
        key: one typed key.
        denoise: the denoiser; it is mapped over the window, with levels (b,).
        levels: the grid (t + 1,), from noise to clean.
        shape: of one sample.
        index: (b,) as for `sample`.
        eta: () in [0, 1], data under jit, as for `ddim`.
        window: how many steps a sweep computes, 1 … t, default t. The memory is that of window + 1 copies of x.
        tolerance: () or (b,) at least 0, data under jit: the largest change by a sweep, root mean square over one
            sample and over sqrt(alpha² + sigma²), of a point that counts as unmoved. At 0 the result is that of
            `sample` to rounding.
        num_steps: as for `sample`.
        start: as for `sample`.

    Raises:
        TypeError: for a legacy or missing key, and for a window or step count that is no integer.
        ValueError: for an eta, a window or a tolerance out of range, and as `sample` does for key, index, levels, steps
            and start.

    References:
        Shih et al., 2023 (ParaDiGMS), Eq. 5 and Alg. 1, whose tolerance is a share of a step's noise (from memory).
    """
    checks.in_range("eta", eta, 0.0, 1.0)
    checks.in_range("tolerance", tolerance, 0.0, math.inf, open_high=True)
    steps = sampling.steps_of(levels, num_steps)
    window = len(levels) - 1 if window is None else window
    checks.integer("window", window, 1, len(levels) - 1)
    levels = jax.tree.map(jnp.asarray, levels)
    keys, x = sampling.start_of(key, levels, shape, index, start)
    sampling.check_output(denoise, x, levels)
    none = arrays.zero_per_sample(x, jnp.int32)
    allowed = jnp.broadcast_to(jnp.asarray(tolerance), none.shape)[None]

    def change(x: Array, level: Level, cleaner: Level, number: Array) -> Array:
        noise = None if ancestral.is_zero(eta) else sampling.KeyNoise(jax.vmap(jax.random.fold_in)(keys, number + 1))(x)
        return ancestral.ddim_step(denoise(x, level), level, cleaner, eta=eta, noise=noise) - x

    def sweep(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        begin, points, sweeps = carry
        at = begin[None] + jnp.arange(window, dtype=jnp.int32)[:, None]
        inside, number = at < steps, jnp.minimum(at, steps - 1)
        cleaner = levels[number + 1]
        changes = jax.vmap(change)(points[:-1], levels[number], cleaner, number)
        moved = points[:1] + jnp.cumsum(jnp.where(inside.reshape(inside.shape + (1,) * x[0].ndim), changes, 0), axis=0)
        near = _distance(moved, points[1:]) <= allowed * arrays.safe_sqrt(cleaner.alpha**2 + cleaner.sigma**2)
        stride = jnp.minimum(_stride(near | ~inside), steps - begin).astype(jnp.int32)
        return begin + stride, _slid(jnp.concatenate([points[:1], moved]), stride), sweeps + (begin < steps)

    first = none, jnp.broadcast_to(x, (window + 1, *x.shape)), none
    _, points, sweeps = jax.lax.while_loop(lambda carry: jnp.any(carry[0] < steps), sweep, first)
    return ParallelDraw(points[0], sweeps)


def _distance(points: Float[Array, "w b *shape"], others: Float[Array, "w b *shape"]) -> Float[Array, "w b"]:
    """The root mean square over each sample."""
    return arrays.safe_sqrt(jnp.mean(jnp.square(points - others), axis=tuple(range(2, points.ndim))))


def _stride(near: Bool[Array, "w b"]) -> Int[Array, "b"]:
    """How far each window moves on: past the points in front that stayed near, and past the next one."""
    return jnp.minimum(jnp.sum(jnp.cumprod(near, axis=0), axis=0) + 1, len(near))


def _slid(points: Float[Array, "w b *shape"], stride: Int[Array, "b"]) -> Float[Array, "w b *shape"]:
    """The points from `stride` on; new ones at the end begin where the last one is."""
    places = jnp.minimum(jnp.arange(len(points))[:, None] + stride[None], len(points) - 1)
    slid: Array = jax.vmap(lambda window, at: window[at], in_axes=1, out_axes=1)(points, places)
    return slid
