"""Guidance distillation: one call of a student with the scale as its input, in place of two calls of its teacher."""

import math
from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.condition_records import GuidanceScale
from gendiff.core.types import NO_LABEL, Condition, Metrics, Params
from gendiff.diffusion import guidance, objectives, process, weighting
from gendiff.diffusion.distillation.teacher import with_condition
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Denoiser, Predict

Rule = Callable[[Denoiser, Denoiser, jax.Array], Denoiser]
"""(conditional, unconditional, scales (b,)) -> the guided denoiser."""


@records.record
class GuidanceDistillationLoss(objectives.NetworkLoss):
    """The loss of `guidance_distillation`."""

    schedule: Schedule = records.static()
    levels: weighting.LevelSampler = records.static()
    scales: tuple[float, float] = records.static()
    rule: Rule = records.static()
    null: Condition = NO_LABEL

    def __call__(
        self, params: Params, key: jax.Array, batch: Batch, teacher: Denoiser
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, condition = objectives.parts_of(batch)
        nothing = objectives.without_condition(condition, self.null)
        level_key, noise_key, scale_key, network_key = jax.random.split(key, 4)
        level = self.levels(level_key, self.schedule, clean.shape[0])
        x = process.add_noise(clean, jax.random.normal(noise_key, clean.shape, clean.dtype), level)
        low, high = self.scales
        scale = jax.random.uniform(scale_key, clean.shape[:1], minval=low, maxval=high)
        conditional = with_condition(teacher, condition)
        target = jax.lax.stop_gradient(self.rule(conditional, with_condition(conditional, nothing), scale)(x, level))
        return self.error(params, network_key, x, level, (*condition, GuidanceScale(scale)), target)


def guidance_distillation(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    scales: tuple[float, float] = (1.0, 5.0),
    rule: Rule = guidance.classifier_free,
    null: Condition = NO_LABEL,
    weight: weighting.Weight | None = None,
    levels: weighting.LevelSampler | None = None,
    stochastic: bool | None = None,
) -> GuidanceDistillationLoss:
    """Mean over samples of weight(level) · mean squared error of the student's target, that of the guided teacher.

    Also known as: CFG distillation; a guidance-distilled model.

    The scale of each sample is uniform in `scales`, and is the last condition of the student, a
    `networks.GuidanceScale`. `networks.UNet` and `networks.DiT` take it where they have `guidance=True`. The student is
    then sampled in one call per evaluation, at any scale w:
    `diffusion.from_network(predict, params, parameterization, label, networks.GuidanceScale(w))`.

    Args:
        predict: the student, (params, x, t, *condition, scale) -> output.
        schedule: the noise path.
        parameterization: what the student's output means. That of the teacher may be another.
        scales: the smallest and the largest scale, at least 0; 1 is the conditional teacher.
        rule: (conditional, unconditional, scales) -> the guided denoiser, such as
            `functools.partial(guidance.classifier_free, batched=True)` or `guidance.adaptive_projected`.
        null: what stands for no condition, as in `objectives.denoising`. None in a tuple: guidance keeps that condition
            on both sides.
        weight: the factor on each sample's error; default `weighting.uniform()`.
        levels: how levels are drawn; default `weighting.uniform_levels()`.
        stochastic: as in `objectives.denoising`.

    Returns:
        The loss (params, key, batch, teacher) -> (scalar, metrics), with the unweighted error as metric `mse`. The
        batch is a `diffusion.Batch` with at least one condition. The teacher is a denoiser of `diffusion.from_network`,
        whatever its condition; it gets no gradient.

    Raises:
        ValueError: for scales that are not 0 <= low <= high < inf, noise prediction on a schedule that reaches
            alpha = 0, and when called, for a batch without condition.
        TypeError: when called, for a teacher that is not of `from_network`.

    References:
        Meng et al., 2023, Eqs. 2 and 3 and Alg. 1, whose w is the scale less 1 (from memory).
    """
    low, high = scales
    checks.in_range("scales[1]", high, 0.0, math.inf, open_high=True)
    checks.in_range("scales[0]", low, 0.0, high)
    objectives.refuse_lost_signal(parameterization, schedule)
    return GuidanceDistillationLoss(
        *objectives.path_fields(predict, schedule, parameterization, weight, levels, stochastic),
        (float(low), float(high)),
        rule,
        null,
    )
