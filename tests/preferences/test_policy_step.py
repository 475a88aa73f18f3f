"""An update of PPO or GRPO, on a task whose optimum is a sum over 7 answers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gendiff.core import trees
from gendiff.core.errors import ConfigError
from gendiff.preferences import advantage_rules, advantages, kl, policy_step, rollouts
from gendiff.training.checkpoints import Checkpoints
from tests.preferences import short_answers as task
from tests.quickly import quickly
from tests.refusals import refusals
from tests.variants import some_slow

REFERENCE = task.fresh(1)
PLAIN = optax.sgd(1.0)


@pytest.mark.parametrize("name", some_slow(task.RULES, ("grpo",)))
def test_training_ends_at_the_exact_optimum_of_reward_and_kl(name):
    state, metrics = task.train(name, task.start(REFERENCE), REFERENCE, 0, 80)
    optimum = task.optimum(REFERENCE)
    assert task.distance(state.params, optimum) < 0.04 < 0.2 < task.distance(REFERENCE, optimum)
    assert int(state.step) == 80 and bool(metrics["finite"])
    counts = [leaf for path, leaf in trees.paths(state.learner.optimizer_state).items() if path.endswith("count")]
    assert {int(count) for count in counts} == {80 * 4}


def by_hand(key):
    """(parameters after one step of REINFORCE at rate 1, mean of k1) of groups, from the key of a state."""
    done = task.roll(REFERENCE, jax.random.split(jax.random.fold_in(key, 0))[0], task.BATCH)
    reference, _ = task.evaluate(task.fresh(2), done, 0.0)
    log_ratio = jnp.sum(jnp.where(done.mask > 0, done.log_probs - reference, 0), 1)
    total = task.score(jnp.asarray(task.REWARDS), done) - task.BETA * log_ratio
    relative = advantages.group_relative(total, task.GROUP, scale=False)

    def reinforce(params):
        gained = jnp.where(done.mask > 0, relative[:, None] * task.log_probs(params, done.actions), 0)
        return jnp.sum(gained) / jnp.sum(done.mask)

    return jax.tree.map(lambda leaf, gradient: leaf + gradient, REFERENCE, jax.grad(reinforce)(REFERENCE)), jnp.mean(
        log_ratio
    )


def test_one_gradient_step_is_that_of_reinforce_with_the_same_advantages():
    options = {"epochs": 1, "minibatches": 1, "gradient_clip": None}
    state = task.start(REFERENCE, optimizer=PLAIN)
    step = task.update("grpo", PLAIN, **options)

    def both(state, *arguments):
        return step(state, task.BATCH, *arguments), by_hand(state.key)

    (after, metrics), (expected, mean_kl) = quickly(both)(state, task.fresh(2), task.REWARDS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), after.params["policy"], expected["policy"]
    )
    assert (
        float(metrics["ratio"]) == pytest.approx(1, abs=1e-6)
        and metrics["clip_fraction"] == 0
        and metrics["mismatch"] < 1e-6
    )
    np.testing.assert_allclose(metrics["kl"], mean_kl, rtol=1e-5)
    np.testing.assert_allclose(metrics["objective"], metrics["score"] - task.BETA * metrics["kl"], rtol=1e-5)


def test_a_huge_beta_keeps_the_reference_and_none_leaves_it():
    ended = {beta: task.train("ppo", task.start(REFERENCE, beta), REFERENCE, 0, 30)[0].params for beta in (0.0, 1e3)}
    stayed = np.exp(task.law(REFERENCE))
    assert task.distance(ended[1e3], stayed) < 0.06 < 0.3 < task.distance(ended[0.0], stayed)


def test_one_compile_serves_every_reference_reward_and_beta_and_numbers_behind_an_end_are_never_read():
    """All log-probabilities and values there are NaN."""
    task.step("ppo")(task.start(REFERENCE), task.BATCH, REFERENCE, task.REWARDS)
    before, results = task.score.traces, []
    for beta, reference, reward in (
        (0.1, REFERENCE, task.REWARDS),
        (0.5, task.fresh(3), task.REWARDS),
        (0.5, REFERENCE, -task.REWARDS),
    ):
        state, metrics = task.step("ppo")(task.start(REFERENCE, beta), task.BATCH, reference, reward)
        results.append(np.asarray(state.params["policy"]["first"]))
        assert metrics["beta"] == np.float32(beta) and bool(metrics["finite"]) and np.isfinite(results[-1]).all()
    assert task.score.traces == before and len({each.tobytes() for each in results}) == 3


def test_mismatch_tells_that_the_first_pass_sees_other_probabilities_than_the_rollout():
    def warm(params, key, batch):
        done = task.roll(params, key, batch)
        return rollouts.rollout(done.actions, done.log_probs * 0.9, done.mask, done.context)

    def mismatch(reward):
        done = warm(REFERENCE, jax.random.key(0), task.BATCH)
        return policy_step.experience(
            *task.RULES["grpo"][:1], task.score, task.RULES["grpo"][1], REFERENCE, done, REFERENCE, reward, 0.5
        )[1]

    assert quickly(mismatch)(task.REWARDS)["mismatch"] > 0.01


@pytest.mark.fault("NaN loss or gradient")
def test_an_update_whose_rewards_are_not_finite_changes_nothing_but_its_count():
    state = task.start(REFERENCE)
    after, metrics = task.step("ppo")(state, task.BATCH, REFERENCE, np.full_like(task.REWARDS, np.nan))
    jax.tree.map(np.testing.assert_array_equal, after.params, state.params)
    assert not metrics["finite"] and int(after.step) == 1


@pytest.mark.fault("kill -9 anywhere, then resume")
@pytest.mark.slow  # its state, with an average and a β that moves, is another program
def test_a_resumed_training_ends_bitwise_as_an_unbroken_one(tmp_path):
    """With an average, and a β that moves."""

    def begin():
        return task.start(REFERENCE, kl.adaptive_beta(0.1, target=1e-4), ema=(0.9,))

    full, _ = task.train("ppo", begin(), REFERENCE, 0, 4)
    half, _ = task.train("ppo", begin(), REFERENCE, 0, 2)
    with Checkpoints(tmp_path) as store:
        store.save(2, half)
        restored = store.restore(2, jax.eval_shape(begin)).state
    resumed, _ = task.train("ppo", restored, REFERENCE, 2, 4)
    # KL was 0, below its target, and then above it
    np.testing.assert_allclose(half.beta.value, 0.1 * 0.98 * 1.02, rtol=1e-5)
    assert int(resumed.step) == 4 and not np.array_equal(full.ema["policy"]["first"], full.params["policy"]["first"])
    jax.tree.map(
        lambda a, b: np.testing.assert_array_equal(a, b),
        (full.params, full.ema, full.beta),
        (resumed.params, resumed.ema, resumed.beta),
    )


def test_steps_of_a_gaussian_chain_learn_by_the_same_program():
    """As a denoiser's do: actions are the states that were passed through, and log-probabilities densities."""

    def density(drift, states):
        return jnp.sum(-jnp.square(states[:, 1:] - states[:, :-1] - drift) / 2, 2)

    def roll(params, key, batch):
        noise = jax.random.normal(key, (batch.shape[0], 4, 2))
        states = jnp.cumsum(jnp.concatenate([jnp.zeros((batch.shape[0], 1, 2)), noise + params], 1), 1)
        return rollouts.rollout(states, density(params, states), jnp.ones((batch.shape[0], 4)))

    def evaluate(params, rollout):
        return density(params, rollout.actions), None

    def score(goal, rollout):
        return -jnp.sum(jnp.square(rollout.actions[:, -1] - goal[None]), 1)

    rule, goal, params = advantage_rules.grpo(16), np.array([2.0, -1.0], np.float32), jnp.zeros((1, 1, 2))
    optimizer = optax.adam(0.03)
    step = quickly(policy_step.make_step(roll, evaluate, score, optimizer, advantages=rule, epochs=1, minibatches=2))
    state = policy_step.start(params, optimizer, jax.random.key(0), 0.0)
    for _ in range(30):
        state, metrics = step(state, task.BATCH[:64], params, goal)
    np.testing.assert_allclose(4 * state.params[0, 0], goal, atol=0.4)
    assert float(metrics["mismatch"]) == 0


def build(**options):
    settings = {"advantages": advantage_rules.grpo(2)} | options
    return policy_step.make_step(task.roll, task.without_critic, task.score, PLAIN, **settings)


def shapes(step, reward=task.REWARDS):
    return jax.eval_shape(
        step, jax.eval_shape(lambda: task.start(REFERENCE, optimizer=PLAIN)), task.BATCH, REFERENCE, reward
    )


test_what_does_not_fit_is_refused = refusals(
    (lambda: build(epochs=0), "epochs = 0 must be at least 1", ConfigError),
    (lambda: build(minibatches=0), "minibatches = 0 must be at least 1", ConfigError),
    (lambda: build(value_weight=-1.0), "value_weight = -1.0 must be at least 0", ConfigError),
    (lambda: build(gradient_clip=0.0), "clip = 0.0 must be positive", ConfigError),
    (lambda: shapes(build(minibatches=7)), "minibatches = 7 does not divide the 256 samples", ConfigError),
    (lambda: shapes(build(advantages=advantage_rules.gae())), "evaluate answered no values", TypeError),
    (
        lambda: shapes(build(), task.REWARDS[..., None]),
        r"score answered shape \(256, 1\): it must be \(256,\)",
        TypeError,
    ),
    (lambda: task.start(REFERENCE, -1.0), "beta = -1 is outside"),
    (lambda: policy_step.start(REFERENCE, PLAIN, None, 1.0), "key is None", TypeError),
)
