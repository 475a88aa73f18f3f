"""Adaptive projected guidance: less of the part of guidance that only makes the conditional prediction larger."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import Scalar
from gendiff.diffusion.guidance.classifier_free import combined
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.guidance.strength import Scale, Strength
from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.types import Denoiser, Level, Prediction


def adaptive_projected(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: Scale,
    *,
    eta: Scalar = 0.0,
    norm_threshold: Scalar = math.inf,
    batched: bool = False,
) -> Denoiser:
    """The prediction c + (scale - 1) (orthogonal + eta · parallel) of d = c - u, for clean predictions.

    The noise follows the clean sample.

    Parallel and orthogonal are to c, over each sample by itself. The paper's momentum, a running sum of d over the
    steps, is left out: guidance here has no memory, and a sample's path depends on its state alone.

    Args:
        conditional: c.
        unconditional: u.
        scale: as in `classifier_free`.
        eta: in [0, 1], () or (b,); 1 without a threshold is `classifier_free`.
        norm_threshold: above 0, () or (b,): the largest Euclidean norm of d over a sample, in the data's unit. A longer
            d is shortened to it first; inf is no threshold.
        batched: as in `classifier_free`.

    Raises:
        ValueError: for concrete values outside these ranges.
        TypeError: for a batched pair that is not of one network.

    References:
        APG: Sadat et al., 2025, Alg. 1.
    """
    checks.in_range("eta", eta, 0.0, 1.0)
    checks.in_range("norm_threshold", norm_threshold, 0.0, math.inf, open_low=True)
    pair = JointCall.checked(conditional, unconditional, batched=batched)
    return _AdaptiveProjected(pair, Strength.checked("scale", scale), eta, norm_threshold)


@records.record
class _AdaptiveProjected:
    pair: JointCall
    strength: Strength
    eta: Scalar
    norm_threshold: Scalar

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        conditional, unconditional = self.pair(x, level, self.strength.is_one(level))
        scale = self.strength.at(level)
        plain = combined(unconditional, conditional, scale)
        change = conditional.clean - unconditional.clean
        shrink = arrays.expand(_shrinking(change, self.norm_threshold), change)
        left_out = (1 - shrink) * change + (1 - arrays.expand(self.eta, change)) * _parallel(
            shrink * change, conditional.clean
        )
        return with_clean(plain, plain.clean - (arrays.expand(scale, change) - 1) * left_out, level)


def _shrinking(change: Array, threshold: Scalar) -> Array:
    """(b,) min(1, threshold / norm), with finite gradients where the norm is 0 or the threshold is infinite."""
    norm = arrays.safe_sqrt(jnp.sum(arrays.flatten_samples(change) ** 2, axis=1))
    longest = jnp.asarray(threshold).astype(norm.dtype)
    long = norm > longest
    return jnp.where(long, jnp.where(long, longest, 1) / jnp.where(long, norm, 1), 1)


def _parallel(change: Array, direction: Array) -> Array:
    """The part of each sample's change along its direction; 0 where that is 0."""
    flat, along = arrays.flatten_samples(change), arrays.flatten_samples(direction)
    share = arrays.safe_divide(jnp.sum(flat * along, axis=1), jnp.sum(along**2, axis=1))
    return arrays.expand(share, direction) * direction
