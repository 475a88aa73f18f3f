"""DEIS: the multistep stepper in noise form, with polynomials in log(sigma/alpha) or in sigma/alpha."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from gendiff.core import checks
from gendiff.core.types import Numeric
from gendiff.diffusion.samplers import exponential_integrators
from gendiff.diffusion.samplers.dpm_solver_multistep import STARTS, Coefficients, Multistep
from gendiff.diffusion.types import Level, Prediction


def deis(
    order: int = 3, *, variable: str = "log_ratio", start: str = "corrected", lower_order_final: bool = False
) -> Multistep:
    """DEIS, the exponential Adams-Bashforth method for the noise prediction. One evaluation per step.

    The paper's t-AB, a polynomial in the time of one schedule, is not offered.

    Args:
        order: 1 (DDIM) … 4, the number of predictions in use once there is history.
        variable: what the polynomial runs in. "log_ratio" is log(sigma/alpha), as in diffusers; "ratio" is sigma/alpha,
            the paper's rho-AB, also known as LMS.
        start: for orders above 2. "plain" is DDIM, as published, and the error ends at order 2; "corrected" lets the
            second evaluation correct the first step, by clean predictions, and the error ends at order 3.
        lower_order_final: whether the k-th last step has at most order k.

    Raises:
        ValueError: for another order, variable or start.

    References:
        Zhang & Chen, 2023, Secs. 3-4.
    """
    checks.integer("order", order, 1, 4)
    checks.choice("variable", variable, VARIABLES)
    checks.choice("start", start, STARTS)
    correct = "first" if start == "corrected" and order > 2 else "never"
    return Multistep(VARIABLES[variable], order, correct, lower_order_final)


def noise(prediction: Prediction) -> Array:
    """The prediction that the noise form integrates."""
    return prediction.noise


def sigma(level: Level) -> Numeric:
    """What multiplies the integral over log(sigma/alpha)."""
    return level.sigma


def minus_sigma(level: Level) -> Numeric:
    """Where x is fixed, alpha · clean moves by -sigma · noise."""
    return -level.sigma


def ratio(position: Float[Array, "b"], here: Float[Array, "b"]) -> Float[Array, "b"]:
    """Distances in sigma/alpha = exp(-position), without cancellation between near ones."""
    return jnp.exp(-here) * jnp.expm1(here - position)


def powers(
    step: Float[Array, "*b"], rate: exponential_integrators.Rate, others: Int[Array, "*b"], count: int
) -> list[Array]:
    """M_k = ∫_0^h s^k ds = h^(k+1) / (k+1): in x/alpha and sigma/alpha the kernel is constant."""
    return [step ** (k + 1) / (k + 1) for k in range(1, count + 1)]


VARIABLES = {
    "log_ratio": Coefficients(noise, scale=sigma, rate=-1.0, change=minus_sigma),
    "ratio": Coefficients(noise, ratio, rule=powers, change=minus_sigma),
}
