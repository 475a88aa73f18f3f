"""A scale for each level of a grid."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike
from gendiff.diffusion.types import Level


def at_levels(levels: Level, scales: ArrayLike) -> Callable[[Level], Array]:
    """A scale for any rule here: scales[j] at levels[j], linear in arctan(alpha / sigma) between, constant beyond.

    Also known as: a guidance schedule, a dynamic guidance scale.

    Args:
        levels: (t,) or longer, falling in noise; those that are visited. Data under jit.
        scales: (t,) at least 0, data under jit.

    Raises:
        ValueError: for concrete scales that are negative or not finite, and for fewer levels than scales.
    """
    if np.ndim(scales) != 1 or len(levels.shape) != 1 or levels.shape[0] < np.shape(scales)[0]:
        raise ValueError(
            f"one scale for each of the first levels is needed, got {np.shape(scales)} for levels of shape "
            f"{levels.shape}"
        )
    checks.in_range("scales", scales, 0.0, np.inf, open_high=True)
    return _AtLevels(_angle(levels)[: np.shape(scales)[0]], scales)


@records.record
class _AtLevels:
    angles: ArrayLike
    scales: ArrayLike

    def __call__(self, level: Level) -> Array:
        return jnp.interp(_angle(level), jnp.asarray(self.angles), jnp.asarray(self.scales))


def _angle(level: Level) -> Array:
    """0 at pure noise, a quarter turn at the clean end: finite everywhere."""
    return jnp.arctan2(jnp.asarray(level.alpha), jnp.asarray(level.sigma))
