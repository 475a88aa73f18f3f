"""Guidance: Denoiser -> Denoiser, without memory but for `adaptive_guidance`, one idea per file.

Every rule but `cfg_plus_plus` keeps x = alpha * clean + sigma * noise, so that every sampler may follow it. Rules nest:
a guided denoiser is a denoiser.
"""

from gendiff.diffusion.guidance.adaptive_guidance import adaptive_guidance
from gendiff.diffusion.guidance.adaptive_projected import adaptive_projected
from gendiff.diffusion.guidance.at_levels import at_levels
from gendiff.diffusion.guidance.cfg_plus_plus import cfg_plus_plus
from gendiff.diffusion.guidance.classifier import classifier
from gendiff.diffusion.guidance.classifier_free import autoguidance, classifier_free, combine, composed
from gendiff.diffusion.guidance.dynamic_threshold import dynamic_threshold
from gendiff.diffusion.guidance.interval import interval
from gendiff.diffusion.guidance.with_clean import with_clean

__all__ = [
    "adaptive_guidance",
    "adaptive_projected",
    "at_levels",
    "autoguidance",
    "cfg_plus_plus",
    "classifier",
    "classifier_free",
    "combine",
    "composed",
    "dynamic_threshold",
    "interval",
    "with_clean",
]
