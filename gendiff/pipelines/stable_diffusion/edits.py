"""What a draw begins from beside noise: a picture, what of it is drawn anew, and how far back it is noised."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.types import ArrayLike, Condition, Count, Params
from gendiff.diffusion.types import Predict

HALF = 0.5
"""Least value of a mask that counts as drawn anew."""


@records.record
class Edit:
    """A picture to begin from. Built by `edit`.

    Args:
        picture: (1 or b, h, w, 3) in [-1, 1], of the size that is drawn.
        mask: (1 or b, h, w, 1), 1 where it is drawn anew and 0 where it is kept; None: everywhere.
        first: () entry of the grid at which the draw begins: at 0 nothing of what is drawn anew is left, at the last
            one all. It is data; a traced one makes the steps a loop without a gradient.
        paste: whether what is kept is returned as it came, and not decoded.
    """

    picture: ArrayLike
    mask: ArrayLike | None = None
    first: Count = 0
    paste: bool = records.static(default=True)


@records.record
class Surroundings:
    """What a network for inpainting is told: the mask, and the latents of the picture without what is drawn anew.

    Args:
        mask: (1 or b, h, w, 1) of latents, 1 where it is drawn anew.
        latents: (1 or b, h, w, c).
    """

    mask: jax.Array
    latents: jax.Array


@records.record
class Inpainting:
    """A network of 2c + 1 channels as one that is told `Surroundings`: they stand behind x, the mask first.

    References:
        Rombach et al., 2022, section 4.5 and App. D.4; the order is that of the published weights (from memory).
    """

    predict: Predict = records.static()

    def __call__(
        self, params: Params, x: ArrayLike, t: ArrayLike, around: Surroundings, *condition: Condition
    ) -> Float[Array, "b h w c"]:
        """Predict from x and its surroundings."""
        inputs = [
            jnp.broadcast_to(part, (*x.shape[:3], part.shape[-1])).astype(x.dtype)
            for part in (around.mask, around.latents)
        ]
        return self.predict(params, jnp.concatenate([x, *inputs], -1), t, *condition)


def edit(picture: ArrayLike, mask: ArrayLike | None = None, *, first: Count = 0, paste: bool = True) -> Edit:
    """A picture to begin from, checked.

    Also known as: image-to-image, inpainting.

    Args:
        picture: as of `Edit`.
        mask: as of `Edit`. Numbers of at least 0.5 count as 1.
        first: as of `Edit`; `diffusion.editing.first_entry(levels, strength)` finds it for a share of the steps.
        paste: as of `Edit`.

    Raises:
        TypeError: for a picture that is not floating.
        ValueError: for other shapes, and for pixels 0…255.
    """
    checks.floating("picture", picture)
    checks.unscaled_pixels("picture", picture)
    if picture.ndim != 4 or picture.shape[-1] != 3:
        raise ValueError(f"picture has shape {picture.shape}: (1 or b, h, w, 3) is needed")
    if mask is None:
        return Edit(picture, None, first, paste)
    if mask.ndim != 4 or mask.shape[1:] != (*picture.shape[1:3], 1):
        size = f"{picture.shape[1]}, {picture.shape[2]}"
        raise ValueError(f"mask has shape {mask.shape}: (1 or b, {size}, 1), the size of the picture, is needed")
    checks.in_range("mask", mask, 0.0, 1.0)
    return Edit(picture, mask, first, paste)


def of_latents(mask: ArrayLike, factor: int) -> Float[Array, "b h w 1"]:
    """The mask of latents, smaller by `factor`: a latent is drawn anew where any of its pixels is."""
    pixels = binary(mask)
    count, height, width, _ = pixels.shape
    return pixels.reshape(count, height // factor, factor, width // factor, factor, 1).max((2, 4))


def nearest(mask: ArrayLike, factor: int) -> Float[Array, "b h w 1"]:
    """The mask of latents by the first pixel of each, as networks for inpainting were trained."""
    return binary(mask)[:, ::factor, ::factor]


def binary(mask: ArrayLike) -> Float[Array, "b h w 1"]:
    """1 where a mask is at least 0.5, else 0."""
    return (jnp.asarray(mask) >= HALF).astype(jnp.float32)


def surroundings(
    encode: Callable[[jax.Array], Float[Array, "b h w c"]], picture: ArrayLike, mask: ArrayLike, factor: int
) -> Surroundings:
    """The inputs that a network for inpainting has beside x: the mask, and latents with grey where it is drawn anew.

    Args:
        encode: pictures -> latents.
        picture: (b, h, w, 3) in [-1, 1].
        mask: (b, h, w, 1), 1 where it is drawn anew.
        factor: how many times smaller latents are.
    """
    unmasked = jnp.asarray(picture) * (1 - binary(mask)).astype(picture.dtype)
    return Surroundings(nearest(mask, factor), encode(unmasked))
