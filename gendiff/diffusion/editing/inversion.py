"""Inversion, from samples to their noise: DDIM run backwards is approximate, reversible Heun is exact by algebra.

`ddim_invert` followed by DDIM does not return to where it began: each of its steps asks the network at the sample it
has, not at the one it is about to find. The round trip's error is of first order and falls with the number of steps,
once they resolve the narrowest direction of the data; `refinements` shrink it, at as many more evaluations.
`reversible_heun` carries a companion of the sample, and each of its steps is undone without solving anything: the round
trip is exact to rounding at any number of steps.

All of it takes each detail of x for the model's. Where x gained noise since it was drawn, as by JPEG or rounding, let
the levels end at that much noise, as those of `grids.log_snr(…, sigma_min=std, end="first")` do, and pass alpha x.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Count
from gendiff.diffusion import flow_coordinates, sampling
from gendiff.diffusion.samplers.reversible_heun import over_samples, trigonometry, turn_to
from gendiff.diffusion.types import Denoiser, Level, Prediction


def ddim_inverse_step(
    x: Float[ArrayLike, "b *shape"], prediction: Prediction, level: Level, noisier: Level
) -> Float[Array, "b *shape"]:
    """Find the x at `noisier` that a DDIM step with this prediction would bring to x at `level`.

    It is x alpha'/alpha + (sigma' - sigma alpha'/alpha) noise where alpha >= sigma, else x sigma'/sigma + (alpha' -
    alpha sigma'/sigma) clean, with primes on the noisier level. Both forms are finite at both ends, zero terminal SNR
    included. The first is the inverse scheduler of diffusers; the two differ, because the prediction was not made at x.

    Args:
        x: (b, …) at `level`.
        prediction: the denoiser's at about the result.
        level: () or (b,).
        noisier: () or (b,).

    References:
        Song et al., 2021, Eq. 12 at eta = 0 solved for x_t (from memory).
    """
    alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
    to_alpha, to_sigma = arrays.expand(noisier.alpha, x), arrays.expand(noisier.sigma, x)
    shrink, grow = arrays.safe_divide(to_alpha, alpha), arrays.safe_divide(to_sigma, sigma)
    by_noise = shrink * x + (to_sigma - sigma * shrink) * prediction.noise
    by_clean = grow * x + (to_alpha - alpha * grow) * prediction.clean
    return jnp.where(alpha >= sigma, by_noise, by_clean)


def ddim_invert(
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    levels: Level,
    *,
    refinements: int = 0,
    num_steps: Count | None = None,
) -> Float[Array, "b *shape"]:
    """Walk x at the last level back to the first, where it can be passed to `sample` as `start`.

    The network is asked at the levels that the sampler visits, never at the clean one. The round trip through DDIM has
    an error of order 1 in the step.

    Args:
        denoise: the denoiser.
        x: (b, …) at the last level.
        levels: (t + 1,) a grid as for `sample`.
        refinements: k >= 0 more evaluations per step, each a fixed-point iteration on the step's own end. The limit is
            the exact inverse where the step is a contraction.
        num_steps: as for `sample`, 1 … t, may be traced.

    Returns:
        x (b, …) at the first level.

    References:
        Song et al., 2021, Sec. 4.3; Pan et al., 2023 (both from memory).
    """
    checks.floating("x", x)
    checks.integer("refinements", refinements)
    steps = sampling.steps_of(levels, num_steps)
    levels = jax.tree.map(jnp.asarray, levels)

    def back(k: Count, x: jax.Array) -> jax.Array:
        level, noisier = levels[steps - k], levels[steps - 1 - k]

        def refined(_: Count, guess: jax.Array) -> jax.Array:
            return ddim_inverse_step(x, denoise(guess, noisier), level, noisier)

        first = flow_coordinates.unscaled(flow_coordinates.scaled(x, level), noisier)
        end: jax.Array = jax.lax.fori_loop(0, refinements + 1, refined, first)
        return end

    start: jax.Array = jax.lax.fori_loop(0, steps, back, jnp.asarray(x))
    return start


def reversible_invert(
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    levels: Level,
    companion: Float[ArrayLike, "b *shape"] | None = None,
    *,
    num_steps: Count | None = None,
) -> tuple[Float[Array, "b *shape"], Float[Array, "b *shape"]]:
    """Find the pair at the first level that `reversible_heun` takes to x at the last one, exactly.

    It takes one evaluation per step and one to find the companion, none at the last level. Rounding grows as the flow
    contracts, by about the largest over the smallest std of the data. A single step from alpha = 0 to sigma = 0 keeps
    nothing of its start and cannot be undone; the pair is finite there.

    Args:
        denoise: the denoiser.
        x: (b, …) at the last level.
        levels: (t + 1,) a grid as for `sample`.
        companion: (b, …) at the last level but one, the z that a draw ended with; with it the draw is taken back to its
            own start. Without it a step of DDIM inversion finds one: the pair is the noise of x to second order, and
            still returns to x to rounding.
        num_steps: as for `sample`, 1 … t, may be traced.

    Returns:
        `start` and `companion` (b, …) of a new draw.

    References:
        Kidger et al., 2021, Alg. 1 (from memory), in the angle of the path.
    """
    checks.floating("x", x)
    if companion is not None:
        checks.same_shape("x", x, "companion", companion)
    steps = sampling.steps_of(levels, num_steps)
    x, levels = jnp.asarray(x), jax.tree.map(jnp.asarray, levels)
    last = _last_interval(levels, steps)
    end, before = levels[last + 1], levels[last]
    if companion is None:
        guess = flow_coordinates.unscaled(flow_coordinates.scaled(x, end), before)
        companion = ddim_inverse_step(x, denoise(guess, before), end, before)
    like = arrays.zero_per_sample(x, arrays.at_least_float32(x.dtype))

    def velocity(z: jax.Array, level: Level) -> jax.Array:
        return flow_coordinates.velocity(denoise(flow_coordinates.unscaled(z, level), level), level)

    def back(k: Count, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        y, z, f = carry
        level, noisier = levels[steps - 1 - k], levels[steps - 2 - k]
        turn = turn_to(level, noisier, like)
        cosine, sine, tangent = trigonometry(turn, y)
        there = (1 + cosine) * y - z + sine * f
        beyond = velocity(there, noisier)
        stay = over_samples((turn == 0) | (steps - 2 - k >= last), y)
        return tuple(
            jnp.where(stay, old, new)
            for old, new in zip(carry, (y + tangent * (f + beyond), there, beyond), strict=True)
        )

    z = flow_coordinates.scaled(jnp.asarray(companion, x.dtype), before)
    f = velocity(z, before)
    cosine, sine, _ = trigonometry(turn_to(before, end, like), z)
    y = arrays.safe_divide(flow_coordinates.scaled(x, end) - sine * f, cosine)
    y, z, _ = jax.lax.fori_loop(0, steps - 1, back, (y, z, f))
    return flow_coordinates.unscaled(y, levels[0]), flow_coordinates.unscaled(z, levels[0])


def _last_interval(levels: Level, steps: Count) -> jax.Array:
    """The last interval whose ends differ, so that padding does not enter."""
    starts, ends = (
        jax.tree.map(lambda field, part=part: field[part], levels) for part in (slice(None, -1), slice(1, None))
    )
    number = jnp.arange(len(starts))
    return jnp.max(jnp.where((number < steps) & (flow_coordinates.half_tangent(starts, ends) != 0), number, 0))
