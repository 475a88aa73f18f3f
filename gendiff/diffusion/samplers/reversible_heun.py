"""The reversible Heun method: second order, and each of its steps is undone exactly.

It keeps y, the solution, and z, at which the network is asked. With f = v(z):

    z' = (1 + cos h) y - z + sin h f,    y' = y + tan(h/2) (f + f'),

which is 2y - z + h f and y + h/2 (f + f') fitted to the angle h: exact while clean and noise stay what they are, as for
a point mass. With -h it undoes itself, since (1 + cos h) tan(h/2) = sin h. To need one evaluation per step and none at
the clean end, a step reports, and a draw ends with, w' = cos h y + sin h f: DDIM with the network's answer at z. The
step to y' = (y + w') (1 + tan²(h/2)) / 2 + tan(h/2) f' is completed at the next evaluation.

References:
    Kidger et al., 2021, Alg. 1 without noise; Gautschi, 1961, for the trigonometric fitting (both from memory).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.core.types import ArrayLike, Count
from gendiff.diffusion import flow_coordinates
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level


@records.record
class Past:
    """The pair y, z (b, …) at the last level, in `flow_coordinates`, and tan(h/2) of the step since (b,), or 0."""

    y: jax.Array
    z: jax.Array
    half_tangent: jax.Array


@records.record
class ReversibleHeun(Sampler):
    """The reversible Heun method in the angle of the path. Built by `reversible_heun`."""

    companion: ArrayLike | None = None

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """No step so far."""
        return State(x, Past(x, x, arrays.zero_per_sample(x, arrays.at_least_float32(x.dtype))))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        past, w = state.memory, flow_coordinates.scaled(state.x, level)
        fresh = over_samples(past.half_tangent == 0, w)
        z = jnp.where(fresh, self._companion(state.x, w, level), past.y + w - past.z)
        f = flow_coordinates.velocity(denoise(flow_coordinates.unscaled(z, level), level), level)
        tangent = arrays.expand(past.half_tangent, w)
        y = jnp.where(fresh, w, (past.y + w) * (1 + tangent**2) / 2 + tangent * f)
        turn = turn_to(level, cleaner, past.half_tangent)
        cosine, sine, _ = trigonometry(turn, w)
        ahead = State(flow_coordinates.unscaled(cosine * y + sine * f, cleaner), Past(y, z, turn))
        # equal levels: no step
        following: State = jax.tree.map(
            lambda new, old: jnp.where(over_samples(turn == 0, new), old, new), ahead, state
        )
        return following

    def _companion(self, x: jax.Array, w: jax.Array, level: Level) -> jax.Array:
        if self.companion is None:
            return w
        if jnp.shape(self.companion) != x.shape:
            raise ValueError(
                f"the companion has shape {jnp.shape(self.companion)}, but x is {x.shape}: give one for each sample"
            )
        return flow_coordinates.scaled(jnp.asarray(self.companion, x.dtype), level)


def reversible_heun(companion: Float[ArrayLike, "b *shape"] | None = None) -> ReversibleHeun:
    """The algebraically reversible Heun method in the angle of the path: order 2, one evaluation per step.

    The network is never asked at the level where the grid ends. A trajectory holds, between its ends, samples that are
    a DDIM step beyond the solution.

    Args:
        companion: (b, …) what `inversion.reversible_invert` found beside the start, with which the very sample comes
            out that went in; default the start itself.

    Raises:
        ValueError: when it is run, if the companion has not the shape of x.

    References:
        Kidger et al., 2021 (from memory).
    """
    return ReversibleHeun(companion)


def turn_to(level: Level, target: Level, like: jax.Array) -> jax.Array:
    """tan(h/2) for each sample, in the dtype of `like` (b,)."""
    return jnp.broadcast_to(flow_coordinates.half_tangent(level, target), like.shape).astype(like.dtype)


def trigonometry(half_tangent: jax.Array, like: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """cos(h), sin(h) and tan(h/2), shaped and typed like `like` (b, …)."""
    square = half_tangent**2
    cosine, sine = (1 - square) / (1 + square), 2 * half_tangent / (1 + square)
    return arrays.expand(cosine, like), arrays.expand(sine, like), arrays.expand(half_tangent, like)


def over_samples(condition: jax.Array, like: jax.Array) -> jax.Array:
    """The condition (b,) or (), shaped to broadcast against `like` (b, …)."""
    return condition.reshape(condition.shape + (1,) * (like.ndim - 1))
