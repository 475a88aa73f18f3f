"""The size of an image as a condition: small or cut training pictures then need not be left out, nor shape what is drawn."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.networks.embeddings import sinusoidal

FREQUENCIES = 256
"""Size of the sinusoidal embedding of each of the six numbers."""


@records.record
class ImageSize:
    """What was done to a picture before the network saw it; in sampling, what the result shall look like.

    Args:
        original: (b, 2) height and width of the picture as it was found, in pixels.
        crop: (b, 2) how many rows above and columns to the left were cut off; 0 for a centred subject.
        target: (b, 2) height and width of the picture that the network sees.

    References:
        Podell et al., 2023, section 2.2 (from memory).
    """

    original: Any
    crop: Any
    target: Any


def embedded(size: ImageSize, dtype: Any) -> Float[Array, "b e"]:
    """Return the six numbers as sinusoidal embeddings, one after the other, computed in at least float32."""
    numbers = jnp.concatenate([jnp.asarray(pair) for pair in (size.original, size.crop, size.target)], -1)
    numbers = numbers.astype(jnp.promote_types(dtype, jnp.float32))
    return sinusoidal(numbers.reshape(-1), FREQUENCIES).reshape(len(numbers), -1)


def checked_size(size: ImageSize | None, wanted: bool, batch: int) -> ImageSize | None:
    """Return the size, if the network wants one.

    Raises:
        ValueError: for shapes other than (b, 2), a concrete number below 0, a size for a network without, and none for one with.
    """
    if wanted != (size is not None):
        if wanted:
            raise ValueError("the network needs the size of the image: pass networks.ImageSize(original, crop, target)")
        raise ValueError("a size of the image was given to a network without: build it with image_size=True, or pass none")
    if size is None:
        return None
    for name, pair in (("original", size.original), ("crop", size.crop), ("target", size.target)):
        if np.shape(pair) != (batch, 2):
            raise ValueError(f"{name} has shape {np.shape(pair)}: two numbers per sample, ({batch}, 2), are needed")
        checks.in_range(name, pair, 0.0, float("inf"), open_high=True)
    return size
