"""Denoisers of two times: they carry x from a level to any cleaner one in a single evaluation.

Also known as: flow maps.

The probability flow carries x at a level to x' at a cleaner one. Two levels that differ have one pair (clean, noise)
with alpha clean + sigma noise = x and alpha' clean + sigma' noise = x'. A denoiser of two times predicts this pair, so
that a DDIM step with it is exact. As the levels meet, the pair becomes the ordinary prediction: with one level, it is
an ordinary `Denoiser`.

With p = sigma / (alpha + sigma) and w = x / (alpha + sigma), every process is the straight path w = (1 - p) clean + p
noise. There, noise - clean of the pair is the average velocity (w - w') / (p - p').
"""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.core.condition_records import EndTime
from gendiff.core.types import ArrayLike, Condition, Params
from gendiff.diffusion import denoiser
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.types import Level, Predict, Prediction


class TwoTimeDenoiser(abc.ABC):
    """What `jump` draws with.

    An exact one for an oracle, or a rule that wraps another, is a record that derives from this.
    """

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "b *shape"], level: Level, cleaner: Level | None = None) -> Prediction:
        """The pair that carries x to another level.

        Args:
            x: (b, …) at `level`.
            level: () or (b,), where x is.
            cleaner: () or (b,), where the step ends. None: the level itself, for the ordinary prediction.
        """


@records.record
class TwoTimeNetwork(TwoTimeDenoiser):
    """A network with a second time as its input. Built by `from_network`, with the fields of a `NetworkDenoiser`."""

    predict: Predict = records.static()
    parameterization: Parameterization = records.static()
    params: Params = None
    condition: tuple[Condition, ...] = ()

    def __call__(self, x: Float[Array, "b *shape"], level: Level, cleaner: Level | None = None) -> Prediction:
        """The pair that carries x to `cleaner`, as `TwoTimeDenoiser` says."""
        second = EndTime((level if cleaner is None else cleaner).t_for(x))
        return NetworkDenoiser(self.predict, self.parameterization, self.params, (*self.condition, second))(x, level)

    def with_condition(self, *condition: Condition) -> "TwoTimeNetwork":
        """The same network under another condition, as `NetworkDenoiser.with_condition`."""
        one_time = denoiser.from_network(self.predict, self.params, self.parameterization, *self.condition)
        return records.replace(self, condition=one_time.with_condition(*condition).condition)


def from_network(
    predict: Predict, params: Params, parameterization: Parameterization, *condition: Condition
) -> TwoTimeNetwork:
    """A network of two times as a denoiser.

    Each parameterization will do: F is what turns x into the pair (clean, noise). With `parameterization.flow()` it is
    the average velocity.

    Args:
        predict: (params, x, t, *condition, second) -> output, where `second` is an `networks.EndTime` of (b,): the t
            of the cleaner level. `networks.DiT(second_time=True)` and `networks.UNet(second_time=True)` are such
            networks.
        params: its parameters.
        parameterization: what its output means.
        *condition: as in `denoiser.from_network`.

    Raises:
        TypeError: when called, if the network's output has another shape than x.
    """
    return TwoTimeNetwork(predict, parameterization, params, condition)


def straight_position(level: Level) -> Array:
    """The position p = sigma / (alpha + sigma) on the straight path, of the level's shape: 0 is clean, 1 is noise."""
    return jnp.asarray(level.sigma) / (jnp.asarray(level.alpha) + jnp.asarray(level.sigma))


def pair_between(
    x: Float[ArrayLike, "b *shape"], level: Level, moved: Float[ArrayLike, "..."], cleaner: Level
) -> tuple[Float[Array, "b *shape"], Float[Array, "..."]]:
    """The clean and noise with alpha clean + sigma noise = x and alpha' clean + sigma' noise = x'.

    Args:
        x: (b, …) at `level`.
        level: () or (b,).
        moved: (b, …) x', at `cleaner`.
        cleaner: () or (b,), of another log-SNR.
    """
    alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
    to_alpha, to_sigma = arrays.expand(cleaner.alpha, x), arrays.expand(cleaner.sigma, x)
    across = sigma * to_alpha - alpha * to_sigma
    return (sigma * moved - to_sigma * x) / across, (to_alpha * x - alpha * moved) / across
