"""Schedules: how alpha and sigma run from clean (u = 0) to noise (u = 1).

Tables are built once in float64 NumPy. At the noisy end alpha² is a cumulative product of a thousand numbers, which
float32 does not hold.
"""

import abc
import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays, checks, records
from gendiff.core.types import DType, Numeric, Scalar
from gendiff.diffusion.types import Level


@records.record
class Schedule(abc.ABC):
    """A noise path. Each family is a record class with its settings as static fields.

    Two schedules of one family with equal settings are equal and have the same hash, so rebuilding one does not
    retrace. A new family defines `_at`, `_at_log_snr` and `_clean_t`, for arrays of NumPy and of JAX.
    """

    def at(self, u: Scalar) -> Level:
        """The level at a position on the path.

        Args:
            u: in [0, 1], of any shape; 0 is the clean end, 1 the noisy one.

        Raises:
            ValueError: for a concrete u outside [0, 1].
        """
        checks.in_range("u", u, 0.0, 1.0)
        return self._at(_floating(u))

    def at_log_snr(self, value: Scalar) -> Level:
        """The level whose log(alpha² / sigma²) is `value`, of any shape and also beyond the ends of the schedule.

        The t of a table is interpolated along the chord of two entries. Beyond the ends it is that of the end, as for a
        learned schedule; that of `edm` and `flow` follows their formula there too.
        """
        return self._at_log_snr(_floating(value))

    @property
    def table(self) -> Level | None:
        """The levels (t,) of a discrete chain, least noise first, float64 NumPy; None for a continuous path.

        Treat as read-only.
        """
        return None

    @property
    def clean(self) -> Level:
        """The clean end of grids: alpha 1, sigma 0, t -1 for a table, 0 for flow, c_noise(sigma_min) for EDM."""
        return Level(t=self._clean_t, alpha=1.0, sigma=0.0)

    @property
    def noisiest(self) -> Level:
        """The level at u = 1 in float64 NumPy: where sampling starts."""
        return self._at(np.float64(1.0))

    @property
    def cleanest(self) -> Level:
        """Entry 0 of the table, or else the level at u = 0, in float64 NumPy: a network's cleanest input."""
        return self.table[0] if self.table is not None else self._at(np.float64(0.0))

    @property
    @abc.abstractmethod
    def _clean_t(self) -> float:
        """The t of the clean level."""

    @abc.abstractmethod
    def _at(self, u: Numeric) -> Level:
        """As `at`, for a floating array in [0, 1]."""

    @abc.abstractmethod
    def _at_log_snr(self, value: Numeric) -> Level:
        """As `at_log_snr`, for a floating array."""

    def _at_shifted(self, u: Numeric, shift: float) -> Level:
        """The level with `shift` times the noise ratio of the one at u."""
        return self.at_log_snr(self._at(u).log_snr - 2 * math.log(shift))


def linear(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Schedule:
    """Variances beta that are linear in the step.

    Also known as: the DDPM schedule (linear betas).

    Args:
        steps: length of the chain, at least 1.
        start: beta of the first step, in (0, 1).
        end: beta of the last step, in (0, 1).

    References:
        Ho et al., 2020, Sec. 4.
    """
    return from_betas(_between("linear", steps, start, end))


def scaled_linear(steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> Schedule:
    """Variances whose root is linear in the step: the schedule of latent diffusion and Stable Diffusion.

    Args:
        steps: length of the chain, at least 1.
        start: beta of the first step, in (0, 1).
        end: beta of the last step, in (0, 1).

    References:
        Rombach et al., 2022.
    """
    return from_betas(_between("scaled_linear", steps, start, end, root=True))


def cosine(steps: int = 1000, offset: float = 0.008, max_beta: float = 0.999) -> Schedule:
    """The chain with alpha² = f(t) / f(0), f(t) = cos²((t/T + s) / (1 + s) · pi/2).

    Args:
        steps: T, the length of the chain, at least 1.
        offset: s, at least 0.
        max_beta: in (0, 1); a larger beta is clipped to it.

    References:
        Nichol & Dhariwal, 2021, Eq. 17.
    """
    checks.integer("steps", steps, 1)
    checks.in_range("offset", offset, 0.0, math.inf, open_high=True)
    checks.in_range("max_beta", max_beta, 0.0, 1.0, open_low=True, open_high=True)
    angle = (np.arange(steps + 1) / steps + offset) / (1 + offset) * np.pi / 2
    share = np.cos(angle) ** 2
    return from_betas(np.minimum(1 - share[1:] / share[:-1], max_beta))


def sigmoid(
    steps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0, max_beta: float = 0.999
) -> Schedule:
    """The chain whose alpha² falls from 1 to 0 along a sigmoid.

    Args:
        steps: length of the chain, at least 1.
        start: where on the sigmoid the path begins.
        end: where it ends, above `start`.
        tau: temperature of the sigmoid, above 0.
        max_beta: in (0, 1); a larger beta is clipped to it.

    References:
        Jabri et al., 2022; Chen, 2023, Alg. 1.
    """
    checks.integer("steps", steps, 1)
    checks.in_range("tau", tau, 0.0, math.inf, open_low=True, open_high=True)
    checks.in_range("max_beta", max_beta, 0.0, 1.0, open_low=True, open_high=True)
    if not start < end:
        raise ValueError(f"start = {start:g} must be below end = {end:g}")
    falling = 1 / (1 + np.exp(np.linspace(start, end, steps + 1) / tau))
    share = (falling - falling[-1]) / (falling[0] - falling[-1])
    return from_betas(np.minimum(1 - share[1:] / share[:-1], max_beta))


def from_betas(betas: Sequence[float] | np.ndarray) -> Schedule:
    """The chain with given variances: alpha² is the running product of 1 - beta.

    Args:
        betas: (t,) the variance that each step adds, in (0, 1).
    """
    values = _one_axis("betas", betas)
    checks.in_range("betas", values, 0.0, 1.0, open_low=True, open_high=True)
    return from_alpha_bar(np.cumprod(1 - values))


def from_alpha_bar(alpha_bar: Sequence[float] | np.ndarray) -> Schedule:
    """The variance-preserving chain with alpha² = alpha_bar.

    Args:
        alpha_bar: (t,) within (0, 1) and strictly falling; the last entry may be 0.
    """
    values = _one_axis("alpha_bar", alpha_bar)
    checks.in_range("alpha_bar", values, 0.0, 1.0, open_high=True)
    if np.any(np.diff(values) >= 0):
        raise ValueError(
            f"alpha_bar must fall strictly, but does not at steps {np.flatnonzero(np.diff(values) >= 0)[:5] + 1}"
        )
    return TableSchedule(tuple(values.tolist()))


def zero_terminal_snr(schedule: Schedule) -> Schedule:
    """The same chain with alpha shifted and scaled, so that it ends at exactly 0 and starts as before.

    Also known as: zero-terminal-SNR rescaling (rescale_betas_zero_snr).

    Args:
        schedule: one with a table of at least 2 steps.

    References:
        Lin et al., 2024, Alg. 1.
    """
    if schedule.table is None or len(schedule.table) < 2:
        raise ValueError(
            "zero_terminal_snr needs a schedule with a table of at least 2 steps; flow() ends at zero SNR already"
        )
    alpha = schedule.table.alpha
    rescaled = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return from_alpha_bar(rescaled**2)


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Schedule:
    """Variance exploding: alpha = 1 and sigma^(1/rho) linear in u. t is ln(sigma) / 4.

    Also known as: VE (variance-exploding) diffusion; Karras sigmas.

    Args:
        sigma_min: sigma at u = 0, above 0, in the data's unit.
        sigma_max: sigma at u = 1, above `sigma_min`.
        rho: above 0; larger values spend more of the path at low noise.

    References:
        Karras et al., 2022, Eq. 5; c_noise of Tab. 1.
    """
    checks.in_range("sigma_min", sigma_min, 0.0, math.inf, open_low=True, open_high=True)
    checks.in_range("sigma_max", sigma_max, sigma_min, math.inf, open_low=True, open_high=True)
    checks.in_range("rho", rho, 0.0, math.inf, open_low=True, open_high=True)
    return EdmSchedule(float(sigma_min), float(sigma_max), float(rho))


def flow() -> Schedule:
    """The straight path of rectified flow: alpha = 1 - u, sigma = u, t = 1000 u.

    Also known as: flow matching; the linear interpolant.

    References:
        Liu et al., 2023; Lipman et al., 2023, Eq. 22.
    """
    return FlowSchedule()


def shifted(schedule: Schedule, shift: float) -> Schedule:
    """The path with sigma / alpha multiplied by `shift` at every u, that is with log-SNR lowered by 2 ln(shift).

    Also known as: timestep shift (flow shift; resolution-dependent shift).

    On a flow schedule this is Esser et al. (2024, Eq. 23), with t = 1000 sigma. With `shift` = resolution / reference
    side it is Hoogeboom et al. (2023, Sec. 3.1). A table keeps its numbering 0…T-1. A continuous path keeps what t
    means at each noise level.

    Args:
        schedule: any schedule.
        shift: above 0.
    """
    checks.in_range("shift", shift, 0.0, math.inf, open_low=True, open_high=True)
    if schedule.table is None:
        return ShiftedSchedule(schedule, float(shift))
    alpha, sigma = schedule.table.alpha, schedule.table.sigma * shift
    return from_alpha_bar(alpha**2 / (alpha**2 + sigma**2))


def max_noise_ratio(schedule: Schedule) -> float:
    """The ratio sigma / alpha at the noisy end, inf at zero terminal SNR: the factor of errors in noise prediction."""
    level = schedule.noisiest
    return float(level.sigma / level.alpha) if level.alpha > 0 else math.inf


@records.record
class TableSchedule(Schedule):
    """A chain as a path. Position p = u T - 1 runs from -1 (clean) to T - 1.

    Between two entries alpha and sigma go along the chord and are brought back to alpha² + sigma² = 1. That is exact at
    the entries, monotone in log-SNR, and finite from clean to zero terminal SNR.
    """

    alpha_bar: tuple[float, ...] = records.static()

    @property
    def table(self) -> Level:
        """The levels (t,) of the chain, least noise first, float64 NumPy."""
        return _table(self)

    @property
    def _clean_t(self) -> float:
        return -1.0

    def _at(self, u: Numeric) -> Level:
        xp, steps = arrays.namespace(u), len(self.alpha_bar)
        position = u * steps
        below = xp.clip(xp.floor(position), 0, steps - 1)
        return _on_chord(_with_clean(self), below.astype(int), position - below, u.dtype)

    def _at_log_snr(self, value: Numeric) -> Level:
        path, xp = _with_clean(self), arrays.namespace(value)
        alpha, sigma = variance_preserving(value)
        above = xp.searchsorted(xp.asarray(-path.log_snr, value.dtype), -value)
        below = xp.clip(above - 1, 0, len(self.alpha_bar) - 1)
        first, last = (_gather(path, index, value.dtype) for index in (below, below + 1))
        distance = sigma * first.alpha - alpha * first.sigma
        along = distance / (distance - (sigma * last.alpha - alpha * last.sigma))
        return Level(t=first.t + xp.clip(along, 0.0, 1.0), alpha=alpha, sigma=sigma)


@records.record
class EdmSchedule(Schedule):
    """The variance-exploding path of `edm`."""

    sigma_min: float = records.static()
    sigma_max: float = records.static()
    rho: float = records.static()

    @property
    def _clean_t(self) -> float:
        return math.log(self.sigma_min) / 4

    def _at(self, u: Numeric) -> Level:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return self._of_sigma((low + u * (high - low)) ** self.rho)

    def _at_log_snr(self, value: Numeric) -> Level:
        return self._of_sigma(arrays.namespace(value).exp(-value / 2))

    def _of_sigma(self, sigma: Numeric) -> Level:
        xp = arrays.namespace(sigma)
        return Level(t=xp.log(sigma) / 4, alpha=xp.ones_like(sigma), sigma=sigma)


@records.record
class FlowSchedule(Schedule):
    """The straight path of `flow`."""

    @property
    def _clean_t(self) -> float:
        return 0.0

    def _at(self, u: Numeric) -> Level:
        return Level(t=1000 * u, alpha=1 - u, sigma=u)

    def _at_log_snr(self, value: Numeric) -> Level:
        sigma = arrays.logistic(-value / 2)
        return Level(t=1000 * sigma, alpha=arrays.logistic(value / 2), sigma=sigma)

    def _at_shifted(self, u: Numeric, shift: float) -> Level:
        return self._at(shift * u / (1 + (shift - 1) * u))  # through log-SNR both ends would lose digits


@records.record
class ShiftedSchedule(Schedule):
    """A continuous path of `shifted`."""

    base: Schedule = records.static()
    shift: float = records.static()

    @property
    def _clean_t(self) -> float:
        return self.base._clean_t

    def _at(self, u: Numeric) -> Level:
        return self.base._at_shifted(u, self.shift)

    def _at_log_snr(self, value: Numeric) -> Level:
        return self.base.at_log_snr(value)


def variance_preserving(log_snr: Numeric) -> tuple[Numeric, Numeric]:
    """The alpha and sigma of that log-SNR, of its shape, with alpha² + sigma² = 1."""
    xp = arrays.namespace(log_snr)
    return xp.sqrt(arrays.logistic(log_snr)), xp.sqrt(arrays.logistic(-log_snr))


def _one_axis(name: str, values: Sequence[float] | np.ndarray) -> np.ndarray:
    table = np.asarray(values, np.float64)
    if table.ndim != 1 or table.size == 0:
        raise ValueError(f"{name} must have one axis and at least one step, got shape {table.shape}")
    return table


def _between(name: str, steps: int, start: float, end: float, root: bool = False) -> np.ndarray:
    checks.integer("steps", steps, 1)
    for label, value in (("start", start), ("end", end)):
        checks.in_range(f"{name} {label}", value, 0.0, 1.0, open_low=True, open_high=True)
    power = 2 if root else 1
    return np.linspace(start ** (1 / power), end ** (1 / power), steps, dtype=np.float64) ** power


def _floating(value: Scalar) -> Numeric:
    if isinstance(value, np.ndarray | np.generic) and np.issubdtype(value.dtype, np.floating):
        return value
    array = jnp.asarray(value)
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(jnp.result_type(float))


@functools.lru_cache(maxsize=64)
def _table(schedule: TableSchedule) -> Level:
    share = np.asarray(schedule.alpha_bar, np.float64)
    level = Level(t=np.arange(share.size, dtype=np.float64), alpha=np.sqrt(share), sigma=np.sqrt(1 - share))
    for field in (level.t, level.alpha, level.sigma):
        field.setflags(write=False)
    return level


@functools.lru_cache(maxsize=64)
def _with_clean(schedule: TableSchedule) -> Level:
    table = _table(schedule)
    return Level(t=np.append(-1.0, table.t), alpha=np.append(1.0, table.alpha), sigma=np.append(0.0, table.sigma))


def _on_chord(path: Level, below: Numeric, along: Numeric, dtype: DType) -> Level:
    first, last = (_gather(path, index, dtype) for index in (below, below + 1))
    xp = arrays.namespace(along)
    ended = along >= 1  # then from b on: a + (b - a) may be rounded off b
    rest, ends = xp.where(ended, along - 1, along), ((first.alpha, last.alpha), (first.sigma, last.sigma))
    alpha, sigma = (xp.where(ended, b, a) + rest * (b - a) for a, b in ends)
    inside = (along > 0) & (along < 1)  # an entry of the table is returned as it stands, not renormalised
    length = xp.where(inside, xp.sqrt(alpha**2 + sigma**2), 1)
    return Level(t=first.t + along, alpha=alpha / length, sigma=sigma / length)


def _gather(path: Level, index: Numeric, dtype: DType) -> Level:
    xp = arrays.namespace(index)
    levels: Level = jax.tree.map(lambda field: xp.asarray(field, dtype)[index], path)
    return levels
