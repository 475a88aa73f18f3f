"""Every sampler of the library with two values of its number, and samplers that must fail: they look at the whole batch."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from experiments.diffusion.invariance import draw
from gendiff.core import arrays, records
from gendiff.core.types import Count, Keys
from gendiff.diffusion import samplers
from gendiff.diffusion.sampling import Noise, Part, Sampler, State
from gendiff.diffusion.schedules import Schedule
from gendiff.diffusion.types import Denoiser, Level


@dataclass(frozen=True)
class Entry:
    """make: (number, schedule) -> Sampler. numbers: values that must share a trace, one of no meaning where the sampler has none.

    from_oracle: it asks no more of a denoiser than an oracle says. needs: a package of an extra.
    """

    make: Callable[[float, Schedule], Sampler]
    numbers: tuple[float, ...] = (0.0,)
    from_oracle: bool = True
    needs: str = ""


ENTRIES = {
    "ddpm": Entry(lambda _, schedule: samplers.ddpm()),
    "ddpm large": Entry(lambda _, schedule: samplers.ddpm("large")),
    "ddpm learned": Entry(lambda _, schedule: samplers.ddpm("learned"), from_oracle=False),
    "ddim": Entry(lambda eta, schedule: samplers.ddim(eta), (0.3, 0.8)),
    "ddim on a path": Entry(lambda eta, schedule: samplers.fixed_path(samplers.ddim(eta)), (0.3, 0.8), needs="diffrax"),
    "euler": Entry(lambda _, schedule: samplers.euler()),
    "euler_ancestral": Entry(lambda eta, schedule: samplers.euler_ancestral(eta), (0.3, 0.8)),
    "heun": Entry(lambda _, schedule: samplers.heun()),
    "rk4": Entry(lambda _, schedule: samplers.rk4(schedule)),
    "churn": Entry(lambda churn, schedule: samplers.churn(schedule, churn), (0.2, 0.6)),
    "dpm_solver_multistep 2": Entry(lambda _, schedule: samplers.dpm_solver_multistep(2)),
    "dpm_solver_multistep 3": Entry(lambda _, schedule: samplers.dpm_solver_multistep(3)),
    "dpm_solver_multistep 2 sde": Entry(lambda eta, schedule: samplers.dpm_solver_multistep(2, eta=eta), (0.5, 1.0)),
    "dpm_solver_multistep 3 sde": Entry(lambda eta, schedule: samplers.dpm_solver_multistep(3, eta=eta), (0.5, 1.0)),
    "dpm_solver_single 2": Entry(lambda _, schedule: samplers.dpm_solver_single(schedule, 2)),
    "dpm_solver_single 3": Entry(lambda _, schedule: samplers.dpm_solver_single(schedule, 3)),
    "dpm_solver_single 2 sde": Entry(lambda eta, schedule: samplers.dpm_solver_single(schedule, 2, eta=eta), (0.5, 1.0)),
    "unipc 2": Entry(lambda _, schedule: samplers.unipc(2)),
    "unipc 3": Entry(lambda _, schedule: samplers.unipc(3)),
    "deis 2": Entry(lambda _, schedule: samplers.deis(2)),
    "deis 3": Entry(lambda _, schedule: samplers.deis(3)),
    "pndm": Entry(lambda _, schedule: samplers.pndm()),
    "pndm runge_kutta": Entry(lambda _, schedule: samplers.pndm(schedule)),
    "predictor_corrector": Entry(lambda snr, schedule: samplers.predictor_corrector(snr=snr), (0.1, 0.16)),
}


SAMPLERS = tuple(ENTRIES)


@records.record
class FirstsNoise:
    """Noise for the whole batch from the first sample's key, as one call of a generator gives it."""

    keys: Keys

    def __call__(self, like: jax.Array, part: Part = 0, /) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(self.keys[0], 1), like.shape, like.dtype)


@records.record
class Neighbourly(Sampler):
    """DDIM with eta = 1, then a Langevin step, whose samples look at each other.

    shared_key, shared_norms: 0 or 1, as data, so that one program serves all of them. With shared_key the noise is `FirstsNoise`; with
    shared_norms the Langevin step is sized by norms averaged over the batch, as published code has it. With neither it is `ddim(1.0)`.
    """

    shared_key: float
    shared_norms: float

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        fresh = noise(state.x, 1)
        x = samplers.ancestral.ddim_step(denoise(state.x, level), level, cleaner, eta=1.0, noise=fresh)
        fresh, predicted = noise(x, 3), denoise(x, cleaner).noise
        drawn, strength = (jnp.mean(jnp.linalg.norm(arrays.flatten_samples(field), axis=1)) for field in (fresh, predicted))
        width = self.shared_norms * 2 * (0.16 * arrays.safe_divide(drawn, strength)) ** 2  # an oracle says no noise at sigma = 0
        return State(x + cleaner.sigma * (jnp.sqrt(2 * width) * fresh - width * predicted))

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        own, firsts = super().noise_for_step(keys, step, level, cleaner), FirstsNoise(arrays.fold_in(keys, step + 1))
        shared = jnp.asarray(self.shared_key) > 0
        return lambda like, part=0: jnp.where(shared & (part == 1), firsts(like), own(like, part))


@records.record
class OneKeyNoise(draw.Recorder):
    """Nothing but noise from the first sample's key."""

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        return FirstsNoise(arrays.fold_in(keys, step + 1))


ONE_KEY = Neighbourly(1.0, 0.0)
SHARED_NORMS = Neighbourly(0.0, 1.0)
NEIGHBOURLESS = Neighbourly(0.0, 0.0)
"""The same program without either: it must pass where these fail."""
