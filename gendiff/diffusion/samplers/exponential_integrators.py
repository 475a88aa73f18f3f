"""The arithmetic of exponential integrators: what a polynomial through a few predictions adds to a DDIM step.

With lam = half the log-SNR and h = lam' - lam, the probability flow is a linear equation driven by the prediction
alone:

    x' = (sigma'/sigma) x + alpha' ∫_0^h e^(s-h) clean(lam + s) ds        (Lu et al., 2022b, Prop. 4.1)
    x' = (alpha'/alpha) x - sigma' ∫_0^h e^(h-s) noise(lam + s) ds        (Lu et al., 2022a, Prop. 3.1)

Both are ∫_0^h r e^(-r(h-s)) prediction ds, with rate r = 1 for clean and -1 for noise; the reverse SDE with noise scale
eta has r = 1 + eta² for clean. A constant prediction gives DDIM. A polynomial through the present prediction p_0 and
others p_j at distances s_j adds sum_j w_j (p_j - p_0), where w_j is the integral of the Lagrange polynomial of s_j: a
combination of the moments M_k = ∫_0^h r e^(-r(h-s)) s^k ds. A rule answers the moments M_1 … M_count; the exact one is
`moments`, others approximate it.
"""

import math
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from gendiff.core import arrays, records
from gendiff.core.types import ArrayLike, Scalar
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Level, Prediction

Rate = float | Array
Rule = Callable[[Array, Rate, Array, int], list[Array]]
"""(step h, rate r, number of other predictions in use, count) -> [M_1, …, M_count]."""


def phis(last: int, z: Float[ArrayLike, "*b"]) -> list[Float[Array, "*b"]]:
    """The functions [phi_1(z), …, phi_last(z)] of exponential integrators (Hochbruck & Ostermann, 2010, Sec. 2.1).

    phi_k(z) = ∫_0^1 e^((1-s)z) s^(k-1) / (k-1)! ds. They obey phi_k = z phi_(k+1) + 1/k!, which is run upwards for
    large z and downwards, from the series of the last one, near 0: no digits cancel. z above 60 is taken as 60, so that
    single precision stays finite.
    """
    z = jnp.asarray(z)
    near = jnp.abs(z) < 1
    small, large = jnp.where(near, z, 0), jnp.where(near, 1, jnp.minimum(z, 60))
    series = jnp.zeros_like(z)
    for j in reversed(range(18)):  # the first term left out is below 1e-17
        series = series * small + 1 / math.factorial(j + last)
    below, above = [series], [jnp.expm1(large) / large]
    for k in range(1, last):
        below.insert(0, small * below[0] + 1 / math.factorial(last - k))
        above.append((above[-1] - 1 / math.factorial(k)) / large)
    return [jnp.where(near, a, b) for a, b in zip(below, above, strict=True)]


def moments(step: Float[Array, "*b"], rate: Rate, others: Int[Array, "*b"], count: int) -> list[Array]:
    """M_k = k! h^k (r h) phi_(k+1)(-r h): the polynomial is integrated exactly."""
    return _moments(step, rate, count)[1:]


def midpoint(step: Float[Array, "*b"], rate: Rate, others: Int[Array, "*b"], count: int) -> list[Array]:
    """Exact moments, except with one other prediction: M_1 = h/2 · M_0, the midpoint rule (Lu et al., 2022b, Alg. 2).

    The order 2 of DPM-Solver++ and B(h) = e^h - 1 of UniPC (Zhao et al., 2023, Sec. 4.1).
    """
    zeroth, *exact = _moments(step, rate, count)
    return _with_lead(exact, others, step / 2 * zeroth)


def linear(step: Float[Array, "*b"], rate: Rate, others: Int[Array, "*b"], count: int) -> list[Array]:
    """Exact, but with one other prediction M_1 = h/2 · r h: B(h) = h of UniPC (Zhao et al., 2023, Sec. 4.1)."""
    return _with_lead(moments(step, rate, others, count), others, jnp.asarray(rate * step**2 / 2))


def halved(step: Float[Array, "*b"], rate: Rate, others: Int[Array, "*b"], count: int) -> list[Array]:
    """The usual third-order multistep code: `midpoint`, and with two other predictions half of M_2.

    Its second difference lacks the factor 2 that makes it h² times the second derivative, so the order is 2.
    """
    base = midpoint(step, rate, others, count)
    return [jnp.where(others == 2, m / 2, m) if k == 2 else m for k, m in enumerate(base, 1)]


def weights(
    nodes: Sequence[Float[Array, "*b"]], in_use: Sequence[Bool[Array, "*b"]], moments: Sequence[Float[Array, "*b"]]
) -> list[Array]:
    """Weights w_j of the polynomial that is 0 at distance 0 and p_j - p_0 at each node in use.

    A node that is not in use, or lies at 0, has weight 0. As many moments as nodes. Solves sum_j w_j s_j^k = M_k in
    closed form.
    """
    return [jnp.where(used, _integral(j, nodes, in_use, moments), 0) for j, used in enumerate(in_use)]


def rate(eta: Scalar | None, step: Array) -> Rate:
    """1 + eta², of the data form, in the dtype of the step; None is 0."""
    return 1.0 if eta is None else 1 + jnp.square(jnp.asarray(eta).astype(step.dtype))


def half_log_snr(level: Level, like: ArrayLike) -> tuple[Float[Array, "*b"], Bool[Array, "*b"]]:
    """log(alpha / sigma), of the level's shape, and whether it is finite; 0 where it is not.

    In the dtype of `like` but at least float32: coefficients are no place for half precision.
    """
    alpha, sigma = (
        jnp.asarray(field).astype(arrays.at_least_float32(like.dtype)) for field in (level.alpha, level.sigma)
    )
    finite = (alpha > 0) & (sigma > 0)
    return jnp.log(jnp.where(finite, alpha, 1) / jnp.where(finite, sigma, 1)), finite


def first_order_step(
    prediction: Prediction, level: Level, cleaner: Level, *, eta: Scalar | None, noise: Float[ArrayLike, "..."] | None
) -> Float[Array, "b *shape"]:
    """The reverse SDE with noise scale eta, for a constant clean prediction (Lu et al., 2022b, SDE-DPM-Solver++ 1).

    alpha' · clean + sigma' (q^e · predicted noise + sqrt(1 - q^2e) · noise), e = eta², q = exp(-h): DDIM where eta is
    0, DDIM with eta = 1, that is DDPM, where it is 1. eta: () >= 0, noise: standard normal (b, …); None is DDIM without
    either.
    """
    if eta is None or noise is None:
        return ancestral.ddim_step(prediction, level, cleaner)
    here, usable = half_log_snr(level, noise)
    there, ends = half_log_snr(cleaner, noise)
    strength, step = jnp.asarray(eta).astype(here.dtype), jnp.where(usable & ends, there - here, 0)
    decay, noisy = strength**2 * step, strength > 0
    factor = jnp.where(
        usable, jnp.exp(-decay), jnp.where(noisy, 0.0, 1.0)
    )  # from alpha = 0 the step is infinitely long
    # sqrt(1 - q^2e), whose slope at eta = 0 is right too
    spread = strength * arrays.safe_sqrt(2 * step * phis(1, -2 * decay)[0])
    fresh = jnp.where(usable, spread, jnp.where(noisy, 1.0, 0.0))
    mixed = arrays.expand(factor, noise) * prediction.noise + arrays.expand(fresh, noise) * noise
    return ancestral.ddim_step(records.replace(prediction, noise=mixed), level, cleaner)


def _moments(step: Array, rate: Rate, count: int) -> list[Array]:
    """M_0 … M_count."""
    return [math.factorial(k) * step**k * (rate * step) * phi for k, phi in enumerate(phis(count + 1, -rate * step))]


def _with_lead(moments: Sequence[Array], others: Array, lead: Array) -> list[Array]:
    return [jnp.where(others == 1, lead, m) if k == 1 else m for k, m in enumerate(moments, 1)]


def _integral(j: int, nodes: Sequence[Array], in_use: Sequence[Array], moments: Sequence[Array]) -> Array:
    """The integral of the kernel times the Lagrange polynomial of node j, from its coefficients of s, s² and so on."""
    node = nodes[j]
    coefficients = [arrays.safe_divide(jnp.ones_like(node), node)] + [jnp.zeros_like(node)] * (len(nodes) - 1)
    for i, other in enumerate(nodes):
        if i != j:
            lower = [jnp.zeros_like(node), *coefficients[:-1]]
            inverse = arrays.safe_divide(jnp.ones_like(node), node - other)
            longer = [(a - other * b) * inverse for a, b in zip(lower, coefficients, strict=True)]
            coefficients = [jnp.where(in_use[i], a, b) for a, b in zip(longer, coefficients, strict=True)]
    return sum((c * m for c, m in zip(coefficients, moments, strict=True)), jnp.zeros_like(node))
