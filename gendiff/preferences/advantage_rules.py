"""Two rules from scores of samples to an advantage per step: a critic's expectation, or other samples of the same prompt."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gendiff.core import checks, records
from gendiff.core.types import Scalar
from gendiff.preferences import advantages, masked
from gendiff.preferences.rollouts import Rollout

AdvantageRule = Callable[[Any, Rollout, Any, Any, Any], tuple[Any, Any]]
"""(scores (b,), rollout, reference (b, s), values (b, s) or None, beta ()) -> (advantages (b, s), returns (b, s) or None)."""


@records.record
class WithCritic:
    """The rule of `with_critic`."""

    gamma: Scalar
    lam: Scalar
    whiten: bool = records.static()

    def __call__(
        self, scores: Any, rollout: Rollout, reference: Any, values: Any, beta: Any
    ) -> tuple[jax.Array, jax.Array]:
        """Advantages and returns (b, s)."""
        if values is None:
            raise TypeError(
                "evaluate answered no values: this rule needs a critic's; without one take "
                "advantage_rules.within_groups"
            )
        rewards = advantages.shaped_rewards(scores, rollout.log_probs, reference, rollout.mask, beta)
        found = advantages.gae(rewards, values, rollout.mask, gamma=self.gamma, lam=self.lam)
        shown = advantages.whitened(found.advantages, rollout.mask) if self.whiten else found.advantages
        return shown, found.returns


def with_critic(*, gamma: Scalar = 1.0, lam: Scalar = 0.95, whiten: bool = True) -> WithCritic:
    """Generalised advantages of shaped rewards, as PPO takes them: `shaped_rewards`, `gae`, `whitened`.

    Args:
        gamma: () discount in [0, 1].
        lam: () in [0, 1].
        whiten: over the batch. At the optimum of a penalised objective every advantage is 0, and whitening makes the
            noise that is left as large as ever: the learning rate must then fall to 0, or False be chosen.

    Raises:
        ValueError: for concrete numbers outside their ranges.

    References:
        Schulman et al., 2017, Eqs. 11 and 12; Ziegler et al., 2019, Eq. 2 (from memory).
    """
    for name, value in (("gamma", gamma), ("lam", lam)):
        checks.in_range(name, value, 0.0, 1.0)
    return WithCritic(gamma, lam, bool(whiten))


@records.record
class WithinGroups:
    """The rule of `within_groups`."""

    size: int = records.static()
    scale: bool = records.static()
    correction: int = records.static()
    epsilon: Scalar

    def __call__(self, scores: Any, rollout: Rollout, reference: Any, values: Any, beta: Any) -> tuple[jax.Array, None]:
        """Advantages (b, s), and no returns."""
        del values
        log_ratio = masked.total(rollout.log_probs, rollout.mask) - masked.total(reference, rollout.mask)
        relative = advantages.group_relative(
            scores - beta * log_ratio, self.size, scale=self.scale, correction=self.correction, epsilon=self.epsilon
        )
        return jnp.where(rollout.mask != 0, relative[:, None], 0), None


def within_groups(size: int, *, scale: bool = True, correction: int = 0, epsilon: Scalar = 0.0) -> WithinGroups:
    """Each sample beside the others of its prompt, as GRPO does: no critic.

    A batch holds the samples of a prompt one after the other.

    The penalty β · KL is part of the reward here, so that the optimum is that of PPO. GRPO's paper adds β · k3 to the
    loss instead; the gradient of that term is the gradient of KL(reference ‖ policy), which another policy minimises.

    Args:
        size: samples per prompt, at least 2; it divides the batch.
        scale: divide by the standard deviation of the group (see `group_relative`). As with whitening, noise keeps its
            size at the optimum.
        correction: 0 or 1, as for `group_relative`.
        epsilon: () at least 0, as for `group_relative`.

    Raises:
        ValueError: for a size below 2, and as `group_relative` does.

    References:
        Shao et al., 2024, section 4.1.2; Liu et al., 2025, section 3.1, without the scale (from memory).
    """
    checks.integer("size", size, 2)
    advantages.check_deviation(scale, correction, epsilon)
    return WithinGroups(int(size), bool(scale), int(correction), epsilon)
