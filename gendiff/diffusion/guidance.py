"""Guidance: Denoiser -> Denoiser, without memory."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, trees
from gendiff.core.types import ArrayLike, Denoiser, Level, Prediction, Scalar
from gendiff.diffusion import denoiser
from gendiff.diffusion.denoiser import NetworkDenoiser


def combine(unconditional: Float[ArrayLike, "b *shape"], conditional: Float[ArrayLike, "..."], scale: Scalar) -> Float[Array, "b *shape"]:
    """u + scale (c - u): scale 0 is u, 1 is c, above 1 extrapolates. scale: () or (b,).

    Ho & Salimans (2022, Eq. 6) count from the conditional output: their w is scale - 1.
    """
    checks.same_shape("unconditional", unconditional, "conditional", conditional)
    return jnp.asarray(unconditional) + arrays.expand(scale, unconditional) * (conditional - unconditional)


@trees.record
class _ClassifierFree:
    conditional: Any
    unconditional: Any
    scale: Any
    batched: bool = trees.static(default=False)

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        if self.batched:
            with_condition, without = _in_one_pass(self.conditional, self.unconditional, x, level)
        else:
            with_condition, without = self.conditional(x, level), self.unconditional(x, level)
        return Prediction(
            combine(without.clean, with_condition.clean, self.scale),
            combine(without.noise, with_condition.noise, self.scale),
            with_condition.log_variance,
        )

    def take(self, rows: Array, count: int) -> "_ClassifierFree":
        return trees.replace(
            self,
            conditional=denoiser.take(self.conditional, rows, count),
            unconditional=denoiser.take(self.unconditional, rows, count),
            scale=denoiser.take_rows(self.scale, rows, count),
        )


def classifier_free(conditional: Denoiser, unconditional: Denoiser, scale: Scalar, *, batched: bool = False) -> Denoiser:
    """The combination of two denoisers' predictions at `scale` >= 0, () or (b,) (Ho & Salimans, 2022, Eq. 6, with scale = w + 1).

    batched: both in one network call of 2b samples. It needs two denoisers from `from_network` with one `predict` and uses the
    first's parameters for both. Clean and noise are combined alike, so x = alpha * clean + sigma * noise still holds. A learned
    variance is that of `conditional`.

    Raises ValueError for a concrete scale that is negative or NaN, TypeError for a batched pair that is not of one network.
    """
    checks.in_range("scale", scale, 0.0, math.inf, open_high=True)
    if batched:
        if not (isinstance(conditional, NetworkDenoiser) and isinstance(unconditional, NetworkDenoiser)):
            raise TypeError("batched=True needs two denoisers made by denoiser.from_network; use batched=False for any others")
        if conditional.predict != unconditional.predict or conditional.parameterization != unconditional.parameterization:
            raise TypeError("batched=True needs two denoisers of one network and parameterization; use batched=False for two networks")
        if len(conditional.condition) != len(unconditional.condition):
            raise TypeError(f"{len(conditional.condition)} conditions against {len(unconditional.condition)}: give one null for each")
    return _ClassifierFree(conditional, unconditional, scale, batched)


def _in_one_pass(first: NetworkDenoiser, second: NetworkDenoiser, x: jax.Array, level: Level) -> tuple[Prediction, Prediction]:
    count = x.shape[0]

    def stack(a: Any, b: Any) -> jax.Array:
        a = jnp.asarray(a)
        return jnp.concatenate([a, jnp.broadcast_to(jnp.asarray(b).astype(a.dtype), a.shape)])

    condition = jax.tree.map(stack, first.condition_for(count), second.condition)  # a single null broadcasts to whatever it replaces
    twice = jax.tree.map(lambda field: jnp.concatenate([jnp.broadcast_to(field, (count,))] * 2), level)
    both = first.with_condition(*condition)(jnp.concatenate([x, x]), twice)
    return jax.tree.map(lambda field: field[:count], both), jax.tree.map(lambda field: field[count:], both)
