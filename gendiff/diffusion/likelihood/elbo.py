"""The variational bound on -log p(x), in bits per dimension: of the discrete chain, and of the continuous-time model.

bound = KL(q(x_T | x) || prior) + the sum over steps of KL(q(x_s | x_t, x) || p(x_s | x_t)) + E[-log p(x | x_0)]   (Ho
et al., 2020, Eq. 5), each KL closed form, the expectations over q by drawing. The prior is N(0, prior_std²), by default
sigma² of the noisiest level, from which `sampling.sample` starts. What the last term assumes of x is stated by each
bound.

Exact cases: with fixed "large" variance, unit-Gaussian data and its exact denoiser, the discrete bound is -log p(x) for
every x and any number of steps; with "small", a point mass costs nothing but its prior. For any data the continuous
bound of the exact denoiser exceeds -log p(x) only by what prior and last term miss, KL-like terms that vanish as the
log-SNR runs from +inf to -inf.

Data of half precision are widened to float32, in which the denoiser is asked: positions, levels and sums need it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from gendiff.core import arrays, checks, records, sample_keys
from gendiff.core.types import ArrayLike, Count, Scalar
from gendiff.diffusion import denoiser, process, sampling
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction


@records.record
class Bound:
    """A bound and its parts, all (b,) and in bits per dimension.

    Args:
        bits: prior + diffusion + reconstruction + offset.
        prior: the divergence at the noisy end.
        diffusion: the sum over steps, or the integral.
        reconstruction: the last term.
        standard_error: of `bits` over the draws, infinite for one draw. For the continuous bound it is an upper
            estimate, as its draws are stratified.
    """

    bits: Array
    prior: Array
    diffusion: Array
    reconstruction: Array
    standard_error: Array


def discrete(
    key: jax.Array,
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    levels: Level,
    index: Integer[ArrayLike, "b"],
    *,
    variance: str = "small",
    data_levels: int | None = None,
    prior_std: Scalar | None = None,
    offset: Scalar = 0.0,
    draws: int = 1,
) -> Bound:
    """The bound of the chain on a grid.

    Also known as: VLB; evidence lower bound (ELBO).

    Evaluations: t times `draws`. A padded grid costs its length and changes nothing.

    Args:
        key: one key. Sample i draws from fold_in(fold_in(fold_in(key, index[i]), draw), step).
        denoise: the model.
        x: (b, …) data.
        levels: (t + 1,) a grid that ends at alpha 1 and sigma 0.
        index: (b,) the number of each sample.
        variance: of p(x_s | x_t), as for `samplers.ddpm`; "learned" reads `Prediction.variance_share`. At the last step
            "small" would be 0, so it is the small one of the step before, and "large" where there is none.
        data_levels: how many whole values lie evenly on [-1, 1], ends included: the last term is -log of the mass of
            x's own value under the last Gaussian. Default: its density, for continuous data.
        prior_std: () of the prior; default sigma of the noisiest level.
        offset: bits per dimension that are added, such as those of dequantised values.
        draws: at least 1.

    Raises:
        ValueError: for a concrete grid that does not end clean.

    References:
        Ho et al., 2020, Eqs. 5, 8 and 13; Nichol & Dhariwal, 2021, Eq. 15.
    """
    checks.one_key("key", key)
    checks.floating("x", x)
    checks.choice("variance", variance, ancestral.VARIANCES)
    steps = sampling.steps_of(levels)
    # under jit an entry of JAX's array is a tracer
    if arrays.is_concrete(levels.sigma) and (last := np.asarray(levels.sigma)[-1]) != 0:
        raise ValueError(f'the chain must end at sigma = 0, got {last:g}: make the grid with end="clean"')
    x, levels = arrays.widened(x), jax.tree.map(jnp.asarray, levels)
    keys = sample_keys.keys_of(key, index)

    def one(draw: jax.Array) -> tuple[jax.Array, jax.Array]:
        draw_keys = arrays.fold_in(keys, draw)

        def step(sums: tuple[jax.Array, jax.Array], j: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            noise = arrays.normal(arrays.fold_in(draw_keys, j), like=x)
            term = chain_term(denoise, x, noise, levels, j, variance=variance, data_levels=data_levels)
            last = levels.sigma[j + 1] == 0
            return (sums[0] + jnp.where(last, 0.0, term), sums[1] + jnp.where(last, term, 0.0)), None

        zero = jnp.zeros(x.shape[0], x.dtype)
        return jax.lax.scan(step, (zero, zero), jnp.arange(steps))[0]

    between, last = jax.lax.map(one, jnp.arange(_draws(draws)))
    return _bound(x, levels[0], prior_std, between, last, offset)


def continuous(
    key: jax.Array,
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    schedule: Schedule,
    index: Integer[ArrayLike, "b"],
    *,
    span: tuple[Scalar, Scalar] = (0.0, 1.0),
    data_levels: int | None = None,
    prior_std: Scalar | None = None,
    offset: Scalar = 0.0,
    draws: int = 16,
) -> Bound:
    """The bound of the continuous-time model between two positions of a schedule.

    Also known as: VLB in continuous time (VDM); evidence lower bound (ELBO).

    It depends on the schedule through its two ends only, if the denoiser's answer depends on the level's noise alone.

    Args:
        key: one key; sample i draws from its own.
        denoise: the model.
        x: (b, …) data.
        schedule: the noise path.
        index: (b,) the number of each sample.
        span: u at the clean and at the noisy end, in [0, 1].
        data_levels: x has that many whole values evenly on [-1, 1], and p(x | x_0) is proportional to q(x_0 | x) over
            them. Default: over all numbers, so that it is N(x_0 / alpha, (sigma / alpha)²), for continuous data.
        prior_std: as for `discrete`.
        offset: as for `discrete`.
        draws: of u and noise, one in each of that many equal parts of the span; as many evaluations.

    Raises:
        ValueError: for a concrete span that runs from noisy to clean or starts at sigma = 0. The bound is infinite
            there: give it a start such as 1e-3.

    References:
        Kingma et al., 2021, Eq. 11 and Secs. 3.3, 5 and 5.1.
    """
    checks.one_key("key", key)
    checks.floating("x", x)
    for end in span:
        checks.in_range("span", end, 0.0, 1.0)
    if all(map(arrays.is_concrete, span)) and np.greater(*span):
        raise ValueError(f"span = {span} runs from noisy to clean: name its clean end first, as span=(1e-3, 1.0)")
    x = arrays.widened(x)
    low, high = (jnp.asarray(end, x.dtype) for end in span)
    cleanest, noisiest = schedule.at(low), schedule.at(high)
    if arrays.is_concrete(cleanest.sigma) and not cleanest.sigma > 0:
        raise ValueError(
            f"span starts at sigma = {float(cleanest.sigma):g}, where the bound is infinite: start later, as "
            "span=(1e-3, 1.0)"
        )
    keys = sample_keys.keys_of(key, index)
    count = _draws(draws)

    def one(draw: jax.Array) -> tuple[jax.Array, jax.Array]:
        draw_keys = arrays.fold_in(keys, draw)
        within = jax.vmap(lambda one_key: jax.random.uniform(one_key, (), x.dtype))(arrays.fold_in(draw_keys, 0))
        u = low + (high - low) * (draw + within) / count
        noise = arrays.normal(arrays.fold_in(draw_keys, 1), like=x)
        fresh = arrays.normal(arrays.fold_in(draw_keys, 2), like=x)
        return (high - low) * path_rate(denoise, x, noise, schedule, u), flat_decoder_term(
            x, fresh, cleanest, data_levels
        )

    between, last = jax.lax.map(one, jnp.arange(count))
    return _bound(x, noisiest, prior_std, between, last, offset)


def chain_term(
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    noise: Float[ArrayLike, "..."],
    levels: Level,
    j: Count,
    *,
    variance: str = "small",
    data_levels: int | None = None,
) -> Float[Array, "b"]:
    """Nats of one step of the chain: a KL, or -log p(x | x_0) for the step to sigma = 0, or 0 for no step.

    Args:
        denoise: the model.
        x: (b, …) data.
        noise: (b, …) standard normal.
        levels: (t + 1,) the grid.
        j: () the step, from levels[j] to levels[j + 1].
        variance: as for `discrete`.
        data_levels: as for `discrete`.
    """
    x, level, cleaner = arrays.widened(x), levels[j], levels[j + 1]
    prediction = denoise(process.add_noise(x, noise, level), level)
    small, large, closeness = _step_variances(level, cleaner)
    ends, moves = cleaner.sigma == 0, large > 0
    previous, _, _ = _step_variances(levels[jnp.maximum(j - 1, 0)], level)
    small = jnp.where(ends, jnp.where((j > 0) & (previous > 0), previous, large), small)
    log_small, log_large = (jnp.log(jnp.where(moves, value, jnp.ones_like(value))) for value in (small, large))
    log_variance = reverse_log_variance(prediction, log_small, log_large, variance)
    error = prediction.clean - x
    against = log_variance - arrays.expand(log_small, x)
    divergence = (against + jnp.exp(-against) * (1 + arrays.expand(closeness, x) * error**2) - 1) / 2
    if data_levels is None:
        ending = (error**2 * jnp.exp(-log_variance) + log_variance + math.log(2 * math.pi)) / 2
    else:
        ending = -_log_mass(x, prediction.clean, jnp.exp(log_variance / 2), data_levels)
    nats = jnp.where(arrays.expand(ends, x), ending, divergence)
    return jnp.sum(arrays.flatten_samples(jnp.where(arrays.expand(moves, x), nats, 0.0)), axis=1)


def path_rate(
    denoise: Denoiser,
    x: Float[ArrayLike, "b *shape"],
    noise: Float[ArrayLike, "..."],
    schedule: Schedule,
    u: Float[Array, "b"],
) -> Float[Array, "b"]:
    """Nats per unit of u: -1/2 dSNR/du |x - clean|², and in the noise where alpha >= sigma.

    Finite at alpha = 0. Differentiable in the schedule's numbers, through the level as well as through its slope.

    Args:
        denoise: the model.
        x: (b, …) data.
        noise: (b, …) standard normal.
        schedule: the noise path.
        u: (b,) positions on it.

    References:
        Kingma et al., 2021, Sec. 5.
    """
    x, u = arrays.widened(x), arrays.widened(u)
    level, slope = jax.jvp(schedule.at, (u,), (jnp.ones_like(u),))
    level = jax.tree.map(lambda field: jnp.broadcast_to(field, u.shape), level)
    prediction = denoise(process.add_noise(x, noise, level), level)
    turn = level.alpha * slope.sigma - level.sigma * slope.alpha
    nearer = level.alpha >= level.sigma
    by_noise = arrays.safe_divide(turn, jnp.where(nearer, level.alpha * level.sigma, 0.0))
    by_clean = arrays.safe_divide(level.alpha * turn, jnp.where(nearer, 0.0, level.sigma**3))
    from_noise = jnp.sum(arrays.flatten_samples((prediction.noise - noise) ** 2), axis=1)
    from_clean = jnp.sum(arrays.flatten_samples((prediction.clean - x) ** 2), axis=1)
    return jnp.where(nearer, by_noise * from_noise, by_clean * from_clean).astype(x.dtype)


def prior_term(x: Float[ArrayLike, "b *shape"], noisiest: Level, prior_std: Scalar | None = None) -> Float[Array, "b"]:
    """Nats of KL(N(alpha x, sigma²) || N(0, prior_std²)), by default with sigma: then alpha² |x|² / (2 sigma²).

    Raises:
        ValueError: for a concrete prior_std that is not positive.
    """
    if prior_std is not None:
        checks.in_range("prior_std", prior_std, 0.0, math.inf, open_low=True, open_high=True)
    x = arrays.widened(x)
    alpha, sigma = jnp.asarray(noisiest.alpha, x.dtype), jnp.asarray(noisiest.sigma, x.dtype)
    std = sigma if prior_std is None else jnp.asarray(prior_std, x.dtype)
    spread = (sigma / std) ** 2 / 2 - 0.5 - jnp.log(sigma / std)
    return jnp.sum(arrays.flatten_samples((alpha / std * x) ** 2), axis=1) / 2 + math.prod(x.shape[1:]) * spread


def flat_decoder_term(
    x: Float[ArrayLike, "b *shape"], noise: Float[ArrayLike, "..."], cleanest: Level, data_levels: int | None = None
) -> Float[Array, "b"]:
    """Nats of -log p(x | x_0) at x_0 = alpha x + sigma noise, with p proportional to q(x_0 | x).

    Args:
        x: (b, …) data.
        noise: (b, …) standard normal.
        cleanest: () where the path begins.
        data_levels: over that many whole values evenly on [-1, 1], or by default over all numbers: then its
            expectation, (1 + log(2 pi sigma²/alpha²)) / 2 each.

    References:
        Kingma et al., 2021, Sec. 3.3.
    """
    x = arrays.widened(x)
    ratio = jnp.asarray(cleanest.sigma / cleanest.alpha, x.dtype)
    if data_levels is None:
        return jnp.broadcast_to(
            math.prod(x.shape[1:]) * (jnp.log(ratio) + math.log(2 * math.pi) / 2 + 0.5), x.shape[:1]
        )
    checks.integer("data_levels", data_levels, 2)
    values = jnp.linspace(-1.0, 1.0, data_levels, dtype=x.dtype).reshape((1,) * x.ndim + (-1,))
    distance = ((x + ratio * noise)[..., None] - values) / ratio
    return jnp.sum(arrays.flatten_samples(noise**2 / 2 + jax.nn.logsumexp(-(distance**2) / 2, axis=-1)), axis=1)


def reverse_log_variance(
    prediction: Prediction, log_small: Scalar, log_large: Scalar, variance: str
) -> Float[Array, "..."]:
    """The logarithm of the reverse step's variance, broadcasting against x (b, …).

    Args:
        prediction: of the step; "learned" needs its `variance_share`, v.
        log_small: () or (b,), of the posterior's variance.
        log_large: () or (b,), of the chain's own.
        variance: "small", "large", or "learned": v log large + (1 - v) log small.

    References:
        Nichol & Dhariwal, 2021, Eq. 15.
    """
    low, high = arrays.expand(log_small, prediction.clean), arrays.expand(log_large, prediction.clean)
    if variance == "small":
        return low
    if variance == "large":
        return high
    return low + denoiser.variance_share(prediction) * (high - low)


def _step_variances(level: Level, cleaner: Level) -> tuple[Array, Array, Array]:
    """The posterior's variance, the chain's, and SNR' - SNR, the factor of |x - clean|² in twice the posterior's KL."""
    ratio = arrays.safe_divide(level.alpha, cleaner.alpha)
    carried = ratio * cleaner.sigma
    large = jnp.maximum((level.sigma - carried) * (level.sigma + carried), 0.0)
    share = arrays.safe_divide(large, level.sigma**2)
    return cleaner.sigma**2 * share, large, cleaner.alpha**2 * arrays.safe_divide(share, cleaner.sigma**2)


def _log_mass(x: jax.Array, mean: jax.Array, std: jax.Array, data_levels: int) -> jax.Array:
    """The log mass of N(mean, std²) on the value of x; the end values reach to infinity (Ho et al., 2020, Eq. 13)."""
    checks.integer("data_levels", data_levels, 2)
    half = 1 / (data_levels - 1)
    below, above = (x - half - mean) / std, (x + half - mean) / std
    mirrored = below + above > 0  # in the left tail the logarithms keep their digits
    low, high = jnp.where(mirrored, -above, below), jnp.where(mirrored, -below, above)
    log_low, log_high = jax.scipy.stats.norm.logcdf(low), jax.scipy.stats.norm.logcdf(high)
    gap = jnp.maximum(log_high - log_low, jnp.finfo(x.dtype).tiny)
    inside = log_high + jnp.log(-jnp.expm1(-gap))
    lowest = jax.scipy.stats.norm.logcdf(above)
    highest = jax.scipy.stats.norm.logcdf(-below)
    return jnp.where(x < half - 1, lowest, jnp.where(x > 1 - half, highest, inside))


def _bound(
    x: jax.Array, noisiest: Level, prior_std: Scalar | None, between: jax.Array, last: jax.Array, offset: Scalar
) -> Bound:
    """From (m, b) draws in nats."""
    unit = math.prod(x.shape[1:]) * math.log(2.0)
    prior = prior_term(x, noisiest, prior_std) / unit
    diffusion, reconstruction = jnp.mean(between, axis=0) / unit, jnp.mean(last, axis=0) / unit
    total, count = (between + last) / unit, between.shape[0]
    centred = total - jnp.mean(total, axis=0, keepdims=True)
    error = (
        arrays.safe_sqrt(jnp.sum(centred**2, axis=0) / max(count - 1, 1) / count)
        if count > 1
        else jnp.full_like(prior, jnp.inf)
    )
    return Bound(
        prior + diffusion + reconstruction + jnp.asarray(offset, x.dtype), prior, diffusion, reconstruction, error
    )


def _draws(draws: int) -> int:
    checks.integer("draws", draws, 1)
    return draws
