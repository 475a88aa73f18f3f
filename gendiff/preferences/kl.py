"""KL of a policy and its reference: estimates from samples, and a weight of the KL penalty that follows a target."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Shaped

from gendiff.core import arrays, checks, records
from gendiff.core.types import ArrayLike, Scalar
from gendiff.preferences import masked


class KlEstimates(NamedTuple):
    """Three estimates of KL(policy ‖ reference) at each step, of actions that the policy drew.

    Attributes:
        k1: −log r, where r = reference / policy. Unbiased; single ones may be negative, and so may their mean.
        k2: (log r)² / 2. Biased where both differ much; never negative.
        k3: r − 1 − log r. Unbiased and never negative.
    """

    k1: jax.Array
    k2: jax.Array
    k3: jax.Array


def kl_estimates(
    log_probs: Float[ArrayLike, "b s"], reference: Float[ArrayLike, "b s"], mask: Shaped[ArrayLike, "b s"]
) -> KlEstimates:
    """Estimate KL(policy ‖ reference) from actions of the policy.

    Sum each over the steps of a sample and average over samples (`masked.total`) for the KL of whole samples. As terms
    of a loss they differ: the mean gradient of k2 is that of KL(policy ‖ reference), that of k3 is that of KL(reference
    ‖ policy), and that of k1 is 0.

    Args:
        log_probs: (b, s) of the actions by the policy that drew them, temperature and truncation included. A policy
            that drew from fewer actions than these log-probabilities tell makes every estimate wrong, negative means
            among them.
        reference: (b, s) of the same actions.
        mask: (b, s) not 0 where the policy acted; the estimates are 0 elsewhere.

    Raises:
        ValueError: for different shapes.

    References:
        Schulman, "Approximating KL divergence", 2020 (from memory).
    """
    masked.acted(mask, log_probs=log_probs, reference=reference)
    log_r = masked.zeroed(reference, mask) - masked.zeroed(log_probs, mask)
    return KlEstimates(-log_r, jnp.square(log_r) / 2, jnp.expm1(log_r) - log_r)


@records.record
class AdaptiveBeta:
    """A weight of the KL penalty that keeps KL near a target. Built by `adaptive_beta`; its numbers are data under jit.

    Attributes:
        value: () the weight β now.
        target: () KL per sample, in nats.
        rate: () how fast the weight follows.
        limit: () the largest relative error that counts.
    """

    value: jax.Array
    target: jax.Array
    rate: jax.Array
    limit: jax.Array

    def update(self, kl: Scalar) -> "AdaptiveBeta":
        """Return the controller after one more batch: β grows where KL was above the target, else shrinks.

        Args:
            kl: () mean KL per sample of the batch, in nats. One that is not finite changes nothing.

        References:
            Ziegler et al., 2019, section 2.2 (from memory): β ← β (1 + rate · clip(kl / target − 1, ±limit)).
        """
        value, target = (jnp.asarray(number, jnp.result_type(float)) for number in (self.value, self.target))
        measured = jax.lax.stop_gradient(jnp.asarray(kl, value.dtype))
        error = jnp.clip(measured / target - 1, -self.limit, self.limit)
        return records.replace(self, value=value * jnp.where(jnp.isfinite(measured), 1 + self.rate * error, 1))


def adaptive_beta(value: Scalar, *, target: Scalar, rate: Scalar = 0.1, limit: Scalar = 0.2) -> AdaptiveBeta:
    """Build the controller before the first batch.

    Args:
        value: () the first weight β, above 0.
        target: () KL per sample to keep, above 0, in nats.
        rate: () above 0; with the largest error it changes β by rate · limit per batch.
        limit: () in (0, 1): the relative error that counts as the largest.

    Raises:
        ValueError: for numbers outside these ranges, and a product rate · limit of 1 or more, with which β could fall
            to 0.

    References:
        Ziegler et al., 2019, section 2.2, where rate is 0.1 and limit 0.2 (from memory).
    """
    for name, number in (("value", value), ("target", target), ("rate", rate)):
        checks.in_range(name, number, 0.0, float("inf"), open_low=True, open_high=True)
    checks.in_range("limit", limit, 0.0, 1.0, open_low=True, open_high=True)
    if arrays.is_concrete(rate) and arrays.is_concrete(limit) and not float(rate) * float(limit) < 1:
        raise ValueError(
            f"rate = {float(rate):g} times limit = {float(limit):g} must be below 1: one batch could make β 0 or "
            "negative"
        )
    return AdaptiveBeta(*(jnp.asarray(number, jnp.result_type(float)) for number in (value, target, rate, limit)))
