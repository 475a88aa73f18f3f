"""Ancestral samplers: DDPM and DDIM, as bare steps on arrays and as Samplers.

From a level to a cleaner one (primed), q = sigma' alpha / (sigma alpha') = exp(-h), h half the gain in log-SNR.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Count, Scalar
from gendiff.diffusion import denoiser, process
from gendiff.diffusion.sampling import Noise, Sampler, State
from gendiff.diffusion.types import Denoiser, Level, Prediction

VARIANCES = ("small", "large", "learned")


def ancestral_std(level: Level, cleaner: Level) -> Array:
    """The posterior's std sigma' sqrt(1 - q²), of the levels' shape (Song et al., 2021, Eq. 16, eta = 1)."""
    std: Array = cleaner.sigma * arrays.safe_sqrt(_fresh_share(level, cleaner))
    return std


def split_noise(level: Level, cleaner: Level, eta: Scalar) -> tuple[Array, Array]:
    """How much predicted and how much fresh noise a step has, both of the levels' shape.

    They are sigma' sqrt(1 - eta² (1 - q²)) and eta sigma' sqrt(1 - q²). Their squares add up to sigma'². Equal to
    sigma' and 0, bit for bit, for eta = 0.
    """
    q = _quotient(level, cleaner)
    eta = jnp.asarray(eta).astype(q.dtype)
    predicted = arrays.safe_sqrt((1 - eta) * (1 + eta) + (eta * q) ** 2)  # 1 - eta² (1 - q²), without its cancellation
    return cleaner.sigma * predicted, eta * ancestral_std(level, cleaner)


def ddim_step(
    prediction: Prediction,
    level: Level,
    cleaner: Level,
    *,
    eta: Scalar = 0.0,
    noise: Float[ArrayLike, "..."] | None = None,
) -> Float[Array, "b *shape"]:
    """Alpha' · clean + sigma' sqrt(1 - eta² (1 - q²)) · predicted noise + eta · ancestral_std · noise.

    Nothing is divided by alpha: it holds for any process, zero terminal SNR included.

    Args:
        prediction: of the denoiser at the level.
        level: where the step begins, () or (b,).
        cleaner: where it ends.
        eta: () or (b,) in [0, 1].
        noise: standard normal (b, …), needed unless eta is 0.

    Raises:
        ValueError: for a concrete eta outside [0, 1], and for an eta that is not 0 without noise.

    References:
        Song et al., 2021, Eq. 12.
    """
    checks.in_range("eta", eta, 0.0, 1.0)
    clean = prediction.clean
    if noise is None:
        if not is_zero(eta):
            raise ValueError(f"ddim_step with eta = {eta} adds noise: pass noise of shape {clean.shape}")
        return arrays.expand(cleaner.alpha, clean) * clean + arrays.expand(cleaner.sigma, clean) * prediction.noise
    checks.same_shape("prediction.clean", clean, "noise", noise)
    q, share = arrays.expand(_quotient(level, cleaner), clean), arrays.expand(_fresh_share(level, cleaner), clean)
    eta = arrays.expand(eta, clean)
    # 1 - eta² (1 - q²), without its cancellation
    predicted = arrays.safe_sqrt((1 - eta) * (1 + eta) + (eta * q) ** 2) * prediction.noise
    return arrays.expand(cleaner.alpha, clean) * clean + arrays.expand(cleaner.sigma, clean) * (
        predicted + eta * arrays.safe_sqrt(share) * noise
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
    """A draw from q(x_s | x_t, x_0 = predicted clean), on any sub-grid of the chain.

    A step to sigma' = 0 adds no noise.

    Args:
        x: (b, …) at `level`.
        prediction: of the denoiser at x.
        level: where the step begins, () or (b,).
        cleaner: where it ends.
        noise: standard normal (b, …).
        variance: "small" is the posterior's, exact for a point mass; "large" is the chain's own sigma² - r² sigma'²,
            exact for unit-Gaussian data; "learned" lies between the logarithms of both where the network says, in
            `prediction.variance_share`.

    Raises:
        ValueError: for another variance, or "learned" without that share.

    References:
        Ho et al., 2020, Eqs. 6-7, 11 and Sec. 3.2.
    """
    checks.choice("variance", variance, VARIANCES)
    checks.same_shape("x", x, "noise", noise)
    mean, std = process.posterior(x, prediction.clean, level, cleaner)
    if variance == "large":
        std = _noisy(process.added_std(cleaner, level, x), cleaner)
    if variance == "learned":
        std = learned_std(prediction, level, cleaner)
    return mean + std * noise


def learned_std(prediction: Prediction, level: Level, cleaner: Level) -> Float[Array, "b *shape"]:
    """The std exp((v log large + (1 - v) log small) / 2), v = `variance_share` (Nichol & Dhariwal, 2021, Eq. 15).

    "small" and "large" are those of `ddpm_step` for this very step, so it holds on any sub-grid;
    small = large · (sigma'/sigma)². 0 where sigma' = 0. Raises ValueError if the prediction has no share or one of
    another shape.
    """
    share, clean = denoiser.variance_share(prediction), prediction.clean
    ratio = arrays.safe_divide(arrays.expand(cleaner.sigma, clean), arrays.expand(level.sigma, clean))
    shrink = jnp.exp((1 - share) * jnp.log(jnp.where(ratio > 0, ratio, 1.0)))
    return _noisy(process.added_std(cleaner, level, clean) * shrink, cleaner)


@records.record
class Ddim(Sampler):
    """First-order sampler: eta = 0 follows the probability flow, eta = 1 is DDPM. Built by `ddim`."""

    eta: Scalar

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        prediction = denoise(state.x, level)
        if is_zero(self.eta):
            return State(ddim_step(prediction, level, cleaner))
        return State(ddim_step(prediction, level, cleaner, eta=self.eta, noise=noise(state.x)))


def ddim(eta: Scalar = 0.0) -> Ddim:
    """DDIM, the first-order sampler: eta = 0 follows the probability flow, eta = 1 is DDPM.

    Also known as: denoising diffusion implicit models; at eta = 0, Euler's method on the probability-flow ODE.

    Holds for any process x = alpha * clean + sigma * noise. One evaluation per step.

    Args:
        eta: () in [0, 1], data under jit.

    Raises:
        ValueError: for a concrete eta outside [0, 1].

    References:
        Song et al., 2021, Eq. 12.
    """
    checks.in_range("eta", eta, 0.0, 1.0)
    return Ddim(eta)


@records.record
class Ddpm(Sampler):
    """Ancestral sampling of the reverse chain. Built by `ddpm`."""

    variance: str = records.static()

    def step(self, noise: Noise, denoise: Denoiser, state: State, level: Level, cleaner: Level, left: Count) -> State:
        """One step, as `Sampler.step` says."""
        fresh = noise(state.x)
        return State(ddpm_step(state.x, denoise(state.x, level), level, cleaner, noise=fresh, variance=self.variance))


def ddpm(variance: str = "small") -> Ddpm:
    """Ancestral sampling of the reverse chain, on any sub-grid. One evaluation per step.

    Also known as: DDPM.

    Args:
        variance: "small", "large" or "learned", as in `ddpm_step`; the last needs a denoiser built with
            `learned_variance=True`.

    Raises:
        ValueError: for another variance.

    References:
        Ho et al., 2020, Alg. 2.
    """
    checks.choice("variance", variance, VARIANCES)
    return Ddpm(variance)


def is_zero(eta: Scalar) -> bool:
    """Whether the value is known to be 0, so that a step need not draw noise."""
    # by NumPy, as under a trace JAX would answer a tracer
    return arrays.is_concrete(eta) and bool(np.all(np.asarray(eta) == 0))


def _noisy(std: Array, cleaner: Level) -> Array:
    """The standard deviation, but 0 where the step ends at sigma = 0."""
    return jnp.where(arrays.expand(cleaner.sigma, std) > 0, std, 0.0)


def _quotient(level: Level, cleaner: Level) -> Array:
    return arrays.safe_divide(cleaner.sigma * level.alpha, level.sigma * cleaner.alpha)


def _fresh_share(level: Level, cleaner: Level) -> Array:
    """1 - q²: the share of the cleaner level's variance that full ancestral sampling draws afresh."""
    q = _quotient(level, cleaner)
    return (1 - q) * (1 + q)
