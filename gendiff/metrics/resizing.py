"""Two rules of the literature that resize images for a feature network.

Metric values differ visibly between them. Both take (n, h, w, c) of any range and compute in float32, without rounding
to whole values in between.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32

from gendiff.core import checks


def clean_fid(images: Float[jax.Array, "n h w c"], size: int) -> Float32[jax.Array, "n size size c"]:
    """Resize by bicubic interpolation with antialiasing, as Pillow's BICUBIC does on float channels.

    Where an image shrinks, the kernel is widened.

    Args:
        images: (n, h, w, c).
        size: of both sides of the result, >= 1.

    References:
        Parmar et al., 2022, section 3 (from memory); Keys, 1981, with a = -1/2.
    """
    rows, columns = (_bicubic(length, size) for length in images.shape[1:3])
    across = jnp.einsum("nhwc,vw->nhvc", images.astype(jnp.float32), columns, precision="highest")
    return jnp.einsum("nhvc,uh->nuvc", across, rows, precision="highest")


def tf(images: Float[jax.Array, "n h w c"], size: int) -> Float32[jax.Array, "n size size c"]:
    """Resize linearly as TensorFlow 1's `resize_bilinear` does by default: output i reads position i · h / size.

    Pixel 0 lies on pixel 0, whatever the ratio. These are align_corners=False and half_pixel_centers=False, and there
    is no antialiasing: shrunken images alias.

    Args:
        images: (n, h, w, c).
        size: of both sides of the result, >= 1.

    References:
        Parmar et al., 2022, section 3 (from memory).
    """
    across = _lerp(images.astype(jnp.float32), 2, size)
    return _lerp(across, 1, size)


RULES: dict[str, Callable[[jax.Array, int], jax.Array]] = {"clean-fid": clean_fid, "tf": tf}


def rule(resize: str) -> Callable[[jax.Array, int], jax.Array]:
    """Return the rule of that name.

    Raises:
        ValueError: for another name.
    """
    checks.choice("resize", resize, RULES)
    return RULES[resize]


def _bicubic(length: int, size: int) -> Float32[np.ndarray, "size given"]:
    """The share of each pixel in each new one.

    Made in float64: `jax.image.resize` places pixels in float32, which costs two digits.
    """
    ratio = length / size
    width = max(ratio, 1.0)
    distance = np.abs(np.arange(length) + 0.5 - (np.arange(size)[:, None] + 0.5) * ratio) / width
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    share = np.where(distance < 1, near, np.where(distance < 2, far, 0.0))
    return (share / share.sum(axis=1, keepdims=True)).astype(np.float32)


def _lerp(images: jax.Array, axis: int, size: int) -> jax.Array:
    length = images.shape[axis]
    position = np.arange(size, dtype=np.float32) * (np.float32(length) / np.float32(size))  # in float32, as there
    below = np.minimum(np.floor(position).astype(np.int32), length - 1)
    above = np.minimum(below + 1, length - 1)
    share = (position - below).astype(np.float32).reshape((-1,) + (1,) * (images.ndim - axis - 1))
    first, second = jnp.take(images, below, axis), jnp.take(images, above, axis)
    return first + (second - first) * share.reshape((1,) * axis + share.shape)
