"""From scores of samples to an advantage per step: shaped rewards, GAE, whitening, and groups without a critic."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped

from gendiff.core import arrays, checks
from gendiff.core.types import ArrayLike, Scalar
from gendiff.preferences import masked


class Advantages(NamedTuple):
    """The result of `gae`; both are 0 where the policy did not act.

    Attributes:
        advantages: how much better each action was than the critic expected.
        returns: what the critic should have expected, advantages + values.
    """

    advantages: Float[Array, "b s"]
    returns: Float[Array, "b s"]


def shaped_rewards(
    scores: Float[ArrayLike, "b"],
    log_probs: Float[ArrayLike, "b s"],
    reference: Float[ArrayLike, "b s"],
    mask: Shaped[ArrayLike, "b s"],
    beta: Scalar,
) -> Float[Array, "b s"]:
    """Reward of each step: −β (log policy − log reference), and the score at the last step at which the policy acted.

    Their sum over a sample is its score less β times the k1 estimate of its KL. A sample without a step gets no reward.

    Args:
        scores: (b,) one per sample.
        log_probs: (b, s) of the actions by the policy that drew them.
        reference: (b, s) of the same actions.
        mask: (b, s) not 0 where the policy acted.
        beta: () at least 0, data under jit.

    Raises:
        ValueError: for other shapes, and a concrete beta below 0.

    References:
        Ziegler et al., 2019, Eq. 2; Ouyang et al., 2022, Eq. 2 (from memory).
    """
    checks.in_range("beta", beta, 0.0, float("inf"), open_high=True)
    acted = masked.acted(mask, log_probs=log_probs, reference=reference)
    if scores.shape != acted.shape[:1]:
        raise ValueError(f"scores has shape {scores.shape}: {acted.shape[:1]}, one per sample, is needed")
    log_ratio = masked.zeroed(log_probs, mask) - masked.zeroed(reference, mask)
    still_to_come = jnp.cumsum(acted[:, ::-1].astype(jnp.int32), 1)[:, ::-1]  # steps from here on, this one included
    last = acted & (still_to_come == 1)
    return (
        jnp.where(last, jnp.asarray(scores, log_ratio.dtype)[:, None], 0)
        - jnp.asarray(beta, log_ratio.dtype) * log_ratio
    )


def gae(
    rewards: Float[ArrayLike, "b s"],
    values: Float[ArrayLike, "b s"],
    mask: Shaped[ArrayLike, "b s"],
    *,
    gamma: Scalar,
    lam: Scalar,
) -> Advantages:
    """Generalised advantages A_t = Σ_l (γλ)^l δ_{t+l}, with δ_t = r_t + γ V_{t+1} − V_t and V = 0 behind the last step.

    The next step is the next one at which the policy acted, so that gaps, such as another speaker's tokens, cost no
    discount. No gradient passes through either result.

    Args:
        rewards: (b, s) of each action.
        values: (b, s) what the critic expects **before** each action is seen. A network that answers after each token
            has it one place earlier: values[:, t] is its answer to token t − 1.
        mask: (b, s) not 0 where the policy acted.
        gamma: () discount γ in [0, 1], data under jit.
        lam: () λ in [0, 1], data under jit. With 1 the advantage is return − value, with 0 it is δ.

    Raises:
        ValueError: for different shapes, and concrete numbers outside their ranges.

    References:
        Schulman et al., 2015 (GAE), Eqs. 11 to 16 (from memory).
    """
    checks.in_range("gamma", gamma, 0.0, 1.0)
    checks.in_range("lam", lam, 0.0, 1.0)
    acted = masked.acted(mask, rewards=rewards, values=values)
    reward, value = (jax.lax.stop_gradient(masked.zeroed(each, mask)) for each in (rewards, values))
    dtype = jnp.promote_types(reward.dtype, value.dtype)
    discount, decay = jnp.asarray(gamma, dtype), jnp.asarray(gamma, dtype) * jnp.asarray(lam, dtype)

    def backwards(
        following: tuple[jax.Array, jax.Array], step: tuple[jax.Array, ...]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        next_value, next_advantage = following
        here, reward, value = step
        advantage = reward + discount * next_value - value + decay * next_advantage
        following = jnp.where(here, value, next_value), jnp.where(here, advantage, next_advantage)
        return following, jnp.where(here, advantage, 0)

    steps = acted.T, reward.astype(dtype).T, value.astype(dtype).T
    end = jnp.zeros_like(steps[1][0])
    _, advantages = jax.lax.scan(backwards, (end, end), steps, reverse=True)
    return Advantages(advantages.T, advantages.T + value.astype(dtype))


def whitened(values: Float[ArrayLike, "b s"], mask: Shaped[ArrayLike, "b s"]) -> Float[Array, "b s"]:
    """Shift and scale to mean 0 and standard deviation 1 over all steps at which the policy acted; 0 elsewhere.

    Args:
        values: (b, s). Values that are equal up to rounding become 0.
        mask: (b, s) not 0 where the policy acted.

    Raises:
        ValueError: for different shapes.
    """
    acted = masked.acted(mask, values=values)
    wide = masked.zeroed(values, mask)
    centred = masked.zeroed(wide - masked.mean(wide, mask), mask)
    deviation = arrays.safe_sqrt(masked.mean(jnp.square(centred), mask))
    return jnp.where(acted, _over(centred, deviation, jnp.max(jnp.abs(wide))), 0)


def group_relative(
    scores: Float[ArrayLike, "b"],
    groups: Int[ArrayLike, "b"] | int,
    *,
    scale: bool = True,
    correction: int = 0,
    epsilon: Scalar = 0.0,
) -> Float[Array, "b"]:
    """Advantages without a critic, of each prompt's scores: (score − mean) / (standard deviation + ε).

    Also known as: group-relative advantages (GRPO). TRL takes correction = 1 and epsilon = 1e-4. Its advantages of a
    group of n are smaller by √(1 − 1/n): by 29 % for 2, by 6 % for 8. Give `policy_gradient.clipped_policy_gradient`
    the column [:, None]: all steps of a sample share its advantage.

    Args:
        scores: (b,).
        groups: (b,) ids of the prompts, in any order, or the size of the groups that stand one after the other, at
            least 2.
        scale: divide by the standard deviation of the group (GRPO). False leaves the difference (Dr. GRPO), so that
            prompts on which all samples are almost alike weigh no more than others. A group of equal scores, or of one,
            has advantage 0 either way.
        correction: 0 divides the squares by n, so that the advantages of a group have deviation 1; 1 divides them by
            n − 1.
        epsilon: () ε at least 0, in the unit of the scores, data under jit. It bounds the advantages of groups that are
            almost alike.

    Raises:
        ValueError: for scores that are not (b,), ids of another shape, a size below 2, one that does not divide b,
            numbers outside their ranges, and a correction or epsilon without the scale.
        TypeError: for ids that are no integers.

    References:
        Shao et al., 2024 (GRPO), section 4.1.2; Liu et al., 2025 (Dr. GRPO), section 3.1 (from memory).
    """
    if scores.ndim != 1:
        raise ValueError(f"scores has shape {scores.shape}: (b,), one per sample, is needed")
    check_deviation(scale, correction, epsilon)
    b = scores.shape[0]
    if isinstance(groups, int):
        checks.integer("groups", groups, 2)
        if b % groups:
            raise ValueError(f"groups = {groups} does not divide the {b} scores: choose a divisor of {b}")
        number = jnp.arange(b) // groups
    else:
        checks.same_shape("scores", scores, "groups", groups)
        if not jnp.issubdtype(groups.dtype, jnp.integer):
            raise TypeError(f"groups must hold integers, got {groups.dtype}")
        number = jnp.unique(jnp.asarray(groups), return_inverse=True, size=b)[1].reshape(b)

    wide = jax.lax.stop_gradient(arrays.widened(scores))
    counts = jax.ops.segment_sum(jnp.ones_like(wide), number, b)

    def mean(values: jax.Array, less: int = 0) -> jax.Array:
        return arrays.safe_divide(jax.ops.segment_sum(values, number, b), counts - less)[number]

    centred = wide - mean(wide)
    if not scale:
        return centred
    largest = jax.ops.segment_max(jnp.abs(wide), number, b)[number]
    return _over(centred, arrays.safe_sqrt(mean(jnp.square(centred), correction)), largest, epsilon)


def check_deviation(scale: bool, correction: int, epsilon: Scalar) -> None:
    """Refuse numbers of `group_relative` outside their ranges, or without the scale."""
    checks.integer("correction", correction, 0, 1)
    checks.in_range("epsilon", epsilon, 0.0, float("inf"), open_high=True)
    if not scale and (correction or (arrays.is_concrete(epsilon) and epsilon)):
        raise ValueError("scale = False: correction and epsilon are of the scale, leave them out")


def _over(centred: jax.Array, deviation: jax.Array, largest: jax.Array, epsilon: Scalar = 0.0) -> jax.Array:
    """The quotient; 0 where the deviation is one of rounding, which it would blow up to ±1."""
    usable = deviation > 16 * jnp.finfo(centred.dtype).eps * largest
    return jnp.where(usable, centred / jnp.where(usable, deviation + jnp.asarray(epsilon, centred.dtype), 1), 0)
