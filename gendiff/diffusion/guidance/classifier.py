"""Classifier guidance: the gradient of a classifier that was trained on noised samples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.diffusion.guidance.interval import Strength, check_strength, strength_at
from gendiff.diffusion.types import Denoiser, Level, Prediction

LogProbability = Callable[[jax.Array, Level], jax.Array]
"""(x (b, …), level) -> log p(y | x) (b,), in nats, each from its own sample."""


@records.record
class _Classifier:
    denoise: Denoiser
    log_probability: LogProbability
    scale: Strength

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        told = self.denoise(x, level)

        def total(x: Array) -> Array:
            said = self.log_probability(x, level)
            if said.shape != x.shape[:1]:
                raise TypeError(f"log_probability answered shape {said.shape} to x of shape {x.shape}: one number a sample is needed")
            return jnp.sum(said)

        push = arrays.expand(strength_at(self.scale, level), x) * jax.grad(total)(x)
        alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
        return records.replace(told, clean=told.clean + arrays.safe_divide(sigma**2, alpha) * push, noise=told.noise - sigma * push)


def classifier(denoise: Denoiser, log_probability: LogProbability, scale: Strength) -> Denoiser:
    """noise - scale · sigma · grad log p(y | x), and clean + scale · sigma²/alpha · grad (Dhariwal & Nichol, 2021, Alg. 2).

    log_probability: (x, level) -> (b,) in nats, of the classifier of *noised* samples, for the class each sample should have. Make it a
    `trees.record` with the parameters and labels as fields, so that they stay data. The gradient is of the sum, which is each sample's own
    where samples do not look at each other. scale: >= 0, as in `classifier_free`; with an exact classifier 1 is the conditional score.

    At alpha = 0, where x says nothing of the class, the gradient is 0 and so is its effect: the clean prediction stays unconditional, and
    the first step from zero terminal SNR is not guided.

    Raises ValueError for a concrete scale that is negative or NaN, TypeError when called if the answer is not (b,).
    """
    check_strength("scale", scale)
    return _Classifier(denoise, log_probability, scale)
