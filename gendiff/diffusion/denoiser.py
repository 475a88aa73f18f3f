"""Network + parameters + condition -> Denoiser, the waist between networks and everything that samples."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.types import Condition, Params
from gendiff.diffusion import conditions
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.types import Level, Predict, Prediction


@records.record
class NetworkDenoiser:
    """A network with its parameters and condition. Those two are leaves; the functions are static.

    Args:
        predict: the network, (params, x, t, *condition) -> output.
        parameterization: what its output means.
        params: its parameters.
        condition: a tuple of conditions, each as `conditions` states.
        learned_variance: whether it answers twice the channels of x.
    """

    predict: Predict = records.static()
    parameterization: Parameterization = records.static()
    params: Params = None
    condition: tuple[Condition, ...] = ()
    learned_variance: bool = records.static(default=False)

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        """The prediction of each sample of x (b, …) at a level of () or (b,)."""
        condition = conditions.for_each(self.condition, x.shape[0])
        output = self.predict(self.params, self.parameterization.scale_in(x, level), level.t_for(x), *condition)
        if self.learned_variance:
            if output.shape != (*x.shape[:-1], 2 * x.shape[-1]):
                raise TypeError(
                    f"the network answered shape {output.shape} to x of shape {x.shape}: twice the channels are needed"
                )
            output, share = jnp.split(output, 2, axis=-1)
            return records.replace(
                self.parameterization.predict(x, output, level), variance_share=share.astype(x.dtype)
            )
        if output.shape != x.shape:
            raise TypeError(f"the network answered shape {output.shape} to x of shape {x.shape}: they must be equal")
        return self.parameterization.predict(x, output, level)

    def with_condition(self, *condition: Condition) -> "NetworkDenoiser":
        """The same network under another condition.

        Args:
            *condition: as many as before, each an array (b, …), a pytree of arrays, or one value for all samples: a
                value with fewer axes than the condition that it replaces is what one sample gets. One value may replace
                a whole pytree.

        Raises:
            ValueError: for a pytree of another structure, or a value that does not fit one sample's condition.
        """
        if len(condition) == len(self.condition):
            condition = tuple(
                conditions.in_place_of(old, new) for old, new in zip(self.condition, condition, strict=True)
            )
        return records.replace(self, condition=condition)


def from_network(
    predict: Predict,
    params: Params,
    parameterization: Parameterization,
    *condition: Condition,
    learned_variance: bool = False,
) -> NetworkDenoiser:
    """A network as a Denoiser.

    Args:
        predict: (params, x, t, *condition) -> output. t arrives as (b,), whatever the level's shape, and never in less
            than float32.
        params: its parameters.
        parameterization: what its output means.
        *condition: each a pytree of arrays (b, …) aligned with the samples, or of values () or (1, …) for all of them.
        learned_variance: the network answers twice the channels of x (last axis), and the second half is
            `Prediction.variance_share`, unchanged. Weights whose share runs over [-1, 1] need their last layer halved
            and shifted.

    Raises:
        TypeError: when called, if the network's output has another shape than this.

    References:
        Nichol & Dhariwal, 2021, Eq. 15, for the share.
    """
    return NetworkDenoiser(predict, parameterization, params, condition, learned_variance)


def variance_share(prediction: Prediction) -> Float[Array, "b *shape"]:
    """`prediction.variance_share`, checked: the v of Nichol & Dhariwal (2021, Eq. 15).

    Raises:
        ValueError: if there is none, or one of another shape than the clean sample.
    """
    share = prediction.variance_share
    if share is None:
        raise ValueError(
            'variance = "learned" needs a network that answers it: denoiser.from_network(..., learned_variance=True)'
        )
    checks.same_shape("prediction.clean", prediction.clean, "prediction.variance_share", share)
    return share
