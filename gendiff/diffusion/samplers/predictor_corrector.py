"""Predictor-corrector: a step to a cleaner level, then Langevin steps that settle x there."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Scalar
from gendiff.diffusion import sampling
from gendiff.diffusion.samplers import ancestral
from gendiff.diffusion.sampling import InnerNoise, Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction


def langevin_step(
    x: Float[ArrayLike, "b *shape"],
    prediction: Prediction,
    level: Level,
    *,
    noise: Float[ArrayLike, "..."],
    snr: Scalar,
) -> Float[Array, "b *shape"]:
    """The step x + e · score + sqrt(2e) · noise with e = 2 (snr · |noise| / |score|)², norms of each sample by itself.

    Also known as: Langevin dynamics (the corrector).

    With score = -prediction.noise / sigma that is x - d sigma · prediction.noise + sigma sqrt(2d) · noise, with d = 2
    (snr · |noise| / |prediction.noise|)²: nothing divides by sigma, and x stays where sigma = 0. It means the same for
    every process, since x, noise and score scale together; Alg. 5 for the variance-preserving chain differs by a factor
    1 - beta_t on d. d is held at 1 at most, where a step on pure noise forgets x: that matters for samples of a few
    dimensions only, in which the quotient of the norms has no mean.

    Args:
        x: (b, …) at `level`.
        prediction: of the denoiser at x.
        level: of x, () or (b,).
        noise: standard normal (b, …).
        snr: () or (b,), >= 0, the size of the step against its noise.

    References:
        Song et al., 2021b, Alg. 4.
    """
    checks.same_shape("x", x, "noise", noise)
    strength, noises = (jnp.sum(arrays.flatten_samples(field) ** 2, axis=1) for field in (prediction.noise, noise))
    ratio = jnp.asarray(snr).astype(noises.dtype) * arrays.safe_sqrt(arrays.safe_divide(noises, strength))
    ratio = jnp.minimum(ratio, math.sqrt(0.5))  # d = 2 ratio², and sqrt(2d) = 2 ratio has the right slope at snr = 0
    sigma, ratio = arrays.expand(level.sigma, x), arrays.expand(ratio, x)
    return jnp.asarray(x) - sigma * 2 * ratio**2 * prediction.noise + sigma * 2 * ratio * noise


@records.record
class PredictorCorrector(Sampler):
    """A step of a predictor, then Langevin steps.

    Built by `predictor_corrector`. The predictor draws within part 1 of a step.
    """

    predictor: Sampler
    snr: Scalar
    corrector_steps: int = records.static()

    def init(self, x: Float[Array, "b *shape"]) -> State:
        """The predictor's."""
        return self.predictor.init(x)

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        state = self.predictor.step(InnerNoise(noise, 1), denoise, state, level, cleaner, left)
        noises = [noise(state.x, 2 + j) for j in range(self.corrector_steps)]
        noisy = jnp.asarray(cleaner.sigma) > 0

        def corrected() -> Array:
            # finite where vmap runs this anyway
            at = jax.tree.map(lambda there, here: jnp.where(noisy, there, here), cleaner, level)

            def correct(x: Array, fresh: Array) -> tuple[Array, None]:
                return langevin_step(x, denoise(x, at), at, noise=fresh, snr=self.snr), None

            x, _ = jax.lax.scan(correct, state.x, jnp.stack(noises))
            return jnp.where(arrays.expand(noisy, x) > 0, x, state.x)

        if not noises:
            return state
        return records.replace(state, x=jax.lax.cond(jnp.any(noisy), corrected, lambda: state.x))

    def evaluations(self, steps: int) -> int:
        """Those of the predictor, and one per Langevin step, of which the last step, which ends clean, makes none."""
        return self.predictor.evaluations(steps) + self.corrector_steps * (steps - 1)


def predictor_corrector(
    predictor: Sampler | None = None, *, corrector_steps: int = 1, snr: Scalar = 0.16
) -> PredictorCorrector:
    """Each step of a predictor, followed by Langevin steps at the level that it reached.

    The algorithms' corrector has no effect at sigma = 0, so that n steps cost those of the predictor and
    corrector_steps · (n - 1) evaluations on a grid that ends clean, corrector_steps · n on one that does not, and under
    a vmapped count.

    Args:
        predictor: any sampler that draws from its keys, default `ddpm()`, the ancestral one; `euler()` follows the
            flow.
        corrector_steps: a fixed int >= 0.
        snr: () >= 0, data under jit: r of Alg. 4, the size of a Langevin step against its noise.

    Raises:
        TypeError: for corrector_steps that are no count, and for a predictor with another source of noise, such as
            `fixed_path`.
        ValueError: for negative corrector_steps, and for a concrete snr that is negative or infinite.

    References:
        Song et al., 2021b, Algs. 2-5.
    """
    checks.integer("corrector_steps", corrector_steps)
    checks.in_range("snr", snr, 0.0, math.inf, open_high=True)
    predictor = ancestral.ddpm() if predictor is None else predictor
    sampling.check_no_noise_source("predictor", predictor)
    return PredictorCorrector(predictor, snr, corrector_steps)
