"""Our side's update by PPO: what both sides are given fits the policy, and the orders of samples are those that
`policy_step` draws.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.bench import cases, ppo, smollm2, weights
from experiments.bench.ppo import PPO
from experiments.bench.workloads import Workload
from gendiff.preferences import advantage_rules, policy_step, rollouts
from gendiff.scaling import accounting, cost
from tests.experiments.studies.bench.ours_alone import changed, done
from tests.quickly import quickly

WORK = Workload("ppo_step", "tiny_byte_lm", batch=4, tokens=4, steps=6)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """(folder of weights, arrays of both sides)."""
    folder = weights.folder(WORK, tmp_path_factory.mktemp("ppo"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", quickly)
        return folder, ppo.inputs(WORK, folder)


def recorder(updates):
    """An optimizer that changes nothing and writes down which parameters got a gradient."""

    def init(params):
        return jnp.zeros((), jnp.int32), jnp.zeros((updates, len(params)), bool)

    def step(gradient, state, params):
        count, updates_so_far = state
        return jnp.zeros_like(params), (count + 1, updates_so_far.at[count].set(gradient != 0))

    return optax.GradientTransformation(init, step)


@pytest.mark.slow
def test_orders_are_those_of_policy_step():
    """A parameter per sample gets a gradient in the steps that have the sample."""
    each = PPO["epochs"] * PPO["minibatches"]
    optimizer, none = recorder(ppo.ORDERED * each), jnp.zeros((WORK.batch, 1))
    done = rollouts.rollout(none, none, none == 0, jnp.arange(WORK.batch))
    options = {name: PPO[name] for name in ("epochs", "minibatches")}
    step = policy_step.make_step(
        lambda params, key, batch: batch,
        lambda params, part: (params[part.context][:, None], None),
        lambda reward, part: reward,
        optimizer,
        advantages=advantage_rules.grpo(WORK.batch),
        **options,
    )
    state = policy_step.start(jnp.zeros(WORK.batch), optimizer, jax.random.key(ppo.SEED), 0.0)
    step = quickly(step)
    for _ in range(ppo.ORDERED):
        state, _ = step(state, done, jnp.zeros(WORK.batch), jnp.arange(4.0))
    count_of_updates = np.asarray(state.learner.optimizer_state[1])
    expected = ppo.orders(WORK)
    assert expected.shape == (ppo.ORDERED, each, WORK.batch // PPO["minibatches"])
    np.testing.assert_array_equal(
        [np.flatnonzero(row) for row in count_of_updates], np.sort(expected.reshape(-1, expected.shape[2]), 1)
    )
    assert len({row.tobytes() for row in expected}) > 1


@pytest.mark.slow
def test_both_sides_get_answers_of_different_lengths_with_log_probabilities_and_two_kernels(inputs):
    _, arrays = inputs
    there = arrays["tokens"] >= 0
    assert (
        there.shape == (4, 6)
        and (np.diff(there.astype(int), axis=1) <= 0).all()
        and len({*there.sum(1)}) > 1
        and there[:, :3].all()
    )
    assert (arrays["log_probs"][there] < 0).all() and not arrays["log_probs"][~there].any()
    assert arrays["critic"].shape == arrays["reward"].shape == (16,) and not np.array_equal(
        arrays["critic"], arrays["reward"]
    )


def test_flops_are_those_of_the_layers_but_for_hidden_pairs_of_tokens_and_logits_of_prompts():
    (case,) = (case for case in cases.ALL if case.name == "ppo_step")
    workload = case.workload
    read = workload.tokens + workload.steps - 1
    size, tokens = smollm2.size_of(workload), jax.ShapeDtypeStruct((workload.batch, read), np.int32)
    network = workload.family.build(workload)
    with_logits, with_numbers = (
        accounting.count(network.clone(head=head), tokens, embeddings=True) for head in ("tokens", "scalar")
    )
    hidden = workload.batch * read * (size.attention_flops(read) - size.attention_flops(cost.mean_seen(read)))
    prompts = 2 * workload.batch * (workload.tokens - 1) * size.vocabulary * size.width
    policy, judge = with_logits.forward_flops - hidden - prompts, with_numbers.forward_flops - hidden
    assert ppo.flops(workload) == pytest.approx(
        policy * (1 + 3 * PPO["epochs"]) + judge * (2 + 3 * PPO["epochs"]), rel=1e-3
    )  # kernels of numbers
    assert case.modes == ("eager", "compiled") and workload.tokens_done == 0


@pytest.mark.slow
def test_an_update_changes_policy_and_critic_and_its_first_pass_sees_the_probabilities_of_the_rollout(inputs, tmp_path):
    folder, arrays = inputs
    side, answer = done(WORK, tmp_path, folder, arrays)
    after, metrics = side.ways["ours"].run()
    critic = {name: leaf for name, leaf in after["critic"].items() if name != "scalar"}
    assert min(*changed(WORK, folder, after["policy"]), *changed(WORK, folder, critic)) > 1e-6
    assert np.abs(np.asarray(after["critic"]["scalar"]["kernel"])[:, 0] - arrays["critic"]).max() > 1e-6
    assert bool(metrics["finite"]) and abs(float(metrics["kl"])) > 1e-3
    assert answer["output"].shape == (9 * 32 + 9 + 3,) and np.isfinite(answer["output"]).all()
