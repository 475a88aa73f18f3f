"""The ddpo experiment on rewards whose best policy is known, on a Gaussian policy that learns it, and on made-up
samples.
"""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from experiments.preferences import ddpo
from experiments.preferences.ddpo import judges, kl_frontier, measured, policy_training, rewarded, train
from experiments.preferences.ddpo.config import ARMS, DDPO, DIGIT, INK, SCENES, SHUFFLED, Policy, seeds
from experiments.preferences.ddpo.measured import Found, PolicySamples
from experiments.preferences.ddpo.rewarded import RewardedTask
from experiments.tasks import rendering, shapes, shapes_oracle
from gendiff.commands.images.image_model import Model
from gendiff.diffusion import grids, oracles, parameterization, schedules
from gendiff.diffusion.types import Level
from gendiff.networks.lora import LowRank
from tests.quickly import quickly

FULL = ddpo.EXPERIMENT.presets["full"]
NORMAL = scipy.stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000)[:, None]
"""Rewards of a reference that are standard normal."""
FEWER = NORMAL[1::3]
"""A third of them, for whole runs that are made up."""


def test_best_of_n_has_the_expectation_of_order_statistics_and_the_kl_of_its_bound():
    def best_of_normals(n):
        return scipy.integrate.quad(
            lambda x: x * n * scipy.stats.norm.pdf(x) * scipy.stats.norm.cdf(x) ** (n - 1), -9, 9
        )[0]

    for n in (1, 2, 7.5, 64):
        assert kl_frontier.expected_best(NORMAL, n) == pytest.approx(best_of_normals(n), abs=3e-3)
        assert kl_frontier.choices_at(kl_frontier.kl_bound(n)) == pytest.approx(n)
    two = np.concatenate([NORMAL, 3 * NORMAL], 1)  # prompts are chosen for one by one
    assert kl_frontier.expected_best(two, 2) == pytest.approx(2 * best_of_normals(2), abs=1e-2)


def test_the_best_policy_of_a_normal_reward_shifts_it_by_the_root_of_twice_the_kl_and_best_of_n_is_just_below():
    kl, best = kl_frontier.optimum(NORMAL)
    np.testing.assert_allclose(best[kl < 2], np.sqrt(2 * kl[kl < 2]), atol=0.02)
    for n in (2, 8, 32):
        of_n, at_most = (
            kl_frontier.expected_best(NORMAL, n),
            kl_frontier.optimum_at(NORMAL, kl_frontier.kl_bound(n), 10.0),
        )
        assert 0.9 * at_most < of_n < at_most
    assert kl_frontier.optimum_at(NORMAL, 50.0, 10.0) == 10.0  # beyond the reach of the samples


SHIFT = 0.4


@dataclasses.dataclass(frozen=True)
class Predict:
    """A "network" that answers the flow of Gaussian data, whose mean is its parameter."""

    def __call__(self, params, x, t, label):
        level = Level(t, 1 - t / 1000, t / 1000)
        prediction = oracles.gaussian(std=0.5, mean=params["mean"])(x, level)
        return prediction.noise - prediction.clean


def gaussian_task(acting=4):
    model = Model(Predict(), lambda key: {"mean": jnp.float32(0)}, schedules.flow(), parameterization.flow(), (2, 2, 1))
    levels = grids.trailing(model.schedule, 5)
    params, words = {"mean": np.float32(SHIFT)}, np.zeros((1,), np.int32)
    return RewardedTask((DIGIT,), model, params, words, 1, levels, acting, lambda x, _: x.mean((1, 2, 3))[:, None])


CONFIG = dataclasses.replace(
    FULL, beta=0.5, digits=Policy(updates=60, batch=256, parts=2, learning_rate=0.03, steps=5, acting=4)
)


def learned(how, updates):
    """(task, the state before, the state after, metrics of each update)."""
    task = gaussian_task()
    state = before = policy_training.fresh(CONFIG, task, DIGIT)(jax.random.key(0))
    step, lines = quickly(policy_training.update(CONFIG, task, how)), []
    for number in range(updates):
        state, metrics = step(state, train.batch_at(CONFIG.digits.batch, how, 0, number))
        lines.append(jax.tree.map(float, metrics))
    return task, before, state, lines


@pytest.mark.slow
def test_a_policy_gradient_learns_the_mean_that_is_best_for_reward_less_kl_and_begins_with_ratios_of_1():
    """Of a Gaussian chain KL is c (shift)² / 2 and the reward rises by g per shift, so that the best shift is g / (sd β
    c).
    """
    task, before, after, lines = learned(DDPO, 60)
    key, index = jax.random.key(1), jnp.arange(64)

    def images(mean):
        return task.draw(key, {"mean": mean}, task.reference, index, task.prompt(index))[1]

    slope = float(jnp.mean(jax.jvp(images, (jnp.float32(SHIFT),), (jnp.float32(1),))[1]))
    states, _ = task.draw(key, task.reference, task.reference, index, task.prompt(index))
    laws = [task.laws({"mean": jnp.float32(mean)}, states, task.prompt(index)) for mean in (SHIFT, SHIFT + 1)]
    curvature = 2 * float(jnp.mean(laws[1].kl(laws[0]).sum(1)))
    best = slope / (float(before.scale.scale) * CONFIG.beta * curvature)
    assert float(after.policy.params["mean"]) - SHIFT == pytest.approx(best, rel=0.2) and best > 0.1
    assert int(after.step) == 60 and int(after.policy.step) == 120
    assert max(line["ratio_error"] for line in lines) <= 1e-5
    assert (
        lines[-1]["reward"] > lines[0]["reward"]
        and lines[0]["kl"] == pytest.approx(0, abs=1e-6)
        and lines[-1]["kl"] > 0.1
    )
    assert float(after.reference["mean"]) == np.float32(SHIFT)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["draft", "dpo"])
def test_the_reward_s_gradient_and_preferences_move_the_policy_towards_the_reward(how):
    _, _, after, _ = learned(how, 6)
    assert float(after.policy.params["mean"]) > SHIFT + 0.05


@pytest.mark.slow
def test_after_its_actions_the_reference_goes_on():
    key, index = jax.random.key(1), jnp.arange(8)
    other, prompt = {"mean": jnp.float32(SHIFT + 1)}, jnp.zeros(8, jnp.int32)
    ends = {}
    for acting in (2, 4):
        task = gaussian_task(acting)
        states, ends[acting] = task.draw(key, other, task.reference, index, prompt)
        assert states.shape == (acting + 1, 8, 2, 2, 1) and task.laws(other, states, prompt).mean.shape == (
            8,
            acting,
            2,
            2,
            1,
        )
    x, level = states[2], task.levels[2]  # the first two steps are the same
    np.testing.assert_array_equal(
        task.drawing_denoiser(other, task.reference, prompt)(x, level).clean,
        task.denoiser(other, prompt)(x, level).clean,
    )
    short = gaussian_task(2)
    np.testing.assert_array_equal(
        short.drawing_denoiser(other, task.reference, prompt)(x, level).clean,
        task.denoiser(task.reference, prompt)(x, level).clean,
    )
    assert float(jnp.mean(ends[4] - ends[2])) > 0.1


def test_low_rank_changes_are_all_that_an_adapted_policy_learns_and_begin_at_none():
    reference = {"text": {"kernel": np.ones((4, 3), np.float32)}, "other": np.ones(2, np.float32)}
    task = dataclasses.replace(gaussian_task(), reference=reference, adapted=(2, "kernel$"))
    learned = task.start(jax.random.key(0))
    assert set(learned) == {"text"} and jax.tree.map(np.shape, learned["text"]["kernel"]) == LowRank((4, 2), (2, 3))
    jax.tree.map(np.testing.assert_array_equal, task.merged(learned, reference), reference)


def test_rewards_of_other_samples_are_those_of_the_batch_in_another_order():
    by_sample, other = (train.batch_at(16, how, 1, 3) for how in (DDPO, SHUFFLED))
    np.testing.assert_array_equal(by_sample["index"], np.arange(48, 64))
    np.testing.assert_array_equal(by_sample["order"], np.arange(16))
    assert sorted(other["order"]) == list(range(16)) and not np.array_equal(other["order"], by_sample["order"])


def test_prompts_are_different_scenes_of_two_red_circles_whose_renders_earn_the_reward():
    attributes = rewarded.two_red_circles(24)
    assert len(np.unique(attributes.reshape(24, -1), axis=0)) == 24
    centres = np.where(attributes[..., 3:] >= 0, shapes.corner(np.maximum(attributes[..., 3], 0)) + 0.25, np.nan)
    images = rendering.render(shapes.Scenes(attributes, centres), 32)
    np.testing.assert_array_equal(shapes_oracle.read(images), attributes)
    prompt = jnp.arange(24)
    assert np.all(rewarded.exactly(attributes, jnp.asarray(images), prompt) == 1)
    assert np.all(rewarded.exactly(attributes, jnp.asarray(images), (prompt + 1) % 24) == 0)
    assert judges.seen_in_scenes(judges.judge_of_scenes(200), images, attributes).mean() > 0.8


def test_a_judge_disagrees_about_pictures_that_follow_the_reward_alone():
    pushed = judges.pushed(FULL.digit)
    assert np.all(np.asarray(judges.log_probabilities(jnp.asarray(pushed)).argmax(1)) == FULL.digit)
    assert measured.digits_agree(FULL.digit, pushed)[1].mean() < 0.75
    agrees, agreement = measured.digits_agree(FULL.digit, judges.split().held_out_images)
    assert agreement.mean() > 0.95 and 0.05 < agrees.mean() < 0.15


def samples(rewards, kl, agreement=1.0):
    agrees = np.arange(rewards.size).reshape(rewards.shape) < agreement * rewards.size
    return PolicySamples(
        np.zeros((rewards.size, 8, 8, 1), np.float32), rewards, np.full(rewards.shape, kl), agrees, agrees, 3.0
    )


def results(gain, kl):
    """Policies whose reward is normal, the reference's shifted; the control's is the reference's."""
    policy = samples(FEWER + gain, kl, agreement=0.8)
    policies = {
        (reward, how): {
            seed: samples(FEWER, 0.1) if how == SHUFFLED else policy for seed in seeds(FULL, reward, how)[:1]
        }
        for reward, how in ARMS
    }
    return Found(
        {reward: samples(FEWER, 0.0) for reward in (DIGIT, INK, SCENES)}, policies, {"reference": policy, 0: policy}
    )


def test_a_policy_is_held_against_best_of_n_at_its_kl_and_against_few_draws():
    n = 30
    best = kl_frontier.expected_best(FEWER, n)
    row = measured.beside(INK, DDPO, 0, samples(FEWER + best, kl_frontier.kl_bound(n), agreement=0.8), FEWER).measures
    assert row["share"][0] == pytest.approx(1, abs=0.01) and row["share"][1] < 1 < row["share"][2]
    assert row["gained"][0] == pytest.approx(best, rel=0.01) and row["agreement"][0] == pytest.approx(0.8, abs=1e-3)
    assert row["drawn"][0] == pytest.approx(best - kl_frontier.expected_best(FEWER, 4), rel=0.02)
    half = measured.beside(INK, DDPO, 0, samples(FEWER + best / 2, kl_frontier.kl_bound(n)), FEWER).measures
    assert half["share"][0] == pytest.approx(0.5, abs=0.01)
    still = samples(FEWER, 0.0)
    assert np.isnan(measured.share_of_best(still, FEWER, 1.0)), "a policy that did not move has no share"


def test_a_kl_beyond_what_the_reference_tells_leaves_the_comparison_open():
    value, low, _ = measured.share_of_best(samples(FEWER + 6.0, 30.0), FEWER, 10.0)
    assert value > 1 > low


def test_a_share_is_less_certain_where_samples_of_much_reward_have_little_kl():
    few = FEWER[::33]
    case = samples(few + 1.0, 0.0)
    with_reward, against_it = (
        np.ptp(measured.share_of_best(dataclasses.replace(case, kl=1.0 + slope * few), FEWER, 9.0)[1:])
        for slope in (0.5, -0.5)
    )
    assert with_reward < 0.8 * against_it


def test_tables_have_a_row_for_each_policy_of_a_reward(monkeypatch):
    monkeypatch.setattr(measured, "smoothed", lambda lines: np.zeros((3, 2)))
    monkeypatch.setattr(train, "inside", lambda *_: SimpleNamespace(read_metrics=lambda seed: []))
    case = results(2.0, 3.0)
    assert [len(list(measured.policies_of(reward, case, None))) for reward in (DIGIT, INK, SCENES)] == [8, 5, 5]


def test_curves_are_means_over_a_window():
    lines = [{"step": step, "reward": float(step), "kl": 2.0 * step} for step in range(1, 26)]
    np.testing.assert_allclose(measured.smoothed(lines), [np.arange(5, 26), np.arange(3, 24), 2.0 * np.arange(3, 24)])
