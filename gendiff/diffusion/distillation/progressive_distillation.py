"""Progressive distillation: one DDIM step of the student for two of its teacher; each round halves the steps."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.core.types import Metrics, Params, PyTree
from gendiff.diffusion import objectives, process, sampling, weighting
from gendiff.diffusion.distillation.teacher import Tell, with_condition
from gendiff.diffusion.guidance.with_clean import with_clean
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.types import Batch, Denoiser, Level, Predict, Prediction


@records.record
class ProgressiveDistillationLoss(objectives.NetworkLoss):
    """The loss of `progressive_distillation`."""

    grid: Level
    tell: Tell = records.static()

    def __call__(
        self, params: Params, key: jax.Array, batch: Batch, teacher: PyTree
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, condition = objectives.parts_of(batch)
        step_key, noise_key, network_key = jax.random.split(key, 3)
        step = jax.random.randint(step_key, clean.shape[:1], 0, len(self.grid) // 2)
        level, middle, cleaner = (self.grid[2 * step + offset] for offset in range(3))
        x = process.add_noise(clean, jax.random.normal(noise_key, clean.shape, clean.dtype), level)
        target = two_steps_in_one(self.tell(teacher, condition), x, level, middle, cleaner)
        return self.error(params, network_key, x, level, condition, jax.lax.stop_gradient(target))


def progressive_distillation(
    predict: Predict,
    parameterization: Parameterization,
    levels: Level,
    *,
    weight: weighting.Weight | None = None,
    tell: Tell = with_condition,
    stochastic: bool | None = None,
) -> ProgressiveDistillationLoss:
    """Mean over samples of weight(level) · mean squared error of the student's target: two DDIM steps of the teacher.

    A sample is noised to the start of one of the student's steps, all equally likely. The student begins as a copy of
    the teacher. It is sampled by `samplers.ddim()` on `every_other_level(levels)`, and is the teacher of the next round
    on that grid.

    Args:
        predict: the student, (params, x, t, *condition) -> output.
        parameterization: what the student's output means.
        levels: (2n + 1,) the grid of the teacher's 2n steps, such as `grids.trailing(schedule, 2 * n)`.
        weight: the factor on each sample's error; default `weighting.uniform()`. The paper has
            `weighting.truncated_snr()`, or uniform on the target of velocity.
        tell: (teacher, conditions) -> denoiser. The default takes a denoiser of `diffusion.from_network`, and where the
            batch has no condition, any. A guided teacher is made here, of a frozen tree of your own.
        stochastic: as in `objectives.denoising`.

    Returns:
        The loss (params, key, batch, teacher) -> (scalar, metrics), with the unweighted error as metric `mse`. The
        batch is a `diffusion.Batch`. The teacher gets no gradient.

    Raises:
        ValueError: for a grid with an odd number of steps or with levels that do not get cleaner at each step, and for
            noise prediction on one that reaches alpha = 0.

    References:
        Salimans & Ho, 2022, Alg. 2 and App. G (from memory).
    """
    every_other_level(levels)
    if arrays.is_concrete(levels.alpha) and arrays.is_concrete(levels.sigma):
        _check_values(parameterization, np.asarray(levels.alpha), np.asarray(levels.sigma))
    return ProgressiveDistillationLoss(
        predict,
        parameterization,
        weight or weighting.uniform(),
        objectives.draws_at_random(predict, stochastic),
        jax.tree.map(jnp.asarray, levels),
        tell,
    )


def every_other_level(levels: Level) -> Level:
    """Every other level (n + 1,) of a grid (2n + 1,): the student's grid, and the teacher's of the next round.

    Raises:
        ValueError: for an odd number of steps.
        TypeError: for what is no grid.
    """
    steps = sampling.steps_of(levels)
    if steps % 2:
        raise ValueError(
            f"levels has {steps} steps, of which two cannot always be made one: take an even number of steps"
        )
    return levels[::2]


def two_steps_in_one(
    denoise: Denoiser, x: Float[Array, "b *shape"], level: Level, middle: Level, cleaner: Level
) -> Prediction:
    """The prediction whose one DDIM step to `cleaner` ends where two steps of a denoiser end.

    With r = alpha / sigma, and c, c' the clean predictions at `level` and, after one step, at `middle`, it is the mean
    of c and c' with weights r' - r and r'' - r'. Both are multiplied by sigma'' / alpha'', so that it is finite at
    sigma'' = 0, where it is c' alone, and at alpha = 0.

    Args:
        denoise: whose predictions keep x = alpha * clean + sigma * noise.
        x: (b, …) at `level`.
        level: () or (b,) with sigma > 0.
        middle: with less noise, and sigma > 0.
        cleaner: with less still.

    References:
        Salimans & Ho, 2022, App. G (from memory).
    """
    first = denoise(x, level)
    second = denoise(ancestral.ddim_step(first, level, middle), middle)
    share = arrays.expand(_share_of_first(level, middle, cleaner), x)
    return with_clean(first, second.clean + share * (first.clean - second.clean), level)


def _check_values(parameterization: Parameterization, alpha: np.ndarray, sigma: np.ndarray) -> None:
    if not np.all(sigma[1:] * alpha[:-1] < sigma[:-1] * alpha[1:]):
        raise ValueError(
            "levels must have less noise, sigma / alpha, at each step: grids.padded repeats the last level, so pad "
            "afterwards"
        )
    if parameterization.divides_by_alpha and np.any(alpha == 0):
        raise ValueError(
            "noise prediction divides by alpha, which is 0 at the start of this grid; use parameterization.velocity()"
        )


def _share_of_first(level: Level, middle: Level, cleaner: Level) -> Array:
    """(r' - r) / (r'' - r) of the levels' shape, as q' (1 - q) / (1 - q q') with q = r / r' and q' = r' / r''."""
    to_middle = jnp.asarray(middle.sigma * level.alpha) / (level.sigma * middle.alpha)
    to_cleaner = jnp.asarray(cleaner.sigma * middle.alpha) / (middle.sigma * cleaner.alpha)
    share: Array = to_cleaner * (1 - to_middle) / (1 - to_middle * to_cleaner)
    return share
