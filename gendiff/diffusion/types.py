"""The vocabulary of diffusion: `x = alpha * clean + sigma * noise`, and what is said about it."""

from collections.abc import Callable

import jax

from gendiff.core.types import Batch as Batch
from gendiff.core.types import Denoiser as Denoiser
from gendiff.core.types import Level as Level
from gendiff.core.types import Prediction as Prediction

Predict = Callable[..., jax.Array]
"""A network as a pure function: (params, x, t, *condition) -> output, with x (b, …) and t (b,)."""
