"""Posterior sampling of inverse problems y = A clean + noise: denoisers corrected by a gradient through themselves.

Inverse problems are inpainting, super-resolution, deblurring and whatever else `linear_operators` measures.

The score of x given y is that of x plus the gradient of log p(y | x), which the denoiser's clean prediction
approximates. Added to the score, a gradient g moves noise by -sigma g and clean by sigma²/alpha g, so that
x = alpha * clean + sigma * noise still holds. An evaluation is the network's and one pass back through it.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Scalar
from gendiff.diffusion.editing.linear_operators import LinearOperator
from gendiff.diffusion.types import Denoiser, Level, Prediction


@records.record
class _Dps:
    denoise: Denoiser
    operator: LinearOperator
    measured: ArrayLike
    scale: Scalar

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        prediction, residual, pull = _linearized(self.denoise, self.operator, self.measured, x, level)
        size = arrays.safe_sqrt(jnp.sum(arrays.flatten_samples(residual) ** 2, axis=1))
        slope = -2 * pull(self.operator.adjoint(residual))
        move = arrays.expand(arrays.safe_divide(jnp.asarray(self.scale, size.dtype), size), x) * slope
        alpha, sigma = arrays.expand(level.alpha, x), arrays.expand(level.sigma, x)
        return records.replace(prediction, clean=prediction.clean - sigma * move, noise=prediction.noise + alpha * move)


def dps(
    denoise: Denoiser, operator: LinearOperator, measured: Float[ArrayLike, "b *measured"], scale: Scalar
) -> Denoiser:
    """Correct predictions down the gradient of |y - A clean|, through the network: diffusion posterior sampling.

    With g = scale / |y - A clean| times the gradient of |y - A clean|² by x, norms of each sample by itself, clean
    moves by -sigma g and noise by alpha g: nothing is divided by alpha or sigma. A DDIM step then moves x by -sin(h) g,
    h its angle on the path; the paper moves it by the same -g in each of N steps, which is this on the cosine schedule,
    with a step size of scale · pi / 2N.

    Args:
        denoise: the denoiser.
        operator: A.
        measured: y (b, …), one for each sample. Noise in y is not modelled.
        scale: () or (b,), >= 0. A sensible one grows like the norm of y; x chatters by about 2 scale · sigma at the
            last level before the clean one.

    Raises:
        ValueError: for a concrete negative scale, and where y has not the shape of A clean.

    References:
        Chung et al., 2023, Eq. 16 and Alg. 1 (from memory).
    """
    checks.in_range("scale", scale, 0.0, math.inf, open_high=True)
    checks.floating("measured", measured)
    return _Dps(denoise, operator, measured, scale)


@records.record
class _PiGdm:
    denoise: Denoiser
    operator: LinearOperator
    measured: ArrayLike
    noise_std: Scalar
    data_std: Scalar
    ratio_max: Scalar

    def __call__(self, x: Float[Array, "b *shape"], level: Level) -> Prediction:
        prediction, residual, pull = _linearized(self.denoise, self.operator, self.measured, x, level)
        signal = clean_variance(level, jnp.asarray(self.data_std, x.dtype))
        solved = self.operator.solve(residual, signal, jnp.square(jnp.asarray(self.noise_std, x.dtype)))
        alpha, sigma, ratio_max = (arrays.expand(value, x) for value in (level.alpha, level.sigma, self.ratio_max))
        guided = (alpha > 0) & (sigma <= ratio_max * alpha)
        gradient = jnp.where(guided, pull(self.operator.adjoint(solved)), 0.0)
        clean = prediction.clean + arrays.safe_divide(sigma**2, alpha) * gradient
        return records.replace(prediction, clean=clean, noise=prediction.noise - sigma * gradient)


def pigdm(
    denoise: Denoiser,
    operator: LinearOperator,
    measured: Float[ArrayLike, "b *measured"],
    noise_std: Scalar = 0.0,
    *,
    data_std: Scalar = 1.0,
    ratio_max: Scalar = 200.0,
) -> Denoiser:
    """Correct predictions by pseudo-inverse guidance: p(clean | x) is a Gaussian of variance r² at the prediction.

    Also known as: ΠGDM.

    The score gains the gradient Jᵀ Aᵀ (r² A Aᵀ + noise_std²)⁻¹ (y - A clean), J the network's Jacobian; r² is
    `clean_variance`, the paper's for data_std = 1. For Gaussian data of that std, independent by entry, the result is
    E[clean | x, y], exactly.

    Args:
        denoise: the denoiser.
        operator: A.
        measured: y (b, …), one for each sample.
        noise_std: of y, () or (b,), >= 0.
        data_std: () or (b,), > 0.
        ratio_max: the sigma/alpha beyond which the prediction is left alone. The correction of clean is sigma²/alpha
            times a gradient, and so is the network's error in it. With the exact denoiser `math.inf` will do, and only
            alpha = 0 is left alone.

    Raises:
        ValueError: for concrete numbers outside these ranges, and where y has not the shape of A clean.

    References:
        Song et al., 2023, Eqs. 7-8 (from memory).
    """
    checks.in_range("noise_std", noise_std, 0.0, math.inf, open_high=True)
    checks.in_range("data_std", data_std, 0.0, math.inf, open_low=True, open_high=True)
    checks.in_range("ratio_max", ratio_max, 0.0, math.inf)
    checks.floating("measured", measured)
    return _PiGdm(denoise, operator, measured, noise_std, data_std, ratio_max)


def clean_variance(level: Level, data_std: Scalar = 1.0) -> Array:
    """Compute s² sigma² / (alpha² s² + sigma²), of the level's shape: what x leaves open of clean data of std s.

    References:
        Song et al., 2023, Sec. 3.2 (from memory).
    """
    alpha, sigma, variance = jnp.asarray(level.alpha), jnp.asarray(level.sigma), jnp.square(jnp.asarray(data_std))
    return arrays.safe_divide(variance * sigma**2, alpha**2 * variance + sigma**2)


def _linearized(
    denoise: Denoiser, operator: LinearOperator, measured: ArrayLike, x: jax.Array, level: Level
) -> tuple[Prediction, jax.Array, Callable[[jax.Array], jax.Array]]:
    """The prediction at x, the residual y - A clean, and the map v -> Jᵀ v of clean's Jacobian by x."""

    def clean_of(x: jax.Array) -> tuple[jax.Array, Prediction]:
        prediction = denoise(x, level)
        return prediction.clean, prediction

    _, pull, prediction = jax.vjp(clean_of, x, has_aux=True)
    projected = operator.forward(prediction.clean)
    y = jnp.asarray(measured).astype(x.dtype)
    if y.shape != projected.shape:
        raise ValueError(f"measured has shape {y.shape}, but the samples are measured as {projected.shape}")
    return prediction, y - projected, lambda v: pull(v)[0]
