"""MeanFlow: a network learns the average velocity between two times, by its identity with the velocity of the data.

On the straight path (see two_times.py), the average velocity U from p' to p and the velocity V at p satisfy
(p - p') U = ∫ V dp, and so U = V - (p - p') dU/dp, where d/dp goes along the path: w moves with V. There is no teacher.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import NO_LABEL, Condition, Metrics, Params
from gendiff.diffusion import objectives
from gendiff.diffusion.distillation import two_times
from gendiff.diffusion.distillation.positions import Positions, logit_normal
from gendiff.diffusion.distillation.two_times import TwoTimeDenoiser, TwoTimeNetwork
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Batch, Predict

Average = Callable[[jax.Array, jax.Array], jax.Array]
"""(w (b, …), u (b,)) -> the average velocity (b, …) between w at position u of the schedule and a fixed end."""
SMALLEST = 1e-3
"""What the weight adds to a squared error."""


@records.record
class MeanFlowLoss:
    """The loss of `mean_flow`."""

    predict: Predict = records.static()
    schedule: Schedule = records.static()
    parameterization: Parameterization = records.static()
    positions: Positions = records.static()
    interval_share: float = records.static()
    power: float = records.static()
    scale: float = records.static()
    mix: float = records.static()
    drop_condition: float | tuple[float, ...] = records.static()
    stochastic: bool = records.static()
    null: Condition = NO_LABEL

    def __call__(self, params: Params, key: jax.Array, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """The scalar and its metrics for one batch."""
        clean, condition = objectives.parts_of(batch)
        time_key, noise_key, drop_key, network_key = jax.random.split(key, 4)
        u, end = self.times(time_key, clean.shape[0])
        noise = jax.random.normal(noise_key, clean.shape, clean.dtype)
        condition = objectives.dropped(drop_key, condition, clean.shape[0], self.drop_condition, self.null)
        predict = functools.partial(self.predict, key=network_key) if self.stochastic else self.predict
        network = two_times.from_network(predict, params, self.parameterization, *condition)
        p = arrays.expand(two_times.straight_position(self.schedule.at(u)), clean)
        w = (1 - p) * clean + p * noise
        velocity = self.guided(noise - clean, jax.lax.stop_gradient(network), w, u)
        average = functools.partial(average_velocity, network, self.schedule, end)
        answer, target = mean_flow_target(average, w, velocity, u, end, self.schedule)
        squared = jnp.sum(jnp.square(arrays.flatten_samples(answer - target)), axis=1)
        weight = jax.lax.stop_gradient((squared + SMALLEST) ** -self.power)
        return jnp.mean(weight * squared), {"mse": jnp.mean(squared) / math.prod(clean.shape[1:])}

    def times(self, key: jax.Array, count: int) -> tuple[Array, Array]:
        """Where the steps begin and end (b,): the larger and the smaller of two positions, or the larger one twice."""
        first_key, second_key, apart_key = jax.random.split(key, 3)
        first, second = self.positions(first_key, count), self.positions(second_key, count)
        start = jnp.maximum(first, second)
        return start, jnp.where(
            jax.random.bernoulli(apart_key, self.interval_share, (count,)), jnp.minimum(first, second), start
        )

    def guided(self, velocity: Array, network: TwoTimeNetwork, w: Array, u: Array) -> Array:
        """The velocity of the guided field at w (b, …)."""
        if self.scale == 1.0 and self.mix == 0.0:
            return velocity
        free = network.with_condition(*objectives.without_condition(network.condition, self.null))
        guided = self.scale * velocity + (1 - self.scale - self.mix) * average_velocity(free, self.schedule, u, w, u)
        return guided + self.mix * average_velocity(network, self.schedule, u, w, u) if self.mix else guided


def mean_flow(
    predict: Predict,
    schedule: Schedule,
    parameterization: Parameterization,
    *,
    positions: Positions | None = None,
    interval_share: float = 0.25,
    power: float = 1.0,
    scale: float = 1.0,
    mix: float = 0.0,
    drop_condition: float | tuple[float, ...] = 0.1,
    null: Condition = NO_LABEL,
    stochastic: bool | None = None,
) -> MeanFlowLoss:
    """Mean over samples of w · |U - sg(V - (p - p') dU/dp)|², with V = noise - clean and adaptive weights w.

    w is 1 / (|…|² + 0.001)^power, without a gradient. The derivative is one forward-mode pass through the network. The
    trained network is a `two_times.from_network`, and is drawn by `jump()` in any number of steps.

    Args:
        predict: the network, as `two_times.from_network` takes it, with forward-mode derivatives
            (`convolution="direct"`).
        schedule: the noise path, such as `schedules.flow()`. A table is read between its entries.
        parameterization: what the output means; U is noise - clean of its pair. `parameterization.flow()` is the
            paper's.
        positions: where two positions u are drawn, of which the larger is the start; default
            `positions.logit_normal()`.
        interval_share: the share of samples in [0, 1] whose step has a length. The others train the velocity.
        power: of the weight, at least 0; 0 is the plain square.
        scale: of guidance that is trained into the network; 1 is none. V is then scale · V + mix · U(c) + (1 - scale -
            mix) · U(null), with U of steps without length. The guidance scale that this amounts to is scale / (1 -
            mix).
        mix: in [0, 1).
        drop_condition: as in `objectives.denoising`.
        null: likewise.
        stochastic: likewise.

    Returns:
        The loss (params, key, batch) -> (scalar, metrics), with the unweighted error per number as metric `mse`.

    Raises:
        ValueError: for numbers outside these ranges, a network of `networks.pure` without forward-mode derivatives,
            noise prediction on a schedule that reaches alpha = 0, and when called, for guidance without a condition.

    References:
        Geng et al., 2025, Alg. 1, Eqs. 6, 10, 11, 19 to 22 (from memory).
    """
    checks.in_range("interval_share", interval_share, 0.0, 1.0)
    checks.in_range("power", power, 0.0, math.inf, open_high=True)
    checks.finite("scale", scale)
    checks.in_range("mix", mix, 0.0, 1.0, open_high=True)
    objectives.refuse_lost_signal(parameterization, schedule)
    if not getattr(predict, "differentiable_forward", True):
        raise ValueError(
            "mean_flow differentiates the network in forward mode, which its layers do not have: build it with "
            "convolution='direct' (convolution='fast_backward' only goes backward)"
        )
    return MeanFlowLoss(
        predict,
        schedule,
        parameterization,
        logit_normal() if positions is None else positions,
        float(interval_share),
        float(power),
        float(scale),
        float(mix),
        objectives.checked_shares(drop_condition, null),
        objectives.draws_at_random(predict, stochastic),
        null,
    )


def average_velocity(
    network: TwoTimeDenoiser,
    schedule: Schedule,
    end: Float[Array, "b"],
    w: Float[Array, "b *shape"],
    u: Float[Array, "b"],
) -> Float[Array, "b *shape"]:
    """U = noise - clean of the prediction that carries w from position u of the schedule to position `end`."""
    level = schedule.at(u)
    pair = network(arrays.expand(level.alpha + level.sigma, w) * w, level, schedule.at(end))
    return pair.noise - pair.clean


def mean_flow_target(
    average: Average,
    w: Float[Array, "b *shape"],
    velocity: Float[Array, "..."],
    u: Float[Array, "b"],
    end: Float[Array, "b"],
    schedule: Schedule,
) -> tuple[Float[Array, "b *shape"], Float[Array, "..."]]:
    """U and, without a gradient, what it should be: V - (p - p') dU/dp along (V, 1).

    Args:
        average: (w, u) -> U, the step's end fixed.
        w: (b, …) on the straight path.
        velocity: (b, …) V, how w moves with p.
        u: (b,) where w is.
        end: (b,) where the step ends, at most u.
        schedule: of u.

    References:
        Geng et al., 2025, Eqs. 8 to 11 (from memory).
    """
    p, speed = jax.jvp(lambda u: two_times.straight_position(schedule.at(u)), (u,), (jnp.ones_like(u),))
    gap = arrays.expand(p - two_times.straight_position(schedule.at(end)), w)
    answer, slope = jax.jvp(average, (w, u), (velocity, 1 / speed))
    return answer, jax.lax.stop_gradient(velocity - gap * slope)
