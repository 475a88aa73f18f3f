"""Our side of the case with PPO: one update by `preferences.policy_step` on rollouts that were drawn before, the same for both sides.

A reward model scores the answers, a reference says how likely it holds them, a critic expects rewards; then policy and critic learn by
AdamW. TRL is no peer here: its trainer of PPO is one loop that draws its own rollouts, and its critic learns from one place behind each
answer, so that no update of it can be held equal.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmarks import language_work, rollout_work
from experiments.benchmarks.workloads import ADAMW, PPO, Workload
from gendiff import networks, scaling
from gendiff.core.types import Params
from gendiff.language import scoring
from gendiff.preferences import advantage_rules, policy_step, rollouts
from gendiff.preferences.rollouts import Rollout
from gendiff.runs import devices
from gendiff.training import optimizers

Arrays = Mapping[str, jax.Array]
SEED = 0
"""Of the key of the updates."""
COMPARED = ("loss", "score", "kl")
"""Metrics of an update that both sides answer."""
ORDERED = 2
"""How many updates have their orders written down: those up to the comparison. The peer then begins again."""


def inputs(workload: Workload, ids: np.ndarray, weights: str) -> dict[str, np.ndarray]:
    """What is given beside the prompts, all of it the same for both sides.

    "tokens" (b, n) are answers of different lengths, behind which -1 stands, with "log_probs" (b, n) in the policy that drew them. "critic"
    and "reward" (w,) are kernels that make numbers of the network's last vectors. "orders" are those of `orders`.
    """
    network = language_work.build(workload)
    rng, width = np.random.default_rng(1), network.width
    kernels = {name: (rng.normal(size=width) / np.sqrt(width)).astype(np.float32) for name in ("critic", "reward")}
    lengths = rng.integers(max(1, workload.steps // 2), workload.steps + 1, workload.batch).astype(np.int32)
    roll = jax.jit(functools.partial(rollout_work.roll, workload, network))
    drawn = roll(language_work.parameters(workload, network, weights), ids, lengths)
    answers = {"tokens": np.asarray(drawn.actions), "log_probs": np.asarray(drawn.log_probs)}
    return answers | kernels | {"orders": orders(workload)}


def orders(workload: Workload) -> np.ndarray:
    """(updates, epochs · minibatches, samples): the samples of each gradient step of the first updates, by the rule of `policy_step`."""
    key, samples = jax.random.fold_in(jax.random.key(SEED), 1), jnp.arange(workload.batch)

    def drawn(number: jax.Array) -> jax.Array:
        order = jax.random.split(jax.random.fold_in(key, number))[1]
        return rollouts.minibatches(order, samples, PPO["epochs"], PPO["minibatches"])

    return np.asarray(jax.jit(jax.vmap(drawn))(jnp.arange(ORDERED)))


def trainer(workload: Workload, network: networks.LanguageModel, params: Params, given: Arrays) -> Callable[[], Any]:
    """An update; the answer is (parameters after it, metrics). The state is donated; it begins with copies."""
    critic, reward = (numbered(params, given[name]) for name in ("critic", "reward"))
    both = {"policy": params, "critic": critic}
    reference = jax.tree.map(lambda leaf: PPO["reference"] * leaf, both)
    done = rollouts.rollout(given["tokens"], given["log_probs"], given["tokens"] >= 0, given["ids"])
    held = [policy_step.start(both, optimizer(), jax.random.key(SEED), PPO["beta"])]
    step = devices.compiled(devices.jit(update(network), donate_argnums=0), held[0], done, reference, reward)

    def work() -> Any:
        held[0], metrics = step(held[0], done, reference, reward)
        return held[0].params, metrics

    return work


def update(network: networks.LanguageModel) -> policy_step.Step:
    """`step(state, rollout, reference, reward) -> (state, metrics)`."""
    options = {name: PPO[name] for name in ("epochs", "minibatches", "clip", "value_weight", "value_clip", "gradient_clip")}
    rule = advantage_rules.with_critic(gamma=PPO["gamma"], lam=PPO["lam"])
    numbers = networks.pure(network.clone(head="scalar"))

    def roll(params: Params, key: jax.Array, done: Rollout) -> Rollout:
        return done

    def evaluate(params: Params, done: Rollout) -> tuple[jax.Array, jax.Array]:
        texts, first = _texts(done), done.context.shape[1]
        log_probs = scoring.sampled_log_probs(networks.pure(network), params["policy"], texts, first)
        return log_probs[:, first - 1 :], numbers(params["critic"], texts[:, :-1]).logits[:, first - 1 :]

    def score(reward: Params, done: Rollout) -> jax.Array:
        return numbers(reward, _texts(done), None, False).logits

    return policy_step.make_step(roll, evaluate, score, optimizer(), advantages=rule, **options)


def answers(workload: Workload, network: networks.LanguageModel, given: Arrays, result: Any) -> dict[str, np.ndarray]:
    """Logits and the critic's values of the first text after the update, and its metrics, which depend on every weight and gradient."""
    params, metrics = result
    text = jnp.maximum(jnp.concatenate([given["ids"], given["tokens"]], 1)[:1, :-1], 0)
    parts = [np.asarray(part).ravel() for part in _read(network)(params, text)]
    return {"output": np.concatenate([*parts, [float(metrics[name]) for name in COMPARED]])}


def flops(workload: Workload) -> float:
    """Of an update by formula, with all places of its answers: what padding costs is counted, what `mismatch` costs is not.

    Reference and reward model read each text once; policy and critic read it in each epoch and go back, and the critic once more before.
    """
    size, read = language_work.size_of(workload), workload.tokens + workload.steps - 1
    table = size.vocabulary * size.width
    trunk = scaling.cost.forward_flops(size.active - table, read, size.attention_flops(scaling.cost.mean_seen(read)))
    logits = scaling.cost.forward_flops(table, workload.steps)
    trained = 3 * PPO["epochs"]
    return workload.batch * float((3 + 2 * trained) * trunk + (1 + trained) * logits)


def optimizer() -> optax.GradientTransformation:
    """AdamW, as the peer has it."""
    return optimizers.FiniteUpdates(*optax.adamw(PPO["rate"], *ADAMW["betas"], eps=PPO["epsilon"], weight_decay=ADAMW["decay"]))


def numbered(params: Params, kernel: jax.Array) -> Params:
    """Parameters of the same network with one number per token."""
    return {**params, "scalar": {"kernel": kernel[:, None], "bias": jnp.zeros(1, kernel.dtype)}}


def _texts(done: Rollout) -> jax.Array:
    return jnp.concatenate([done.context, done.actions], 1)


@functools.lru_cache(maxsize=2)
def _read(network: networks.LanguageModel) -> Callable[..., Any]:
    policy, critic = networks.pure(network), networks.pure(network.clone(head="scalar"))
    return jax.jit(lambda params, text: (policy(params["policy"], text).logits, critic(params["critic"], text).logits))
