"""Distillation: a student that does in few network calls what its teacher does in many.

Also known as: few-step sampling; step distillation.

In reading order: teacher, guidance_distillation, progressive_distillation, reflow, one_step, distribution_matching,
two_times, jump, positions, shortcut, mean_flow, boundary, distances, path_intervals, consistency_losses, consistency.
Each method is a loss (params, key, batch, *frozen) -> (scalar, metrics), where the teacher is a frozen tree behind the
batch, as `training.make_step` takes it. What comes out is sampled as any other denoiser.
"""

from gendiff.core.renamed import renamed
from gendiff.diffusion.distillation import positions, two_times
from gendiff.diffusion.distillation.boundary import boundary
from gendiff.diffusion.distillation.consistency import consistency
from gendiff.diffusion.distillation.consistency_losses import consistency_distillation, consistency_training
from gendiff.diffusion.distillation.distances import mean_square, pseudo_huber
from gendiff.diffusion.distillation.distribution_matching import distribution_matching, matching_direction, on_generated
from gendiff.diffusion.distillation.guidance_distillation import guidance_distillation
from gendiff.diffusion.distillation.jump import jump
from gendiff.diffusion.distillation.mean_flow import average_velocity, mean_flow, mean_flow_target
from gendiff.diffusion.distillation.one_step import one_step
from gendiff.diffusion.distillation.path_intervals import doubling_intervals, inverse_gap
from gendiff.diffusion.distillation.progressive_distillation import (
    every_other_level,
    progressive_distillation,
    two_steps_in_one,
)
from gendiff.diffusion.distillation.reflow import Pairs, draw_pairs, reflow, straightness
from gendiff.diffusion.distillation.shortcut import shortcut, two_halves_in_one
from gendiff.diffusion.distillation.teacher import init_from_teacher, with_condition

_RENAMED = {
    "begun": ("distillation.init_from_teacher", init_from_teacher),
    "halved": ("distillation.every_other_level", every_other_level),
    "told": ("distillation.with_condition", with_condition),
}
__getattr__ = renamed("distillation", _RENAMED)

__all__ = [
    "Pairs",
    "average_velocity",
    "boundary",
    "consistency",
    "consistency_distillation",
    "consistency_training",
    "distribution_matching",
    "doubling_intervals",
    "draw_pairs",
    "every_other_level",
    "guidance_distillation",
    "init_from_teacher",
    "inverse_gap",
    "jump",
    "matching_direction",
    "mean_flow",
    "mean_flow_target",
    "mean_square",
    "on_generated",
    "one_step",
    "positions",
    "progressive_distillation",
    "pseudo_huber",
    "reflow",
    "shortcut",
    "straightness",
    "two_halves_in_one",
    "two_steps_in_one",
    "two_times",
    "with_condition",
]
