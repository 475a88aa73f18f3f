"""Feature functions: images (n, …) -> features (n, d), the space in which two sets are compared."""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float64, Shaped

from gendiff.core import checks
from gendiff.core.types import ArrayLike
from gendiff.metrics import validation

Features = Callable[[np.ndarray], Any]
"""Images (b, …) as they were given -> features (b, d), in NumPy or JAX."""


def pixels(images: Shaped[ArrayLike, "n *shape"]) -> Float64[np.ndarray, "n d"]:
    """Flatten the images: the plainest feature function, and the one for 8×8 digits."""
    numbers = np.asarray(images)
    return numbers.reshape(len(numbers), -1).astype(np.float64)


def extract(function: Features, images: Shaped[ArrayLike, "n *shape"], *, batch: int = 500) -> Float64[np.ndarray, "n d"]:
    """Apply `function` to the images, a batch at a time.

    Args:
        function: images (b, …) as they were given -> features (b, d), in NumPy or JAX.
        images: (n, …), n >= 1.
        batch: images per call, >= 1; the last batch may be smaller.

    Returns:
        Features (n, d) in float64.

    Raises:
        ValueError: when the function returns anything but (b, d), or values that are not finite.
    """
    checks.integer("batch", batch, 1)
    numbers = np.asarray(images)
    if numbers.ndim == 0 or len(numbers) == 0:
        raise ValueError(f"images must be (n, …) with n >= 1, got shape {numbers.shape}")
    parts = []
    for start in range(0, len(numbers), batch):
        part = numbers[start : start + batch]
        given = validation.as_features("the feature function's output", function(part), at_least=1)
        if len(given) != len(part):
            raise ValueError(f"the feature function returned {len(given)} rows for {len(part)} images")
        parts.append(given)
    return np.concatenate(parts)
