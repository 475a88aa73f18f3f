"""The smallest task of policies: one of 3 actions, and a second one unless the first was 0. All 7 answers can be summed
over.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gendiff.preferences import advantage_rules, policy_step, rollouts
from tests.quickly import quickly
from tests.traced import Traced

ANSWERS = [(0, 0), *((first, second) for first in (1, 2) for second in range(3))]
"""Actions of each answer; the second of (0, 0) is padding."""
REWARDS = np.array([[0.5, 9.0, 9.0], [-1.0, 1.0, 0.0], [0.3, -0.6, 1.2]], np.float32)
"""By actions; those behind an end are never read."""
BETA, GROUP, SAMPLES = 0.5, 8, 256
BATCH = np.zeros(SAMPLES, np.float32)
ADAM = optax.adam(optax.linear_schedule(0.05, 0.0, 4 * 80))


def fresh(seed=0):
    rng = np.random.default_rng(seed)
    policy = {"first": rng.normal(size=3), "second": rng.normal(size=(3, 3))}
    return jax.tree.map(jnp.float32, {"policy": policy, "critic": {"first": np.zeros(1), "second": np.zeros(3)}})


def roll(params, key, batch):
    first_key, second_key = jax.random.split(key)
    first = jax.random.categorical(first_key, params["policy"]["first"], shape=batch.shape)
    second = jax.random.categorical(second_key, params["policy"]["second"][first])
    actions, mask = jnp.stack([first, second], 1), jnp.stack([jnp.ones_like(first), (first > 0).astype(first.dtype)], 1)
    return rollouts.rollout(actions, jnp.where(mask > 0, log_probs(params, actions), jnp.nan), mask, batch)


def log_probs(params, actions):
    first, second = (jax.nn.log_softmax(params["policy"][name]) for name in ("first", "second"))
    return jnp.stack([first[actions[:, 0]], second[actions[:, 0], actions[:, 1]]], 1)


def evaluate(params, rollout, pad=jnp.nan):
    """Anything may stand behind an end."""
    critic = params["critic"]
    values = jnp.stack(
        [jnp.broadcast_to(critic["first"], rollout.mask.shape[:1]), critic["second"][rollout.actions[:, 0]]], 1
    )
    return tuple(jnp.where(rollout.mask > 0, each, pad) for each in (log_probs(params, rollout.actions), values))


def without_critic(params, rollout):
    return evaluate(params, rollout)[0], None


@functools.partial(Traced, jit=lambda function: function)
def score(reward, rollout):
    first, second = rollout.actions.T
    return jnp.asarray(reward)[first, jnp.where(first > 0, second, 0)]


RULES = {
    "ppo": (evaluate, advantage_rules.gae(gamma=1.0, lam=0.9, whiten=False)),
    "grpo": (without_critic, advantage_rules.grpo(GROUP, scale=False)),
}


def update(name, optimizer=ADAM, **options):
    answers, rule = RULES[name]
    settings = {"epochs": 2, "minibatches": 2, "value_clip": None} | options
    return policy_step.make_step(roll, answers, score, optimizer, advantages=rule, **settings)


@functools.cache
def step(name):
    return quickly(update(name))


def train(name, state, reference, first, last, reward=REWARDS):
    for _ in range(first, last):
        state, metrics = step(name)(state, BATCH, reference, reward)
    return state, metrics


def start(params, beta=BETA, optimizer=ADAM, seed=0, **options):
    return policy_step.start(params, optimizer, jax.random.key(seed), beta, **options)


def law(params):
    """(7,) log-probabilities of the answers."""
    each = np.asarray(log_probs(params, np.array(ANSWERS)), np.float64)
    return each[:, 0] + np.where(np.array(ANSWERS)[:, 0] > 0, each[:, 1], 0.0)


def rewards(table=REWARDS):
    return np.array([table[answer] for answer in ANSWERS], np.float64)


def optimum(reference, beta=BETA):
    """(7,) probabilities π_ref exp(R / β), normalised."""
    weight = np.exp(law(reference) + rewards() / beta)
    return weight / weight.sum()


def distance(params, probabilities):
    """Total variation."""
    return np.abs(np.exp(law(params)) - probabilities).sum() / 2
