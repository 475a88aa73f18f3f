"""The program of PPO and of GRPO for all members at once, which also writes down where each policy stood before each
update.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.preferences.rlhf import policies, task
from experiments.preferences.rlhf.config import Config
from experiments.preferences.rlhf.policies import CRITIC, POLICY
from gendiff import networks, training
from gendiff.core import records
from gendiff.core.types import Metrics, Params
from gendiff.preferences import advantage_rules, policy_step
from gendiff.preferences.policy_step import PolicyState
from gendiff.runs import vmapped_seeds
from gendiff.training import optimizers
from gendiff.training.compile_step import INIT

CLIP = 0.2
"""Of the ratio of probabilities."""
SEEN = ("gold", "told", "kl")
"""What is written down: the means of the gold reward and of the reward that the policy is told, and KL to the
reference, all exact.
"""


class Given(NamedTuple):
    """What a member starts from and is told; every leaf has the axis of members in front.

    start: parameters of the policy after demonstrations. reward: (parameters, normaliser) of its reward model.
    exact: tables (4, 512): "reference" log-probabilities, "gold" and "told" rewards. beta: of its penalty.
    """

    start: Params
    reward: Any
    exact: dict[str, Any]
    beta: Any


@records.record
class Run:
    """The state of a member. What it is told never changes, and is saved with it."""

    policy: PolicyState
    reference: Params
    reward: Any
    exact: dict[str, Any]
    seen: dict[str, Any]

    @property
    def step(self) -> Any:
        """() int32, the number of updates done."""
        return self.policy.step


def build(config: Config, groups: bool, seeds: tuple[int, ...], inputs: Given, mesh: Any) -> training.CompiledStep:
    """What a stage runs. groups: GRPO in place of PPO."""
    network = policies.policy(config)
    actor = policies.Actor(network, without_critic=groups)
    total = config.updates * config.epochs * config.minibatches
    optimizer = optimizers.adamw(2e-3, warmup=config.warmup, total=total)
    # at the optimum every advantage is 0: a scale of 1 for what is left would be noise
    rule = advantage_rules.grpo(config.group, scale=False) if groups else advantage_rules.gae(lam=0.95, whiten=False)
    update = policy_step.make_step(
        actor.roll,
        actor.evaluate,
        actor.score,
        optimizer,
        advantages=rule,
        epochs=config.epochs,
        minibatches=config.minibatches,
        clip=CLIP,
        value_clip=None,
        gradient_clip=1.0,
    )

    def fresh(key: jax.Array, start: Params, reward: Any, exact: dict[str, Any], beta: Any) -> Run:
        params = {POLICY: start}
        if not groups:
            params[CRITIC] = networks.init(
                policies.scalar(config), jax.random.fold_in(key, INIT), np.zeros((1, 2), np.int32)
            )
        curve = jnp.zeros((config.updates, len(SEEN)), jnp.float32)
        return Run(policy_step.start(params, optimizer, key, beta), params, reward, exact, {"curve": curve})

    def step(run: Run, prompts: jax.Array) -> tuple[Run, Metrics]:
        following, metrics = update(run.policy, prompts, run.reference, run.reward)
        stood = _stands(policies.law(network, run.policy.params[POLICY]), run.exact)
        curve = run.seen["curve"].at[run.policy.step].set(stood)
        return records.replace(run, policy=following, seen={"curve": curve}), metrics

    return vmapped_seeds.compile_step(step, fresh, seeds, mesh, tuple(inputs))


def prompts(config: Config, count: int) -> np.ndarray:
    """(rollouts, members) tokens: every prompt equally often, the answers to one prompt one after the other."""
    rows = np.repeat(np.arange(task.PROMPTS, dtype=np.int32) + task.SYMBOLS, config.rollouts // task.PROMPTS)
    return np.repeat(rows[:, None], count, 1)


def _stands(law: jax.Array, exact: dict[str, Any]) -> jax.Array:
    """(3,) as SEEN names them."""
    probability = jnp.exp(law)
    values = exact["gold"], exact["told"], law - exact["reference"]
    return jnp.stack([jnp.sum(probability * value) / task.PROMPTS for value in values])
