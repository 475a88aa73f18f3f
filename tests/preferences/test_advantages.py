"""Rewards and advantages beside loops in NumPy that follow the definitions, with prompts, gaps and padding."""

import functools

import jax
import numpy as np
import pytest

from gendiff import preferences
from gendiff.preferences import masked
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

B, S = 5, 6
RNG = np.random.default_rng(0)
MASK = np.array([[0, 1, 1, 1, 1, 0], [0, 0, 1, 0, 0, 0], [1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0]])
REWARDS, VALUES, LOG_PROBS, REFERENCE = RNG.normal(size=(4, B, S)).astype(np.float32)
SCORES = RNG.normal(size=B).astype(np.float32)
program = quickly(preferences.gae)
shaped = quickly(preferences.shaped_rewards)
relative = quickly(preferences.group_relative, static_argnames=("scale", "correction"))


def gae(*arrays, **numbers):
    return jax.device_get(program(*arrays, **numbers))


def acted_steps(row):
    return np.flatnonzero(MASK[row])


def by_definition(gamma, lam):
    """Σ_l (γλ)^l δ_{t+l} over the steps at which the policy acted."""
    result = np.zeros((B, S))
    for row in range(B):
        steps = acted_steps(row)
        values = np.append(VALUES[row, steps], 0.0)
        deltas = REWARDS[row, steps] + gamma * values[1:] - values[:-1]
        result[row, steps] = [
            sum((gamma * lam) ** j * delta for j, delta in enumerate(deltas[at:])) for at in range(len(steps))
        ]
    return result


def discounted(gamma):
    """Rewards to come, discounted."""
    result = np.zeros((B, S))
    for row in range(B):
        steps = acted_steps(row)
        result[row, steps] = [
            sum(gamma**j * REWARDS[row, step] for j, step in enumerate(steps[at:])) for at in range(len(steps))
        ]
    return result


def test_advantages_are_discounted_sums_of_temporal_differences_over_the_steps_of_the_policy():
    for gamma, lam in ((0.9, 0.7), (1.0, 0.95), (0.5, 0.0)):
        result = gae(REWARDS, VALUES, MASK, gamma=gamma, lam=lam)
        np.testing.assert_allclose(result.advantages, by_definition(gamma, lam), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(result.returns, by_definition(gamma, lam) + VALUES * MASK, rtol=1e-4, atol=1e-5)


def test_lambda_1_gives_returns_minus_values_and_lambda_0_the_temporal_difference():
    one, zero = (gae(REWARDS, VALUES, MASK, gamma=0.9, lam=lam).advantages for lam in (1.0, 0.0))
    np.testing.assert_allclose(one, discounted(0.9) - VALUES * MASK, rtol=1e-4, atol=1e-5)
    for row in range(B):
        steps = acted_steps(row)
        following = np.append(VALUES[row, steps[1:]], np.zeros(min(len(steps), 1)))
        np.testing.assert_allclose(
            zero[row, steps], REWARDS[row, steps] + 0.9 * following - VALUES[row, steps], rtol=1e-4, atol=1e-5
        )


def test_a_critic_that_knows_the_returns_leaves_no_advantage_and_one_place_off_it_does():
    exact = discounted(0.9).astype(np.float32)
    for lam in (0.0, 0.5, 1.0):
        np.testing.assert_allclose(gae(REWARDS, exact, MASK, gamma=0.9, lam=lam).advantages, 0, atol=1e-5)
    assert np.abs(gae(REWARDS, np.roll(exact, 1, 1), MASK, gamma=0.9, lam=0.5).advantages).max() > 0.1


def test_the_score_is_the_reward_of_the_last_step_of_the_policy_and_the_rest_is_the_penalty():
    rewards = np.asarray(shaped(SCORES, LOG_PROBS, REFERENCE, MASK, 0.3))
    penalty = -0.3 * (LOG_PROBS - REFERENCE) * MASK
    last = np.array([4, 2, 5, 5])
    expected = penalty.copy()
    expected[np.arange(4), last] += SCORES[:4]  # the last sample has no step, and no reward
    np.testing.assert_allclose(rewards, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rewards.sum(1)[:4], (SCORES + penalty.sum(1))[:4], rtol=1e-4, atol=1e-5)


def test_whitened_values_have_mean_0_and_deviation_1_over_the_steps_of_the_policy_at_any_scale():
    whiten, acted = quickly(preferences.whitened), MASK != 0
    for scale, shift in ((1.0, 0.0), (1e-6, 0.0), (100.0, 1000.0)):
        result = np.asarray(whiten(np.float32(shift) + np.float32(scale) * VALUES, MASK))
        np.testing.assert_allclose([result[acted].mean(), result[acted].std()], [0, 1], atol=1e-3)
        np.testing.assert_array_equal(result[~acted], 0)
    # its mean is rounded: no noise is blown up
    np.testing.assert_array_equal(whiten(np.full_like(VALUES, 0.7), MASK), 0)


GROUPS = np.array([7, 2, 7, 2, 2, 7, 7, 7], np.int32)
MANY = RNG.normal(size=8).astype(np.float32)


@table("scale", [True, False])
def test_scores_stand_beside_those_of_their_prompt(scale):
    expected = np.zeros(8)
    for group in (2, 7):
        group_scores = MANY[GROUPS == group].astype(np.float64)
        expected[GROUPS == group] = (group_scores - group_scores.mean()) / (group_scores.std() if scale else 1)
    np.testing.assert_allclose(relative(MANY, GROUPS, scale=scale), expected, rtol=1e-4, atol=1e-6)


def test_a_size_stands_for_groups_one_after_the_other_and_equal_or_lonely_scores_have_no_advantage():
    of_four = quickly(functools.partial(preferences.group_relative, groups=4))(MANY)
    np.testing.assert_allclose(
        of_four, relative(MANY, np.repeat(np.arange(2, dtype=np.int32), 4), scale=True), rtol=1e-6
    )
    scores = np.array([0.7, 0.7, 0.7, 3, 0.1, 0.1, 0.1, 0.1], np.float32)
    np.testing.assert_array_equal(relative(scores, np.array([5, 5, 5, 1, 8, 8, 8, 8], np.int32), scale=True), 0)


def test_the_deviation_of_a_group_may_be_that_of_a_sample_with_a_number_added_as_in_trl():
    scores, groups = np.array([0, 1, 0, 0, 2, 3, 5], np.float32), np.array([4, 1, 4, 4, 4, 1, 6], np.int32)
    # the deviations of groups 4 and 1 are √3 / 2 and 1, of samples 1 and √2
    raw = np.array([-0.5, -1, -0.5, -0.5, 1.5, 1, 0])
    deviation, of_samples = np.sqrt([0.75, 1, 0.75, 0.75, 0.75, 1, 1]), np.sqrt([1, 2, 1, 1, 1, 2, 1])
    np.testing.assert_allclose(relative(scores, groups, scale=True), raw / deviation, rtol=1e-6)
    np.testing.assert_allclose(relative(scores, groups, scale=True, correction=1), raw / of_samples, rtol=1e-6)
    np.testing.assert_allclose(relative(scores, groups, scale=True, epsilon=0.5), raw / (deviation + 0.5), rtol=1e-6)
    np.testing.assert_allclose(
        relative(scores, groups, scale=True, correction=1, epsilon=1e-4), raw / (of_samples + 1e-4), rtol=1e-6
    )
    equal = relative(
        np.array([0.1, 0.1, 0.1], np.float32), np.array([1, 1, 1], np.int32), scale=True, correction=1, epsilon=1e-4
    )
    np.testing.assert_array_equal(equal, 0)


def test_no_gradient_passes_through_advantages():
    gradient = quickly(
        jax.grad(
            lambda rewards, values: preferences.gae(rewards, values, MASK, gamma=0.9, lam=0.9).returns.sum(), (0, 1)
        )
    )
    assert not any(np.any(leaf) for leaf in gradient(REWARDS, VALUES))


@table("average, value", [("steps", 13 / 4), ("samples", 2.5), ("length", 13 / 9)])
def test_means_are_over_steps_over_samples_or_over_the_length(average, value):
    values = np.array([[2, 4, 6], [1, np.nan, np.nan], [np.nan] * 3], np.float32)
    assert masked.mean(values, np.isfinite(values), average) == pytest.approx(value)


test_what_does_not_fit_is_refused = refusals(
    (lambda: preferences.gae(REWARDS, VALUES[:, :1], MASK, gamma=0.9, lam=0.9), r"values has shape \(5, 1\)"),
    (lambda: preferences.gae(REWARDS, VALUES, MASK, gamma=1.1, lam=0.9), "gamma = 1.1 is outside"),
    (lambda: preferences.gae(REWARDS, VALUES, MASK, gamma=1.0, lam=-0.1), "lam = -0.1 is outside"),
    (
        lambda: preferences.shaped_rewards(SCORES[:, None], LOG_PROBS, REFERENCE, MASK, 0.1),
        r"scores has shape \(5, 1\)",
    ),
    (lambda: preferences.shaped_rewards(SCORES, LOG_PROBS, REFERENCE, MASK, -0.1), "beta = -0.1 is outside"),
    (lambda: preferences.whitened(VALUES, MASK[:, :1]), r"values has shape \(5, 6\)"),
    (lambda: preferences.group_relative(MANY[:, None], 2), r"scores has shape \(8, 1\)"),
    (lambda: preferences.group_relative(MANY, 3), "groups = 3 does not divide the 8 scores"),
    (lambda: preferences.group_relative(MANY, 1), "groups = 1 is outside"),
    (lambda: preferences.group_relative(MANY, 2, correction=2), r"correction = 2 is outside \[0, 1\]"),
    (lambda: preferences.group_relative(MANY, 2, epsilon=-1e-4), "epsilon = -0.0001 is outside"),
    (
        lambda: preferences.group_relative(MANY, 2, scale=False, correction=1),
        "scale = False: correction and epsilon are of the scale",
    ),
    (
        lambda: preferences.group_relative(MANY, 2, scale=False, epsilon=1e-4),
        "scale = False: correction and epsilon are of the scale",
    ),
    (lambda: preferences.group_relative(MANY, GROUPS[:4]), r"groups has shape \(4,\)"),
    (lambda: preferences.group_relative(MANY, GROUPS.astype(float)), "groups must hold integers", TypeError),
)
