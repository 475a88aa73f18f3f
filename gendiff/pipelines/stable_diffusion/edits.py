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
        like_diffusers: whether what is kept has the noise that the draw begins with at every level, and the mask of a
            latent is that of its first pixel, or for FLUX.2 of the middle of its patch. Else it is noised afresh in
            each step, and a latent is drawn anew where any of its pixels is. A network for inpainting knows one way
            only.
    """

    picture: ArrayLike
    mask: ArrayLike | None = None
    first: Count = 0
    paste: bool = records.static(default=True)
    like_diffusers: bool = records.static(default=False)


@records.record
class Surroundings:
    """What a network for inpainting is told: the mask, and the latents of the picture without what is drawn anew.

    Args:
        channels: (1 or b, h, w, k) of both, in the order in which the network reads them.
    """

    channels: jax.Array


@records.record
class Inpainting:
    """A network of c + k channels as one that is told `Surroundings`: they stand behind x."""

    predict: Predict = records.static()

    def __call__(
        self, params: Params, x: ArrayLike, t: ArrayLike, around: Surroundings, *condition: Condition
    ) -> Float[Array, "b h w c"]:
        """Predict from x and its surroundings."""
        channels = jnp.broadcast_to(around.channels, (*x.shape[:3], around.channels.shape[-1]))
        return self.predict(params, jnp.concatenate([x, channels.astype(x.dtype)], -1), t, *condition)


def edit(
    picture: ArrayLike,
    mask: ArrayLike | None = None,
    *,
    first: Count = 0,
    paste: bool = True,
    like_diffusers: bool = False,
) -> Edit:
    """A picture to begin from, checked.

    Also known as: image-to-image, inpainting.

    Args:
        picture: as of `Edit`.
        mask: as of `Edit`. Numbers of at least 0.5 count as 1.
        first: as of `Edit`; `diffusion.editing.first_entry(levels, strength)` finds it for a share of the steps.
        paste: as of `Edit`.
        like_diffusers: as of `Edit`.

    Raises:
        TypeError: for a picture that is not floating.
        ValueError: for other shapes, and for pixels 0…255.
    """
    picture = checked(picture)
    if mask is None:
        return Edit(picture, None, first, paste, like_diffusers)
    if mask.ndim != 4 or mask.shape[1:] != (*picture.shape[1:3], 1):
        size = f"{picture.shape[1]}, {picture.shape[2]}"
        raise ValueError(f"mask has shape {mask.shape}: (1 or b, {size}, 1), the size of the picture, is needed")
    checks.in_range("mask", mask, 0.0, 1.0)
    return Edit(picture, mask, first, paste, like_diffusers)


def checked(picture: ArrayLike) -> ArrayLike:
    """Return pictures as they came. Raises as `edit` does."""
    checks.floating("picture", picture)
    checks.unscaled_pixels("picture", picture)
    if picture.ndim != 4 or picture.shape[-1] != 3:
        raise ValueError(f"picture has shape {picture.shape}: (1 or b, h, w, 3) is needed")
    return picture


def of_latents(mask: ArrayLike, factor: int) -> Float[Array, "b h w 1"]:
    """The mask of latents, smaller by `factor`: a latent is drawn anew where any of its pixels is."""
    pixels = binary(mask)
    count, height, width, _ = pixels.shape
    return pixels.reshape(count, height // factor, factor, width // factor, factor, 1).max((2, 4))


def nearest(mask: ArrayLike, factor: int) -> Float[Array, "b h w 1"]:
    """The mask of latents by the first pixel of each, as networks for inpainting were trained."""
    return binary(mask)[:, ::factor, ::factor]


def blended(mask: ArrayLike, factor: int, patch: int) -> Float[Array, "b h w 1"]:
    """The mask of latents by bilinear interpolation in the middle of each patch of patch² latents.

    At an edge of what is drawn anew it may lie between 0 and 1.
    """
    pixels = binary(mask)
    count, height, width, _ = pixels.shape
    side = factor * patch
    small: jax.Array = jax.image.resize(pixels, (count, height // side, width // side, 1), "bilinear", antialias=False)
    return small.repeat(patch, 1).repeat(patch, 2)


def of_pixels(mask: ArrayLike, factor: int) -> Float[Array, "b h w p"]:
    """The mask of the factor² pixels of each latent, row by row."""
    pixels = binary(mask)
    count, height, width, _ = pixels.shape
    squares = pixels.reshape(count, height // factor, factor, width // factor, factor).transpose(0, 1, 3, 2, 4)
    return squares.reshape(*squares.shape[:3], factor**2)


def binary(mask: ArrayLike) -> Float[Array, "b h w 1"]:
    """1 where a mask is at least 0.5, else 0."""
    return (jnp.asarray(mask) >= HALF).astype(jnp.float32)


def surroundings(
    encode: Callable[[jax.Array], Float[Array, "b h w c"]],
    picture: ArrayLike,
    mask: ArrayLike,
    factor: int,
    *,
    pixels: bool = False,
) -> Surroundings:
    """The inputs that a network for inpainting has beside x: the mask, and latents with grey where it is drawn anew.

    The mask stands first, and has one channel.

    Args:
        encode: pictures -> latents.
        picture: (b, h, w, 3) in [-1, 1].
        mask: (b, h, w, 1), 1 where it is drawn anew.
        factor: how many times smaller latents are.
        pixels: as FLUX.1 Fill has it, the mask stands last, and has a channel for each pixel of a latent.

    References:
        Rombach et al., 2022, section 4.5 and App. D.4; the order is that of the published weights (from memory).
    """
    latents = encode(jnp.asarray(picture) * (1 - binary(mask)).astype(picture.dtype))
    parts = (latents, of_pixels(mask, factor)) if pixels else (nearest(mask, factor), latents)
    return Surroundings(jnp.concatenate([part.astype(latents.dtype) for part in parts], -1))
