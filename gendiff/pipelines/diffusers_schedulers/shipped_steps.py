"""Samplers that step as schedulers of diffusers do where those leave the published formula.

For comparison, not for use.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, records
from gendiff.core.types import Count
from gendiff.diffusion.parameterization import Parameterization
from gendiff.diffusion.samplers import ancestral, exponential_integrators
from gendiff.diffusion.samplers.pndm import ADAMS_BASHFORTH
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level, Prediction
from gendiff.pipelines.diffusers_schedulers import chains


def entry(chain: Schedule, index: Count, ends_clean: bool) -> Level:
    """The entry () of a chain with that number, and below entry 0 either the clean level or entry 0 again."""
    table, row = chains.table(chain), jnp.maximum(jnp.asarray(index), 0)
    inside = jnp.asarray(index) >= 0
    first = chain.clean if ends_clean else table[0]
    alpha, sigma = (
        jnp.where(inside, jnp.asarray(entries)[row], float(below))
        for entries, below in ((table.alpha, first.alpha), (table.sigma, first.sigma))
    )
    return Level(jnp.asarray(index).astype(alpha.dtype), alpha, sigma)


@records.record
class EvenSteps(Sampler):
    """A step of the inner sampler to the entry `gap` below its start.

    The next step takes x as if it were at its own level.
    """

    inner: Sampler
    chain: Schedule
    gap: int = records.static()
    ends_clean: bool = records.static()

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """That of the inner sampler."""
        return self.inner.init(x)

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        return self.inner.step(
            noise, denoise, state, level, entry(self.chain, _number(level) - self.gap, self.ends_clean), left
        )


@records.record
class Plms(Sampler):
    """PNDM without its Runge-Kutta start, on the network's outputs as they are, with steps of `gap` entries.

    Outputs of different levels are averaged before they become noise, which for velocities is another mean. The last
    step extrapolates as well. The first step asks again at the second level of the grid, and then goes from `gap` above
    that level to it.
    """

    chain: Schedule
    parameterization: Parameterization
    gap: int = records.static()
    ends_clean: bool = records.static()

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """No outputs yet."""
        return State(x, (jnp.stack([jnp.zeros_like(x)] * 3), jnp.zeros((), jnp.int32)))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        x, (past, known) = state.x, state.memory
        output = self._output(denoise, x, level)
        target = entry(self.chain, _number(level) - self.gap, self.ends_clean)

        def started() -> Array:
            second = self._output(denoise, self._moved(x, output, level, target), cleaner)
            return self._moved(
                x, (output + second) / 2, entry(self.chain, _number(cleaner) + self.gap, self.ends_clean), cleaner
            )

        def extrapolated() -> Array:
            weights = jnp.asarray(ADAMS_BASHFORTH, x.dtype)[known]
            mean = weights[0] * output + sum(weights[j + 1] * past[j] for j in range(3))
            return self._moved(x, mean, level, target)

        moved = jax.lax.cond((known == 0) & (left > 0), started, extrapolated)
        return State(moved, (jnp.concatenate([output[None], past[:-1]]), jnp.minimum(known + 1, 3)))

    def evaluations(self, steps: int) -> int:
        """One per step, and one more in the first unless it is the last."""
        return steps + min(steps - 1, 1)

    def _output(self, denoise: Denoiser, x: Array, level: Level) -> Array:
        prediction = denoise(x, level)
        return self.parameterization.target(prediction.clean, prediction.noise, level)

    def _moved(self, x: Array, output: Array, level: Level, cleaner: Level) -> Array:
        """X alpha'/alpha + (sigma' - alpha' sigma/alpha) noise."""
        noise = self.parameterization.predict(x, output, level).noise
        grow = cleaner.alpha / level.alpha
        return arrays.expand(grow, x) * x + arrays.expand(cleaner.sigma - grow * level.sigma, x) * noise


@records.record
class RatioHeun(Sampler):
    """Heun's method on dx/d(sigma/alpha) = noise in x/alpha at every level, also where sigma exceeds alpha."""

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        prediction = denoise(state.x, level)
        moved = ancestral.ddim_step(prediction, level, cleaner)
        noisy = jnp.asarray(cleaner.sigma) > 0
        end = jax.tree.map(lambda there, here: jnp.where(noisy, there, here), cleaner, level)
        second = jax.lax.cond(jnp.any(noisy), lambda: denoise(moved, end), lambda: prediction)
        slope = jnp.where(noisy, (cleaner.sigma - cleaner.alpha / level.alpha * level.sigma) / 2, 0)
        return State(moved + arrays.expand(slope, moved) * (second.noise - prediction.noise))

    def evaluations(self, steps: int) -> int:
        """Two per step, one in the last, which ends clean."""
        return 2 * steps - 1


@records.record
class Start:
    """Where a pair of steps began: the level, the prediction there, and how many steps were taken before this one."""

    level: Level
    prediction: Prediction
    steps: Array


@records.record
class Pairs(Sampler):
    """DPM-Solver++(2S) whose stages are levels of the grid: every second step starts again where the one before did.

    last_may_pair: the last step may be a second one; else it has order 1.
    """

    last_may_pair: bool = records.static()

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """Nothing is known yet."""
        one = jnp.ones((), arrays.at_least_float32(x.dtype))
        nothing = Prediction(jnp.zeros_like(x), jnp.zeros_like(x))
        return State(x, Start(Level(one, one, one), nothing, jnp.zeros((), jnp.int32)))

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        start, prediction = state.memory, denoise(state.x, level)
        second = (start.steps % 2 == 1) & (self.last_may_pair | (left > 0))
        single = ancestral.ddim_step(prediction, level, cleaner)
        three = (start.level, level, cleaner)
        begin, stage, end = (exponential_integrators.half_log_snr(each, prediction.clean)[0] for each in three)
        slope = arrays.safe_divide(end - begin, stage - begin) / 2
        weight = arrays.expand(-cleaner.alpha * jnp.expm1(begin - end) * slope, prediction.clean)
        double = ancestral.ddim_step(start.prediction, start.level, cleaner) + weight * (
            prediction.clean - start.prediction.clean
        )
        here = jax.tree.map(lambda field, like: jnp.asarray(field).astype(like.dtype), level, start.level)
        here = jax.tree.map(
            lambda old, new: jnp.where(second, old, new), (start.level, start.prediction), (here, prediction)
        )
        return State(jnp.where(second, double, single), Start(here[0], here[1], start.steps + 1))


def _number(level: Level) -> Array:
    """The entry of the table at which a level () is."""
    return jnp.round(jnp.asarray(level.t)).astype(jnp.int32)
