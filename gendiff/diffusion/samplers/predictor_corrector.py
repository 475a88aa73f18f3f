"""Predictor-corrector: a step to a cleaner level, then Langevin steps that settle x there."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Keys, Scalar
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.sampling import Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction


def langevin_step(
    x: Float[ArrayLike, "b *shape"], prediction: Prediction, level: Level, *, noise: Float[ArrayLike, "..."], snr: Scalar
) -> Float[Array, "b *shape"]:
    """x + e · score + sqrt(2e) · noise with e = 2 (snr · |noise| / |score|)² (Song et al., 2021b, Alg. 4), norms of each sample by itself.

    With score = -prediction.noise / sigma that is x - d sigma · prediction.noise + sigma sqrt(2d) · noise, d = 2 (snr · |noise| /
    |prediction.noise|)²: nothing divides by sigma, and x stays where sigma = 0. It means the same for every process, since x, noise and
    score scale together; Alg. 5 for the variance-preserving chain differs by a factor 1 - beta_t on d.

    noise: standard normal (b, …). d is held at 1 at most, where a step on pure noise forgets x: that matters for samples of a few
    dimensions only, in which the quotient of the norms has no mean.
    """
    checks.same_shape("x", x, "noise", noise)
    strength, drawn = (jnp.sum(arrays.flatten_samples(field) ** 2, axis=1) for field in (prediction.noise, noise))
    width = jnp.minimum(2 * jnp.square(jnp.asarray(snr, drawn.dtype)) * arrays.safe_divide(drawn, strength), 1)
    sigma, width = arrays.expand(level.sigma, x), arrays.expand(width, x)
    return x - sigma * width * prediction.noise + sigma * arrays.safe_sqrt(2 * width) * noise


@records.record
class _PredictorCorrector:
    predictor: Callable[..., State]
    snr: Scalar
    corrector_steps: int = records.static()

    def __call__(self, keys: Keys, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        state = self.predictor(arrays.fold_in(keys, 0), denoise, state, level, cleaner, left)
        drawn = jax.vmap(lambda j: arrays.normal(arrays.fold_in(keys, j), like=state.x))(1 + jnp.arange(self.corrector_steps))
        noisy = jnp.asarray(cleaner.sigma) > 0

        def settled() -> Array:
            at = jax.tree.map(lambda there, here: jnp.where(noisy, there, here), cleaner, level)  # finite where vmap runs this anyway

            def correct(x: Array, noise: Array) -> tuple[Array, None]:
                return langevin_step(x, denoise(x, at), at, noise=noise, snr=self.snr), None

            x, _ = jax.lax.scan(correct, state.x, drawn)
            return jnp.where(arrays.expand(noisy, x) > 0, x, state.x)

        return records.replace(state, x=jax.lax.cond(jnp.any(noisy), settled, lambda: state.x))


@records.record
class _Evaluations:
    predictor: Callable[[int], int] = records.static()
    corrector_steps: int = records.static()

    def __call__(self, steps: int) -> int:
        return self.predictor(steps) + self.corrector_steps * (steps - 1)


def predictor_corrector(predictor: Sampler | None = None, *, corrector_steps: int = 1, snr: Scalar = 0.16) -> Sampler:
    """Each step of a predictor, followed by Langevin steps at the level that it reached (Song et al., 2021b, Algs. 2-5).

    predictor: any sampler, default `ddpm()`, the ancestral one; `euler()` follows the flow. corrector_steps: a fixed int >= 0.
    snr: () >= 0, data under jit: r of Alg. 4, the size of a Langevin step against its noise.

    The algorithms' corrector has no effect at sigma = 0, so that n steps cost those of the predictor and corrector_steps · (n - 1)
    evaluations on a grid that ends clean, corrector_steps · n on one that does not, and under a vmapped count.

    Raises TypeError or ValueError for corrector_steps that are no count, ValueError for a concrete snr that is negative or infinite.
    """
    checks.integer("corrector_steps", corrector_steps)
    checks.in_range("snr", snr, 0.0, math.inf, open_high=True)
    predictor = ancestral.ddpm() if predictor is None else predictor
    cost = _Evaluations(predictor.evaluations, corrector_steps)
    return Sampler(predictor.init, _PredictorCorrector(predictor.step, snr, corrector_steps), evaluations=cost)
