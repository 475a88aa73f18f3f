"""Exact sums over all answers: the best policy of each β, its objective, the frontier of reward and KL, and where a
policy stands.

Laws are logarithms (4, 512), rewards (4, 512), all float64; numbers are means over the prompts, and KL is in nats.
"""

from typing import NamedTuple

import numpy as np
import scipy

BETAS = (1e-4, 1e4)
"""Between which the frontier looks for its β."""


class Reached(NamedTuple):
    """Where a policy stands. reward: its mean. kl: KL(policy ‖ reference)."""

    reward: float
    kl: float

    def objective(self, beta: float) -> float:
        """J = E[R] − β KL."""
        return self.reward - beta * self.kl


def tilted(reference: np.ndarray, rewards: np.ndarray, beta: float) -> np.ndarray:
    """The policy that maximises E[R] − β KL: π* ~ π_ref exp(R / β)."""
    return scipy.special.log_softmax(reference + rewards / beta, axis=1)


def best(reference: np.ndarray, rewards: np.ndarray, beta: float) -> float:
    """Its objective, J* = β log E_ref[exp(R / β)]."""
    normalised = scipy.special.log_softmax(reference, axis=1)
    return float(np.mean(beta * scipy.special.logsumexp(normalised + rewards / beta, axis=1)))


def reached(policy: np.ndarray, reference: np.ndarray, rewards: np.ndarray) -> Reached:
    """Reward and KL of a policy."""
    policy, reference = (scipy.special.log_softmax(law, axis=1) for law in (policy, reference))
    law = np.exp(policy)
    terms = np.where(law > 0, law * (policy - reference), 0.0)
    return Reached(float((law * rewards).sum(1).mean()), float(terms.sum(1).mean()))


def share(policy: np.ndarray, reference: np.ndarray, rewards: np.ndarray, beta: float) -> float:
    """(J − J_ref) / (J* − J_ref): 0 for the reference, 1 for the best policy, negative where learning made it worse."""
    start = reached(reference, reference, rewards).reward
    gained = reached(policy, reference, rewards).objective(beta) - start
    return gained / (best(reference, rewards, beta) - start)


def total_variation(first: np.ndarray, second: np.ndarray) -> float:
    """Half the sum of |p − q| over the answers."""
    one, other = (scipy.special.softmax(law, axis=1) for law in (first, second))
    return float(np.abs(one - other).sum(1).mean() / 2)


def frontier(reference: np.ndarray, rewards: np.ndarray, kl: float) -> float:
    """The largest reward of any policy with at most this KL: the minimum over β of β KL + J*(β), by duality."""

    def bound(log_beta: float) -> float:
        beta = float(np.exp(log_beta))
        return beta * kl + best(reference, rewards, beta)

    minimum = scipy.optimize.minimize_scalar(
        bound, bounds=tuple(np.log(BETAS)), method="bounded", options={"xatol": 1e-9}
    )
    return float(minimum.fun)
