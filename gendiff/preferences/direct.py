"""Policies from preferences without a reward model: a policy's own log-ratio to its reference, times β, is the reward.

The inputs are log-probabilities of whole samples: the policy's, which learn, and those of the frozen reference.
`sequence_log_probs` sums them over steps.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Metrics, Scalar
from gendiff.preferences import masked


def sequence_log_probs(
    log_probs: Float[ArrayLike, "b s"], mask: Shaped[ArrayLike, "b s"], *, per_step: bool = False
) -> Float[Array, "b"]:
    """Log-probability of each sample: the sum over the steps at which the policy acted.

    Args:
        log_probs: (b, s) of each action, given those before it.
        mask: (b, s) not 0 where the policy acted: a response, its end included, and not its prompt. What stands
            elsewhere is never read.
        per_step: divide by the number of steps, so that long responses weigh no more; `ipo` is often used so.

    Raises:
        ValueError: for different shapes.
    """
    acted = masked.acted(mask, log_probs=log_probs)
    sums = masked.total(log_probs, mask)
    return arrays.safe_divide(sums, jnp.sum(acted, 1).astype(sums.dtype)) if per_step else sums


def dpo(
    chosen: Float[ArrayLike, "b"],
    rejected: Float[ArrayLike, "b"],
    reference_chosen: Float[ArrayLike, "b"],
    reference_rejected: Float[ArrayLike, "b"],
    *,
    beta: Scalar,
    label_smoothing: Scalar = 0.0,
) -> tuple[Float[Array, ""], Metrics]:
    """Direct preference optimisation (DPO): mean of −log logistic(h).

    h is β (log π/π_ref of the chosen answer − that of the rejected one). Where preferences follow Bradley and Terry's
    law for a reward R, the least loss is at π ~ π_ref exp(R / β), the optimum of E[R] − β KL(π ‖ π_ref).

    Args:
        chosen: (b,) log-probabilities by the policy that learns.
        rejected: (b,) of the other answers to the same prompts.
        reference_chosen: (b,) by the reference; no gradient passes.
        reference_rejected: (b,) by the reference.
        beta: () above 0, data under jit.
        label_smoothing: () in [0, 0.5): the probability that a label is wrong, which bounds h.

    Returns:
        The loss (), and metrics (see `ipo`).

    Raises:
        ValueError: for different shapes, and concrete numbers outside their ranges.

    References:
        Rafailov et al., 2023, Eq. 7; Mitchell, 2023, for label smoothing (from memory).
    """
    checks.in_range("label_smoothing", label_smoothing, 0.0, 0.5, open_high=True)
    first, second = _rewards(beta, chosen, rejected, reference_chosen, reference_rejected)
    margin, wrong = first - second, jnp.asarray(label_smoothing, first.dtype)
    loss = (1 - wrong) * jax.nn.softplus(-margin) + wrong * jax.nn.softplus(margin)
    return jnp.mean(loss), _metrics(first, second)


def ipo(
    chosen: Float[ArrayLike, "b"],
    rejected: Float[ArrayLike, "b"],
    reference_chosen: Float[ArrayLike, "b"],
    reference_rejected: Float[ArrayLike, "b"],
    *,
    beta: Scalar,
) -> tuple[Float[Array, ""], Metrics]:
    """Identity preference optimisation (IPO): mean of (h / β − 1 / (2β))², with h as in `dpo`.

    The squared distance from a fixed margin keeps h finite even where one answer always wins, which `dpo` does not.

    Args:
        chosen: (b,) log-probabilities by the policy that learns.
        rejected: (b,) of the other answers to the same prompts.
        reference_chosen: (b,) by the reference; no gradient passes.
        reference_rejected: (b,) by the reference.
        beta: () above 0, data under jit.

    Returns:
        The loss (), and metrics: `chosen_reward` and `rejected_reward`, the means of β log π/π_ref; `margin`, the mean
        of h; `accuracy`, the share of pairs with h > 0, where h = 0 is half a pair.

    Raises:
        ValueError: for different shapes, and a concrete beta that is not above 0.

    References:
        Azar et al., 2023, Eq. 17 (from memory).
    """
    first, second = _rewards(beta, chosen, rejected, reference_chosen, reference_rejected)
    weight = jnp.asarray(beta, first.dtype)
    return jnp.mean(jnp.square((first - second) / weight - 1 / (2 * weight))), _metrics(first, second)


def kto(
    chosen: Float[ArrayLike, "n"],
    rejected: Float[ArrayLike, "m"],
    reference_chosen: Float[ArrayLike, "n"],
    reference_rejected: Float[ArrayLike, "m"],
    *,
    beta: Scalar,
    point: Scalar = 0.0,
    chosen_weight: Scalar = 1.0,
    rejected_weight: Scalar = 1.0,
) -> tuple[Float[Array, ""], Metrics]:
    """Kahneman-Tversky optimisation (KTO): each answer is good or bad by itself, and needs no pair.

    The loss is the mean over all n + m answers of w (1 − logistic(β (r − z))) for good ones and w (1 − logistic(β
    (z − r))) for bad ones, where r = log π/π_ref and z is the reference point.

    Args:
        chosen: (n,) log-probabilities of good answers by the policy that learns.
        rejected: (m,) of bad ones; n and m may differ.
        reference_chosen: (n,) by the reference; no gradient passes.
        reference_rejected: (m,) by the reference.
        beta: () above 0, data under jit.
        point: () z, at least 0, as `reference_point` estimates it; no gradient passes.
        chosen_weight: () w of good answers, at least 0. n · chosen_weight near m · rejected_weight balances unequal
            numbers.
        rejected_weight: () w of bad answers, at least 0.

    Returns:
        The loss (), and metrics `chosen_reward`, `rejected_reward`: the means of β r.

    Raises:
        ValueError: for different shapes, and concrete numbers outside their ranges.

    References:
        Ethayarajh et al., 2024, Eq. 8 (from memory).
    """
    for name, number in (("point", point), ("chosen_weight", chosen_weight), ("rejected_weight", rejected_weight)):
        checks.in_range(name, number, 0.0, float("inf"), open_high=True)
    checks.in_range("beta", beta, 0.0, float("inf"), open_low=True, open_high=True)
    good = _log_ratio("chosen", chosen, "reference_chosen", reference_chosen)
    bad = _log_ratio("rejected", rejected, "reference_rejected", reference_rejected)
    weight, shift, *weights = (
        jnp.asarray(number, good.dtype) for number in (beta, point, chosen_weight, rejected_weight)
    )
    good, bad, shift = weight * good, weight * bad, weight * jax.lax.stop_gradient(shift)
    lost = jnp.concatenate([weights[0] * jax.nn.sigmoid(shift - good), weights[1] * jax.nn.sigmoid(bad - shift)])
    return jnp.mean(lost), jax.lax.stop_gradient({"chosen_reward": _mean(good), "rejected_reward": _mean(bad)})


def reference_point(log_probs: Float[ArrayLike, "b"], reference: Float[ArrayLike, "b"]) -> Float[Array, ""]:
    """The reference point of `kto`: max(0, mean log π/π_ref) of answers to other prompts, without a gradient.

    Args:
        log_probs: (b,) by the policy of answers beside prompts to which they were not given, such as the batch's
            answers moved by one.
        reference: (b,) of the same by the reference.

    Raises:
        ValueError: for different shapes.

    References:
        Ethayarajh et al., 2024, section 4.1 (from memory).
    """
    return jax.lax.stop_gradient(jnp.maximum(_mean(_log_ratio("log_probs", log_probs, "reference", reference)), 0))


def _rewards(
    beta: Scalar, chosen: ArrayLike, rejected: ArrayLike, *reference: ArrayLike
) -> tuple[jax.Array, jax.Array]:
    checks.in_range("beta", beta, 0.0, float("inf"), open_low=True, open_high=True)
    checks.same_shape("chosen", chosen, "rejected", rejected)
    first = _log_ratio("chosen", chosen, "reference_chosen", reference[0])
    second = _log_ratio("rejected", rejected, "reference_rejected", reference[1])
    weight = jnp.asarray(beta, first.dtype)
    return weight * first, weight * second


def _log_ratio(name: str, log_probs: ArrayLike, reference_name: str, reference: ArrayLike) -> jax.Array:
    checks.same_shape(name, log_probs, reference_name, reference)
    if len(log_probs.shape) != 1:  # a column and a row would broadcast to all pairs
        raise ValueError(
            f"{name} has shape {log_probs.shape}, but log-probabilities are (b,), one per sample: see "
            "sequence_log_probs"
        )
    dtype = arrays.at_least_float32(jnp.promote_types(log_probs.dtype, reference.dtype))
    return jnp.asarray(log_probs).astype(dtype) - jax.lax.stop_gradient(jnp.asarray(reference).astype(dtype))


def _metrics(first: jax.Array, second: jax.Array) -> Metrics:
    right = (jnp.sign(first - second) + 1) / 2
    values = {"chosen_reward": first, "rejected_reward": second, "margin": first - second, "accuracy": right}
    return jax.lax.stop_gradient({name: jnp.mean(value) for name, value in values.items()})


def _mean(values: jax.Array) -> jax.Array:
    """The mean (), 0 of none."""
    return jnp.sum(values) / max(values.shape[0], 1)
