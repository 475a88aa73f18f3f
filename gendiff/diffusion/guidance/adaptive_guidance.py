"""Adaptive guidance: classifier-free until both predictions point the same way, then the conditional one alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import PyTree, Scalar
from gendiff.diffusion import flow_coordinates
from gendiff.diffusion.acceleration.stateful_denoiser import Answered, StatefulDenoiser
from gendiff.diffusion.guidance.classifier_free import classifier_free
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.guidance.strength import Scale
from gendiff.diffusion.types import Denoiser, Level, Prediction


def adaptive_guidance(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: Scale,
    *,
    threshold: Scalar,
    batched: bool = False,
    rescale: Scalar | None = None,
) -> "AdaptiveGuidance":
    """`classifier_free` for each sample until the cosine of its two velocities exceeds the threshold; after that, c.

    The paper compares noise predictions, with thresholds near 0.99. Where alpha is near 0 these are parallel whatever a
    network learned, so that guidance would stop in the first step. The velocity alpha · noise - sigma · clean is the
    noise at the clean end and the clean sample at the noisy one.

    It needs `stateful(sampler)`; with any other sampler it is `classifier_free`. Each sample stops on its own, whatever
    its neighbours do. The unconditional denoiser is no longer asked once all samples of the batch have stopped.

    Args:
        conditional: c.
        unconditional: u.
        scale: as in `classifier_free`, but both are asked at every level until all have stopped.
        threshold: in [-1, 1], () or (b,), data under jit. 1 never stops but for rounding, and -1 stops after the first
            step.
        batched: as in `classifier_free`.
        rescale: as in `classifier_free`.

    Raises:
        ValueError: for a threshold outside [-1, 1], and as `classifier_free` does.
        TypeError: for a batched pair that is not of one network, and for stateful denoisers.

    References:
        Castillo et al., 2023, section 5 (from memory).
    """
    checks.in_range("threshold", threshold, -1.0, 1.0)
    for denoise in (conditional, unconditional):
        if isinstance(denoise, StatefulDenoiser):
            raise TypeError(
                f"{type(denoise).__name__} has a memory of its own, which this rule would lose: give it plain denoisers"
            )
    classifier_free(conditional, unconditional, scale, rescale=rescale)  # which checks its numbers
    return AdaptiveGuidance(JointCall.checked(conditional, unconditional, batched=batched), scale, threshold, rescale)


@records.record
class AdaptiveGuidance(StatefulDenoiser):
    """Classifier-free guidance that stops.

    Its memory is which samples have stopped (b,). Built by `adaptive_guidance`.
    """

    pair: JointCall
    scale: Scale
    threshold: Scalar
    rescale: Scalar | None

    def init(self, x: Float[Array, "b *shape"]) -> Bool[Array, "b"]:
        """No sample has stopped."""
        return arrays.zero_per_sample(x, jnp.bool_)

    def remembered(self, x: Float[Array, "b *shape"], level: Level, memory: PyTree) -> tuple[Prediction, PyTree]:
        """The guided prediction, for samples that have stopped the conditional one, and which have stopped then."""
        conditional, unconditional = self.pair(x, level, jnp.all(memory))
        guided = self._guided(conditional, unconditional, x, level)
        stopped = arrays.expand(memory, x) > 0
        prediction = jax.tree.map(lambda one, other: jnp.where(stopped, one, other), conditional, guided)
        velocities = (flow_coordinates.velocity(each, level) for each in (conditional, unconditional))
        return prediction, memory | (_cosine(*velocities) > jnp.asarray(self.threshold))

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        """The guided prediction."""
        conditional, unconditional = self.pair(x, level)
        return self._guided(conditional, unconditional, x, level)

    def _guided(self, conditional: Prediction, unconditional: Prediction, x: Array, level: Level) -> Prediction:
        return classifier_free(Answered(conditional), Answered(unconditional), self.scale, rescale=self.rescale)(
            x, level
        )


def _cosine(first: Array, second: Array) -> Array:
    """(b,) of each sample's two vectors; 0 where one of them is 0."""
    first, second = arrays.flatten_samples(first), arrays.flatten_samples(second)
    lengths = arrays.safe_sqrt(jnp.sum(first**2, axis=1)) * arrays.safe_sqrt(jnp.sum(second**2, axis=1))
    return arrays.safe_divide(jnp.sum(first * second, axis=1), lengths)
