"""DPM-Solver++ single-step methods: a step evaluates at levels between its ends, and nothing is remembered.

The levels between come from the schedule. A step from alpha = 0 or to sigma = 0 is DDIM and costs one evaluation.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import Count, Scalar
from gendiff.diffusion.samplers import ancestral, exponential_integrators
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction


@records.record
class _Span:
    """A step in half log-SNR: from `here` over `step`, of the levels' shape. The step is 0 where an end is infinite."""

    schedule: Schedule
    here: Array
    step: Array

    def level(self, share: float) -> Level:
        """Where this share of the step ends."""
        return self.schedule.at_log_snr(2 * (self.here + share * self.step))

    def correction(
        self,
        first: Prediction,
        other: Prediction,
        at: float,
        to: float,
        rule: exponential_integrators.Rule,
        rate: exponential_integrators.Rate,
    ) -> Array:
        """The term of the line through predictions at 0 and share `at`, in a step over share `to`, over alpha there."""
        moment = rule(to * self.step, rate, jnp.ones_like(self.step, jnp.int32), 1)
        weight = exponential_integrators.weights([at * self.step], [self.step != 0], moment)[0]
        return arrays.expand(weight, first.clean) * (other.clean - first.clean)


@records.record
class DpmSolverSingle(Sampler):
    """DPM-Solver++ in single steps. Built by `dpm_solver_single`. eta is None without noise."""

    schedule: Schedule
    order: int = records.static()
    eta: Scalar | None = None

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        prediction = denoise(state.x, level)
        if self.order == 1:
            fresh = None if self.eta is None else noise(state.x)
            return State(
                exponential_integrators.first_order_step(prediction, level, cleaner, eta=self.eta, noise=fresh)
            )
        here, usable = exponential_integrators.half_log_snr(level, state.x)
        there, ends = exponential_integrators.half_log_snr(cleaner, state.x)
        span = _Span(self.schedule, here, jnp.where(usable & ends, there - here, 0))
        early, full = (None, None) if self.eta is None else _path(noise, self.eta, span, state.x)
        moved = exponential_integrators.first_order_step(prediction, level, cleaner, eta=self.eta, noise=full)

        def correction() -> Array:
            if self.order == 2:
                return _second(denoise, prediction, level, span, self.eta, early)
            return _third(denoise, prediction, level, span)

        added = jax.lax.cond(jnp.any(span.step != 0), correction, lambda: jnp.zeros_like(moved))
        return State(moved + arrays.expand(cleaner.alpha, moved) * added)

    def evaluations(self, steps: int) -> int:
        """`order` per step, one in the last, which ends clean."""
        return self.order * (steps - 1) + 1


def dpm_solver_single(schedule: Schedule, order: int = 2, *, eta: Scalar = 0.0) -> DpmSolverSingle:
    """DPM-Solver++(2S), (3S) and the SDE form of 2S. `order` evaluations per step.

    n steps cost order · (n - 1) + 1 evaluations where the last one ends at sigma = 0, order · n where it does not; a
    step from alpha = 0 costs one. Under a vmapped step count every step costs `order`.

    Args:
        schedule: of the process, for the levels between.
        order: 1 (DDIM), 2 (the middle in log-SNR) or 3 (the thirds, in data form).
        eta: () >= 0, data under jit: the noise scale of the reverse SDE as in `dpm_solver_multistep`. The two noises of
            a step lie on one path.

    Raises:
        ValueError: for another order, a concrete eta that is negative, or order 3 with an eta that is not 0.

    References:
        Lu et al., 2022b, Alg. 1; Lu et al., 2022a, Alg. 2.
    """
    checks.integer("order", order, 1, 3)
    checks.in_range("eta", eta, 0.0, math.inf, open_high=True)
    scale = None if ancestral.is_zero(eta) else eta
    if order == 3 and scale is not None:
        raise ValueError("eta: order 3 has no stochastic form, use order 2 or eta = 0")
    return DpmSolverSingle(schedule, order, scale)


def _path(noise: Noise, eta: Scalar, span: _Span, x: Float[Array, "b *shape"]) -> tuple[Array, Array]:
    """Standard normal noise of the first half of a step and of the whole step, on one path of the SDE."""
    early, late = noise(x, 1), noise(x, 2)
    decay = arrays.expand(jnp.exp(-jnp.square(jnp.asarray(eta).astype(span.step.dtype)) * span.step / 2), x)
    return early, (decay * early + late) / jnp.sqrt(1 + decay**2)


def _second(
    denoise: Denoiser, prediction: Prediction, level: Level, span: _Span, eta: Scalar | None, noise: Array | None
) -> Array:
    """With r = 1/2 (Lu et al., 2022b, Alg. 1)."""
    half = span.level(1 / 2)
    middle = denoise(exponential_integrators.first_order_step(prediction, level, half, eta=eta, noise=noise), half)
    return span.correction(
        prediction, middle, 1 / 2, 1.0, exponential_integrators.midpoint, exponential_integrators.rate(eta, span.step)
    )


def _third(denoise: Denoiser, prediction: Prediction, level: Level, span: _Span) -> Array:
    """With r1 = 1/3 and r2 = 2/3 (Lu et al., 2022a, Alg. 2)."""
    early, late = span.level(1 / 3), span.level(2 / 3)
    first = denoise(ancestral.ddim_step(prediction, level, early), early)
    added = span.correction(prediction, first, 1 / 3, 2 / 3, exponential_integrators.moments, 1.0)
    second = denoise(ancestral.ddim_step(prediction, level, late) + arrays.expand(late.alpha, added) * added, late)
    return span.correction(prediction, second, 2 / 3, 1.0, exponential_integrators.moments, 1.0)
