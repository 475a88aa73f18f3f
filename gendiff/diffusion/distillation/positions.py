"""Where on the noise path a pair of levels is drawn: positions u in [0, 1] of a schedule, 0 clean and 1 noise.

Losses of pairs of levels need u itself, to go to a level beside it or to differentiate by it. The samplers of
`weighting` answer levels. Each is a record: equal settings compare and hash equal.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.types import Count
from gendiff.diffusion.schedules import Schedule

Positions = Callable[[jax.Array, int], jax.Array]
"""(key, count) -> u (b,) in [0, 1]."""
HALVINGS = 30
"""Of the interval in which a position is sought: more than float32 can tell apart."""


def uniform() -> Positions:
    """Every position is equally likely."""
    return UniformPositions()


def logit_normal(mean: float = -0.4, std: float = 1.0) -> Positions:
    """Positions with logit(u) normal, meant for a flow schedule.

    Args:
        mean: of logit(u).
        std: its standard deviation, above 0.

    References:
        Geng et al., 2025, Tab. 1e (from memory).
    """
    checks.finite("mean", mean)
    checks.in_range("std", std, 0.0, math.inf, open_low=True, open_high=True)
    return LogitNormalPositions(float(mean), float(std))


def log_normal(schedule: Schedule, mean: float = -1.1, std: float = 2.0) -> Positions:
    """Positions with ln(sigma / alpha) normal, cut to what the schedule has.

    In a grid of n intervals, the interval that holds the position has the probability of Song & Dhariwal: the
    difference of the normal distribution function at its ends.

    Args:
        schedule: of the loss.
        mean: of ln(sigma / alpha).
        std: its standard deviation, above 0.

    References:
        Song & Dhariwal, 2024, Eq. 10 (from memory).
    """
    checks.finite("mean", mean)
    checks.in_range("std", std, 0.0, math.inf, open_low=True, open_high=True)
    return LogNormalPositions(schedule, float(mean), float(std))


@records.record
class UniformPositions:
    """The positions of `uniform`."""

    def __call__(self, key: jax.Array, count: int) -> Float[Array, "b"]:
        """Draw positions u (b,)."""
        return jax.random.uniform(key, (count,))


@records.record
class LogitNormalPositions:
    """The positions of `logit_normal`."""

    mean: float = records.static()
    std: float = records.static()

    def __call__(self, key: jax.Array, count: int) -> Float[Array, "b"]:
        """Draw positions u (b,)."""
        return jax.nn.sigmoid(self.mean + self.std * jax.random.normal(key, (count,)))


@records.record
class LogNormalPositions:
    """The positions of `log_normal`."""

    schedule: Schedule = records.static()
    mean: float = records.static()
    std: float = records.static()

    def __call__(self, key: jax.Array, count: int) -> Float[Array, "b"]:
        """Draw positions u (b,)."""
        share = jax.random.uniform(key, (count,))
        low, high = (self._normal_share(float(self.schedule.at(np.float64(end)).log_snr)) for end in (0.0, 1.0))
        target = self.mean + self.std * ndtri(low + share * (high - low))

        def halved(_: Count, interval: tuple[Array, Array]) -> tuple[Array, Array]:
            first, last = interval
            middle = (first + last) / 2
            below = -self.schedule.at(middle).log_snr / 2 <= target
            return jnp.where(below, middle, first), jnp.where(below, last, middle)

        first, last = jax.lax.fori_loop(0, HALVINGS, halved, (jnp.zeros_like(share), jnp.ones_like(share)))
        middle: Array = (first + last) / 2
        return middle

    def _normal_share(self, log_snr: float) -> float:
        """How much of the normal law lies below a level."""
        return 0.5 * (1 + math.erf((-log_snr / 2 - self.mean) / (self.std * math.sqrt(2))))
