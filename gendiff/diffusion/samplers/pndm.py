"""PNDM: linear multistep methods on the noise prediction, put into DDIM's formula (Liu et al., 2022).

A step is phi(e) = (alpha'/alpha) x + (sigma' - alpha' sigma/alpha) e, which is DDIM where e is the noise prediction,
with a mean of noise predictions for e. Their differences are amplified by sigma/alpha: it is for schedules where that
stays moderate, such as Stable Diffusion's 14.6. A step from alpha = 0 or to sigma = 0 is DDIM.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.core.types import Count
from gendiff.diffusion.samplers import ancestral, exponential_integrators
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction

ADAMS_BASHFORTH = (
    (1.0, 0.0, 0.0, 0.0),
    (3 / 2, -1 / 2, 0.0, 0.0),
    (23 / 12, -16 / 12, 5 / 12, 0.0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the present and the past noise predictions, by how many past ones are known."""


@records.record
class Noises:
    """The last three noise predictions (3, b, …), newest first, and how many of them are known (b,)."""

    predictions: Array
    known: Array


@records.record
class Pndm(Sampler):
    """Adams-Bashforth means of noise predictions. Built by `pndm`."""

    schedule: Schedule | None
    """For the levels between of the Runge-Kutta start; None starts as Stable Diffusion does."""

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """No noise predictions yet."""
        return State(x, Noises(jnp.stack([jnp.zeros_like(x)] * 3), arrays.zero_per_sample(x, jnp.int32)))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        x, past = state.x, state.memory
        prediction = denoise(x, level)
        usable = (jnp.asarray(level.alpha) > 0) & (jnp.asarray(cleaner.sigma) > 0)
        starting = usable & (past.known < (1 if self.schedule is None else 3))
        # where the network may be asked
        target = jax.tree.map(lambda ends, begins: jnp.where(usable, ends, begins), cleaner, level)

        def start() -> Array:
            if self.schedule is None:
                return _improved_euler(denoise, prediction, level, target)
            return _runge_kutta(denoise, prediction, level, _between(self.schedule, level, target, x), target)

        changed = jax.lax.cond(jnp.any(starting), start, lambda: jnp.zeros_like(x))
        changed = jnp.where(starting.reshape(-1, *[1] * (x.ndim - 1)), changed, _multistep(prediction, past))
        known = jnp.where(usable, jnp.minimum(past.known + 1, 3), 0).astype(jnp.int32)
        predictions = jnp.concatenate([prediction.noise[None], past.predictions[:-1]])
        return State(_transfer(prediction, changed, level, cleaner), Noises(predictions, known))

    def evaluations(self, steps: int) -> int:
        """One per step, and those of the start."""
        return steps + (min(steps - 1, 1) if self.schedule is None else 3 * min(steps - 1, 3))


def pndm(schedule: Schedule | None = None) -> Pndm:
    """PNDM: the fourth-order Adams-Bashforth mean of noise predictions in DDIM's formula. Order 2.

    Also known as: PLMS; pseudo linear multistep.

    Its weights suppose steps of one size. One evaluation per step, in PLMS one more for the first, in F-PNDM three more
    for each of the first three. A step to sigma = 0 starts nothing and costs one. Under a vmapped step count every step
    costs as much as the first.

    Args:
        schedule: None is PLMS, as Stable Diffusion's samplers and `skip_prk_steps` have it: the first step takes the
            mean of the noise predictions at both its ends, and the order of the Adams-Bashforth mean grows from 2 to 4.
            A schedule is F-PNDM: the first three steps are pseudo Runge-Kutta steps through the middle of the step, in
            the index of a table, or else in log-SNR.

    References:
        Liu et al., 2022, Alg. 1.
    """
    return Pndm(schedule)


def _transfer(prediction: Prediction, changed: Array, level: Level, cleaner: Level) -> Array:
    """Phi of the noise prediction plus `changed`; DDIM from alpha = 0 and to sigma = 0."""
    alpha, sigma, to_alpha, to_sigma = (
        arrays.expand(field, changed) for field in (level.alpha, level.sigma, cleaner.alpha, cleaner.sigma)
    )
    slope = jnp.where((alpha > 0) & (to_sigma > 0), to_sigma - to_alpha * arrays.safe_divide(sigma, alpha), 0)
    return ancestral.ddim_step(prediction, level, cleaner) + slope * changed


def _multistep(prediction: Prediction, past: Noises) -> Array:
    """The Adams-Bashforth mean of as many predictions as are known, minus the present one."""
    weights = jnp.asarray(ADAMS_BASHFORTH, prediction.noise.dtype)[past.known]
    return sum(
        (
            arrays.expand(weights[:, j + 1], prediction.noise) * (past.predictions[j] - prediction.noise)
            for j in range(3)
        ),
        jnp.zeros_like(prediction.noise),
    )


def _improved_euler(denoise: Denoiser, prediction: Prediction, level: Level, cleaner: Level) -> Array:
    """The mean of the noise at both ends, minus the noise at the first."""
    return (denoise(ancestral.ddim_step(prediction, level, cleaner), cleaner).noise - prediction.noise) / 2


def _runge_kutta(denoise: Denoiser, prediction: Prediction, level: Level, middle: Level, cleaner: Level) -> Array:
    """(e1 + 2 e2 + 2 e3 + e4) / 6 - e1 (Liu et al., 2022, Sec. 3.3)."""
    second = denoise(ancestral.ddim_step(prediction, level, middle), middle).noise - prediction.noise
    third = denoise(_transfer(prediction, second, level, middle), middle).noise - prediction.noise
    fourth = denoise(_transfer(prediction, third, level, cleaner), cleaner).noise - prediction.noise
    return (2 * second + 2 * third + fourth) / 6


def _between(schedule: Schedule, level: Level, cleaner: Level, like: Array) -> Level:
    """The middle of a step: in the index of a table, which may lie between two entries, or else in log-SNR."""
    if schedule.table is not None:
        index = (jnp.asarray(level.t) + jnp.asarray(cleaner.t)) / 2
        return schedule.at(jnp.clip((index + 1) / len(schedule.table), 0, 1))
    return schedule.at_log_snr(
        exponential_integrators.half_log_snr(level, like)[0] + exponential_integrators.half_log_snr(cleaner, like)[0]
    )
