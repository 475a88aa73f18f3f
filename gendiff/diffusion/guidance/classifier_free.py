"""Linear combinations of predictions: classifier-free guidance, several and negative conditions, autoguidance."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Scalar
from gendiff.diffusion.guidance import joint_call
from gendiff.diffusion.guidance.interval import Strength, check_strength, strength_at
from gendiff.diffusion.guidance.joint_call import Together
from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.types import Denoiser, Level, Prediction


def combine(unconditional: Float[ArrayLike, "b *shape"], conditional: Float[ArrayLike, "..."], scale: Scalar) -> Float[Array, "b *shape"]:
    """u + scale (c - u): scale 0 is u, 1 is c, both to the last bit; above 1 extrapolates. scale: () or (b,).

    Ho & Salimans (2022, Eq. 6) count from the conditional output: their w is scale - 1.
    """
    checks.same_shape("unconditional", unconditional, "conditional", conditional)
    from_u, from_c = jnp.asarray(unconditional), jnp.asarray(conditional)
    scale, change = arrays.expand(scale, from_u), from_c - from_u
    return jnp.where(scale < 0.5, from_u + scale * change, from_c + (scale - 1) * change)  # each is exact at its own end


def combined(unconditional: Prediction, conditional: Prediction, scale: Scalar) -> Prediction:
    """Clean and noise combined alike; a learned variance is that of `conditional`."""
    return records.replace(
        conditional,
        clean=combine(unconditional.clean, conditional.clean, scale),
        noise=combine(unconditional.noise, conditional.noise, scale),
    )


@records.record
class _ClassifierFree:
    asked: Together
    scale: Strength
    rescale: Scalar | None = None

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        conditional, unconditional = self.asked(x, level)
        guided = combined(unconditional, conditional, strength_at(self.scale, level))
        if self.rescale is None:
            return guided
        growth = arrays.expand(_relative_std(conditional.clean, guided.clean) - 1, guided.clean)
        return with_clean(guided, guided.clean * (1 + arrays.expand(self.rescale, guided.clean) * growth), level)


def classifier_free(
    conditional: Denoiser, unconditional: Denoiser, scale: Strength, *, batched: bool = False, rescale: Scalar | None = None
) -> Denoiser:
    """The combination of two denoisers' predictions at `scale` >= 0 (Ho & Salimans, 2022, Eq. 6, with scale = w + 1).

    scale: () or (b,), or a function of the level that answers one of them, such as `interval(3.0, 0.2, 5.0)`. A negative condition takes
    the place of the unconditional one: the result moves away from it, from `conditional` at scale 1.

    rescale: phi in [0, 1], () or (b,): the share in which the guided clean prediction gets back the standard deviation that the
    conditional one has over that sample (Lin et al., 2024, Sec. 3.4; they rescale the network's output, whatever it is). A clean
    prediction without any deviation is left as it is; None, or 0, leaves all of them.

    batched: both in one network call of 2b samples. It needs two denoisers from `from_network` with one `predict` and uses the first's
    parameters for both. x = alpha * clean + sigma * noise still holds. A learned variance is that of `conditional`.

    Raises ValueError for a concrete scale that is negative or NaN and a rescale outside [0, 1], TypeError for a batched pair that is not
    of one network.
    """
    check_strength("scale", scale)
    if rescale is not None:
        checks.in_range("rescale", rescale, 0.0, 1.0)
    return _ClassifierFree(joint_call.ask(conditional, unconditional, batched=batched), scale, rescale)


def autoguidance(denoise: Denoiser, weaker: Denoiser, scale: Strength, *, rescale: Scalar | None = None) -> Denoiser:
    """weaker + scale (denoise - weaker): away from the errors that a weaker network makes more of (Karras et al., 2024a, Eq. 4).

    weaker: under the same condition, and worse in the same way: a smaller network, one trained for less time, or an earlier EMA. scale,
    rescale: as in `classifier_free`; 1 is `denoise` itself. Two network calls.

    Raises ValueError for a concrete scale that is negative or NaN and a rescale outside [0, 1].
    """
    return classifier_free(denoise, weaker, scale, rescale=rescale)


@records.record
class _Composed:
    asked: Together
    weights: tuple[Strength, ...]

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        unconditional, *conditionals = self.asked(x, level)
        clean, noise = unconditional.clean, unconditional.noise
        for weight, told in zip(self.weights, conditionals, strict=True):
            scale = arrays.expand(strength_at(weight, level), clean)
            clean = clean + scale * (told.clean - unconditional.clean)
            noise = noise + scale * (told.noise - unconditional.noise)
        return records.replace(unconditional, clean=clean, noise=noise)


def composed(unconditional: Denoiser, conditionals: Sequence[Denoiser], weights: Sequence[Strength], *, batched: bool = False) -> Denoiser:
    """u + sum of w_i (c_i - u): all conditions at once, and none of those with a negative weight (Liu et al., 2022b, Eqs. 11 and 13).

    weights: one a condition, each of either sign, () or (b,), or a function of the level. With weights 1 the score is that of
    p(x) · prod p(c_i | x) / p(c_i), the condition "all of them" where they are independent given the noised x. batched: one network call
    of (n + 1) b samples, as in `classifier_free`. A learned variance is that of `unconditional`.

    Raises ValueError for no condition, other numbers of weights and conditions, and concrete weights that are not finite; TypeError for
    a batched call of different networks.
    """
    if not conditionals or len(conditionals) != len(weights):
        raise ValueError(f"{len(conditionals)} conditions and {len(weights)} weights: give one weight for each of at least one condition")
    for i, weight in enumerate(weights):
        if not callable(weight):
            checks.finite(f"weights[{i}]", weight)
    return _Composed(joint_call.ask(unconditional, *conditionals, batched=batched), tuple(weights))


def _relative_std(wanted: Array, present: Array) -> Array:
    """(b,) the standard deviation over the entries of each sample, of one over the other; 1 where the other has none but rounding."""
    wanted, present = arrays.flatten_samples(wanted), arrays.flatten_samples(present)
    variance = jnp.var(present, axis=1)
    rounding = (8 * jnp.finfo(present.dtype).eps) ** 2 * jnp.mean(present**2, axis=1)
    return arrays.safe_divide(arrays.safe_sqrt(jnp.var(wanted, axis=1)), arrays.safe_sqrt(jnp.where(variance > rounding, variance, 0)), 1.0)
