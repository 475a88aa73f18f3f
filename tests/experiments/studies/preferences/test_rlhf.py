"""The exact sums of the rlhf experiment, what it measures of made-up policies, and its networks beside the sums over
all answers.
"""

import dataclasses
import json
import os
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import scipy.special

from experiments.preferences import rlhf
from experiments.preferences.rlhf import optimum, pairs, policies, rollout_programs, task, train
from gendiff import networks
from gendiff.preferences.bradley_terry import Normaliser
from gendiff.training import sharding
from tests.quickly import quickly
from tests.runs.test_resume import PROJECT, assert_same_run
from tests.variants import some_slow

FULL = rlhf.EXPERIMENT.presets["full"]
SMALL = dataclasses.replace(FULL, width=8, depth=1, heads=2)
GOLD, REFERENCE = task.gold(), task.demonstrated()


def test_the_best_policy_reaches_the_optimum_and_lies_on_the_frontier_and_no_other_one_is_above_it():
    rng = np.random.default_rng(0)
    for beta in (0.1, 0.5, 2.0):
        best = optimum.tilted(REFERENCE, GOLD, beta)
        at = optimum.reached(best, REFERENCE, GOLD)
        np.testing.assert_allclose(at.objective(beta), optimum.best(REFERENCE, GOLD, beta), rtol=1e-9)
        np.testing.assert_allclose(optimum.frontier(REFERENCE, GOLD, at.kl), at.reward, rtol=1e-6)
        assert (
            optimum.share(best, REFERENCE, GOLD, beta) == pytest.approx(1)
            and optimum.share(REFERENCE, REFERENCE, GOLD, beta) == 0
        )
        other = best + 0.3 * rng.normal(size=best.shape)
        near = optimum.reached(other, REFERENCE, GOLD)
        assert (
            near.reward < optimum.frontier(REFERENCE, GOLD, near.kl) - 1e-4
            and optimum.share(other, REFERENCE, GOLD, beta) < 1
        )
    assert optimum.frontier(REFERENCE, GOLD, 0.0) == pytest.approx(
        optimum.reached(REFERENCE, REFERENCE, GOLD).reward, abs=1e-3
    )
    assert optimum.total_variation(REFERENCE, REFERENCE) == 0 and 0 < optimum.total_variation(best, REFERENCE) < 1


def test_the_gold_reward_has_mean_0_and_deviation_1_over_demonstrations_and_differs_by_prompt():
    weight = np.exp(REFERENCE) / task.PROMPTS
    np.testing.assert_allclose([weight.sum(), (weight * GOLD).sum(), (weight * GOLD**2).sum()], [1, 0, 1], atol=1e-9)
    assert len(set(GOLD.argmax(1))) > 1
    np.testing.assert_array_equal(task.texts(np.array([2]), np.array([8 * 8 * 3 + 8 * 5 + 1])), [[10, 3, 5, 1]])


def test_answers_are_drawn_by_their_law_and_pairs_of_rankings_follow_bradley_and_terry():
    rng = np.random.default_rng(1)
    ranked = task.ranked(rng, REFERENCE, 40_000, 3, GOLD)
    counts = np.bincount(
        (ranked.answers + task.ANSWERS * ranked.prompts[:, None]).reshape(-1), minlength=4 * task.ANSWERS
    )
    expected = 120_000 * np.exp(REFERENCE).reshape(-1) / 4
    often = expected > 5
    assert np.sum(((counts - expected) ** 2 / expected)[often]) < often.sum() + 5 * np.sqrt(2 * often.sum())
    chosen, rejected = pairs.of_rankings(ranked)
    assert len(chosen) == 120_000
    log_loss = np.mean(np.logaddexp(0, GOLD.reshape(-1)[rejected] - GOLD.reshape(-1)[chosen]))
    first, second = pairs.by_a_reward(rng, REFERENCE, GOLD, 120_000)
    other = np.mean(np.logaddexp(0, GOLD.reshape(-1)[second] - GOLD.reshape(-1)[first]))
    law = [np.exp(REFERENCE[prompt]) for prompt in range(4)]
    margins = [scipy.special.expit(GOLD[prompt][:, None] - GOLD[prompt][None]) for prompt in range(4)]
    entropy = np.mean([-2 * p @ (share * np.log(share)) @ p for p, share in zip(law, margins, strict=True)])
    assert abs(log_loss - entropy) < 0.01 and abs(other - entropy) < 0.01
    ones = np.take_along_axis(ranked.answers, ranked.ranking, 1)
    assert (GOLD[ranked.prompts, ones[:, 0]] > GOLD[ranked.prompts, ones[:, 2]]).mean() > 0.7


def test_no_scores_exceed_the_bayes_rate_and_equal_ones_have_one_half():
    rate = task.bayes_rate(REFERENCE)
    noisy = GOLD + np.random.default_rng(2).normal(size=GOLD.shape)
    assert 0.5 < task.accuracy(REFERENCE, noisy) < rate - 0.02
    assert task.accuracy(REFERENCE, np.exp(3 * GOLD)) == pytest.approx(rate)
    assert task.accuracy(REFERENCE, 0 * GOLD) == pytest.approx(0.5) and task.accuracy(
        REFERENCE, -GOLD
    ) == pytest.approx(1 - rate)


def test_policies_stand_by_the_reward_they_learned_from_and_by_gold():
    best, stuck = (
        rlhf.stand(policy, REFERENCE, GOLD, 0.5)[0] for policy in (optimum.tilted(REFERENCE, GOLD, 0.5), REFERENCE)
    )
    assert best["share"] == best["gold share"] == pytest.approx(1) and best["variation"] == pytest.approx(0, abs=1e-9)
    assert best["reward"] == best["best reward"] and best["KL"] == best["best KL"]
    assert stuck["share"] == stuck["KL"] == 0 and stuck["variation"] > 0.1
    gamed = rlhf.stand(optimum.tilted(REFERENCE, -GOLD, 0.5), REFERENCE, -GOLD, 0.5)[0]
    assert gamed["share"] == pytest.approx(1) and gamed["gold share"] < 0
    right, coin = rlhf.model(REFERENCE, GOLD), rlhf.model(REFERENCE, np.random.default_rng(3).normal(size=GOLD.shape))
    assert (
        right["lost"] == 0
        and right["correlation"] == pytest.approx(1)
        and coin["lost"] > 0.15
        and abs(coin["correlation"]) < 0.3
    )


def test_a_proxy_that_rises_while_gold_falls_is_seen_from_the_peak():
    numbers = rlhf.too_far(np.array([0.0, 0.5, 0.2]), np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 3.0]))
    assert (numbers["peak"], numbers["KL there"], numbers["fall"], numbers["rise"]) == (1, 1.0, 0.3, 1.0)
    assert rlhf.too_far(np.array([0, 1, 0.5]), np.array([0, 1, 0.9]), np.zeros(3))["rise"] < 0  # the proxy fell too


@pytest.fixture(scope="module")
def params():
    initial = networks.init(policies.policy(SMALL), jax.random.key(0), np.zeros((1, 2), np.int32))
    return jax.tree.map(lambda leaf: 3 * leaf, initial)


def test_the_law_of_a_network_sums_to_one_and_is_what_its_rollouts_and_its_evaluation_say(params):
    actor, tokens = (
        policies.Actor(policies.policy(SMALL), without_critic=True),
        np.resize(task.SYMBOLS + np.arange(4, dtype=np.int32), 64),
    )
    law, done, again = quickly(lambda params: _laws(actor, params, tokens))(params)
    np.testing.assert_allclose(scipy.special.logsumexp(law, 1), 0, atol=1e-5)
    numbers = np.asarray(done.actions) @ [64, 8, 1]
    np.testing.assert_allclose(done.log_probs.sum(1), np.asarray(law)[tokens - task.SYMBOLS, numbers], atol=1e-5)
    np.testing.assert_allclose(again, done.log_probs, atol=1e-5)
    assert len(set(numbers.tolist())) > 20


def _laws(actor, params, tokens):
    held = {policies.POLICY: params}
    done = actor.roll(held, jax.random.key(1), tokens)
    return policies.law(actor.network, params), done, actor.evaluate(held, done)[0]


def test_members_and_pairs_of_a_step_are_those_of_their_seeds():
    config = dataclasses.replace(SMALL, seeds=(3, 5), rankings=50, dpo_pairs=40)
    members = train.members(config, train.PPO)
    assert [(each.number, each.beta, each.few) for each in members[:2]] == [(0, 1.0, False), (1, 1.0, False)]
    assert [(each.number, each.beta, each.few) for each in members[-2:]] == [(0, 0.02, True), (1, 0.02, True)] and len(
        members
    ) == 8
    laws = np.stack([REFERENCE, REFERENCE])
    rankings = train.rankings(config, laws, train.RANKED)
    assert len(rankings) == 3 and train.rankings(config, laws, train.FEW)[1].answers.shape == (100, 2)
    batch = pairs.source(config, laws, rankings, np.stack([GOLD] * 3))(7)
    assert batch.chosen.shape == (40, 4) and batch.reference_chosen.dtype == np.float32
    np.testing.assert_allclose(batch.reference_rejected, REFERENCE.reshape(-1)[batch.rejected], rtol=1e-6)
    assert (batch.chosen // task.ANSWERS == batch.rejected // task.ANSWERS).all()
    known = {(int(first), int(second)) for first, second in zip(*pairs.of_rankings(rankings[1]), strict=True)}
    assert {
        (int(first), int(second)) for first, second in zip(batch.chosen[:, 1], batch.rejected[:, 1], strict=True)
    } <= known
    rows = train.rankings_at(dataclasses.replace(config, reward_batch=16), rankings, 2)
    assert rows.tokens.shape == (16, 3, 4, 4) and rows.ranking.shape == (16, 3, 4)
    texts = train.demonstrations_at(config, 0).tokens
    assert texts.shape == (config.sft_batch, 2, 4) and not np.array_equal(texts[:, 0], texts[:, 1])


@pytest.mark.parametrize("groups", some_slow([False, True], [True]), ids=["ppo", "grpo"])
def test_every_member_has_its_own_start_reward_and_beta_and_all_share_the_count_of_updates(groups):
    config = dataclasses.replace(SMALL, updates=5, rollouts=64, group=4)
    policy, scalar = (
        jax.eval_shape(lambda each=each: networks.init(each, jax.random.key(0), np.zeros((1, 2), np.int32)))
        for each in (policies.policy(SMALL), policies.scalar(SMALL))
    )
    start, reward = (
        jax.tree.map(lambda leaf: np.zeros((3, *leaf.shape), leaf.dtype), tree) for tree in (policy, scalar)
    )
    table = np.zeros((3, 4, 512), np.float32)
    inputs = rollout_programs.Given(
        start,
        (reward, Normaliser(table[:, 0, 0], table[:, 0, 0])),
        {name: table for name in ("reference", "gold", "told")},
        np.array([1.0, 0.5, 0.2], np.float32),
    )
    run = rollout_programs.build(config, groups, (7, 8, 7), inputs, sharding.mesh())
    before = jax.eval_shape(run.fresh, jax.random.key(0))
    after, metrics = jax.eval_shape(run.step, before, rollout_programs.prompts(config, 3))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), before) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), after
    )
    assert after.step.shape == () and after.policy.beta.shape == (3,) and after.seen["curve"].shape == (3, 5, 3)
    assert (policies.CRITIC in after.policy.params) is not groups and {
        "loss_2",
        "mismatch",
        "stopped",
    } <= metrics.keys()


@pytest.mark.slow
@pytest.mark.fault("kill -9 anywhere, then resume")
def test_a_process_that_is_killed_amid_ppo_and_started_again_ends_as_one_that_was_not(tmp_path):
    """The whole run fills a cache of programs, from which the killed one and its successor take theirs."""
    uninterrupted, killed = tmp_path / "whole", tmp_path / "killed"
    numbers = ["--updates", "100", "--checkpoint-every", "10", "--compile-cache", str(tmp_path / "programs")]
    command = [sys.executable, "-m", "experiments", "run", "rlhf", "--smoke", *numbers, "--out"]
    options = {"cwd": PROJECT, "stdout": subprocess.DEVNULL, "env": os.environ | {"JAX_PLATFORMS": "cpu"}}
    subprocess.run([*command, str(uninterrupted)], check=True, **options)
    process, metrics = subprocess.Popen([*command, str(killed)], **options), killed / "ppo" / "metrics.jsonl"
    while not metrics.exists() or metrics.read_bytes().count(b"\n") < 25:
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert metrics.read_bytes().count(b"\n") < 100 and not (killed / "results.json").exists()
    resumed = subprocess.run([*command, str(killed)], check=True, **options | {"stdout": subprocess.PIPE})
    assert b"100 steps of 16 samples over 1 cpu device, from step " in resumed.stdout
    for kind in ("sft", "reward", "reward_few", "ppo", "dpo"):
        assert_same_run(uninterrupted / kind, killed / kind)
    one, other = (json.loads((folder / "results.json").read_text()) for folder in (uninterrupted, killed))
    assert json.dumps(one["claims"]) == json.dumps(other["claims"])
    assert json.dumps(one["tables"][:4]) == json.dumps(other["tables"][:4])  # behind them stands where the seconds went
