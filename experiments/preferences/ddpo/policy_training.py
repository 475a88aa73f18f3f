"""One update of a policy: by a clipped policy gradient, by the gradient of the reward itself, or by preferences between
two samples.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.preferences.ddpo.config import DPO, DRAFT, Config, policy
from experiments.preferences.ddpo.rewarded import RewardedTask
from gendiff import preferences, training
from gendiff.core import arrays, records, sample_keys
from gendiff.core.types import Metrics, Params
from gendiff.diffusion import process
from gendiff.preferences import masked, reward_gradients, trajectory
from gendiff.preferences.trajectory import StepLaw
from gendiff.training import TrainState, optimizers

CLIP = 0.2
"""Ratios further from 1 than this have no gradient."""
DPO_BETA = 500.0
"""Weight of the errors of pairs, which are means over pixels."""
Update = Callable[["DdpoState", Any], tuple["DdpoState", Metrics]]


@records.record
class DdpoState:
    """Everything that the next update depends on.

    step: () int32, the updates done. policy: what is learned, which may step several times per update. reference:
        parameters that stay.
    chosen: () int32, the place of the reward among those of the task. scale: the reward in standard deviations of the
    reference's, from its mean.
    """

    step: Any
    policy: TrainState
    reference: Params
    chosen: Any
    scale: Any


@records.record
class Denoising:
    """What b samples did in t steps, and what it was worth.

    states: (b, t + 1, …). advantages: (b, t). own, reference: the laws of the steps, by the policy that drew them and
        by the reference.
    prompt: (b,).
    """

    states: Any
    advantages: Any
    own: StepLaw
    reference: StepLaw
    prompt: Any


def fresh(config: Config, task: RewardedTask, reward: str) -> Callable[[jax.Array], DdpoState]:
    """From a key to the state before the first update, whose policy is the reference."""
    optimizer, scale = _optimizer(config, task), task.scale(reward, policy(config, reward).together)

    def start(key: jax.Array) -> DdpoState:
        reference = jax.tree.map(jnp.asarray, task.reference)
        chosen, normaliser = jnp.int32(task.rewards.index(reward)), jax.tree.map(jnp.asarray, scale)
        policy = training.start(task.start(jax.random.fold_in(key, 0)), optimizer, key, ema=())
        return DdpoState(jnp.zeros((), jnp.int32), policy, reference, chosen, normaliser)

    return start


def update(config: Config, task: RewardedTask, how: str) -> Update:
    """`(state, {"index", "order"}) -> (state, metrics)` of one way to learn, for samples of these numbers.

    order: whose reward each sample gets: its own, unless the policy is the control.
    """
    if how == DRAFT:
        return _once(config, task, _draft_loss(config, task))
    if how == DPO:
        return _once(config, task, _dpo_loss(config, task))
    return _policy_gradient(config, task)


def rollout(
    task: RewardedTask, state: DdpoState, index: jax.Array, order: jax.Array, beta: float
) -> tuple[Denoising, Metrics]:
    """Samples of the policy with the advantage of each step.

    The objective is E[reward] − β KL of trajectories. The KL of a step depends on the step itself, whose gradient is
    exact and part of the loss, and on where the steps before led, which is part of their advantage.
    """
    prompt, params = task.prompt(index), task.merged(state.policy.params, state.reference)
    states, images = task.draw(state.policy.key, params, state.reference, index, prompt)
    law, reference = task.laws_of_both(params, state.reference, states, prompt)
    kl, scores = law.kl(reference), task.score(images, prompt)[:, state.chosen]
    to_come = jnp.cumsum(kl[:, ::-1], axis=1)[:, ::-1] - kl
    returns = state.scale(scores)[order][:, None] - beta * to_come
    advantages = jax.vmap(lambda column: preferences.group_relative(column, prompt, scale=False), 1, 1)(returns)
    metrics = {"reward": jnp.mean(scores), "kl": jnp.mean(jnp.sum(kl, axis=1))}
    return Denoising(jnp.moveaxis(states, 0, 1), advantages, law, reference, prompt), metrics


def clipped_loss(
    config: Config, task: RewardedTask, learned: Params, batch: Denoising, reference: Params
) -> tuple[jax.Array, Metrics]:
    """The clipped policy gradient of a part of a rollout, with β times the KL of its steps. Means over steps, both."""
    states = jnp.moveaxis(batch.states, 1, 0)
    laws = task.laws(task.merged(learned, reference), states, batch.prompt)
    log_ratio, mask = laws.log_ratio(batch.own, trajectory.ends(states)), batch.own.mask
    loss, metrics = preferences.clipped_policy_gradient(
        log_ratio, jnp.zeros_like(log_ratio), batch.advantages, mask, CLIP
    )
    away = jnp.max(jnp.abs(jnp.expm1(log_ratio)))
    penalty = config.beta * masked.mean(laws.kl(batch.reference), mask)
    return loss + penalty, {"clip_fraction": metrics["clip_fraction"], "ratio_error": jax.lax.stop_gradient(away)}


def _policy_gradient(config: Config, task: RewardedTask) -> Update:
    parts = policy(config, task.rewards[0]).parts

    def loss(params: Params, key: jax.Array, batch: Denoising, reference: Params) -> tuple[jax.Array, Metrics]:
        return clipped_loss(config, task, params, batch, reference)

    step = training.make_step(loss, _optimizer(config, task))

    def advance(state: DdpoState, batch: Any) -> tuple[DdpoState, Metrics]:
        rollouts, metrics = rollout(task, state, batch["index"], batch["order"], config.beta)
        pieces = jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), rollouts)
        following, all_metrics = state.policy, []
        # no scan: within a loop of XLA the gradients of convolutions take many times as long on a CPU
        for part in range(parts):
            following, step_metrics = step(
                following, jax.tree.map(lambda leaf, part=part: leaf[part], pieces), state.reference
            )
            all_metrics.append(step_metrics)
        of_parts = jax.tree.map(lambda *values: jnp.stack(values), *all_metrics)
        metrics |= {"ratio_error": of_parts["ratio_error"][0], "clip_fraction": of_parts["clip_fraction"][-1]}
        metrics |= {name: jnp.mean(of_parts[name]) for name in ("loss", "grad_norm")} | {
            "finite": jnp.all(of_parts["finite"])
        }
        return records.replace(state, step=state.step + 1, policy=following), metrics

    return advance


def _once(config: Config, task: RewardedTask, loss: Callable[..., tuple[jax.Array, Metrics]]) -> Update:
    step = training.make_step(loss, _optimizer(config, task))

    def advance(state: DdpoState, batch: Any) -> tuple[DdpoState, Metrics]:
        following, metrics = step(state.policy, batch["index"], state.reference, state.chosen, state.scale)
        return records.replace(state, step=state.step + 1, policy=following), metrics

    return advance


def _draft_loss(config: Config, task: RewardedTask) -> Callable[..., tuple[jax.Array, Metrics]]:
    def loss(
        params: Params, key: jax.Array, index: jax.Array, reference: Params, chosen: jax.Array, scale: Any
    ) -> tuple[jax.Array, Metrics]:
        prompt = task.prompt(index)
        noise = arrays.normal(
            arrays.fold_in(sample_keys.keys_of(key, index), 0),
            jax.ShapeDtypeStruct((*index.shape, *task.model.shape), jnp.float32),
        )
        start = task.levels.sigma[0] * noise
        denoise = task.drawing_denoiser(params, reference, prompt)
        last = config.last + len(task.levels) - 1 - task.acting  # and through the reference's
        images = reward_gradients.truncated_sample(
            key, denoise, task.sampler, task.levels, start, index, last=last, unroll=True
        )
        scores = task.score(images, prompt)[:, chosen]
        return -jnp.mean(scale(scores)), {"reward": jnp.mean(scores)}

    return loss


def _dpo_loss(config: Config, task: RewardedTask) -> Callable[..., tuple[jax.Array, Metrics]]:
    def loss(
        params: Params, key: jax.Array, index: jax.Array, reference: Params, chosen: jax.Array, scale: Any
    ) -> tuple[jax.Array, Metrics]:
        draw_key, level_key, noise_key = jax.random.split(key, 3)
        prompt = task.prompt(index)
        _, images = task.draw(draw_key, reference, reference, index, prompt)
        scores = task.score(images, prompt)[:, chosen]
        half = index.shape[0] // 2
        better = (scores[:half] >= scores[half:]).reshape(-1, *[1] * (images.ndim - 1))
        pair = jnp.concatenate([jnp.where(better == first, images[:half], images[half:]) for first in (True, False)])
        places = jax.random.randint(level_key, (half,), 0, len(task.levels) - 1)
        level = task.levels[jnp.tile(places, 2)]
        noise = jnp.tile(
            jax.random.normal(noise_key, images[:half].shape, images.dtype), (2,) + (1,) * (images.ndim - 1)
        )

        def errors(params: Params) -> jax.Array:
            """(2, b) of the winners and of the losers, at the same levels and with the same noise."""
            prediction = task.denoiser(params, prompt)(process.add_noise(pair, noise, level), level)
            # of the flow, which is what the network answers
            away = (noise - pair) - (prediction.noise - prediction.clean)
            return jnp.mean(arrays.flatten_samples(away**2), axis=1).reshape(2, half)

        value, metrics = preferences.diffusion_dpo(*errors(params), *errors(reference), beta=DPO_BETA)
        return value, metrics | {"reward": jnp.mean(scores)}

    return loss


def _optimizer(config: Config, task: RewardedTask) -> Any:
    return optimizers.adamw(
        policy(config, task.rewards[0]).learning_rate, warmup=1, total=2, decay="constant", clip=1.0
    )
