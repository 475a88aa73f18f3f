"""A watermark in the pixels, for pictures that cannot be inverted: a keyed pattern that correlation detects.

It needs no model, so it also marks photographs and pictures of samplers without an inverse. It is weaker than a mark in
the noise, since the picture itself hides it, and it changes the picture by its strength.
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.records import record, static
from gendiff.core.types import ArrayLike, Scalar
from gendiff.provenance import keyed_hash
from gendiff.provenance.image_watermarks import BitMark, checked_bits, checked_shape

QUIET = 0.05
"""Least local activity, in units of pixels: flat ground hides little, but it is not infinitely clear either."""


@record
class SpreadSpectrum(BitMark):
    """Built by `spread_spectrum`."""

    strength: Scalar
    cell: int = static()
    masked: bool = static()

    def write(self, images: Float[ArrayLike, "b *shape"]) -> Float[Array, "b *shape"]:
        """Pictures (b, h, w, c) in [−1, 1] with the mark, not clipped.

        Raises:
            TypeError: for pictures that are not floating.
            ValueError: for pixels 0 … 255, and another shape.
        """
        checks.unscaled_pixels("images", images)
        originals = self.checked(images, None, whole=True)
        scale = jnp.ones_like(originals)
        if self.masked:
            active = _activity(originals)
            scale = active / jnp.sqrt(jnp.mean(active**2, (1, 2, 3), keepdims=True))
        return originals + jnp.asarray(self.strength, originals.dtype) * scale * _spread(self, self.signs(None))

    def evidence(self, observed: Float[Array, "b *shape"]) -> Float[Array, "b places"]:
        """Each cell's excess over its surroundings, in units of the activity there."""
        weight = 1 / _activity(observed) if self.masked else 1 / _activity(observed) ** 2
        pattern = jax.ShapeDtypeStruct((observed.shape[0], self.places), jnp.float32)
        correlate = jax.linear_transpose(lambda signs: _detail(_spread(self, signs)), pattern)
        evidence: Array = correlate((_detail(observed) * weight).astype(jnp.float32))[0]
        return evidence

    @property
    def places(self) -> int:
        """The number of signs: one for each cell."""
        h, w, c = self.shape
        return -(-h // self.cell) * -(-w // self.cell) * c

    @property
    def psnr(self) -> Array:
        """How near marked pictures are to the unmarked ones in dB, before they are clipped: 20 log10(2 / strength)."""
        return 20 * jnp.log10(2 / jnp.asarray(self.strength))


def spread_spectrum(
    key: int,
    shape: Sequence[int],
    *,
    strength: Scalar = 0.06,
    bits: Sequence[int] = (1,),
    cell: int = 2,
    masked: bool = True,
) -> SpreadSpectrum:
    """Add a pattern of cells of one sign each, which key and bits choose.

    Detection takes from each pixel the mean of its 3×3 neighbours and correlates the rest with the pattern, treated
    alike. It weighs quiet ground more, where the picture hides less.

    Args:
        key: 0 … 2⁶⁴ − 1, the secret.
        shape: (h, w, c) of the pictures.
        strength: () root mean square change of a pixel, > 0, where pixels lie in [−1, 1]: 0.06 is 30.5 dB.
        bits: the payload, 0 or 1 each, at most one per cell; one bit says only that there is a mark.
        cell: side of a cell in pixels. Small ones are seen least, large ones survive blur and JPEG.
        masked: let the change follow the local activity of the picture, which hides it; the mean square over a picture
            stays.

    Raises:
        TypeError: for `masked` that is no bool.
        ValueError: for numbers out of range.

    References:
        Cox et al., 1997; Podilchuk and Zeng, 1998, for the masking (both from memory).
    """
    sides = checked_shape(shape, plane=True)
    checks.integer("cell", cell, 1, min(sides[:2]))
    checks.in_range("strength", strength, 0.0, math.inf, open_low=True, open_high=True)
    if not isinstance(masked, bool):
        raise TypeError(f"masked must be True or False, got {masked!r}")
    cells = math.prod(-(-side // cell) for side in sides[:2]) * sides[2]
    return SpreadSpectrum(keyed_hash.key(key), sides, checked_bits(bits, cells), strength, cell, masked)


def _spread(mark: SpreadSpectrum, signs: Float[Array, "n places"]) -> Float[Array, "n h w c"]:
    """One number per cell at all its pixels."""
    h, w, c = mark.shape
    cells = signs.reshape(-1, -(-h // mark.cell), -(-w // mark.cell), c)
    return jnp.repeat(jnp.repeat(cells, mark.cell, 1), mark.cell, 2)[:, :h, :w]


def _activity(images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """The root mean square of the detail around each pixel."""
    return jnp.sqrt(_smooth(_detail(images) ** 2) + QUIET**2)


def _detail(images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    return images - _smooth(images)


def _smooth(images: Float[Array, "n h w c"]) -> Float[Array, "n h w c"]:
    """Means over 3×3 pixels; the edge is repeated."""
    h, w = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    return sum(padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)) / 9  # type: ignore[return-value]
