"""Guidance: Denoiser -> Denoiser, without memory, one idea a file.

Every rule but `cfg_plus_plus` keeps x = alpha * clean + sigma * noise, so that every sampler may follow it. Rules nest: a guided denoiser
is a denoiser.
"""

from gendiff.diffusion.guidance.gradient import classifier
from gendiff.diffusion.guidance.linear import autoguidance, classifier_free, combine, composed
from gendiff.diffusion.guidance.projected import adaptive_projected
from gendiff.diffusion.guidance.renoised import cfg_plus_plus
from gendiff.diffusion.guidance.strength import interval
from gendiff.diffusion.guidance.thresholding import dynamic_threshold

__all__ = [
    "adaptive_projected",
    "autoguidance",
    "cfg_plus_plus",
    "classifier",
    "classifier_free",
    "combine",
    "composed",
    "dynamic_threshold",
    "interval",
]
