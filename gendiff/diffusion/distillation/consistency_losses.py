"""Consistency models: a network whose clean prediction is the same along each path of the probability flow.

Then it is the clean end of that path, in one evaluation. The path is divided into intervals of u. At the noisier end of
an interval the network shall answer what it answers at the cleaner end, and at the clean end it answers x itself, by
its parameterization.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.types import Condition, Count, Metrics, Params, PyTree
from gendiff.diffusion import denoiser, objectives, process
from gendiff.diffusion.distillation.boundary import ROUNDING, BoundaryParameterization
from gendiff.diffusion.distillation.distances import Metric, pseudo_huber
from gendiff.diffusion.distillation.path_intervals import InverseGap, PairWeight, UnitWeight
from gendiff.diffusion.distillation.positions import Positions, uniform
from gendiff.diffusion.distillation.teacher import Tell, with_condition
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.samplers import runge_kutta
from gendiff.diffusion.sampling import Part, Sampler
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Level, Predict

Point = tuple[jax.Array, Level]
"""Samples x (b, …), and the levels (b,) where they are."""


@records.record
class ConsistencyLoss:
    """What both losses share: a pair of levels on one path, and the distance of the network's answers there."""

    predict: Predict = records.static()
    schedule: Schedule = records.static()
    parameterization: Parameterization = records.static()
    metric: Metric = records.static()
    weight: PairWeight = records.static()
    positions: Positions = records.static()
    stochastic: bool = records.static()

    def levels(self, key: jax.Array, count: int, intervals: Count) -> tuple[Level, Level]:
        """The two ends (b,) of the interval that holds a position drawn at random, the noisier one first."""
        checks.integer("intervals", intervals, 1)
        u = self.positions(key, count)
        number = jnp.clip(jnp.floor(u * intervals), 0, intervals - 1)
        return self.schedule.at((number + 1) / intervals), self.schedule.at(number / intervals)

    def noised_ends(
        self, key: jax.Array, batch: Batch, intervals: Count
    ) -> tuple[jax.Array, Float[Array, "b *shape"], tuple[Level, Level]]:
        """The chance of one batch: a key for the network, noise and the ends of intervals, the noisier one first."""
        clean, _ = objectives.parts_of(batch)
        level_key, noise_key, network_key = jax.random.split(key, 3)
        noise = jax.random.normal(noise_key, clean.shape, clean.dtype)
        return network_key, noise, self.levels(level_key, clean.shape[0], intervals)

    def between(
        self,
        params: Params,
        key: jax.Array,
        noisier: Point,
        cleaner: Point,
        condition: tuple[Condition, ...],
        target: Params,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss of two points of one path. No gradient passes through the answer at the cleaner one.

        Args:
            params: of the network.
            key: for the network's dropout, which drops the same at both.
            noisier: x (b, …) and its level (b,).
            cleaner: likewise.
            condition: aligned with x.
            target: the parameters that answer at the cleaner point. None: `params`.
        """
        predict = functools.partial(self.predict, key=key) if self.stochastic else self.predict

        def clean_end(params: Params, x: Array, level: Level) -> Array:
            return denoiser.from_network(predict, params, self.parameterization, *condition)(x, level).clean

        answer = clean_end(params, *noisier)
        expected = jax.lax.stop_gradient(clean_end(params if target is None else target, *cleaner))
        distance = self.metric(answer, expected)
        weight = self.weight(noisier[1], cleaner[1]).astype(distance.dtype)
        return jnp.mean(weight * distance), {"mse": jnp.mean(jnp.square(answer - expected))}


@records.record
class ConsistencyTrainingLoss(ConsistencyLoss):
    """The loss of `consistency_training`."""

    def __call__(
        self, params: Params, key: jax.Array, batch: Batch, intervals: Count, target: Params = None
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        return self.at(params, *self.noised_ends(key, batch, intervals), batch, target)

    def at(
        self,
        params: Params,
        key: jax.Array,
        noise: Float[Array, "b *shape"],
        levels: tuple[Level, Level],
        batch: Batch,
        target: Params = None,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss of known chance, as `noised_ends` draws it."""
        clean, condition = objectives.parts_of(batch)
        noisier, cleaner = ((process.add_noise(clean, noise, level), level) for level in levels)
        return self.between(params, key, noisier, cleaner, condition, target)


@records.record
class ConsistencyDistillationLoss(ConsistencyLoss):
    """The loss of `consistency_distillation`."""

    tell: Tell = records.static()
    solver: Sampler

    def __call__(
        self, params: Params, key: jax.Array, batch: Batch, intervals: Count, teacher: PyTree, target: Params = None
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        return self.at(params, *self.noised_ends(key, batch, intervals), batch, teacher, target)

    def at(
        self,
        params: Params,
        key: jax.Array,
        noise: Float[Array, "b *shape"],
        levels: tuple[Level, Level],
        batch: Batch,
        teacher: PyTree,
        target: Params = None,
    ) -> tuple[Float[Array, ""], Metrics]:
        """The loss of known chance, as `noised_ends` draws it."""
        clean, condition = objectives.parts_of(batch)
        level, cleaner = levels
        x = process.add_noise(clean, noise, level)
        state = self.solver.step(_no_noise, self.tell(teacher, condition), self.solver.init(x), level, cleaner, 0)
        return self.between(params, key, (x, level), (jax.lax.stop_gradient(state.x), cleaner), condition, target)


def consistency_training(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    metric: Metric | None = None,
    weight: PairWeight | None = None,
    positions: Positions | None = None,
    stochastic: bool | None = None,
) -> ConsistencyTrainingLoss:
    """Mean over samples of weight · distance of the clean predictions at two levels, of one clean sample and one noise.

    It needs no teacher. The trained network is a `Denoiser` by `diffusion.from_network`, and is drawn by
    `consistency()`.

    Args:
        predict: the network, (params, x, t, *condition) -> output.
        schedule: the noise path. Its position u = 0 is the clean end.
        parameterization: what the output means. At u = 0 its clean sample must not depend on the output.
        metric: the distance; default `pseudo_huber()`.
        weight: (level, cleaner) -> factor of each sample; default 1. The improved training has `inverse_gap()`.
        positions: where the intervals are drawn; default `positions.uniform()`. The improved training has
            `positions.log_normal(schedule)`.
        stochastic: as in `objectives.denoising`.

    Returns:
        The loss (params, key, batch, intervals, target=None) -> (scalar, metrics). `intervals` is () integer, data
        under jit: into how many equal parts of u the path is divided, as `doubling_intervals` gives them. `target` are
        the parameters that answer at the cleaner level, an average of the network's; None stands for its own. The
        metric `mse` is the mean squared difference of the answers.

    Raises:
        ValueError: for a parameterization without the boundary, and a weight that is 0 at the noisiest level.

    References:
        Song et al., 2023, Alg. 3; Song & Dhariwal, 2024, Tab. 1 (from memory).
    """
    _check(schedule, parameterization, weight)
    return ConsistencyTrainingLoss(
        predict,
        schedule,
        parameterization,
        metric or pseudo_huber(),
        weight or UnitWeight(),
        positions or uniform(),
        objectives.draws_at_random(predict, stochastic),
    )


def consistency_distillation(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    solver: Sampler | None = None,
    tell: Tell = with_condition,
    metric: Metric | None = None,
    weight: PairWeight | None = None,
    positions: Positions | None = None,
    stochastic: bool | None = None,
) -> ConsistencyDistillationLoss:
    """Mean over samples of weight · distance of the clean predictions at two levels, the second after a teacher's step.

    Args:
        predict: as in `consistency_training`.
        schedule: likewise.
        parameterization: likewise. That of the teacher may be another.
        solver: the sampler whose step the teacher takes, one that draws no noise; default `samplers.heun()`.
        tell: (teacher, conditions) -> denoiser, as in `progressive_distillation`. A guided teacher is made here.
        metric: as in `consistency_training`.
        weight: likewise.
        positions: likewise.
        stochastic: likewise.

    Returns:
        The loss (params, key, batch, intervals, teacher, target=None) -> (scalar, metrics), as that of
        `consistency_training`. The teacher is a denoiser, and gets no gradient.

    Raises:
        ValueError: as `consistency_training`, and when called, for a solver that draws noise.

    References:
        Song et al., 2023, Alg. 2 (from memory).
    """
    _check(schedule, parameterization, weight)
    return ConsistencyDistillationLoss(
        predict,
        schedule,
        parameterization,
        metric or pseudo_huber(),
        weight or UnitWeight(),
        positions or uniform(),
        objectives.draws_at_random(predict, stochastic),
        tell,
        solver or runge_kutta.heun(),
    )


def _check(schedule: Schedule, parameterization: Parameterization, weight: PairWeight | None) -> None:
    """ValueError unless the clean prediction at u = 0 is x / alpha for any network output, as it is where sigma = 0."""
    objectives.refuse_lost_signal(parameterization, schedule)
    level = schedule.at(np.float64(0.0))
    ratio = float(level.sigma / level.alpha)
    least = parameterization.sigma_min if isinstance(parameterization, BoundaryParameterization) else 0.0
    if ratio > least * (1 + ROUNDING):
        raise ValueError(
            f"at the clean end of this schedule, sigma / alpha = {ratio:g}, the network's answer must not matter: use "
            f"distillation.boundary(data_std, sigma_min={ratio:g})"
        )
    if isinstance(weight, InverseGap) and not schedule.noisiest.alpha > 0:
        raise ValueError(
            "inverse_gap() is 0 for the level of pure noise, where drawing begins: for this schedule give another "
            "weight"
        )


def _no_noise(like: Array, part: Part = 0) -> Array:
    raise ValueError(
        "the solver of consistency_distillation draws noise, which leaves the path: use samplers.heun() or "
        "samplers.ddim()"
    )
