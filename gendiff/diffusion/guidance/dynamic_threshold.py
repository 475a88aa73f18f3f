"""Dynamic thresholding: a clean prediction that leaves the data's range is brought back into it."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import Scalar
from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.types import Denoiser, Level, Prediction


def dynamic_threshold(denoise: Denoiser, percentile: Scalar = 0.995, *, bound: Scalar = 1.0) -> Denoiser:
    """clip(clean, -s, s) · bound / s with s = max(bound, percentile of |clean| over that sample).

    Also known as: dynamic thresholding (Imagen).

    The noise becomes (x - alpha * clean) / sigma, and is left alone at sigma = 0. A prediction within the bound passes
    unchanged. The rule is for pixels: latents have no range of their own. Put it around the guidance, not inside.

    Args:
        denoise: the denoiser whose clean prediction is bounded.
        percentile: () a share in [0, 1], 0.995 where the paper says 99.5 %.
        bound: () above 0; the data lie in [-bound, bound].

    Raises:
        ValueError: for a concrete percentile outside [0, 1], a bound that is not positive, and arrays.

    References:
        Saharia et al., 2022, Sec. 2.3.
    """
    if jnp.ndim(percentile) or jnp.ndim(bound):
        raise ValueError(
            f"percentile and bound are single numbers, got shapes {jnp.shape(percentile)} and {jnp.shape(bound)}"
        )
    if arrays.is_concrete(percentile) and 1 < float(percentile) <= 100:
        raise ValueError(f"percentile = {float(percentile):g} is outside [0, 1]: it is a share, 0.995 for 99.5 %")
    checks.in_range("percentile", percentile, 0.0, 1.0)
    checks.in_range("bound", bound, 0.0, math.inf, open_low=True, open_high=True)
    return _DynamicThreshold(denoise, percentile, bound)


@records.record
class _DynamicThreshold:
    denoise: Denoiser
    percentile: Scalar
    bound: Scalar

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        prediction = self.denoise(x, level)
        clean = prediction.clean
        share, bound = (jnp.asarray(value).astype(clean.dtype) for value in (self.percentile, self.bound))
        size = jax.vmap(lambda one: jnp.quantile(one, share))(jnp.abs(arrays.flatten_samples(clean)))
        limit = arrays.expand(jnp.maximum(size, bound), clean)
        return with_clean(prediction, jnp.clip(clean, -limit, limit) * (bound / limit), level)
