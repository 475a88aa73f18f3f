"""The vocabulary of diffusion: `x = alpha * clean + sigma * noise`, and what is said about it."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import arrays, records
from gendiff.core.types import ArrayLike


@records.record
class Level:
    """Where on the noise path a sample is.

    Each field is (), (b,) for one level per sample, or (t,) for a table or grid.

    Args:
        t: what the network is told, in the schedule's own scale.
        alpha: at least 0, the share of clean.
        sigma: at least 0, the share of noise.
    """

    t: Any  # a float, NumPy's float64 in tables or a JAX array: their union supports no arithmetic in mypy
    alpha: Any
    sigma: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each field."""
        return np.shape(self.alpha)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> "Level":
        return jax.tree.map(lambda field: field[index], self)

    @property
    def log_snr(self) -> Any:
        """log(alpha² / sigma²): +inf at the clean end, -inf where nothing of the clean sample is left."""
        xp = np if isinstance(self.alpha, np.ndarray | np.generic | float) else jnp
        with np.errstate(divide="ignore"):
            return 2.0 * (xp.log(self.alpha) - xp.log(self.sigma))

    def t_for(self, x: jax.Array) -> jax.Array:
        """(b,) the network's time input for x (b, …), in float32 at least: bfloat16 would round 999 to 1000."""
        return jnp.broadcast_to(jnp.asarray(self.t), x.shape[:1]).astype(arrays.at_least_float32(x.dtype))


@records.record
class Prediction:
    """A network's prediction for x (b, …), in both forms, each computed by the formula that stays finite.

    Args:
        clean: (b, …) the clean sample.
        noise: (b, …) the noise.
        variance_share: (b, …) the share v, for a network that answers it as well; None where it does not. The variance
            of a reverse step has logarithm v log large + (1 - v) log small, between the two fixed variances of that
            step. It is the network's answer as it stands: meant for [0, 1], and bound by nothing.

    References:
        Nichol & Dhariwal, 2021, Eq. 15, for `variance_share`.
    """

    clean: jax.Array
    noise: jax.Array
    variance_share: jax.Array | None = None


@records.record
class Batch:
    """Clean samples and what belongs to each of them.

    Args:
        clean: (b, …) floating samples.
        condition: a tuple of conditions, possibly empty; each is a pytree of arrays (b, …).
    """

    clean: ArrayLike
    condition: Any = ()


@runtime_checkable
class Denoiser(Protocol):
    """The narrow waist between networks and everything that samples."""

    def __call__(self, x: jax.Array, level: Level, /) -> Prediction:
        """The prediction of each sample of x (b, …) at a level of () or (b,)."""
        ...


Predict = Callable[..., jax.Array]
"""A network as a pure function: (params, x, t, *condition) -> output, with x (b, …) and t (b,)."""
