"""CFG++: the clean sample is guided, the noise that is put back is not."""

from jaxtyping import Array, Float

from gendiff.core import records
from gendiff.diffusion.guidance.classifier_free import combine
from gendiff.diffusion.guidance.joint_call import JointCall
from gendiff.diffusion.guidance.strength import Scale, Strength
from gendiff.diffusion.types import Denoiser, Level, Prediction


def cfg_plus_plus(conditional: Denoiser, unconditional: Denoiser, scale: Scale, *, batched: bool = False) -> Denoiser:
    """Prediction(clean = u + scale (c - u), noise = the unconditional one).

    On a DDIM step it is `classifier_free` at scale / (1 - q), q = sigma' alpha / (sigma alpha'). The shorter the step,
    the stronger it is, so a scale belongs to a number of steps.

    It breaks x = alpha * clean + sigma * noise on purpose. So it suits the samplers that step to
    alpha' * clean + sigma' * noise: `ddim`, whatever its eta, and `dpm_solver_multistep(1)`. Higher orders add
    differences of past predictions to that step and keep no order that they state. Others rebuild one form from x and
    lose the guidance: `euler` and `euler_ancestral` read the noise alone where alpha >= sigma, and so follow the
    unconditional prediction there; `ddpm` reads x and clean, and is plain guidance at `scale`. Likelihoods, inversion
    and the other rules of guidance suppose the identity too.

    Args:
        conditional: c.
        unconditional: u.
        scale: as in `classifier_free`; the paper's lambda lies in [0, 1].
        batched: as in `classifier_free`.

    Raises:
        ValueError: for a concrete scale that is negative or NaN.
        TypeError: for a batched pair that is not of one network.

    References:
        Chung et al., 2025, Alg. 2.
    """
    return _CfgPlusPlus(
        JointCall.checked(conditional, unconditional, batched=batched), Strength.checked("scale", scale)
    )


@records.record
class _CfgPlusPlus:
    pair: JointCall
    strength: Strength

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        conditional, unconditional = self.pair(x, level)
        clean = combine(unconditional.clean, conditional.clean, self.strength.at(level))
        return records.replace(conditional, clean=clean, noise=unconditional.noise)
