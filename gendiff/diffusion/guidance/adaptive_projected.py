"""Adaptive projected guidance: less of the part of guidance that only makes the conditional prediction larger."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import Scalar
from gendiff.diffusion.guidance import joint_call
from gendiff.diffusion.guidance.classifier_free import combined
from gendiff.diffusion.guidance.interval import Strength, check_strength, strength_at
from gendiff.diffusion.guidance.joint_call import Together
from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.types import Denoiser, Level, Prediction


@records.record
class _AdaptiveProjected:
    asked: Together
    scale: Strength
    eta: Scalar
    norm_threshold: Scalar

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        conditional, unconditional = self.asked(x, level)
        scale = strength_at(self.scale, level)
        plain = combined(unconditional, conditional, scale)
        change = conditional.clean - unconditional.clean
        kept = arrays.expand(_shrinking(change, self.norm_threshold), change)
        left_out = (1 - kept) * change + (1 - arrays.expand(self.eta, change)) * _parallel(kept * change, conditional.clean)
        return with_clean(plain, plain.clean - (arrays.expand(scale, change) - 1) * left_out, level)


def adaptive_projected(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: Strength,
    *,
    eta: Scalar = 0.0,
    norm_threshold: Scalar = math.inf,
    batched: bool = False,
) -> Denoiser:
    """c + (scale - 1) (orthogonal + eta · parallel) of d = c - u, clean predictions (APG: Sadat et al., 2025, Alg. 1, without momentum).

    Their momentum, a running sum of d over the steps, is left out: guidance here has no memory, and a sample's path depends on its state
    alone. Parallel and orthogonal are to c, over each sample by itself. norm_threshold: > 0, the largest Euclidean norm of d over a
    sample, in the data's unit; a longer d is shortened to it first; inf is none. eta in [0, 1]: 1 without a threshold is
    `classifier_free`. The noise follows the clean sample. eta, norm_threshold: () or (b,); scale, batched: as in `classifier_free`.

    Raises ValueError for concrete values outside these ranges, TypeError for a batched pair that is not of one network.
    """
    check_strength("scale", scale)
    checks.in_range("eta", eta, 0.0, 1.0)
    checks.in_range("norm_threshold", norm_threshold, 0.0, math.inf, open_low=True)
    return _AdaptiveProjected(joint_call.ask(conditional, unconditional, batched=batched), scale, eta, norm_threshold)


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
