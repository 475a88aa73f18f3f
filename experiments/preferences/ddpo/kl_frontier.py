"""What can be had at a KL from the reference: by the best of n samples, and by the best policy, both told from samples
of the reference.

Rewards are (m, p): m samples of the reference for each of p prompts. With more n than a tenth of the samples, and with
weights that rest on fewer than ten of them, they tell nothing: there is the reach.
"""

import math

import numpy as np
import scipy

REACH = 10
"""Samples of the reference that must stand behind a number."""
STRENGTHS = np.concatenate([[0.0], np.geomspace(0.03, 100.0, 60)])
"""Of rewards in their standard deviations, beside KL."""


def kl_bound(n: float) -> float:
    """Ln n − (n − 1)/n in nats: the KL of the best of n, which it has for rewards without ties; n >= 1, and need not be
    whole.
    """
    return math.log(n) - (n - 1) / n


def choices_at(kl: float) -> float:
    """The n whose bound is this KL, >= 0."""
    if kl <= 0:
        return 1.0
    return float(np.exp(scipy.optimize.brentq(lambda log_n: log_n - 1 + math.exp(-log_n) - kl, 0.0, kl + 1.0)))


def most_choices(rewards: np.ndarray) -> float:
    """The largest n that the samples tell of."""
    return max(1.0, len(rewards) / REACH)


def expected_best(rewards: np.ndarray, n: float) -> float:
    """The mean over prompts of the expected reward of the best of n samples, from the ranks of all."""
    ranks = np.arange(len(rewards) + 1) / len(rewards)
    return float(np.mean(np.diff(ranks**n) @ np.sort(rewards, axis=0)))


def optimum(rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(KL, reward) of the policies proportional to reference · exp(strength · reward), as means over prompts; those
    within reach.

    No policy of such a KL has a larger mean reward.
    """
    points: list[tuple[float, float]] = []
    for strength in STRENGTHS / deviation(rewards):
        log_weights = strength * rewards - scipy.special.logsumexp(strength * rewards, axis=0)
        weights = np.exp(log_weights)
        if 1 / np.square(weights).sum(0).max() < REACH and len(points):
            break
        points.append(
            (
                float(np.mean((weights * (log_weights + np.log(len(rewards)))).sum(0))),
                float(np.mean((weights * rewards).sum(0))),
            )
        )
    kl, reward = np.array(points).T
    return kl, reward


def optimum_at(rewards: np.ndarray, kl: float, most: float) -> float:
    """The largest mean reward at a KL; beyond the reach `most`, the largest reward that there can be."""
    kls, best = optimum(rewards)
    return float(np.interp(kl, kls, best, right=most))


def deviation(reference: np.ndarray) -> float:
    """Of the reference's rewards, the unit of gains; tiny where all are equal."""
    return max(float(reference.std()), 1e-12)


def gain(rewards: np.ndarray, reference: np.ndarray) -> float:
    """Mean reward above the reference's, in its standard deviations."""
    return float((rewards.mean() - reference.mean()) / deviation(reference))


def above_best_of(n: float, rewards: np.ndarray, reference: np.ndarray) -> float:
    """Mean reward above that of the best of n samples of the reference, in the same unit."""
    return float((rewards.mean() - expected_best(reference, n)) / deviation(reference))


def share_at_matched_kl(rewards: np.ndarray, kl: np.ndarray, reference: np.ndarray) -> float:
    """The gain over that of the best of the n whose KL bound is the mean KL, but no more than the samples of the
    reference tell of.
    """
    best = expected_best(reference, min(choices_at(float(kl.mean())), most_choices(reference))) - reference.mean()
    return float((rewards.mean() - reference.mean()) / best) if best > 1e-9 else float("nan")  # but for rounding
