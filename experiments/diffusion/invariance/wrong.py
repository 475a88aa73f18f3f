"""Controls of the invariance experiment: samplers that must fail, as they look at the whole batch."""

import jax
import jax.numpy as jnp

from experiments.diffusion.invariance import draw
from gendiff.core import arrays, records
from gendiff.core.types import Count, Keys
from gendiff.diffusion import samplers
from gendiff.diffusion.sampling import Noise, Part, Sampler, State
from gendiff.diffusion.types import Denoiser, Level


@records.record
class FirstsNoise:
    """Noise for the whole batch from the first sample's key, as one call of a generator gives it."""

    keys: Keys

    def __call__(self, like: jax.Array, part: Part = 0, /) -> jax.Array:
        return jax.random.normal(jax.random.fold_in(self.keys[0], 1), like.shape, like.dtype)


@records.record
class Neighbourly(Sampler):
    """DDIM with eta = 1, then a Langevin step, whose samples look at each other.

    shared_key, shared_norms: 0 or 1, as data, so that one program serves all of them. With shared_key the noise is
    `FirstsNoise`; with shared_norms the Langevin step is sized by norms averaged over the batch, as published code has
    it. With neither it is `ddim(1.0)`.
    """

    shared_key: float
    shared_norms: float

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        fresh = noise(state.x, 1)
        x = samplers.ancestral.ddim_step(denoise(state.x, level), level, cleaner, eta=1.0, noise=fresh)
        fresh, predicted = noise(x, 3), denoise(x, cleaner).noise
        normal, strength = (
            jnp.mean(jnp.linalg.norm(arrays.flatten_samples(field), axis=1)) for field in (fresh, predicted)
        )
        # an oracle says no noise at sigma = 0
        width = self.shared_norms * 2 * (0.16 * arrays.safe_divide(normal, strength)) ** 2
        return State(x + cleaner.sigma * (jnp.sqrt(2 * width) * fresh - width * predicted))

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        by_step, firsts = (
            super().noise_for_step(keys, step, level, cleaner),
            FirstsNoise(arrays.fold_in(keys, step + 1)),
        )

        def noise(like: jax.Array, part: Part = 0, /) -> jax.Array:
            fresh = by_step(like, part)
            return jnp.where(jnp.asarray(self.shared_key) > 0, firsts(like), fresh) if part == 1 else fresh

        return noise


@records.record
class OneKeyNoise(draw.Recorder):
    """Nothing but noise from the first sample's key."""

    def noise_for_step(self, keys: Keys, step: Count, level: Level, cleaner: Level) -> Noise:
        return FirstsNoise(arrays.fold_in(keys, step + 1))


ONE_KEY = Neighbourly(1.0, 0.0)
SHARED_NORMS = Neighbourly(0.0, 1.0)
NEIGHBOURLESS = Neighbourly(0.0, 0.0)
"""The same program without either: it must pass where these fail."""
