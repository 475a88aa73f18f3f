"""Network + parameters + condition -> Denoiser, the waist between networks and everything that samples."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.types import Params
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.types import Level, Predict, Prediction


@records.record
class NetworkDenoiser:
    """A pytree: parameters and condition are leaves, the functions are static."""

    predict: Predict = records.static()
    parameterization: Parameterization = records.static()
    params: Params = None
    condition: tuple[Any, ...] = ()
    learned_variance: bool = records.static(default=False)

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        t = jnp.broadcast_to(jnp.asarray(level.t).astype(x.dtype), x.shape[:1])
        output = self.predict(self.params, self.parameterization.scale_in(x, level), t, *self.condition_for(x.shape[0]))
        if self.learned_variance:
            if output.shape != (*x.shape[:-1], 2 * x.shape[-1]):
                raise TypeError(f"the network answered shape {output.shape} to x of shape {x.shape}: twice the channels are needed")
            output, share = jnp.split(output, 2, axis=-1)
            return records.replace(self.parameterization.predict(x, output, level), variance_share=share.astype(x.dtype))
        if output.shape != x.shape:
            raise TypeError(f"the network answered shape {output.shape} to x of shape {x.shape}: they must be equal")
        return self.parameterization.predict(x, output, level)

    def with_condition(self, *condition: Any) -> "NetworkDenoiser":
        """The same network under another condition: one value for all samples () or arrays (b, …)."""
        return records.replace(self, condition=condition)

    def condition_for(self, count: int) -> tuple[Any, ...]:
        """The condition with single values repeated for `count` samples."""
        return jax.tree.map(lambda leaf: _for_each(leaf, count), self.condition)


def from_network(
    predict: Predict, params: Params, parameterization: Parameterization, *condition: Any, learned_variance: bool = False
) -> NetworkDenoiser:
    """predict (params, x, t, *condition) -> output as a Denoiser; t arrives as (b,) whatever the level's shape.

    A condition is one value for all samples (), or an array (b, …) aligned with them.
    learned_variance: the network answers twice the channels of x (last axis); the second half is `Prediction.variance_share`, the share
    of Nichol & Dhariwal (2021, Eq. 15), unchanged. Weights whose share runs over [-1, 1] need their last layer halved and shifted.

    Raises TypeError, when called, if the network's output has another shape than this.
    """
    return NetworkDenoiser(predict, parameterization, params, condition, learned_variance)


def variance_share(prediction: Prediction) -> Float[Array, "b *shape"]:
    """v of Nichol & Dhariwal (2021, Eq. 15), `prediction.variance_share`. Raises ValueError if there is none, or one of another shape."""
    share = prediction.variance_share
    if share is None:
        raise ValueError('variance = "learned" needs a network that answers it: denoiser.from_network(..., learned_variance=True)')
    checks.same_shape("prediction.clean", prediction.clean, "prediction.variance_share", share)
    return share


def _for_each(leaf: Any, count: int) -> jax.Array:
    if jnp.ndim(leaf) == 0:
        return jnp.broadcast_to(leaf, (count,))
    if jnp.shape(leaf)[0] != count:
        raise ValueError(f"a condition of shape {jnp.shape(leaf)} does not align with {count} samples")
    return jnp.asarray(leaf)
