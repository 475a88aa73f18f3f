"""Linear combinations of predictions: classifier-free guidance, several and negative conditions, autoguidance."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Scalar
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.guidance.strength import Scale, Strength
from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.types import Denoiser, Level, Prediction


def combine(
    unconditional: Float[ArrayLike, "b *shape"], conditional: Float[ArrayLike, "..."], scale: Scalar
) -> Float[Array, "b *shape"]:
    """The combination u + scale (c - u): scale 0 is u and 1 is c, both to the last bit; above 1 extrapolates.

    Args:
        unconditional: u (b, …).
        conditional: c (b, …).
        scale: () or (b,).

    References:
        Ho & Salimans, 2022, Eq. 6. They count from the conditional output: their w is scale - 1.
    """
    checks.same_shape("unconditional", unconditional, "conditional", conditional)
    from_u, from_c = jnp.asarray(unconditional), jnp.asarray(conditional)
    scale, change = arrays.expand(scale, from_u), from_c - from_u
    # each is exact at its own end
    return jnp.where(scale < 0.5, from_u + scale * change, from_c + (scale - 1) * change)


def combined(unconditional: Prediction, conditional: Prediction, scale: Scalar) -> Prediction:
    """Clean and noise combined alike; a learned variance is that of `conditional`."""
    return records.replace(
        conditional,
        clean=combine(unconditional.clean, conditional.clean, scale),
        noise=combine(unconditional.noise, conditional.noise, scale),
    )


def classifier_free(
    conditional: Denoiser,
    unconditional: Denoiser,
    scale: Scale,
    *,
    batched: bool = False,
    rescale: Scalar | None = None,
) -> Denoiser:
    """Classifier-free guidance, u + scale (c - u) of two denoisers' predictions.

    Also known as: CFG.

    x = alpha * clean + sigma * noise still holds. A learned variance is that of `conditional`.

    Args:
        conditional: c. Scale 1 is this one.
        unconditional: u. A negative condition may take its place: the result moves away from it.
        scale: at least 0, () or (b,), or a function of the level that answers one of them, such as
            `interval(3.0, 0.2, 5.0)`. Where the function answers 1 for all samples, c alone is asked. Numbers are not
            looked at: both are asked at every level.
        batched: both in one network call of 2b samples. It needs two denoisers from `from_network` with one `predict`,
            and uses the first one's parameters for both.
        rescale: phi in [0, 1], () or (b,): the share in which the guided clean prediction gets back the standard
            deviation that the conditional one has over that sample. A clean prediction without any deviation is left as
            it is. None, or 0, leaves all.

    Raises:
        ValueError: for a concrete scale that is negative or NaN, and a rescale outside [0, 1].
        TypeError: for a batched pair that is not of one network.

    References:
        Ho & Salimans, 2022, Eq. 6, with scale = w + 1; Lin et al., 2024, Sec. 3.4, who rescale the network's output,
        whatever it is.
    """
    if rescale is not None:
        checks.in_range("rescale", rescale, 0.0, 1.0)
    return _ClassifierFree(
        JointCall.checked(conditional, unconditional, batched=batched), Strength.checked("scale", scale), rescale
    )


def autoguidance(denoise: Denoiser, weaker: Denoiser, scale: Scale, *, rescale: Scalar | None = None) -> Denoiser:
    """The combination weaker + scale (denoise - weaker): away from the errors that a weaker network makes more of.

    Two network calls.

    Args:
        denoise: the better one; scale 1 is this one.
        weaker: under the same condition, and worse in the same way: a smaller network, one trained for less time, or an
            earlier EMA.
        scale: as in `classifier_free`.
        rescale: as in `classifier_free`.

    Raises:
        ValueError: for a concrete scale that is negative or NaN, and a rescale outside [0, 1].

    References:
        Karras et al., 2024a, Eq. 4.
    """
    return classifier_free(denoise, weaker, scale, rescale=rescale)


def composed(
    unconditional: Denoiser, conditionals: Sequence[Denoiser], weights: Sequence[Scale], *, batched: bool = False
) -> Denoiser:
    """The combination u + sum of w_i (c_i - u): all conditions at once, and none of those with a negative weight.

    With weights 1 the score is that of p(x) · prod p(c_i | x) / p(c_i), the condition "all of them" where they are
    independent given the noised x. A learned variance is that of `unconditional`.

    Args:
        unconditional: u.
        conditionals: c_i, at least one.
        weights: w_i, one per condition, each of either sign: () or (b,), or a function of the level.
        batched: one network call of (n + 1) b samples, as in `classifier_free`.

    Raises:
        ValueError: for no condition, other numbers of weights and conditions, and concrete weights that are not finite.
        TypeError: for a batched call of different networks.

    References:
        Liu et al., 2022b, Eqs. 11 and 13.
    """
    if not conditionals or len(conditionals) != len(weights):
        raise ValueError(
            f"{len(conditionals)} conditions and {len(weights)} weights: give one weight for each of at least one "
            "condition"
        )
    strengths = tuple(Strength.checked(f"weights[{i}]", weight, low=-math.inf) for i, weight in enumerate(weights))
    return _Composed(JointCall.checked(unconditional, *conditionals, batched=batched), strengths)


@records.record
class _ClassifierFree:
    pair: JointCall
    strength: Strength
    rescale: Scalar | None = None

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        conditional, unconditional = self.pair(x, level, self.strength.is_one(level))
        guided = combined(unconditional, conditional, self.strength.at(level))
        if self.rescale is None:
            return guided
        growth = arrays.expand(_relative_std(conditional.clean, guided.clean) - 1, guided.clean)
        return with_clean(guided, guided.clean * (1 + arrays.expand(self.rescale, guided.clean) * growth), level)


@records.record
class _Composed:
    members: JointCall
    strengths: tuple[Strength, ...]

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        unconditional, *conditionals = self.members(x, level)
        clean, noise = unconditional.clean, unconditional.noise
        for strength, conditional in zip(self.strengths, conditionals, strict=True):
            scale = arrays.expand(strength.at(level), clean)
            clean = clean + scale * (conditional.clean - unconditional.clean)
            noise = noise + scale * (conditional.noise - unconditional.noise)
        return records.replace(unconditional, clean=clean, noise=noise)


def _relative_std(reference: Array, present: Array) -> Array:
    """(b,) the ratio of two standard deviations over each sample's entries; 1 where the other is only rounding."""
    reference, present = arrays.flatten_samples(reference), arrays.flatten_samples(present)
    variance = jnp.var(present, axis=1)
    rounding = (8 * jnp.finfo(present.dtype).eps) ** 2 * jnp.mean(present**2, axis=1)
    return arrays.safe_divide(
        arrays.safe_sqrt(jnp.var(reference, axis=1)), arrays.safe_sqrt(jnp.where(variance > rounding, variance, 0)), 1.0
    )
