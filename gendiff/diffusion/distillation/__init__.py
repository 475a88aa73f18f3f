"""Distillation: a student that does in few network calls what its teacher does in many.

In reading order: teacher, guidance_distillation, progressive_distillation, reflow, one_step, distribution_matching. Each method is a loss
(params, key, batch, *frozen) -> (scalar, metrics), where the teacher is a frozen tree behind the batch, as `training.make_step` takes it.
What comes out is sampled as any other denoiser.
"""

from gendiff.diffusion.distillation.distribution_matching import distribution_matching, matching_direction, on_generated
from gendiff.diffusion.distillation.guidance_distillation import guidance_distillation
from gendiff.diffusion.distillation.one_step import one_step
from gendiff.diffusion.distillation.progressive_distillation import halved, progressive_distillation, two_steps_in_one
from gendiff.diffusion.distillation.reflow import Pairs, draw_pairs, reflow, straightness
from gendiff.diffusion.distillation.teacher import begun, told

__all__ = [
    "Pairs",
    "begun",
    "distribution_matching",
    "draw_pairs",
    "guidance_distillation",
    "halved",
    "matching_direction",
    "on_generated",
    "one_step",
    "progressive_distillation",
    "reflow",
    "straightness",
    "told",
    "two_steps_in_one",
]
