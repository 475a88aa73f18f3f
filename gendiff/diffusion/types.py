"""The vocabulary of diffusion: `x = alpha * clean + sigma * noise`, and what is said about it."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core import records


@records.record
class Level:
    """Where on the noise path a sample is. Each field is (), (b,) for one level a sample, or (t,) for a table or grid.

    t: what the network is told, in the schedule's own scale. alpha, sigma >= 0: the shares of clean and noise.
    """

    t: Any
    alpha: Any
    sigma: Any

    @property
    def shape(self) -> tuple[int, ...]:
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


@records.record
class Prediction:
    """What a network said of x (b, …), in both forms, each computed by the formula that stays finite.

    variance_share: (b, …) the share v, for a network that answers it as well: the variance of a reverse step has logarithm
    v log large + (1 - v) log small, between the two fixed variances of that step (Nichol & Dhariwal, 2021, Eq. 15). It is the network's
    answer as it stands: meant for [0, 1], bound by nothing. None where the network does not say.
    """

    clean: Any
    noise: Any
    variance_share: Any = None


@records.record
class Batch:
    """Clean samples (b, …) and their conditions: a tuple of arrays (b, …), possibly empty."""

    clean: Any
    condition: Any = ()


@runtime_checkable
class Denoiser(Protocol):
    """The narrow waist between networks and everything that samples: x (b, …) at a level of () or (b,) -> Prediction."""

    def __call__(self, x: jax.Array, level: Level, /) -> Prediction: ...


Predict = Callable[..., jax.Array]
"""A network as a pure function: (params, x, t, *condition) -> output, with x (b, …) and t (b,)."""
