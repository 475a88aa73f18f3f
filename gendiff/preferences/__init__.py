"""From completion to assistant: instruction rows, reward models, policy gradients, direct preferences; for tokens and denoising steps."""

from gendiff.preferences import advantages, direct, instruction, judging, kl, masked, policy_gradient, revision
from gendiff.preferences.advantages import gae, group_relative, shaped_rewards, whitened
from gendiff.preferences.bradley_terry import bradley_terry, disagreement, normaliser, preference
from gendiff.preferences.direct import dpo, ipo, kto
from gendiff.preferences.kl import adaptive_beta, kl_estimates
from gendiff.preferences.policy_gradient import clipped_policy_gradient, value_loss
from gendiff.preferences.revision import critique_and_revise

__all__ = [
    "adaptive_beta",
    "advantages",
    "bradley_terry",
    "clipped_policy_gradient",
    "critique_and_revise",
    "direct",
    "disagreement",
    "dpo",
    "gae",
    "group_relative",
    "instruction",
    "ipo",
    "judging",
    "kl",
    "kl_estimates",
    "kto",
    "masked",
    "normaliser",
    "policy_gradient",
    "preference",
    "revision",
    "shaped_rewards",
    "value_loss",
    "whitened",
]
