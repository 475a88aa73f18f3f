"""What a ControlNet is told, and what it tells a U-Net: a picture that says where things shall stand, and what the U-Net adds for it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays, checks, records


@records.record
class Hint:
    """A picture that a sample shall follow, such as its edges, depths or poses.

    Args:
        image: (b, H, W, c) in [0, 1], several times as high and wide as x (see `ControlNet`).
        scale: () or (b,) how much of what the ControlNet says the U-Net adds; 0 is nothing, and 1 is what it was trained with.

    References:
        Zhang et al., 2023, section 3 (from memory).
    """

    image: Any
    scale: Any = 1.0


@records.record
class Residuals:
    """What a U-Net adds to what its way down keeps for the way up, and to what its middle gives.

    Args:
        skips: a tuple of (b, h_i, w_i, c_i), one for each that the U-Net keeps, in the order of its way down.
        middle: (b, h, w, c).
    """

    skips: Any
    middle: Any

    def added(self, skips: list[jax.Array], middle: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        """Return the sums.

        Raises:
            ValueError: for another number or other shapes.
        """
        if len(self.skips) != len(skips):
            raise ValueError(f"{len(self.skips)} residuals were given to a U-Net that keeps {len(skips)}: build both by the same fields")
        for number, (own, skip) in enumerate(zip((*self.skips, self.middle), (*skips, middle), strict=True)):
            name = f"residual {number}" if number < len(skips) else "the residual of the middle"
            checks.same_shape(name, own, "what the U-Net adds it to", skip)
        sums = [skip + jnp.asarray(own).astype(skip.dtype) for own, skip in zip(self.skips, skips, strict=True)]
        return sums, middle + jnp.asarray(self.middle).astype(middle.dtype)

    def scaled(self, scale: Any) -> "Residuals":
        """Return them multiplied by a number () or one per sample (b,)."""
        return jax.tree.map(lambda part: part * arrays.expand(scale, part), self)


def checked_hint(hint: Hint | None, x: tuple[int, ...], factor: int) -> Hint:
    """Return the hint, if it fits x.

    Args:
        hint: that was given.
        x: shape of x.
        factor: how many times as high and wide it must be.

    Raises:
        ValueError: for no hint, another shape of its image or scale, and a concrete number below 0 in them.
        TypeError: for an image that is not floating.
    """
    if hint is None:
        raise ValueError("a ControlNet needs a hint: pass networks.Hint(image, scale)")
    if not jnp.issubdtype(jnp.result_type(hint.image), jnp.floating):
        raise TypeError(f"hint.image holds {jnp.result_type(hint.image)}, and floating numbers in [0, 1] are needed: divide bytes by 255")
    needed = (x[0], factor * x[1], factor * x[2])
    if np.ndim(hint.image) != 4 or np.shape(hint.image)[:3] != needed:
        raise ValueError(f"hint.image has shape {np.shape(hint.image)}: ({', '.join(map(str, needed))}, channels) is needed")
    if np.shape(hint.scale) not in ((), x[:1]):
        raise ValueError(f"hint.scale has shape {np.shape(hint.scale)}: () or one per sample, {x[:1]}, is needed")
    checks.in_range("hint.image", hint.image, 0.0, 1.0)
    checks.in_range("hint.scale", hint.scale, 0.0, float("inf"), open_high=True)
    return hint
