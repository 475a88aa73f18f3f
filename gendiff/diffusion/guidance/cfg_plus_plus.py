"""CFG++: the clean sample is guided, the noise that is put back is not."""

from jaxtyping import Array, Float

from gendiff.core import records
from gendiff.diffusion.guidance import joint_call
from gendiff.diffusion.guidance.classifier_free import combine
from gendiff.diffusion.guidance.interval import Strength, check_strength, strength_at
from gendiff.diffusion.guidance.joint_call import Together
from gendiff.diffusion.types import Denoiser, Level, Prediction


@records.record
class _CfgPlusPlus:
    asked: Together
    scale: Strength

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        conditional, unconditional = self.asked(x, level)
        clean = combine(unconditional.clean, conditional.clean, strength_at(self.scale, level))
        return records.replace(conditional, clean=clean, noise=unconditional.noise)


def cfg_plus_plus(conditional: Denoiser, unconditional: Denoiser, scale: Strength, *, batched: bool = False) -> Denoiser:
    """Prediction(clean = u + scale (c - u), noise = the unconditional one) (Chung et al., 2025, Alg. 2; their lambda in [0, 1]).

    On a DDIM step it is `classifier_free` at scale / (1 - q), q = sigma' alpha / (sigma alpha'): stronger the shorter the step, so that
    unlike there the scale belongs to a number of steps. scale, batched: as in `classifier_free`.

    It breaks x = alpha * clean + sigma * noise on purpose, so it suits the samplers that step to alpha' * clean + sigma' * noise: `ddim`,
    whatever its eta, and `dpm_solver_multistep(1)`; higher orders add differences of past predictions to that step and keep no
    order that they state. Others rebuild one form from x and lose the guidance: `euler` and `euler_ancestral` read the noise alone where
    alpha >= sigma and so follow the unconditional prediction there; `ddpm` reads x and clean, and is plain guidance at `scale`.
    Likelihoods, inversion and the other rules of guidance suppose the identity too.

    Raises ValueError for a concrete scale that is negative or NaN, TypeError for a batched pair that is not of one network.
    """
    check_strength("scale", scale)
    return _CfgPlusPlus(joint_call.ask(conditional, unconditional, batched=batched), scale)
