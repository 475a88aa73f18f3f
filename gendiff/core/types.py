"""Types that every chapter shares.

Axis letters in signatures, everywhere: b batch, n samples, t steps of a table, k components, d features, f frames, h
height, w width, c channels, s tokens (sequence). `*shape` is one sample's own axes.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

NO_LABEL = -1
"""The label of no class: networks map it to their null class."""

ArrayLike = jax.Array | np.ndarray
Scalar = int | float | np.generic | np.ndarray | jax.Array
"""A number, concrete or traced."""
Keys = jax.Array
"""Typed random keys, one per sample: (b,)."""
Count = int | np.integer | jax.Array
Params = Any
"""A nested dict of arrays."""
Metrics = dict[str, jax.Array]

Loss = Callable[[Params, jax.Array, Any], tuple[jax.Array, Metrics]]
"""(params, key, batch) -> (scalar, metrics): the narrow waist between a chapter's objectives and training."""
