"""The size of an image as a condition: small or cut training pictures then need not be left out, nor shape what is drawn."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.networks.layers.embeddings import sinusoidal

FREQUENCIES = 256
"""Size of the sinusoidal embedding of each number."""
SCORE = "score"
"""What `image_size` is in a network that is told a score in place of the target."""


@records.record
class ImageSize:
    """What was done to a picture before the network saw it; in sampling, what the result shall look like.

    Args:
        original: (b, 2) height and width of the picture as it was found, in pixels.
        crop: (b, 2) how many rows above and columns to the left were cut off; 0 for a centred subject.
        target: (b, 2) height and width of the picture that the network sees. None for networks with `image_size="score"`.
        score: (b,) how much people like the picture, of 10, for networks with `image_size="score"`. Others ignore it.

    References:
        Podell et al., 2023, section 2.2 (from memory).
    """

    original: Any
    crop: Any
    target: Any = None
    score: Any = None


def embedded(size: ImageSize, dtype: Any) -> Float[Array, "b e"]:
    """Return the numbers as sinusoidal embeddings, one after the other, computed in at least float32: six, or five with a score."""
    last = size.target if size.score is None else jnp.asarray(size.score)[:, None]
    numbers = jnp.concatenate([jnp.asarray(part) for part in (size.original, size.crop, last)], -1)
    numbers = numbers.astype(jnp.promote_types(dtype, jnp.float32))
    return sinusoidal(numbers.reshape(-1), FREQUENCIES).reshape(numbers.shape[0], -1)


def checked_size(size: ImageSize | None, wanted: bool | str, batch: int) -> ImageSize | None:
    """Return the size, if the network wants one, with its target or with its score.

    Raises:
        ValueError: for other shapes, a concrete number below 0, a size for a network without, none for one with, one without the part that
            the network needs, and `wanted` that is no boolean and not "score".
    """
    if not isinstance(wanted, bool):
        checks.choice("image_size", wanted, (SCORE,))
    if (wanted is not False) != (size is not None):
        if wanted:
            raise ValueError("the network needs the size of the image: pass networks.ImageSize(original, crop, target)")
        raise ValueError("a size of the image was given to a network without: build it with image_size=True, or pass none")
    if size is None:
        return None
    last = SCORE if wanted == SCORE else "target"
    for name in ("original", "crop", last):
        value, shape = getattr(size, name), (batch,) if name == SCORE else (batch, 2)
        if value is None:
            raise ValueError(f"the size of the image has no {name}, which a network with image_size = {wanted!r} needs")
        if np.shape(value) != shape:
            raise ValueError(f"{name} has shape {np.shape(value)}: {shape}, numbers of each sample, is needed")
        checks.in_range(name, value, 0.0, float("inf"), open_high=True)
    return records.replace(size, **{"target" if last == SCORE else SCORE: None})
