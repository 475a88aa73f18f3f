"""How strong guidance is: one number, one number per sample, or a function of the level."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.core import checks, records
from gendiff.core.types import Scalar
from gendiff.diffusion.types import Level

Scale = Scalar | Callable[[Level], Scalar]
"""(), (b,), or a function of the level with such a result: a plain function, or a record whose numbers stay data."""


@records.record
class Strength:
    """A scale that was checked at the public door.

    Args:
        scale: (), (b,) or a function of the level.
    """

    scale: Scale

    @classmethod
    def checked(cls, name: str, scale: Scale, low: float = 0.0) -> "Strength":
        """The strength, if concrete numbers are finite and at least `low`; a function is not asked.

        Raises:
            ValueError: for concrete numbers out of range, with the argument's name.
        """
        if not callable(scale):
            checks.in_range(name, scale, low, math.inf, open_low=math.isinf(low), open_high=True)
        return cls(scale)

    def at(self, level: Level) -> Scalar:
        """The number () or the numbers (b,) at this level."""
        return self.scale(level) if callable(self.scale) else self.scale

    def is_one(self, level: Level) -> bool | jax.Array:
        """() whether a function of the level is 1 for all samples at this level; always False for numbers."""
        return jnp.all(jnp.asarray(self.at(level)) == 1) if callable(self.scale) else False
