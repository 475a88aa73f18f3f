"""Ancestral samplers: DDPM and DDIM, as bare steps on arrays and as Samplers.

From a level to a cleaner one (primed), q = sigma' alpha / (sigma alpha') = exp(-h), h half the gain in log-SNR.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, trees
from gendiff.core.types import ArrayLike, Count, Denoiser, Keys, Level, Prediction, Scalar
from gendiff.diffusion import process, sampling
from gendiff.diffusion.sampling import Sampler, State


def ancestral_std(level: Level, cleaner: Level) -> Array:
    """sigma' sqrt(1 - q²), of the levels' shape: the posterior's standard deviation (Song et al., 2021, Eq. 16, eta = 1)."""
    return cleaner.sigma * arrays.safe_sqrt(_fresh_share(level, cleaner))


def ddim_step(
    prediction: Prediction, level: Level, cleaner: Level, *, eta: Scalar = 0.0, noise: Float[ArrayLike, "..."] | None = None
) -> Float[Array, "b *shape"]:
    """alpha' · clean + sigma' sqrt(1 - eta² (1 - q²)) · predicted noise + eta · ancestral_std · noise (Song et al., 2021, Eq. 12).

    noise: standard normal (b, …), needed unless eta is 0. Without division by alpha: any process, zero terminal SNR included.
    """
    checks.in_range("eta", eta, 0.0, 1.0)
    clean = prediction.clean
    if noise is None:
        if not _is_zero(eta):
            raise ValueError(f"ddim_step with eta = {eta} adds noise: pass noise of shape {clean.shape}")
        return arrays.expand(cleaner.alpha, clean) * clean + arrays.expand(cleaner.sigma, clean) * prediction.noise
    checks.same_shape("prediction.clean", clean, "noise", noise)
    q, share = arrays.expand(_quotient(level, cleaner), clean), arrays.expand(_fresh_share(level, cleaner), clean)
    eta = arrays.expand(eta, clean)
    kept = arrays.safe_sqrt((1 - eta) * (1 + eta) + (eta * q) ** 2) * prediction.noise  # 1 - eta² (1 - q²), without its cancellation
    return arrays.expand(cleaner.alpha, clean) * clean + arrays.expand(cleaner.sigma, clean) * (
        kept + eta * arrays.safe_sqrt(share) * noise
    )


def ddpm_step(
    x: Float[ArrayLike, "b *shape"],
    prediction: Prediction,
    level: Level,
    cleaner: Level,
    *,
    noise: Float[ArrayLike, "..."],
    variance: str = "small",
) -> Float[Array, "b *shape"]:
    """A draw from q(x_s | x_t, x_0 = predicted clean) (Ho et al., 2020, Eqs. 6-7 and 11), on any sub-grid of the chain.

    variance: "small" is the posterior's, exact for a point mass; "large" is the chain's own sigma² - r² sigma'², exact for unit-Gaussian
    data (Ho et al., 2020, Sec. 3.2). A step to sigma' = 0 adds no noise.
    """
    checks.choice("variance", variance, ("small", "large"))
    checks.same_shape("x", x, "noise", noise)
    mean, std = process.posterior(x, prediction.clean, level, cleaner)
    if variance == "large":
        to_sigma = arrays.expand(cleaner.sigma, x)
        std = jnp.where(to_sigma > 0, process.added_std(cleaner, level, x), 0.0)
    return mean + std * noise


@trees.record
class _Ddim:
    eta: Scalar

    def __call__(self, keys: Keys, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        prediction = denoise(state.x, level)
        if _is_zero(self.eta):
            return State(ddim_step(prediction, level, cleaner))
        return State(ddim_step(prediction, level, cleaner, eta=self.eta, noise=arrays.normal(keys, like=state.x)))


def ddim(eta: Scalar = 0.0) -> Sampler:
    """First-order sampler (Song et al., 2021, Eq. 12): eta = 0 follows the probability flow, eta = 1 is DDPM.

    Holds for any process x = alpha * clean + sigma * noise. eta: () in [0, 1], data under jit. One evaluation a step.
    Raises ValueError for a concrete eta outside [0, 1].
    """
    checks.in_range("eta", eta, 0.0, 1.0)
    return Sampler(sampling.start, _Ddim(eta))


@trees.record
class _Ddpm:
    variance: str = trees.static()

    def __call__(self, keys: Keys, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        noise = arrays.normal(keys, like=state.x)
        return State(ddpm_step(state.x, denoise(state.x, level), level, cleaner, noise=noise, variance=self.variance))


def ddpm(variance: str = "small") -> Sampler:
    """Ancestral sampling of the reverse chain (Ho et al., 2020, Alg. 2), on any sub-grid. One evaluation a step.

    variance: "small" or "large", as in `ddpm_step`.
    """
    checks.choice("variance", variance, ("small", "large"))
    return Sampler(sampling.start, _Ddpm(variance))


def _is_zero(eta: Scalar) -> bool:
    return arrays.is_concrete(eta) and bool(np.all(np.asarray(eta) == 0))  # by NumPy, as under a trace JAX would answer a tracer


def _quotient(level: Level, cleaner: Level) -> Array:
    return arrays.safe_divide(cleaner.sigma * level.alpha, level.sigma * cleaner.alpha)


def _fresh_share(level: Level, cleaner: Level) -> Array:
    """1 - q²: the share of the cleaner level's variance that full ancestral sampling draws afresh."""
    q = _quotient(level, cleaner)
    return (1 - q) * (1 + q)
