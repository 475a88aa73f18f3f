"""The clipped policy gradient of PPO and its critic's loss, over (samples, steps) of tokens or of a denoiser."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Metrics, Scalar
from gendiff.preferences import masked

LARGEST_LOG_RATIO = 20.0
"""Ratios are kept within exp(±20), so that they and their gradients stay finite in float32."""


def clipped_policy_gradient(
    log_probs: Float[ArrayLike, "b s"],
    old: Float[ArrayLike, "b s"],
    advantages: Float[ArrayLike, "b #s"],
    mask: Shaped[ArrayLike, "b s"],
    clip: Scalar,
    *,
    average: str = "steps",
) -> tuple[Float[Array, ""], Metrics]:
    """Mean of −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), where ρ = exp(log_probs − old).

    On the first pass ρ is 1, and the gradient is that of REINFORCE with the same advantages. Both log-probabilities
    must be of the distribution that was sampled: the same temperature and truncation on both sides.

    Args:
        log_probs: (b, s) of the actions by the policy that learns.
        old: (b, s) of the same actions by the policy that drew them; no gradient passes.
        advantages: (b, s), or (b, 1) for one per sample; no gradient passes.
        mask: (b, s) not 0 where the policy acted. What stands elsewhere is never read.
        clip: () ε above 0, data under jit.
        average: over "steps", "samples" or "length" (see `masked.mean`): PPO's, GRPO's and Dr. GRPO's.

    Returns:
        The loss (), and metrics over steps: `ratio`, the mean of ρ; `clip_fraction`, the share of steps whose gradient
        the clip takes away; `kl`, the k3 estimate of KL(old ‖ new) per step.

    Raises:
        ValueError: for different shapes, a concrete clip that is not above 0, and an unknown average.

    References:
        Schulman et al., 2017, Eq. 7; Shao et al., 2024, Eq. 3; Liu et al., 2025, section 3.1 (from memory).
    """
    checks.in_range("clip", clip, 0.0, float("inf"), open_low=True)
    checks.choice("average", average, masked.AVERAGES)
    masked.acted(mask, log_probs=log_probs, old=old)
    if advantages.shape not in (mask.shape, (mask.shape[0], 1)):
        raise ValueError(
            f"advantages has shape {advantages.shape}: {mask.shape} is needed, or ({mask.shape[0]}, 1), one per sample"
        )
    advantage = jax.lax.stop_gradient(masked.zeroed(jnp.broadcast_to(jnp.asarray(advantages), mask.shape), mask))
    log_ratio = masked.zeroed(log_probs, mask) - jax.lax.stop_gradient(masked.zeroed(old, mask))
    log_ratio = jnp.clip(log_ratio, -LARGEST_LOG_RATIO, LARGEST_LOG_RATIO)
    ratio = jnp.exp(log_ratio)
    room = jnp.asarray(clip, ratio.dtype)
    free, held = ratio * advantage, jnp.clip(ratio, 1 - room, 1 + room) * advantage
    metrics = {
        "ratio": masked.mean(ratio, mask),
        "clip_fraction": masked.mean((held < free).astype(ratio.dtype), mask),
        "kl": masked.mean(jnp.expm1(log_ratio) - log_ratio, mask),
    }
    return -masked.mean(jnp.minimum(free, held), mask, average), jax.lax.stop_gradient(metrics)


def value_loss(
    values: Float[ArrayLike, "b s"],
    old: Float[ArrayLike, "b s"],
    returns: Float[ArrayLike, "b s"],
    mask: Shaped[ArrayLike, "b s"],
    clip: Scalar | None,
) -> tuple[Float[Array, ""], Metrics]:
    """Half the mean of max((V − R)², (V' − R)²), where V' is V kept within ±ε of the value at the rollout.

    Args:
        values: (b, s) of the critic that learns, before each action (see `advantages.gae`).
        old: (b, s) of the critic at the rollout; no gradient passes.
        returns: (b, s) R, as `advantages.gae` answers them; no gradient passes.
        mask: (b, s) not 0 where the policy acted. What stands elsewhere is never read.
        clip: () ε above 0, in units of the values, data under jit. None: half the mean of (V − R)².

    Returns:
        The loss (), and metrics over steps: `value_clip_fraction`, the share of steps whose gradient the clip takes
        away; `explained_variance`, 1 − var(R − V) / var(R), 0 where R does not vary.

    Raises:
        ValueError: for different shapes, and a concrete clip that is not above 0.

    References:
        Schulman et al., 2017, section 3; the clip is that of OpenAI's baselines (from memory).
    """
    masked.acted(mask, values=values, old=old, returns=returns)
    value = masked.zeroed(values, mask)
    before, target = (jax.lax.stop_gradient(masked.zeroed(each, mask)) for each in (old, returns))
    error = jnp.square(value - target)
    largest = error
    if clip is not None:
        checks.in_range("clip", clip, 0.0, float("inf"), open_low=True)
        room = jnp.asarray(clip, value.dtype)
        largest = jnp.maximum(error, jnp.square(before + jnp.clip(value - before, -room, room) - target))
    unexplained = arrays.safe_divide(_variance(target - value, mask), _variance(target, mask), 1.0)
    metrics = {
        "value_clip_fraction": masked.mean((largest > error).astype(error.dtype), mask),
        "explained_variance": 1 - unexplained,
    }
    return masked.mean(largest, mask) / 2, jax.lax.stop_gradient(metrics)


def entropy(logits: Float[ArrayLike, "b s v"], mask: Shaped[ArrayLike, "b s"]) -> Float[Array, ""]:
    """Mean entropy of the policy over the steps at which it acted, in nats. Also known as: entropy bonus.

    Args:
        logits: (b, s, v) those that are sampled, temperature and truncation included; −∞ where an action cannot be
            drawn.
        mask: (b, s) not 0 where the policy acted. What stands elsewhere is never read.

    Raises:
        ValueError: for different shapes.

    References:
        Williams & Peng, 1991; Schulman et al., 2017, Eq. 9 (from memory).
    """
    acted = masked.acted(mask)
    if logits.shape[:2] != acted.shape or len(logits.shape) != 3:
        raise ValueError(f"logits has shape {logits.shape}: {(*acted.shape, 'v')} is needed")
    values = jnp.asarray(logits)
    log_p = jax.nn.log_softmax(arrays.widened(jnp.where(acted[..., None], values, 0)), 2)
    possible = log_p > -jnp.inf
    safe = jnp.where(possible, log_p, 0)
    return masked.mean(-jnp.sum(jnp.where(possible, jnp.exp(safe) * safe, 0), 2), mask)


def _variance(values: jax.Array, mask: ArrayLike) -> jax.Array:
    return masked.mean(jnp.square(values - masked.mean(values, mask)), mask)
