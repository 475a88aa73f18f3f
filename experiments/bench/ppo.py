"""An update by PPO of a language model over bytes and its critic, by rollouts that are given, ours beside torch.

A reward model scores the answers, a reference says how likely it holds them, a critic expects rewards; then policy and
critic learn by AdamW. The peer computes logits for answers alone, and advantages as a product with a triangle of
decays. TRL is no peer here: its trainer of PPO draws its own rollouts, and its critic learns from one place behind each
answer, so that no update of it can be held equal.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.bench import byte_lm, smollm2, training_steps, weights
from experiments.bench.lazily import (
    advantage_rules,
    cost,
    devices,
    functional,
    jax,
    jnp,
    networks,
    policy_step,
    rollouts,
    scoring,
    torch,
)
from experiments.bench.workloads import Case, Way, Workload

build, init = smollm2.build, smollm2.init
SEED, ORDERED = 0, 2
"""Of the key of the updates; how many have their orders written down: as many as there are before the comparison."""
PPO: dict[str, Any] = {
    "epochs": 2,
    "minibatches": 2,
    "clip": 0.2,
    "value_clip": 0.2,
    "value_weight": 0.5,
    "gradient_clip": 1.0,
}
GAMMA, LAMBDA, BETA = 1.0, 0.95, 0.05
RATE, EPSILON = 3e-5, 1e-5
"""Of AdamW, as usual in PPO, where steps are small: with 1e-8 the rounding of a gradient near 0 would move its weight
as far as any.
"""
REFERENCE = 0.9
"""What the policy's weights are multiplied by for the reference, so that the two differ."""


def inputs(workload: Workload, folder: Any) -> dict[str, np.ndarray]:
    """Prompts "ids", and what is the same for both sides.

    "tokens" (b, n) are answers of different lengths, behind which -1 stands, with "log_probs" (b, n) in the policy that
    drew them. "critic" and "reward" (w,) are kernels that make numbers of the network's last vectors. "orders" are
    those of `orders`.
    """
    arrays, rng, network = byte_lm.inputs(workload), np.random.default_rng(1), build(workload)
    arrays |= {
        name: (rng.normal(size=network.width) / np.sqrt(network.width)).astype(np.float32)
        for name in ("critic", "reward")
    }
    lengths = rng.integers(max(1, workload.steps // 2), workload.steps + 1, workload.batch).astype(np.int32)
    done = jax.jit(functools.partial(byte_lm.roll, workload, network))(
        weights.read(workload, folder), arrays["ids"], lengths
    )
    return arrays | {
        "tokens": np.asarray(done.actions),
        "log_probs": np.asarray(done.log_probs),
        "orders": orders(workload),
    }


def orders(workload: Workload) -> np.ndarray:
    """(updates, epochs · minibatches, samples): the samples of each gradient step of the first updates, by the rule of
    `policy_step`.
    """
    key, samples = jax.random.fold_in(jax.random.key(SEED), 1), jnp.arange(workload.batch)

    def one_order(number: Any) -> Any:
        order = jax.random.split(jax.random.fold_in(key, number))[1]
        return rollouts.minibatches(order, samples, PPO["epochs"], PPO["minibatches"])

    return np.asarray(jax.jit(jax.vmap(one_order))(jnp.arange(ORDERED)))


def flops(workload: Workload) -> float:
    """Of an update by formula, with all places of its answers: what padding costs is counted, what `mismatch` costs is
    not.

    Reference and reward model read each text once; policy and critic read it in each epoch and go back, and the critic
    once more before.
    """
    size, read = smollm2.size_of(workload), workload.tokens + workload.steps - 1
    table = size.vocabulary * size.width
    trunk = cost.forward_flops(size.active - table, read, size.attention_flops(cost.mean_seen(read)))
    logits, trained = cost.forward_flops(table, workload.steps), 3 * PPO["epochs"]
    return workload.batch * float((3 + 2 * trained) * trunk + (1 + trained) * logits)


def ours(workload: Workload, arrays: dict[str, Any], folder: str) -> Way:
    """An update, compared by logits and the critic's values of the first text after it, and by what it measured."""
    network = build(workload)
    policy, critic = networks.pure(network), networks.pure(network.clone(head="scalar"))
    read = jax.jit(lambda params, text: (policy(params["policy"], text).logits, critic(params["critic"], text).logits))

    def answer(done: Any) -> dict[str, Any]:
        text = jnp.maximum(jnp.concatenate([arrays["ids"], arrays["tokens"]], 1)[:1, :-1], 0)
        parts = *read(done[0], text), np.array([float(done[1][name]) for name in ("loss", "score", "kl")])
        return {"output": np.concatenate([np.ravel(part) for part in parts])}

    return Way(_updater(network, weights.read(workload, folder), arrays), answer)


def _updater(network: Any, params: Any, arrays: dict[str, Any]) -> Callable[[], Any]:
    """The answer is (parameters after an update, metrics). The state is donated; it begins with copies."""

    def numbered(kernel: Any) -> Any:
        return {**params, "scalar": {"kernel": kernel[:, None], "bias": jnp.zeros(1, kernel.dtype)}}

    def texts_of(done: Any) -> Any:
        return jnp.concatenate([done.context, done.actions], 1)

    def evaluate(params: Any, done: Any) -> tuple[Any, Any]:
        texts, first = texts_of(done), done.context.shape[1]
        log_probs = scoring.sampled_log_probs(networks.pure(network), params["policy"], texts, first)
        return log_probs[:, first - 1 :], numbers(params["critic"], texts[:, :-1]).logits[:, first - 1 :]

    def score(reward: Any, done: Any) -> Any:
        return numbers(reward, texts_of(done), None, False).logits

    numbers, optimizer = networks.pure(network.clone(head="scalar")), training_steps.adamw(RATE, eps=EPSILON)
    rule, reward = advantage_rules.gae(gamma=GAMMA, lam=LAMBDA), numbered(arrays["reward"])
    step = policy_step.make_step(lambda params, key, done: done, evaluate, score, optimizer, advantages=rule, **PPO)
    both = {"policy": params, "critic": numbered(arrays["critic"])}
    reference = jax.tree.map(lambda leaf: REFERENCE * leaf, both)
    done = rollouts.rollout(arrays["tokens"], arrays["log_probs"], arrays["tokens"] >= 0, arrays["ids"])
    held = [policy_step.start(both, optimizer, jax.random.key(SEED), BETA)]
    step = devices.compiled(devices.jit(step, donate_argnums=0), held[0], done, reference, reward)

    def run() -> Any:
        held[0], metrics = step(held[0], done, reference, reward)
        return held[0].params, metrics

    return run


class Lesson(NamedTuple):
    """What a gradient step of torch sees, (b, n) but for the texts."""

    text: Any
    mask: Any
    old: Any
    values: Any
    advantages: Any
    returns: Any


class Networks(NamedTuple):
    """Of torch. critic, reward: trunks and layers (weight, bias) that make a number of each vector."""

    policy: Any
    reference: Any
    critic: tuple[Any, list[Any]]
    reward: tuple[Any, list[Any]]


def theirs(workload: Workload, arrays: dict[str, Any], folder: str, mode: str) -> Way:
    """The same update by torch; the answer is its loss, mean score and mean KL."""
    tokens = arrays["tokens"].long()
    # token 0 stands in the place of none; behind an answer no one sees it
    text = torch.cat([arrays["ids"].long(), tokens.clamp(min=0)], 1)
    answers = text, (tokens >= 0).float(), arrays["log_probs"]
    policy, reference, *judges = (byte_lm.Trunk(workload, weights.tensors(folder, text.device)) for _ in range(4))
    critic, reward = (
        (trunk, [arrays[name][None].clone().requires_grad_(), torch.zeros_like(arrays[name][:1]).requires_grad_()])
        for name, trunk in zip(("critic", "reward"), judges, strict=True)
    )
    with torch.no_grad():
        for value in reference.weights.values():
            value.mul_(REFERENCE)
    networks = Networks(policy, reference, critic, reward)
    steps: tuple[Any, ...] = (judged, loss)
    judge, loss_of = (torch.compile(each) if mode == "compiled" else each for each in steps)
    parameters = [*policy.weights.values(), *critic[0].weights.values(), *critic[1]]
    optimizer = training_steps.torch_adamw(parameters, RATE, eps=EPSILON)
    orders, numbers = arrays["orders"].long(), itertools.count()

    def run() -> Any:
        with torch.no_grad():
            lesson, measured = judge(networks, *answers)
        losses = []
        for rows in orders[next(numbers) % len(orders)]:
            part = Lesson(*(each[rows] for each in lesson))
            losses.append(training_steps.theirs(functools.partial(loss_of, networks, part), optimizer, parameters)())
        return torch.cat([torch.stack(losses).mean()[None], measured])

    def answer(measured: Any) -> dict[str, Any]:
        with torch.inference_mode():
            before = text[:1, :-1]
            return {
                "output": torch.cat(
                    [policy.logits(before).flatten(), valued(critic, before, before.shape[1])[0], measured]
                )
            }

    return Way(run, answer)


def judged(networks: Networks, text: Any, mask: Any, old: Any) -> tuple[Lesson, Any]:
    """What the update learns from, and (mean score, mean KL to the reference)."""
    count = mask.shape[1]
    log_ratio = (old - likely(networks.reference, text, count)) * mask
    values = valued(networks.critic, text[:, :-1], count) * mask
    position = torch.arange(count, device=text.device)
    last = (position == mask.sum(1, keepdim=True) - 1).float()
    scores = (valued(networks.reward, text, count) * last).sum(1)
    rewards = last * scores[:, None] - BETA * log_ratio
    surprise = (rewards + GAMMA * functional.pad(values[:, 1:], (0, 1)) - values) * mask
    later = position[:, None] - position
    decays = torch.where(later >= 0, (GAMMA * LAMBDA) ** later.clamp(min=0), 0.0)  # [t', t] = (γλ)^(t' - t)
    advantages = surprise @ decays * mask
    centred = (advantages - advantages.sum() / mask.sum()) * mask
    whitened = centred / (centred.square().sum() / mask.sum()).sqrt()
    lesson = Lesson(text, mask, old, values, whitened, advantages + values)
    return lesson, torch.stack([scores.mean(), log_ratio.sum(1).mean()])


def loss(networks: Networks, lesson: Lesson) -> Any:
    """The clipped policy gradient and the critic's clipped loss, means over tokens."""
    count, clip, room = lesson.mask.shape[1], PPO["clip"], PPO["value_clip"]
    ratio = (likely(networks.policy, lesson.text, count) - lesson.old).exp()
    gain = torch.minimum(ratio * lesson.advantages, ratio.clamp(1 - clip, 1 + clip) * lesson.advantages)
    value = valued(networks.critic, lesson.text[:, :-1], count)
    near = lesson.values + (value - lesson.values).clamp(-room, room)
    error = torch.maximum((value - lesson.returns).square(), (near - lesson.returns).square())
    return ((PPO["value_weight"] / 2 * error - gain) * lesson.mask).sum() / lesson.mask.sum()


def likely(model: Any, text: Any, count: int) -> Any:
    """Log-probabilities (b, count) of the last tokens of texts (b, s)."""
    before, chosen = text[:, :-1], text[:, -count:]
    logits = functional.linear(model.vectors(before, slice(0, before.shape[1]))[:, -count:], model.weights["token"])
    return -functional.cross_entropy(logits.flatten(0, 1), chosen.flatten(), reduction="none").view_as(chosen)


def valued(judge: tuple[Any, list[Any]], ids: Any, last: int) -> Any:
    """Numbers (b, last) after the last tokens (b, s)."""
    trunk, layer = judge
    return functional.linear(trunk.vectors(ids, slice(0, ids.shape[1]))[:, -last:], *layer)[..., 0]


WORK = Workload("ppo_step", "byte_lm_medium", batch=16, tokens=32, steps=64)
CASES = (Case("ppo_step", "an update by PPO on such rollouts, in 2 epochs of 2 minibatches", WORK),)
