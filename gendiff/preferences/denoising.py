"""Direct preference optimisation (DPO) of denoisers, from squared errors of pairs of samples."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Metrics, Scalar


def diffusion_dpo(
    winner: Float[ArrayLike, "b"],
    loser: Float[ArrayLike, "b"],
    reference_winner: Float[ArrayLike, "b"],
    reference_loser: Float[ArrayLike, "b"],
    *,
    beta: Scalar,
) -> tuple[Float[Array, ""], Metrics]:
    """Mean of −log sigmoid(β ((reference_winner − winner) − (reference_loser − loser))).

    A denoiser's squared error bounds minus the log-likelihood of a sample up to a constant, so the bracket stands for
    the log-ratio of winner and loser under the policy less that under the reference. A policy equal to the reference
    has the loss log 2.

    Args:
        winner: (b,) squared error of the policy on the preferred sample of each pair, noised to some level. The weight
            of the level and the number of levels are part of it, or of beta.
        loser: (b,) on the other one, at the same level and with the same noise.
        reference_winner: (b,) of the reference on exactly the same noised samples. No gradient passes through it.
        reference_loser: (b,) the same.
        beta: () > 0, data under jit: larger keeps the policy nearer to the reference. With errors that are means over
            coordinates the paper takes 2,000 to 5,000.

    Returns:
        The loss, with metrics `margin`, the mean of the bracket, and `accuracy`, the share of pairs in which it is
        above 0.

    Raises:
        ValueError: for errors of different shapes, and a concrete beta that is not positive.

    References:
        Wallace et al., 2023, Eq. 14 (from memory).
    """
    checks.in_range("beta", beta, 0.0, float("inf"), open_low=True, open_high=True)
    for name, value in (("loser", loser), ("reference_winner", reference_winner), ("reference_loser", reference_loser)):
        checks.same_shape("winner", winner, name, value)
    own_winner, own_loser, fixed_winner, fixed_loser = map(
        arrays.widened, (winner, loser, reference_winner, reference_loser)
    )
    margin = jax.lax.stop_gradient(fixed_winner) - own_winner - (jax.lax.stop_gradient(fixed_loser) - own_loser)
    loss = jnp.mean(jax.nn.softplus(-jnp.asarray(beta, margin.dtype) * margin))
    return loss, {"margin": jnp.mean(margin), "accuracy": jnp.mean((margin > 0).astype(margin.dtype))}
