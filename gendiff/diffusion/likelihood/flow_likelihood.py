"""Likelihood along the probability flow, in bits per dimension.

log p(x) = log prior(x_T) + d log(N_T / N) + integral of tr(dv/dw) over the angle (Chen et al., 2018, Eq. 8; Song et
al., 2021b, Eq. 39; both from memory), by Heun's method in the coordinates of `flow_coordinates`: order 2 in value and
log-determinant, finite at both ends of a single step.

Two things are assumed. `x` is a sample at the last level of the grid, the data itself where alpha = 1 and sigma = 0.
x_T is N(0, prior_std²), by default with the sigma of the first level, at which `sampling.sample` starts. So the value
is the density of what the sampler draws in the limit of many steps. Where alpha_T > 0 this is not the density of the
data, even for an exact denoiser.
"""

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from gendiff.core import arrays, checks, records, sample_keys
from gendiff.core.types import ArrayLike, Count, Keys, Scalar
from gendiff.diffusion import flow_coordinates, sampling
from gendiff.diffusion.types import Denoiser, Level

MOST_EXACT = 256
"""Dimensions up to which the trace is taken exactly when no divergence is named."""

_AT_ONCE = 64  # directions pushed through the network together
_PROBES, _WHOLE_VALUES = (
    np.uint32(2**32 - 1),
    np.uint32(2**32 - 2),
)  # folded into a sample's key first: no step of `sample` has such a number


@records.record
class Likelihood:
    """All (b,), in bits per dimension.

    Args:
        bits: -log2 p(x) / d + offset.
        standard_error: of `bits` over the probes; 0 for the exact trace, infinite for a single probe.
        step_error: |difference to every second level| / 3, the leading error of the steps on a smooth grid; infinite
            for a single step.
    """

    bits: jax.Array
    standard_error: jax.Array
    step_error: jax.Array


@runtime_checkable
class Divergence(Protocol):
    """How the trace is taken.

    It has directions, makes (p, b) estimates of their (m, b) rates, and knows the spread of p totals.
    """

    def directions(self, x: jax.Array, /) -> jax.Array:
        """(m, b or 1, …) directions for samples like x (b, …)."""

    def estimates(self, rates: jax.Array, /) -> jax.Array:
        """(p, b) estimates of the trace from the rates (m, b) along the directions."""

    def standard_error(self, totals: jax.Array, /) -> jax.Array:
        """(b,) standard error of the mean of p totals (p, b)."""


@records.record
class _Exact:
    def directions(self, x: jax.Array) -> jax.Array:
        size = math.prod(x.shape[1:])
        return jnp.eye(size, dtype=x.dtype).reshape(size, 1, *x.shape[1:])

    def estimates(self, rates: jax.Array) -> jax.Array:
        return jnp.sum(rates, axis=0, keepdims=True)

    def standard_error(self, totals: jax.Array) -> jax.Array:
        return jnp.zeros_like(totals[0])


@records.record
class _Hutchinson:
    keys: Keys
    probes: int = records.static()
    distribution: str = records.static()

    def directions(self, x: jax.Array) -> jax.Array:
        if self.keys.shape != x.shape[:1]:
            raise ValueError(
                f"the divergence has an index of shape {self.keys.shape}, but x holds {x.shape[0]} samples"
            )
        draw = jax.random.rademacher if self.distribution == "rademacher" else jax.random.normal

        def one(key: jax.Array) -> jax.Array:
            return jax.vmap(lambda probe: draw(jax.random.fold_in(key, probe), x.shape[1:], x.dtype))(
                jnp.arange(self.probes)
            )

        return jax.vmap(one, out_axes=1)(self.keys)

    def estimates(self, rates: jax.Array) -> jax.Array:
        return rates

    def standard_error(self, totals: jax.Array) -> jax.Array:
        if self.probes == 1:
            return jnp.full_like(totals[0], jnp.inf)
        centred = totals - jnp.mean(totals, axis=0, keepdims=True)
        return arrays.safe_sqrt(jnp.sum(centred**2, axis=0) / (self.probes - 1) / self.probes)


def exact() -> Divergence:
    """Take the whole trace: one forward-mode derivative for each of the d dimensions."""
    return _Exact()


def hutchinson(
    key: jax.Array, index: Integer[ArrayLike, "b"], probes: int = 8, distribution: str = "rademacher"
) -> Divergence:
    """Estimate the trace by the mean of v·J v over random directions v: unbiased in log p.

    Each sample keeps its probes along the whole path, so that the integrand is smooth. They share nothing with the
    noise of `sample` with the same key.

    Args:
        key: one typed key.
        index: (b,) integers that name the samples: the probes of sample i are a function of key and index[i].
        probes: how many directions, >= 1.
        distribution: "rademacher", which has the smaller variance, or "gaussian".

    References:
        Hutchinson, 1990; Grathwohl et al., 2019, Eq. 7 (from memory).
    """
    checks.one_key("key", key)
    checks.integer("probes", probes, 1)
    checks.choice("distribution", distribution, ("rademacher", "gaussian"))
    return _Hutchinson(arrays.fold_in(sample_keys.keys_of(key, index), _PROBES), probes, distribution)


def bits_per_dimension(
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    levels: Level,
    divergence: Divergence | None = None,
    *,
    prior_std: Scalar | None = None,
    offset: Scalar = 0.0,
    num_steps: Count | None = None,
) -> Likelihood:
    """Compute bits per dimension along a grid, walked from its last level to its first.

    Also known as: BPD; the log-likelihood of the probability-flow ODE.

    It takes 2 evaluations per step, and half as many for the step error, each with one forward-mode derivative per
    direction.

    Args:
        denoise: finite at every level of the grid: a network that predicts clean needs a grid that ends before
            sigma = 0, one that predicts noise needs a grid that starts after alpha = 0.
        x: (b, …) samples at the last level; half precision is widened to float32, for the denoiser too.
        levels: (t + 1,) a grid as for `sample`.
        divergence: how the trace is taken; default `exact()`, up to 256 dimensions.
        prior_std: of x_T, > 0; default the sigma of the first level.
        offset: bits to add for data scaled from whole values, log2(1 / width of a value); see `dequantize`.
        num_steps: 1 … t, may be traced; default t.

    Raises:
        ValueError: above 256 dimensions without a divergence, and for a divergence of other samples.
    """
    checks.floating("x", x)
    if prior_std is not None:
        checks.in_range("prior_std", prior_std, 0.0, math.inf, open_low=True, open_high=True)
    steps = sampling.steps_of(levels, num_steps)
    x = arrays.widened(x)  # half precision would round t, and the sums over steps and numbers
    size = math.prod(x.shape[1:])
    if divergence is None:
        if size > MOST_EXACT:
            raise ValueError(
                f"x has {size} dimensions: above {MOST_EXACT} name the divergence, likelihood.hutchinson(key, index) "
                "or likelihood.exact()"
            )
        divergence = exact()
    levels = jax.tree.map(lambda field: jnp.asarray(field, x.dtype), levels)
    std = levels.sigma[0] if prior_std is None else jnp.asarray(prior_std, x.dtype)
    directions = divergence.directions(x)
    unit = size * math.log(2.0)

    def total(stride: int) -> jax.Array:
        return _log_density(denoise, x, levels, steps, stride, directions, divergence, std)

    fine, coarse = total(1), total(2)
    # (2^order - 1) times the error of the finer one
    error = jnp.abs(jnp.mean(fine, axis=0) - jnp.mean(coarse, axis=0)) / 3
    return Likelihood(
        bits=-jnp.mean(fine, axis=0) / unit + jnp.asarray(offset, x.dtype),
        standard_error=divergence.standard_error(fine) / unit,
        step_error=jnp.where(jnp.asarray(steps) > 1, error / unit, jnp.inf),
    )


def dequantize(
    key: jax.Array, x: Float[ArrayLike, "b *shape"], index: Integer[ArrayLike, "b"], width: Scalar
) -> Float[Array, "b *shape"]:
    """Add uniform noise as wide as the distance of neighbouring values.

    The mean of the bits of the result, with offset log2(1 / width), bounds -log2 P(value) / d from above. L values
    evenly on [-1, 1], ends included (`data.scaling.to_unit`), have width 2 / (L - 1) and offset log2((L - 1) / 2). L
    values that fill [-1, 1] side by side have width 2 / L and offset log2(L / 2).

    Args:
        key: one typed key; the noise shares nothing with that of `sample` and `hutchinson` with the same key.
        x: (b, …) values; half precision is widened to float32, as it holds no noise of this width.
        index: (b,) integers that name the samples.
        width: > 0, the distance of neighbouring values, in the unit of x.

    References:
        Theis et al., 2016, Sec. 3.1 (from memory).
    """
    checks.one_key("key", key)
    checks.floating("x", x)
    checks.in_range("width", width, 0.0, math.inf, open_low=True, open_high=True)
    x, keys = arrays.widened(x), arrays.fold_in(sample_keys.keys_of(key, index), _WHOLE_VALUES)
    noise = jax.vmap(lambda one: jax.random.uniform(one, x.shape[1:], x.dtype, -0.5, 0.5))(keys)
    return x + arrays.expand(width, x) * noise


def _log_density(
    denoise: Denoiser,
    x: jax.Array,
    levels: Level,
    steps: Count,
    stride: int,
    directions: jax.Array,
    divergence: Divergence,
    prior_std: jax.Array,
) -> jax.Array:
    """(p, b) estimates of log p in nats, at each `stride`-th level from the first one, and at the last level."""
    count = (steps + stride - 1) // stride

    def field(w: jax.Array, level: Level) -> tuple[jax.Array, jax.Array]:
        moved, rates = _with_rates(
            lambda w: flow_coordinates.velocity(denoise(flow_coordinates.unscaled(w, level), level), level),
            w,
            directions,
        )
        return moved, divergence.estimates(rates)

    def advance(j: Count, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        w, gathered = carry
        level, noisier = (levels[jnp.minimum(stride * (count - i), steps)] for i in (j, j + 1))
        turn = flow_coordinates.between(level, noisier)
        here, rate = field(w, level)
        ahead, rate_ahead = field(w + arrays.expand(turn, w) * here, noisier)
        return w + arrays.expand(turn / 2, w) * (here + ahead), gathered + turn / 2 * (rate + rate_ahead)

    size = math.prod(x.shape[1:])
    estimates = jax.eval_shape(divergence.estimates, jax.ShapeDtypeStruct((directions.shape[0], x.shape[0]), x.dtype))
    first = (flow_coordinates.scaled(x, levels[steps]), jnp.zeros(estimates.shape, x.dtype))
    w, gathered = jax.lax.fori_loop(0, count, advance, first)
    standard = arrays.flatten_samples(flow_coordinates.unscaled(w, levels[0]) / prior_std)
    prior = -jnp.sum(standard**2, axis=1) / 2 - size * (jnp.log(prior_std) + math.log(2 * math.pi) / 2)
    stretch = size * (jnp.log(flow_coordinates.length(levels[0])) - jnp.log(flow_coordinates.length(levels[steps])))
    log_density: jax.Array = prior[None] + stretch + gathered
    return log_density


def _with_rates(
    function: Callable[[jax.Array], jax.Array], w: jax.Array, directions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """function(w) and, for each direction (m, b or 1, …), its product with the derivative along it: (m, b)."""
    value, push = jax.linearize(function, w)

    def rate(direction: jax.Array) -> jax.Array:
        probe = jnp.broadcast_to(direction, w.shape)
        return jnp.sum(arrays.flatten_samples(probe * push(probe)), axis=1)

    return value, jax.lax.map(rate, directions, batch_size=_AT_ONCE)
