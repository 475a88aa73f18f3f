"""Classifier guidance: the gradient of a classifier that was trained on noised samples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.diffusion.guidance.strength import Scale, Strength
from gendiff.diffusion.types import Denoiser, Level, Prediction

LogProbability = Callable[[jax.Array, Level], jax.Array]
"""(x (b, …), level) -> log p(y | x) (b,), in nats, each from its own sample."""


def classifier(denoise: Denoiser, log_probability: LogProbability, scale: Scale) -> Denoiser:
    """The prediction with noise - scale · sigma · grad log p(y | x), and clean + scale · sigma²/alpha · grad.

    Also known as: classifier guidance.

    At alpha = 0, where x says nothing of the class, the gradient is 0 and so is its effect: the clean prediction stays
    unconditional, and the first step from zero terminal SNR is not guided.

    Args:
        denoise: the unconditional denoiser.
        log_probability: (x, level) -> (b,) in nats, of a classifier of *noised* samples, for the class that each sample
            should have. Make it a `records.record` with the parameters and labels as fields, so that they stay data.
            The gradient is of the sum, which is each sample's own where samples do not look at each other.
        scale: at least 0, as in `classifier_free`; with an exact classifier 1 is the conditional score.

    Raises:
        ValueError: for a concrete scale that is negative or NaN.
        TypeError: when called, if the answer is not (b,).

    References:
        Dhariwal & Nichol, 2021, Alg. 2.
    """
    return _Classifier(denoise, log_probability, Strength.checked("scale", scale))


@records.record
class _Classifier:
    denoise: Denoiser
    log_probability: LogProbability
    strength: Strength

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        prediction = self.denoise(x, level)

        def total(x: Array) -> Array:
            answer = self.log_probability(x, level)
            if answer.shape != x.shape[:1]:
                raise TypeError(
                    f"log_probability answered shape {answer.shape} to x of shape {x.shape}: one number per sample is "
                    "needed"
                )
            return jnp.sum(answer)

        push = arrays.expand(self.strength.at(level), x) * jax.grad(total)(x)
        alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
        clean = prediction.clean + arrays.safe_divide(sigma**2, alpha) * push
        return records.replace(prediction, clean=clean, noise=prediction.noise - sigma * push)
