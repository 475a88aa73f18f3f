"""Rules from scores of samples to an advantage per step: `gae` with a critic, `grpo` with groups of samples."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from gendiff.core import checks, records
from gendiff.core.renamed import renamed
from gendiff.core.types import Numeric, Scalar
from gendiff.preferences import advantages, masked
from gendiff.preferences.rollouts import Rollout

AdvantageRule = Callable[[jax.Array, Rollout, jax.Array, jax.Array | None, Numeric], tuple[jax.Array, jax.Array | None]]
"""(scores (b,), rollout, reference (b, s), values or None, beta ()) -> (advantages, returns or None), all (b, s)."""


@records.record
class Gae:
    """The rule of `gae`."""

    gamma: Scalar
    lam: Scalar
    whiten: bool = records.static()

    def __call__(
        self, scores: jax.Array, rollout: Rollout, reference: jax.Array, values: jax.Array | None, beta: Numeric
    ) -> tuple[jax.Array, jax.Array]:
        """Advantages and returns (b, s)."""
        if values is None:
            raise TypeError(
                "evaluate answered no values: this rule needs a critic's; without one take advantage_rules.grpo"
            )
        rewards = advantages.shaped_rewards(scores, rollout.log_probs, reference, rollout.mask, beta)
        estimates = advantages.gae(rewards, values, rollout.mask, gamma=self.gamma, lam=self.lam)
        advantage = advantages.whitened(estimates.advantages, rollout.mask) if self.whiten else estimates.advantages
        return advantage, estimates.returns


def gae(*, gamma: Scalar = 1.0, lam: Scalar = 0.95, whiten: bool = True) -> Gae:
    """Generalised advantage estimation (GAE) of shaped rewards, as PPO takes it.

    It is `advantages.shaped_rewards`, then `advantages.gae`, then `advantages.whitened`.

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
    return Gae(gamma, lam, bool(whiten))


@records.record
class Grpo:
    """The rule of `grpo`."""

    size: int = records.static()
    scale: bool = records.static()
    correction: int = records.static()
    epsilon: Scalar

    def __call__(
        self, scores: jax.Array, rollout: Rollout, reference: jax.Array, values: jax.Array | None, beta: Numeric
    ) -> tuple[jax.Array, None]:
        """Advantages (b, s), and no returns."""
        del values
        log_ratio = masked.total(rollout.log_probs, rollout.mask) - masked.total(reference, rollout.mask)
        relative = advantages.group_relative(
            scores - beta * log_ratio, self.size, scale=self.scale, correction=self.correction, epsilon=self.epsilon
        )
        return jnp.where(rollout.mask != 0, relative[:, None], 0), None


def grpo(size: int, *, scale: bool = True, correction: int = 0, epsilon: Scalar = 0.0) -> Grpo:
    """Group-relative advantages (GRPO): each sample beside the others of its prompt, without a critic.

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
    return Grpo(int(size), bool(scale), int(correction), epsilon)


__getattr__ = renamed(
    "preferences.advantage_rules",
    {
        "with_critic": ("preferences.advantage_rules.gae", gae),
        "within_groups": ("preferences.advantage_rules.grpo", grpo),
    },
)
