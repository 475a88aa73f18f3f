"""Rules of guidance: plain, the cures that are said to keep what it loses, and the one that has nothing to guide by."""

from collections.abc import Mapping

from experiments.diffusion.image_draws import Rule, classifier_free
from gendiff import diffusion
from gendiff.core.types import Scalar
from gendiff.diffusion.denoiser import NetworkDenoiser
from gendiff.diffusion.types import Denoiser

LOW, HIGH = 0.2, 3.0
"""Noise levels sigma/alpha between which `interval` guides."""
RESCALE = 0.7
"""phi of `rescale`, the paper's."""


def deaf(given: NetworkDenoiser, absent: NetworkDenoiser, weaker: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """The null control: both predictions are without a label, so there is nothing to guide by."""
    return diffusion.guidance.classifier_free(absent, absent, scale)


def interval(given: NetworkDenoiser, absent: NetworkDenoiser, weaker: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """Guided between LOW and HIGH alone."""
    return diffusion.guidance.classifier_free(given, absent, diffusion.guidance.interval(scale, LOW, HIGH), batched=True)


def rescale(given: NetworkDenoiser, absent: NetworkDenoiser, weaker: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """Guided samples get back most of the conditional one's deviation."""
    return diffusion.guidance.classifier_free(given, absent, scale, batched=True, rescale=RESCALE)


def cfg_plus_plus(given: NetworkDenoiser, absent: NetworkDenoiser, weaker: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """CFG++, whose scale lies in [0, 1]."""
    return diffusion.guidance.cfg_plus_plus(given, absent, scale, batched=True)


def projected(given: NetworkDenoiser, absent: NetworkDenoiser, weaker: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """APG without momentum, and without a bound on the norm."""
    return diffusion.guidance.adaptive_projected(given, absent, scale, batched=True)


def autoguidance(given: NetworkDenoiser, absent: NetworkDenoiser, weaker: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """Away from a smaller network that was trained for less time."""
    return diffusion.guidance.autoguidance(given, weaker, scale)


def thresholded(given: NetworkDenoiser, absent: NetworkDenoiser, weaker: NetworkDenoiser, scale: Scalar) -> Denoiser:
    """Classifier-free guidance within dynamic thresholding."""
    return diffusion.guidance.dynamic_threshold(classifier_free(given, absent, weaker, scale))


CURES: Mapping[str, Rule] = {
    "interval": interval,
    "rescale": rescale,
    "CFG++": cfg_plus_plus,
    "APG": projected,
    "autoguidance": autoguidance,
    "thresholding": thresholded,
}
RULES: Mapping[str, Rule] = {"plain": classifier_free, "deaf": deaf, **CURES}
