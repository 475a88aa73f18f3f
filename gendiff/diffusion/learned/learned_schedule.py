"""A learned noise schedule: a monotone log-SNR whose numbers are trained to lower the variance of the bound's estimate.

Also known as: variational diffusion models (VDM).

log-SNR falls from `high` at u = 0 to `low` at u = 1 as high - (high - low) f(u), where f is a line plus sigmoids with
positive weights, scaled to run from 0 to 1 (Kingma et al., 2021, App. H). The continuous bound depends on the two ends
only, so the shape of f is free: it is chosen where the drawn bound varies least (their Sec. 5.1 and App. I.2); the
ends, if they are learned, follow the bound itself.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Metrics, Numeric, Scalar
from gendiff.diffusion import schedules
from gendiff.diffusion.likelihood import elbo
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level


@records.record
class Curve:
    """The shape f of a learned schedule.

    Args:
        slope: () of the line, before softplus makes it positive.
        heights: (h,) of the sigmoids, before softplus.
        steepness: (h,) of the sigmoids, before softplus.
        centres: (h,) of the sigmoids, in u.
    """

    slope: ArrayLike
    heights: ArrayLike
    steepness: ArrayLike
    centres: ArrayLike

    def share(self, u: Numeric) -> Numeric:
        """The value f(u), from 0 at u = 0 to 1 at u = 1, in the namespace and dtype of u."""
        xp = arrays.namespace(u)
        slope, heights, steepness, centres = (
            xp.asarray(value, u.dtype) for value in (self.slope, self.heights, self.steepness, self.centres)
        )

        def rise(u: Numeric) -> Numeric:
            height, steep, centre = (
                value.reshape((1,) * u.ndim + value.shape) for value in (heights, steepness, centres)
            )
            steps = arrays.logistic(xp.logaddexp(0.0, steep) * (u[..., None] - centre))
            return xp.logaddexp(0.0, slope) * u + xp.sum(xp.logaddexp(0.0, height) * steps, axis=-1)

        start, end = (rise(xp.asarray(value, u.dtype)) for value in (0.0, 1.0))
        return (rise(u) - start) / (end - start)


@records.record
class Ends:
    """Learned ends.

    Args:
        low: () the log-SNR at u = 1.
        log_range: () the logarithm of what the log-SNR gains until u = 0.
    """

    low: ArrayLike
    log_range: ArrayLike


def monotone(
    log_snr: tuple[float, float] = (13.3, -5.0), *, hidden: int = 32, learn_ends: bool = False
) -> "LearnedSchedule":
    """A variance-preserving schedule whose log-SNR is nearly linear in u to begin with.

    t runs from 0 to 1000 linearly in log-SNR, whatever the shape. So what the network is told depends on the noise
    alone, and the bound depends on the ends alone.

    Args:
        log_snr: its values at u = 0 and at u = 1, falling; the default is that of Kingma et al. (2021).
        hidden: how many sigmoids, at least 1.
        learn_ends: whether the ends are leaves as well.

    Raises:
        ValueError: for ends that are not finite or do not fall, and for fewer than one sigmoid.
    """
    high, low = (float(value) for value in log_snr)
    checks.finite("log_snr", np.array(log_snr))
    if not high > low:
        raise ValueError(f"log_snr = ({high:g}, {low:g}) must fall from u = 0 to u = 1")
    checks.integer("hidden", hidden, 1)
    curve = Curve(
        slope=_number(_before_softplus(1.0)),
        heights=_number([_before_softplus(0.1 / hidden)] * hidden),
        steepness=_number([_before_softplus(2.0 * hidden)] * hidden),
        centres=_number(np.linspace(0.0, 1.0, hidden)),
    )
    if not learn_ends:
        return LearnedSchedule(curve, fixed=(high, low))
    return LearnedSchedule(curve, Ends(_number(low), _number(math.log(high - low))))


@records.record
class LearnedSchedule(Schedule):
    """A `Schedule` whose numbers are leaves: it is differentiated, trained and stored as parameters.

    Sample with its `frozen` form. Grids read it where its numbers are concrete. As it holds arrays it neither compares
    nor hashes.
    """

    curve: Curve
    ends: Ends | None = None
    fixed: tuple[float, float] | None = records.static(default=None)

    def at(self, u: Scalar) -> Level:
        """The level at u in [0, 1], of any shape; a concrete u outside is refused."""
        checks.in_range("u", u, 0.0, 1.0)
        return self._at(jnp.asarray(u, jnp.result_type(u, float)))  # by JAX, so that derivatives reach the numbers

    def at_log_snr(self, value: Scalar) -> Level:
        """The level of that log-SNR, of any shape. t ends where the schedule ends."""
        return self._at_log_snr(jnp.asarray(value, jnp.result_type(value, float)))

    @property
    def noisiest(self) -> Level:
        """The level at u = 1."""
        return self.at(1.0)

    @property
    def limits(self) -> tuple[Numeric, Numeric]:
        """The log-SNR at u = 0 and at u = 1."""
        if self.ends is None:
            return self.fixed  # type: ignore[return-value]
        return self.ends.low + arrays.namespace(self.ends.log_range).exp(self.ends.log_range), self.ends.low

    @property
    def _clean_t(self) -> float:
        return 0.0

    def _at(self, u: Numeric) -> Level:
        high, low = self.limits
        share = self.curve.share(u)
        return _level(high - (high - low) * share, share)

    def _at_log_snr(self, value: Numeric) -> Level:
        high, low = self.limits
        return _level(value, arrays.namespace(value).clip((high - value) / (high - low), 0.0, 1.0))


@records.record
class FrozenSchedule(LearnedSchedule):
    """A learned schedule whose numbers are settings: it compares and hashes like others, also in NumPy's float64."""

    curve: Curve = records.static()
    ends: Ends | None = records.static(default=None)

    at = Schedule.at
    at_log_snr = Schedule.at_log_snr
    noisiest = Schedule.noisiest


def frozen(schedule: LearnedSchedule) -> Schedule:
    """The same schedule with its numbers fixed, which compares and hashes like any other. Needs concrete numbers."""
    high, low = (_plain(limit) for limit in schedule.limits)
    return FrozenSchedule(jax.tree.map(_plain, schedule.curve), fixed=(high, low))


def objective(
    schedule: LearnedSchedule,
    key: jax.Array,
    denoise: Denoiser,
    clean: Float[Array, "b *shape"],
    *,
    data_levels: int | None = None,
) -> tuple[Float[Array, ""], Metrics]:
    """The schedule's loss: the mean square of the drawn diffusion loss for its shape, and the bound for its ends.

    The mean of that loss does not depend on the shape, so the gradient of its second moment is that of its variance.
    Each part stops the other's gradient, and the scalar is their sum.

    Args:
        schedule: differentiate by it.
        key: one key.
        denoise: its own numbers are constants here.
        clean: (b, …) data; half precision is widened to float32.
        data_levels: as for `elbo.continuous`.

    Returns:
        The scalar, and metrics per dimension: `bits`, the bound without offset, and `variance`, of the drawn loss in
        bits².

    References:
        Kingma et al., 2021, Apps. I.1 and I.2.
    """
    checks.one_key("key", key)
    checks.floating("clean", clean)
    clean = arrays.widened(clean)
    time_key, noise_key, last_key = jax.random.split(key, 3)
    count, unit = clean.shape[0], math.prod(clean.shape[1:]) * math.log(2.0)
    # evenly: their App. I.1
    u = (jax.random.uniform(time_key, (), clean.dtype) + jnp.arange(count, dtype=clean.dtype) / count) % 1
    noise = jax.random.normal(noise_key, clean.shape, clean.dtype)
    still = records.replace(schedule, ends=jax.tree.map(jax.lax.stop_gradient, schedule.ends))
    rates = elbo.path_rate(denoise, clean, noise, still, u) / unit
    total, mean = jnp.mean(rates**2), jax.lax.stop_gradient(jnp.mean(rates))
    ended = records.replace(schedule, curve=jax.tree.map(jax.lax.stop_gradient, schedule.curve))
    fresh = jax.random.normal(last_key, clean.shape, clean.dtype)
    terms = elbo.prior_term(clean, ended.at(1.0)) + elbo.flat_decoder_term(clean, fresh, ended.at(0.0), data_levels)
    if schedule.ends is None:
        return total, {"bits": mean + jnp.mean(terms) / unit, "variance": total - mean**2}
    bits = jnp.mean(elbo.path_rate(denoise, clean, noise, ended, u) + terms) / unit
    return total + bits, {"bits": bits, "variance": total - mean**2}


def _level(log_snr: Numeric, share: Numeric) -> Level:
    alpha, sigma = schedules.variance_preserving(log_snr)
    return Level(t=1000 * share, alpha=alpha, sigma=sigma)


def _before_softplus(value: float) -> float:
    return value + math.log(-math.expm1(-value))


def _number(value: Scalar | list[float]) -> np.ndarray:
    """In the default dtype, by NumPy, so that a schedule made under a trace is concrete."""
    return np.asarray(value, jnp.result_type(float))


def _plain(number: Numeric) -> Numeric:
    values = np.asarray(number, np.float64)
    return float(values) if values.ndim == 0 else tuple(values.tolist())
