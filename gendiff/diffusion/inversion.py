"""From samples back to their noise: DDIM run backwards, which is approximate, and reversible Heun, which is exact by algebra.

`ddim_invert` followed by DDIM does not return to where it began: each of its steps asks the network at the sample it has, not at the one
it is about to find. The round trip's error is of first order and falls with the number of steps, once they resolve the narrowest
direction of the data; `refinements` shrink it, at as many more evaluations. `reversible_heun` carries a companion of the sample, and each
of its steps is undone without solving anything: the round trip is exact to rounding at any number of steps.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Keys
from gendiff.diffusion import flow_coordinates, sampling
from gendiff.diffusion.sampling import Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction


def ddim_inverse_step(x: Float[ArrayLike, "b *shape"], prediction: Prediction, level: Level, noisier: Level) -> Float[Array, "b *shape"]:
    """The x at `noisier` that a DDIM step with this prediction would bring to x at `level`.

    x alpha'/alpha + (sigma' - sigma alpha'/alpha) noise, or x sigma'/sigma + (alpha' - alpha sigma'/sigma) clean where alpha < sigma, with
    primes on the noisier level: Song et al. (2021, Eq. 12) at eta = 0 solved for x_t. Finite at both ends, zero terminal SNR included.
    """
    alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
    to_alpha, to_sigma = arrays.expand(noisier.alpha, x), arrays.expand(noisier.sigma, x)
    shrink, grow = arrays.safe_divide(to_alpha, alpha), arrays.safe_divide(to_sigma, sigma)
    by_noise = shrink * x + (to_sigma - sigma * shrink) * prediction.noise
    by_clean = grow * x + (to_alpha - alpha * grow) * prediction.clean
    return jnp.where(alpha >= sigma, by_noise, by_clean)


def ddim_invert(
    denoise: Denoiser, x: Float[ArrayLike, "b *shape"], levels: Level, *, refinements: int = 0, num_steps: Count | None = None
) -> Float[Array, "b *shape"]:
    """x at the last level walked back to the first, to be passed to `sample` as `start` (Song et al., 2021, Sec. 4.3).

    levels, num_steps: as for `sample`. The network is asked at the levels that the sampler visits, never at the clean one. With k
    `refinements` each step is a fixed-point iteration on its own end (Pan et al., 2023): 1 + k evaluations a step, and the exact inverse
    in the limit where the step is a contraction. Otherwise the round trip through DDIM has an error of order 1 in the step.
    """
    checks.floating("x", x)
    checks.integer("refinements", refinements)
    steps = sampling.steps_of(levels, num_steps)
    levels = jax.tree.map(jnp.asarray, levels)

    def back(k: Any, x: jax.Array) -> jax.Array:
        level, noisier = levels[steps - k], levels[steps - 1 - k]

        def refined(_: Any, guess: jax.Array) -> jax.Array:
            return ddim_inverse_step(x, denoise(guess, noisier), level, noisier)

        return jax.lax.fori_loop(0, refinements + 1, refined, flow_coordinates.unscaled(flow_coordinates.scaled(x, level), noisier))

    return jax.lax.fori_loop(0, steps, back, jnp.asarray(x))


# Reversible Heun keeps y, the solution, and z, at which the network is asked (Kidger et al., 2021, Alg. 1 without noise). With f = v(z):
#   z' = (1 + cos h) y - z + sin h f,    y' = y + tan(h/2) (f + f'),
# their 2y - z + h f and y + h/2 (f + f') fitted to the angle h: exact while clean and noise stay what they are, as for a point mass
# (trigonometric fitting: Gautschi, 1961). With -h it undoes itself, since (1 + cos h) tan(h/2) = sin h. To need one evaluation a step and
# none at the clean end, a sample is reported, and ended, as w' = cos h y + sin h f, DDIM with the network's answer at z, and the step to
# y' = (y + w') (1 + tan²(h/2)) / 2 + tan(h/2) f' is completed at the next evaluation.


@records.record
class Past:
    """y and z (b, …) at the level before, scaled by `angle`, and tan(h/2) of the step since (b,): 0 while there was none."""

    y: Any
    z: Any
    half_tangent: Any


def _begin(keys: Keys, x: Array) -> State:
    return State(x, Past(x, x, jnp.zeros(x.shape[0], jnp.promote_types(x.dtype, jnp.float32))))


@records.record
class _ReversibleHeun:
    companion: Any = None

    def __call__(self, keys: Keys, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        past, w = state.memory, flow_coordinates.scaled(state.x, level)
        fresh = _over_samples(past.half_tangent == 0, w)
        z = jnp.where(fresh, self._companion(state.x, w, level), past.y + w - past.z)
        f = flow_coordinates.velocity(denoise(flow_coordinates.unscaled(z, level), level), level)
        tangent = arrays.expand(past.half_tangent, w)
        y = jnp.where(fresh, w, (past.y + w) * (1 + tangent**2) / 2 + tangent * f)
        turn = _turn(level, cleaner, past.half_tangent)
        cosine, sine, _ = _trigonometry(turn, w)
        ahead = State(flow_coordinates.unscaled(cosine * y + sine * f, cleaner), Past(y, z, turn))
        return jax.tree.map(lambda new, old: jnp.where(_over_samples(turn == 0, new), old, new), ahead, state)  # equal levels: no step

    def _companion(self, x: jax.Array, w: jax.Array, level: Level) -> jax.Array:
        if self.companion is None:
            return w
        if jnp.shape(self.companion) != x.shape:
            raise ValueError(f"the companion has shape {jnp.shape(self.companion)}, but x is {x.shape}: give one for each sample")
        return flow_coordinates.scaled(jnp.asarray(self.companion, x.dtype), level)


def reversible_heun(companion: Float[ArrayLike, "b *shape"] | None = None) -> Sampler:
    """The algebraically reversible Heun method (Kidger et al., 2021) in the angle of the path: order 2, one evaluation a step.

    The network is never asked at the level where the grid ends. companion: what `reversible_invert` found beside the start (b, …), with
    which the very sample comes out that went in; default the start itself. A trajectory holds, between its ends, samples that are a DDIM
    step beyond the solution.
    """
    return Sampler(_begin, _ReversibleHeun(companion))


def reversible_invert(
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    levels: Level,
    companion: Float[ArrayLike, "b *shape"] | None = None,
    *,
    num_steps: Count | None = None,
) -> tuple[Float[Array, "b *shape"], Float[Array, "b *shape"]]:
    """The pair at the first level that `reversible_heun` takes to x at the last one, exactly: `start` and `companion` of a new draw.

    companion: at the last level but one, the z that the draw ended with; with it a draw is taken back to its own start. Without it, for
    a given sample, a step of DDIM inversion finds one: the pair is the noise of x to second order, and still returns to x to rounding.
    levels, num_steps: as for `sample`; one evaluation a step and one to find the companion, none at the last level. Rounding grows as
    the flow contracts, by about the largest over the smallest std of the data. A single step from alpha = 0 to sigma = 0 keeps
    nothing of its start and cannot be undone; it is finite.
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
    like = jnp.zeros(x.shape[0], jnp.promote_types(x.dtype, jnp.float32))

    def velocity(z: jax.Array, level: Level) -> jax.Array:
        return flow_coordinates.velocity(denoise(flow_coordinates.unscaled(z, level), level), level)

    def back(k: Any, carry: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        y, z, f = carry
        level, noisier = levels[steps - 1 - k], levels[steps - 2 - k]
        turn = _turn(level, noisier, like)
        cosine, sine, tangent = _trigonometry(turn, y)
        there = (1 + cosine) * y - z + sine * f
        beyond = velocity(there, noisier)
        stay = _over_samples((turn == 0) | (steps - 2 - k >= last), y)
        return tuple(jnp.where(stay, old, new) for old, new in zip(carry, (y + tangent * (f + beyond), there, beyond), strict=True))

    z = flow_coordinates.scaled(jnp.asarray(companion, x.dtype), before)
    f = velocity(z, before)
    cosine, sine, _ = _trigonometry(_turn(before, end, like), z)
    y = arrays.safe_divide(flow_coordinates.scaled(x, end) - sine * f, cosine)
    y, z, _ = jax.lax.fori_loop(0, steps - 1, back, (y, z, f))
    return flow_coordinates.unscaled(y, levels[0]), flow_coordinates.unscaled(z, levels[0])


def _last_interval(levels: Level, steps: Count) -> jax.Array:
    """The last interval whose ends differ, so that padding does not enter."""
    starts, ends = (jax.tree.map(lambda field, part=part: field[part], levels) for part in (slice(None, -1), slice(1, None)))
    number = jnp.arange(len(starts))
    return jnp.max(jnp.where((number < steps) & (flow_coordinates.half_tangent(starts, ends) != 0), number, 0))


def _turn(level: Level, target: Level, like: jax.Array) -> jax.Array:
    """tan(h/2) for each sample, in the dtype of `like` (b,)."""
    return jnp.broadcast_to(flow_coordinates.half_tangent(level, target), like.shape).astype(like.dtype)


def _trigonometry(half_tangent: jax.Array, like: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """cos(h), sin(h) and tan(h/2), shaped and typed like `like` (b, …)."""
    square = half_tangent**2
    cosine, sine = (1 - square) / (1 + square), 2 * half_tangent / (1 + square)
    return arrays.expand(cosine, like), arrays.expand(sine, like), arrays.expand(half_tangent, like)


def _over_samples(condition: jax.Array, like: jax.Array) -> jax.Array:
    return condition.reshape(condition.shape + (1,) * (like.ndim - 1))
