"""From completion to assistant (RLHF), for tokens and denoising steps: rewards, policy gradients, preferences."""

from gendiff.core.renamed import renamed
from gendiff.preferences import (
    advantage_rules,
    advantages,
    constitutional_critique,
    direct,
    instruction,
    judging,
    kl,
    masked,
    policy_gradient,
    policy_step,
    reward_gradients,
    rollouts,
    self_consistency,
    trajectory,
)
from gendiff.preferences.advantages import gae, group_relative, shaped_rewards, whitened
from gendiff.preferences.best_of_n import best_of_n, best_of_n_law, candidates, kl_bound
from gendiff.preferences.bradley_terry import bradley_terry, disagreement, normaliser, preference
from gendiff.preferences.constitutional_critique import critique_and_revise
from gendiff.preferences.denoising import diffusion_dpo
from gendiff.preferences.direct import dpo, ipo, kto
from gendiff.preferences.kl import adaptive_beta, kl_estimates
from gendiff.preferences.pass_at_k import pass_at_k
from gendiff.preferences.policy_gradient import clipped_policy_gradient, value_loss
from gendiff.preferences.reward_gradients import renoised, truncated_sample
from gendiff.preferences.self_consistency import majority, weighted_vote
from gendiff.preferences.sequential import revise
from gendiff.preferences.trajectory import step_law, trajectory_laws, trajectory_log_prob

__all__ = [
    "adaptive_beta",
    "advantage_rules",
    "advantages",
    "best_of_n",
    "best_of_n_law",
    "bradley_terry",
    "candidates",
    "clipped_policy_gradient",
    "constitutional_critique",
    "critique_and_revise",
    "diffusion_dpo",
    "direct",
    "disagreement",
    "dpo",
    "gae",
    "group_relative",
    "instruction",
    "ipo",
    "judging",
    "kl",
    "kl_bound",
    "kl_estimates",
    "kto",
    "majority",
    "masked",
    "normaliser",
    "pass_at_k",
    "policy_gradient",
    "policy_step",
    "preference",
    "revise",
    "renoised",
    "reward_gradients",
    "rollouts",
    "shaped_rewards",
    "step_law",
    "trajectory",
    "trajectory_laws",
    "trajectory_log_prob",
    "truncated_sample",
    "value_loss",
    "weighted_vote",
    "whitened",
]

_RENAMED = {
    "revision": ("preferences.constitutional_critique", constitutional_critique),
    "votes": ("preferences.self_consistency", self_consistency),
}
__getattr__ = renamed("preferences", _RENAMED)
