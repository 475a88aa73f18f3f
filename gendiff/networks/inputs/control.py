"""Residuals: the output of a ControlNet, which a U-Net adds to its skip connections."""

import jax
import jax.numpy as jnp

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Scalar


@records.record
class Residuals:
    """Numbers that a U-Net adds to its skip connections and to the output of its middle.

    Args:
        skips: a tuple of (b, h_i, w_i, c_i), one for each that the U-Net keeps, in the order of its way down.
        middle: (b, h, w, c).
    """

    skips: tuple[ArrayLike, ...]
    middle: ArrayLike

    def added(self, skips: list[jax.Array], middle: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """Return the sums.

        Raises:
            ValueError: for another number or other shapes.
        """
        if len(self.skips) != len(skips):
            raise ValueError(
                f"{len(self.skips)} residuals were given to a U-Net that keeps {len(skips)}: build both by the same "
                "fields"
            )
        for number, (residual, skip) in enumerate(zip((*self.skips, self.middle), (*skips, middle), strict=True)):
            name = f"residual {number}" if number < len(skips) else "the residual of the middle"
            checks.same_shape(name, residual, "what the U-Net adds it to", skip)
        sums = [
            skip + jnp.asarray(residual).astype(skip.dtype) for residual, skip in zip(self.skips, skips, strict=True)
        ]
        return sums, middle + jnp.asarray(self.middle).astype(middle.dtype)

    def scaled(self, scale: Scalar) -> "Residuals":
        """Return them multiplied by a number () or one per sample (b,)."""
        *skips, middle = (part * arrays.expand(scale, part) for part in (*self.skips, self.middle))
        return Residuals(tuple(skips), middle)
