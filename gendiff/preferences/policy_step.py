"""One update of a policy by PPO or GRPO in one program: roll out, score, find advantages, then epochs of minibatches.

It knows neither tokens nor denoising steps: `roll`, `evaluate` and `score` are the caller's. Every gradient step is a
training step.
"""

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import optax

from gendiff import training
from gendiff.core import checks, explicit_axes, records
from gendiff.core.errors import ConfigError
from gendiff.core.types import Loss, Metrics, Numeric, Params, PyTree, Scalar
from gendiff.preferences import kl, masked, policy_gradient, rollouts
from gendiff.preferences.advantage_rules import AdvantageRule
from gendiff.preferences.kl import AdaptiveBeta
from gendiff.preferences.rollouts import Experience, Rollout
from gendiff.training import TrainState
from gendiff.training.post_hoc_ema import PowerFunction, Track

Roll = Callable[[Params, jax.Array, PyTree], Rollout]
"""(params, key, batch) -> what the policy did with the batch's prompts."""
Evaluate = Callable[[Params, Rollout], tuple[jax.Array, jax.Array | None]]
"""(params, rollout) -> (log-probabilities (b, s) of its actions, a critic's values before each (b, s) or None)."""
Score = Callable[[PyTree, Rollout], jax.Array]
"""(reward, rollout) -> (b,) rewards of whole samples; reward is any tree, such as the parameters of a reward model."""
Step = Callable[["PolicyState", PyTree, Params, PyTree], tuple["PolicyState", Metrics]]


@records.record
class PolicyState:
    """Everything that the next update depends on.

    Attributes:
        learner: parameters, averages and optimizer. Its step counts the updates.
        beta: () weight of the KL penalty, or an `AdaptiveBeta`.
        key: what rollouts and orders of minibatches are drawn with; it never moves.
    """

    learner: TrainState
    beta: jax.Array | AdaptiveBeta
    key: jax.Array

    @property
    def step(self) -> Numeric:
        """() int32, the number of updates done."""
        return self.learner.step

    @property
    def params(self) -> Params:
        """The parameters of policy and critic."""
        return self.learner.params

    @property
    def tracks(self) -> dict[Track, Params]:
        """Their averages, by decay."""
        return self.learner.tracks

    @property
    def ema(self) -> Params:
        """The first average, or the parameters when there is none."""
        return self.learner.ema


def start(
    params: Params,
    optimizer: optax.GradientTransformation,
    key: jax.Array,
    beta: Scalar | AdaptiveBeta,
    ema: Iterable[Scalar | PowerFunction] = (),
) -> PolicyState:
    """Build the state before the first update.

    Every array is a copy, so donating the state leaves what it was made of usable.

    Args:
        params: whatever `roll` and `evaluate` take: a policy, or policy and critic in one tree. The reference may be
            the same object.
        optimizer: any optax transformation. It makes epochs · minibatches steps per update.
        key: one typed key. Gradient steps have fold_in(key, 0), rollouts fold_in(key, 1), each folded with its number.
        beta: () at least 0, the weight of the KL penalty as data, or `kl.adaptive_beta(…)`.
        ema: decays or power functions of averages (see `training.start`).

    Raises:
        TypeError: for a key that is not typed.
        ValueError: for several keys, and a concrete beta below 0.
        ConfigError: for a decay that is out of range or given twice.
    """
    checks.one_key("key", key)
    if not isinstance(beta, AdaptiveBeta):
        checks.in_range("beta", beta, 0.0, float("inf"), open_high=True)
    penalty = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.result_type(float), copy=True), beta)
    return PolicyState(
        training.start(params, optimizer, jax.random.fold_in(key, 0), ema), penalty, jax.random.fold_in(key, 1)
    )


def make_step(
    roll: Roll,
    evaluate: Evaluate,
    score: Score,
    optimizer: optax.GradientTransformation,
    *,
    advantages: AdvantageRule,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_weight: float = 0.5,
    value_clip: float | None = 0.2,
    average: str = "steps",
    gradient_clip: float | None = 1.0,
    skip_nonfinite: bool = True,
    ema_warm_up: bool = True,
) -> Step:
    """Build `step(state, batch, reference, reward) -> (state, metrics)`: one update.

    `reference` is a tree like the policy's parameters, the policy that the KL penalty is about; `reward` is the first
    argument of `score`. Both are data under jit, and get no gradient.

    Metrics: score (), mean reward without penalty; kl (), mean of k1 over samples; objective (), score − β kl; beta ();
    mismatch (), the largest |log-probability by evaluate − that by roll| before any gradient step, which is 0 up to
    rounding unless the two disagree about temperature, truncation or alignment; and means over the gradient steps:
    loss, grad_norm, those of `policy_loss`. finite () bool tells whether every gradient step was finite; one that is
    not is skipped.

    Args:
        roll: `(params, key, batch) -> Rollout`.
        evaluate: `(params, rollout) -> (log_probs (b, s), values (b, s) or None)`. What it answers where the mask is 0
            is never read.
        score: `(reward, rollout) -> (b,)`.
        optimizer: the one that `start` was given.
        advantages: such as `advantage_rules.gae()` (PPO) or `advantage_rules.grpo(8)` (GRPO).
        epochs: how often each sample is used, at least 1.
        minibatches: how many per epoch, at least 1; the number divides the samples of a rollout.
        clip: ε of the ratio of probabilities, above 0 (see `clipped_policy_gradient`).
        value_weight: of the critic's loss, at least 0.
        value_clip: how far an update may move a value for its loss to fall (see `value_loss`), above 0; None for no
            clip.
        average: how steps are weighed: "steps", "samples" or "length" (see `clipped_policy_gradient`).
        gradient_clip: largest global norm of a gradient, above 0; None for no clip.
        skip_nonfinite: a gradient step that is not finite changes nothing.
        ema_warm_up: see `training.make_step`.

    Raises:
        ConfigError: for numbers outside their ranges, and minibatches that do not divide the samples.
        TypeError: for scores that are not (b,), and a rule that needs values where there are none.

    References:
        Schulman et al., 2017, Algorithm 1; Ouyang et al., 2022, section 3.5; Shao et al., 2024, Algorithm 1 (from
        memory).
    """
    for name, value in (("epochs", epochs), ("minibatches", minibatches)):
        checks.integer(name, value, low=-(2**31))
        if value < 1:
            raise ConfigError(f"{name} = {value} must be at least 1")
    if not value_weight >= 0:
        raise ConfigError(f"value_weight = {value_weight} must be at least 0")
    loss = policy_loss(evaluate, clip=clip, value_weight=value_weight, value_clip=value_clip, average=average)
    update = training.make_step(
        loss, optimizer, clip=gradient_clip, skip_nonfinite=skip_nonfinite, ema_warm_up=ema_warm_up
    )

    def step(state: PolicyState, batch: PyTree, reference: Params, reward: PyTree) -> tuple[PolicyState, Metrics]:
        def out(mesh: jax.sharding.AbstractMesh) -> PyTree:
            return explicit_axes.like(state, mesh), explicit_axes.replicated(mesh)

        result: tuple[PolicyState, Metrics] = explicit_axes.as_auto(advance, (state, batch, reference, reward), out)
        return result

    def advance(state: PolicyState, batch: PyTree, reference: Params, reward: PyTree) -> tuple[PolicyState, Metrics]:
        learner, number = state.learner, state.learner.step
        beta = state.beta.value if isinstance(state.beta, AdaptiveBeta) else state.beta
        roll_key, order_key = jax.random.split(jax.random.fold_in(state.key, number))
        done = roll(learner.params, roll_key, batch)
        gathered, metrics = experience(evaluate, score, advantages, learner.params, done, reference, reward, beta)
        parts = rollouts.minibatches(order_key, gathered, epochs, minibatches)
        # its own count of gradient steps, from which each takes its key, follows from that of the updates
        inner = records.replace(learner, step=number * (epochs * minibatches))
        inner, of_steps = jax.lax.scan(update, inner, parts)
        finite = jnp.all(of_steps.pop("finite"))
        metrics |= {name: jnp.mean(values) for name, values in of_steps.items()} | {"finite": finite}
        following = state.beta.update(metrics["kl"]) if isinstance(state.beta, AdaptiveBeta) else state.beta
        return PolicyState(records.replace(inner, step=number + 1), following, state.key), metrics

    return step


def experience(
    evaluate: Evaluate,
    score: Score,
    advantages: AdvantageRule,
    params: Params,
    rollout: Rollout,
    reference: Params,
    reward: PyTree,
    beta: Scalar,
) -> tuple[Experience, Metrics]:
    """The experience of a rollout, and the metrics score, kl, objective, beta and mismatch.

    See `make_step` for the arguments.

    Raises:
        TypeError: for scores that are not (b,).
        ValueError: for log-probabilities of another shape than those of the rollout.
    """
    log_probs, values = evaluate(params, rollout)
    of_reference, _ = evaluate(reference, rollout)
    scores = score(reward, rollout)
    if scores.shape != rollout.mask.shape[:1]:
        raise TypeError(
            f"score answered shape {scores.shape}: it must be {rollout.mask.shape[:1]}, a reward per sample"
        )
    acted = masked.acted(rollout.mask, log_probs=log_probs, reference=of_reference)
    advantage, returns = advantages(scores, rollout, of_reference, values, beta)
    estimate = kl.kl_estimates(rollout.log_probs, of_reference, rollout.mask).k1
    mean_kl, mean_score = jnp.mean(masked.total(estimate, rollout.mask)), jnp.mean(scores)
    metrics: Metrics = {
        "score": mean_score,
        "kl": mean_kl,
        "objective": mean_score - jnp.asarray(beta) * mean_kl,
        "beta": jnp.asarray(beta),
        "mismatch": jnp.max(jnp.where(acted, jnp.abs(log_probs - rollout.log_probs), 0)),
    }
    zeroed = masked.zeroed(of_reference, rollout.mask)
    return Experience(rollout, scores, zeroed, values if returns is not None else None, advantage, returns), metrics


def policy_loss(
    evaluate: Evaluate,
    *,
    clip: float = 0.2,
    value_weight: float = 0.5,
    value_clip: float | None = 0.2,
    average: str = "steps",
) -> Loss:
    """The loss of one gradient step, for a loop of your own: `(params, key, Experience) -> (scalar, metrics)`.

    At the parameters that rolled, every ratio is 1 and the gradient is that of REINFORCE with the same advantages.
    Metrics are ratio, clip_fraction, moved (KL of the policy that rolled from the one that learns, per step), and with
    a critic value_loss, value_clip_fraction and explained_variance. See `make_step` for the arguments.
    """

    def objective(params: Params, key: jax.Array, part: Experience) -> tuple[jax.Array, Metrics]:
        del key  # nothing here is random
        log_probs, values = evaluate(params, part.rollout)
        mask = part.rollout.mask
        old = part.rollout.log_probs
        loss, metrics = policy_gradient.clipped_policy_gradient(
            log_probs, old, part.advantages, mask, clip, average=average
        )
        metrics["moved"] = metrics.pop("kl")  # the step has the name for KL to the reference
        if values is None or part.values is None or part.returns is None:
            return loss, metrics
        of_critic, more = policy_gradient.value_loss(values, part.values, part.returns, mask, value_clip)
        return loss + value_weight * of_critic, metrics | more | {"value_loss": of_critic}

    return objective
