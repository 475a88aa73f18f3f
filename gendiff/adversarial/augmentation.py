"""Differentiable augmentation (DiffAugment): random changes of real and generated pictures before the critic.

A critic that learns from few pictures remembers them. Changing the real ones alone would teach the generator the
changes; so generated pictures are changed by the same law, in both players' steps, and the gradient passes through.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks
from gendiff.core.records import record, static
from gendiff.core.types import ArrayLike

BRIGHTNESS, SATURATION, CONTRAST = 0.5, 1.0, 0.5
"""Half-widths of what is added to pixels, and of the factors around 1 of saturation and contrast."""
SHIFT, HOLE = 8, 2
"""A picture moves by at most its side over the first; a hole has the side over the second."""


@record
class Augmentation:
    """Built by `differentiable`."""

    policies: tuple[str, ...] = static()

    def __call__(self, key: jax.Array, images: Float[ArrayLike, "b h w c"]) -> Float[Array, "b h w c"]:
        """Change each picture by numbers of its own.

        Args:
            key: one key. Real and generated pictures take different ones.
            images: (b, h, w, c), in [−1, 1] by custom: what is moved in or cut out becomes 0, a middle grey.

        Raises:
            TypeError: for pictures that are not floating.
            ValueError: for another number of axes, and for pixels 0 … 255.
        """
        checks.floating("images", images)
        if images.ndim != 4:
            raise ValueError(f"images have shape {images.shape}, but must be (b, h, w, c)")
        checks.unscaled_pixels("images", images)
        changed = jnp.asarray(images)
        for policy in self.policies:
            key, policy_key = jax.random.split(key)
            changed = POLICIES[policy](policy_key, changed)
        return changed


def differentiable(policies: Sequence[str] = ("colour", "translation", "cutout")) -> Augmentation:
    """The augmentation (key, images) -> images of these policies, one after the other.

    Args:
        policies: some of "colour" (brightness ± 0.5, saturation times 0 … 2, contrast times 0.5 … 1.5), "translation"
            (by whole pixels, up to an eighth of each side) and "cutout" (a hole of half of each side, anywhere). ()
            changes nothing. Sides of s pixels move by at most s / 8, rounded: below 4 they stay.

    Raises:
        ValueError: for an unknown policy.

    References:
        Zhao et al., 2020, section 3 and their published code, whose numbers these are.
    """
    for policy in policies:
        checks.choice("policies", policy, POLICIES)
    return Augmentation(tuple(policies))


def _colour(key: jax.Array, images: jax.Array) -> jax.Array:
    brighter, saturated, contrasted = jax.random.uniform(key, (3, images.shape[0], 1, 1, 1), images.dtype, -1.0, 1.0)
    images = images + BRIGHTNESS * brighter
    grey = jnp.mean(images, axis=3, keepdims=True)
    images = grey + (1 + SATURATION * saturated) * (images - grey)
    mean = jnp.mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (1 + CONTRAST * contrasted) * (images - mean)


def _translation(key: jax.Array, images: jax.Array) -> jax.Array:
    b = len(images)
    down, right = _parts(images, SHIFT)
    most = jnp.array([2 * down, 2 * right])
    corners = jax.random.randint(key, (b, 2), 0, most[None] + 1)
    padded = jnp.pad(images, ((0, 0), (down, down), (right, right), (0, 0)))
    return jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:]))(
        padded, corners
    )


def _cutout(key: jax.Array, images: jax.Array) -> jax.Array:
    b, h, w, _ = images.shape
    sides = _parts(images, HOLE)
    centres = jax.random.randint(key, (b, 2), 0, jnp.array([[h + 1 - sides[0] % 2, w + 1 - sides[1] % 2]]))
    rows, columns = (_covered(centres[:, axis], sides[axis], images.shape[1 + axis]) for axis in range(2))
    hole = rows[:, :, None, None] & columns[:, None, :, None]
    return jnp.where(hole, jnp.zeros_like(images), images)


def _parts(images: jax.Array, divisor: int) -> list[int]:
    """Height and width over a divisor, rounded half up."""
    return [int(side / divisor + 0.5) for side in images.shape[1:3]]


def _covered(centre: jax.Array, side: int, size: int) -> jax.Array:
    """(b, size) bool: the `side` places around each centre (b,)."""
    first = centre[:, None] - side // 2
    places = jnp.arange(size)[None]
    return (places >= first) & (places < first + side)


POLICIES = {"colour": _colour, "translation": _translation, "cutout": _cutout}
"""The changes of a picture, by name."""
