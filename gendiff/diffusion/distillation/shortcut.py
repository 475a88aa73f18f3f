"""Shortcut models: a network learns the shortest steps from data, and each longer step from two of its own halves."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import checks, records
from gendiff.core.condition_records import EndTime
from gendiff.core.types import NO_LABEL, Condition, Metrics, Params
from gendiff.diffusion import conditions, objectives, process, weighting
from gendiff.diffusion.distillation import two_times
from gendiff.diffusion.distillation.positions import Positions, uniform
from gendiff.diffusion.distillation.two_times import TwoTimeDenoiser
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Level, Predict, Prediction


@records.record
class ShortcutLoss(objectives.NetworkLoss):
    """The loss of `shortcut`."""

    schedule: Schedule = records.static()
    steps: int = records.static()
    share: float = records.static()
    positions: Positions = records.static()
    drop_condition: float | tuple[float, ...] = records.static()
    null: Condition = NO_LABEL

    def __call__(
        self, params: Params, key: jax.Array, batch: Batch, target: Params = None
    ) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, condition = objectives.parts_of(batch)
        samples, self_count = clean.shape[0], self._own(clean.shape[0])
        time_key, noise_key, drop_key, network_key = jax.random.split(key, 4)
        u, length = self.times(time_key, samples, self_count)
        condition = objectives.dropped(drop_key, condition, samples, self.drop_condition, self.null)
        condition = conditions.for_each(condition, samples)
        noise = jax.random.normal(noise_key, clean.shape, clean.dtype)
        level, end = self.schedule.at(u), self.schedule.at(u - length)
        x = process.add_noise(clean, noise, level)

        goal = Prediction(clean, noise)
        if self_count:
            of_own, *step = jax.tree.map(lambda leaf: leaf[:self_count], (condition, x, u, length))
            network = two_times.from_network(
                self.predict, params if target is None else target, self.parameterization, *of_own
            )
            pair = jax.lax.stop_gradient(two_halves_in_one(network, self.schedule, *step, shortest=1 / self.steps))
            goal = jax.tree.map(lambda first, data: jnp.concatenate([first, data[self_count:]]), pair, goal)
        return self.error(params, network_key, x, level, (*condition, EndTime(end.t_for(x))), goal)

    def _own(self, samples: int) -> int:
        """How many samples of a batch learn from the network's own steps."""
        self_count = round(self.share * samples)
        if 0 < self.share < 1 and self_count in (0, samples):
            raise ValueError(
                f"share = {self.share:g} of a batch of {samples} samples is {self_count} of them: take a larger "
                "batch, or share 0 or 1"
            )
        return self_count

    def times(self, key: jax.Array, samples: int, self_count: int) -> tuple[Array, Array]:
        """The start and the length in u of each step, both (b,). Samples of self-consistency come first."""
        length_key, place_key, data_key = jax.random.split(key, 3)
        u = self.positions(data_key, samples - self_count)
        # such steps in the whole path
        parts = (1 << jax.random.randint(length_key, (self_count,), 0, self.steps.bit_length())).astype(u.dtype)
        number = jnp.floor(jax.random.uniform(place_key, (self_count,), u.dtype) * parts)
        return jnp.concatenate([(number + 1) / parts, u]), jnp.concatenate([1 / parts, jnp.zeros_like(u)])


def shortcut(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    steps: int = 128,
    share: float = 0.25,
    positions: Positions | None = None,
    weight: weighting.Weight | None = None,
    drop_condition: float | tuple[float, ...] = 0.1,
    null: Condition = NO_LABEL,
    stochastic: bool | None = None,
) -> ShortcutLoss:
    """Mean over samples of weight(level) · mean squared error of the target: of the data, or of two of its own steps.

    A share of the batch has steps of length 1, 1/2, 1/4, … 1 / steps in u, each from a multiple of its length. The
    target is the pair whose one step ends where two steps of half the length end (self-consistency). Halves of the
    shortest step have length 0. The rest of the batch has steps of length 0, and its target is the data. The trained
    network is a `two_times.from_network`, and is drawn by `jump()` on `grids.trailing(schedule, n)` with n = 1, 2, 4, …
    steps.

    Args:
        predict: the network, as `two_times.from_network` takes it. The paper tells the length of the step; the time
            where it ends says the same.
        schedule: the noise path, such as `schedules.flow()`. A table is read between its entries.
        parameterization: what the output means; `parameterization.flow()` is the paper's.
        steps: a power of 2, at least 2: how many of the shortest steps the path has.
        share: of the batch that learns from the network's own steps, in [0, 1].
        positions: where steps without length are drawn; default `positions.uniform()`.
        weight: the factor on each sample's error; default `weighting.uniform()`.
        drop_condition: as in `objectives.denoising`.
        null: likewise.
        stochastic: likewise. The network's own steps drop nothing.

    Returns:
        The loss (params, key, batch, target=None) -> (scalar, metrics), with the unweighted error as metric `mse`.
        `target` are the parameters that take the two steps, an average of the network's; None stands for its own.

    Raises:
        ValueError: for numbers outside these ranges, noise prediction on a schedule that reaches alpha = 0, and when
            called, for a share of the batch that rounds to none of it or to all.

    References:
        Frans et al., 2024, Alg. 1, Eqs. 4 and 5 (from memory).
    """
    checks.integer("steps", steps, 2)
    if steps & (steps - 1):
        raise ValueError(
            f"steps = {steps} is no power of 2, so that halves of steps are no steps: take "
            f"{1 << (steps.bit_length() - 1)}"
        )
    checks.in_range("share", share, 0.0, 1.0)
    objectives.refuse_lost_signal(parameterization, schedule)
    return ShortcutLoss(
        predict,
        parameterization,
        weighting.uniform() if weight is None else weight,
        objectives.draws_at_random(predict, stochastic),
        schedule,
        int(steps),
        float(share),
        uniform() if positions is None else positions,
        objectives.checked_shares(drop_condition, null),
        null,
    )


def two_halves_in_one(
    network: TwoTimeDenoiser,
    schedule: Schedule,
    x: Float[Array, "b *shape"],
    u: Float[Array, " b"],
    length: Float[Array, " b"],
    *,
    shortest: float,
) -> Prediction:
    """The pair whose one step ends where two steps of half its length end.

    Args:
        network: takes the two steps.
        schedule: of the positions.
        x: (b, …) at position u.
        u: (b,) in (0, 1], where the steps begin.
        length: (b,) in (0, u], of both together.
        shortest: halves of steps of this length are told to have none.

    References:
        Frans et al., 2024, Eq. 4 (from memory).
    """
    level, middle, cleaner = (schedule.at(u - share * length) for share in (0, 0.5, 1))
    longer = length > 1.5 * shortest  # lengths are powers of 2

    def stepped(x: Array, level: Level, cleaner: Level) -> Array:
        end = jax.tree.map(lambda end, start: jnp.where(longer, end, start), cleaner, level)
        return ancestral.ddim_step(network(x, level, end), level, cleaner)

    return Prediction(*two_times.pair_between(x, level, stepped(stepped(x, level, middle), middle, cleaner), cleaner))
