"""Laws of trajectories against chains of Gaussians in closed form, against the noise that was drawn, and as the actions
of a policy.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gendiff import preferences
from gendiff.core import records
from gendiff.diffusion import grids, oracles, parameterization, samplers, sampling, schedules
from gendiff.diffusion.samplers import catalogue
from gendiff.diffusion.types import Level
from gendiff.preferences import trajectory
from tests.quickly import quickly
from tests.refusals import refusals

MEAN, STD = 0.7, 0.4
ALPHA, SIGMA = np.array([0.0, 0.3, 0.6, 0.9, 1.0]), np.array([1.0, 0.9, 0.6, 0.2, 0.0])
"""Of a process that is neither of a fixed variance nor exploding; it begins without signal and ends clean."""
ANCESTRAL = samplers.ddim(eta=1.0)


def grid():
    return Level(*(jnp.asarray(field) for field in (np.arange(5.0)[::-1], ALPHA, SIGMA)))


def policy(mean=MEAN):
    return oracles.gaussian(std=STD, mean=mean)


def rollout(count, levels=None, shape=(1,)):
    """States of `count` chains, of the whole grid unless other levels are given."""
    levels = grid() if levels is None else levels

    def draw(mean):
        return sampling.sample(
            jax.random.key(3), policy(mean), ANCESTRAL, levels, shape, jnp.arange(count), trajectory=True
        )

    return quickly(draw)(MEAN)


def log_prob(states, levels, mean=MEAN, sampler=ANCESTRAL, **options):
    return quickly(lambda mean: preferences.trajectory_log_prob(sampler, policy(mean), states, levels, **options))(mean)


def affine():
    """(factor, constant, constant per unit of the data's mean, deviation) of each step, from Bayes' rule for the clean
    sample.
    """
    rows = []
    for alpha, sigma, above, below in zip(ALPHA[:-1], SIGMA[:-1], ALPHA[1:], SIGMA[1:], strict=True):
        gain = alpha * STD**2 / (alpha**2 * STD**2 + sigma**2)  # clean = mean + gain (x − alpha mean)
        ratio = alpha / above
        added = sigma**2 - ratio**2 * below**2
        # of q(x' | x, clean), Ho et al., 2020, Eq. 7
        of_x, of_clean = ratio * below**2 / sigma**2, above * added / sigma**2
        rows.append((of_x + of_clean * gain, of_clean * (1 - gain * alpha), below * math.sqrt(added) / sigma))
    return rows


def joint(mean=MEAN):
    """Mean and covariance of the states x_T, x_{T-1}, … in closed form."""
    means, covariance = [0.0], np.zeros((5, 5))
    covariance[0, 0] = SIGMA[0] ** 2
    for step, (factor, per_mean, deviation) in enumerate(affine()):
        means.append(factor * means[-1] + per_mean * mean)
        covariance[step + 1, : step + 1] = covariance[: step + 1, step + 1] = factor * covariance[step, : step + 1]
        covariance[step + 1, step + 1] = factor**2 * covariance[step, step] + deviation**2
    return np.array(means), covariance


@pytest.mark.float64
def test_the_log_probabilities_of_a_gaussian_chain_add_up_to_its_joint_density_in_closed_form():
    states = np.asarray(rollout(6))[:, :, 0]
    log_probs = log_prob(states[:, :, None], grid())
    means, covariance = joint()
    noisy = slice(0, 4)  # the last state is a function of the one before
    density = scipy.stats.multivariate_normal(means[noisy], covariance[noisy, noisy]).logpdf(states[noisy].T)
    np.testing.assert_allclose(log_probs.sum(1), density - scipy.stats.norm(0, SIGMA[0]).logpdf(states[0]), rtol=1e-9)


@pytest.mark.float64
def test_a_step_to_a_clean_sample_and_padding_have_no_density_and_no_gradient_but_nothing_is_nan():
    padded = grids.padded(grid(), 7)
    states = rollout(3, levels=padded)
    broken = np.array(states)
    broken[4:] = np.nan  # what no density is asked of is not read

    def total(mean, states, broken):
        law, ended, unread = (
            trajectory.trajectory_laws(ANCESTRAL, policy(mean), states, padded),
            *map(trajectory.ends, (states, broken)),
        )
        log_probs, fixed = law.log_prob(ended), jax.lax.stop_gradient(law)
        values = law.mask, log_probs, law.log_prob(unread), law.log_ratio(law, unread)
        return jnp.sum(log_probs) + jnp.sum(law.kl(fixed)) + jnp.sum(law.log_ratio(fixed, ended)), values

    (mask, log_probs, unread, ratio), slope = quickly(jax.grad(total, has_aux=True))(MEAN, states, broken)[::-1]
    np.testing.assert_array_equal(mask, np.broadcast_to([True] * 3 + [False] * 4, (3, 7)))
    np.testing.assert_array_equal(unread, log_probs)
    np.testing.assert_array_equal(ratio, np.zeros((3, 7)))
    assert np.isfinite(slope) and np.all(np.asarray(log_probs)[:, 3:] == 0)


@pytest.mark.slow
@pytest.mark.float64
def test_every_sampler_is_affine_in_the_noise_with_this_law_or_is_refused():
    schedule = schedules.flow()
    level, cleaner = schedule.at(0.6), schedule.at(0.5)
    x, noise = (jax.random.normal(jax.random.key(seed), (2, 3)) for seed in (0, 1))
    lawful, refused = set(), set()
    for method in catalogue.METHODS.values():
        if method.make is None:
            continue
        sampler = method.make(schedule)
        name = type(sampler).__name__
        if name in lawful | refused and name != "Ddim":
            continue
        try:
            law = trajectory.step_law(sampler, policy(), x, level, cleaner, 3)
        except (TypeError, ValueError):
            refused.add(name)
            continue
        lawful.add(name)
        ended = sampler.step(lambda like, part=0: noise, policy(), sampler.init(x), level, cleaner, 3).x
        np.testing.assert_allclose(law.mean + law.std * noise, ended, rtol=1e-9, err_msg=method.name)
    assert {"Ddim", "Ddpm", "EulerAncestral"} <= lawful and {"Churn", "PredictorCorrector"} <= refused


@pytest.mark.slow
@pytest.mark.float64
def test_ddpm_and_ddim_with_eta_1_give_trajectories_the_same_density_and_eta_scales_the_deviation():
    states = rollout(4)
    np.testing.assert_allclose(log_prob(states, grid(), sampler=samplers.ddpm()), log_prob(states, grid()), rtol=1e-8)
    std = quickly(lambda eta: trajectory.trajectory_laws(samplers.ddim(eta=eta), policy(), states, grid()).std)
    half, full = std(0.5), std(1.0)
    np.testing.assert_allclose(half, full / 2, rtol=1e-12)


@pytest.mark.float64
def test_at_the_rollout_the_density_is_that_of_the_noise_that_was_drawn_and_the_gradient_is_that_of_reinforce():
    count, levels = 5, grid()[:-1]
    states = rollout(count, levels=levels, shape=(4, 4, 1))
    deviations, per_mean = (np.array([row[column] for row in affine()[:-1]]) for column in (2, 1))

    def noises(x):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.arange(count))
        return jnp.stack([ANCESTRAL.noise_for_step(keys, j, levels[j], levels[j + 1])(x) for j in range(3)], 1)

    z = np.asarray(quickly(noises)(states[0])).reshape(count, 3, -1)
    old = scipy.stats.norm.logpdf(z).sum(2) - 16 * np.log(deviations)
    np.testing.assert_allclose(log_prob(states, levels, together=False), old, rtol=1e-9)
    advantages = np.random.default_rng(0).normal(size=(count, 1))

    def loss(mean):
        log_probs = preferences.trajectory_log_prob(ANCESTRAL, policy(mean), states, levels)
        return preferences.clipped_policy_gradient(log_probs, old, advantages, np.ones((count, 3), bool), 0.2)

    (_, metrics), gradient = quickly(jax.value_and_grad(loss, has_aux=True))(MEAN)
    np.testing.assert_allclose([metrics["ratio"], metrics["clip_fraction"]], [1, 0], atol=1e-9)
    score = z.sum(2) / deviations * per_mean  # of N(factor x + per_mean m, deviation²) by m, over 16 coordinates
    np.testing.assert_allclose(gradient, -(advantages * score).mean(), rtol=1e-8)


def test_in_float32_the_first_pass_has_ratios_of_1_to_1e_5():
    levels = jax.tree.map(lambda field: field.astype(jnp.float32), grid()[:-1])
    states = rollout(16, levels=levels, shape=(8, 8, 1))

    def log_probs(mean, states):
        return preferences.trajectory_log_prob(ANCESTRAL, policy(mean), states, levels)

    old = quickly(log_probs)(MEAN, states)
    both = quickly(
        jax.value_and_grad(lambda mean: (lambda each: (each.sum(), each))(log_probs(mean, states[:, :8])), has_aux=True)
    )
    (_, again), slope = both(MEAN)  # another program, of a part of the batch
    assert np.isfinite(slope)
    np.testing.assert_allclose(np.exp(np.asarray(again) - old[:8]), 1.0, atol=1e-5)


@functools.cache
def many():
    """(states of many chains that end with noise, how many), for what is a mean."""
    return rollout(40_000, levels=grid()[:-1]), 40_000


@pytest.mark.float64
def test_the_policy_gradient_of_a_reward_is_its_derivative_in_closed_form():
    levels, states, count = grid()[:-1], *many()
    rewards = np.asarray(states[-1, :, 0])
    score = quickly(
        lambda mean: jax.jvp(
            lambda mean: preferences.trajectory_log_prob(ANCESTRAL, policy(mean), states, levels), (mean,), (1.0,)
        )[1]
    )(MEAN)
    each = (rewards - rewards.mean()) * np.asarray(score).sum(1)
    exact = (joint(MEAN + 1)[0] - joint(MEAN)[0])[3]  # the mean of the last noisy state is linear in the data's mean
    assert abs(each.mean() - exact) < 4 * each.std() / math.sqrt(count)
    assert abs(each.mean() - exact) < 0.1 * exact


@pytest.mark.float64
def test_kl_is_the_mean_log_ratio_is_zero_for_equal_policies_and_is_the_closed_form_for_different_deviations():
    levels, states, count = grid()[:-1], *many()

    def compared(mean, moved, states):
        laws, other = (trajectory.trajectory_laws(ANCESTRAL, policy(each), states, levels) for each in (mean, moved))
        return laws.kl(other), laws.log_ratio(other, trajectory.ends(states)), laws.kl(laws)

    exact, ratio, none = quickly(compared)(MEAN, MEAN + 0.1, states)
    assert np.all(np.asarray(exact) > 0) and np.all(np.asarray(none) == 0)
    away = np.asarray(ratio - exact)
    assert np.all(np.abs(away.mean(0)) < 4 * away.std(0) / math.sqrt(count))
    wide = trajectory.StepLaw(jnp.zeros((1, 1, 2)), jnp.full((1, 1, 2), 2.0))
    narrow = records.replace(wide, std=jnp.ones((1, 1, 2)))
    np.testing.assert_allclose(wide.kl(narrow), [[2 * (2 - 0.5 - math.log(2))]], rtol=1e-12)
    np.testing.assert_allclose(narrow.kl(wide), [[2 * (1 / 8 - 0.5 + math.log(2))]], rtol=1e-12)


@pytest.mark.float64
def test_a_log_ratio_is_the_difference_of_log_probabilities_and_exact_in_float32_where_that_is_not():
    rng = np.random.default_rng(0)
    mean, std, noise, away, wider = (rng.standard_normal((1, 2, 3072)) for _ in range(5))
    law = trajectory.StepLaw(jnp.asarray(mean), jnp.asarray(np.exp(std / 4)))
    other = trajectory.StepLaw(law.mean + 1e-3 * away, law.std * np.exp(1e-3 * wider))
    x = law.mean + law.std * noise

    @quickly
    def numbers(law, other, x):
        return law.log_ratio(other, x), law.log_prob(x), other.log_prob(x), law.log_ratio(law, x)

    def rounded(dtype, *trees):
        return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf, dtype)), trees)

    exact, first, second, _ = numbers(law, other, x)
    np.testing.assert_allclose(exact, first - second, rtol=1e-9)
    single = rounded(np.float32, law, other, x)
    ratio, first, second, none = (np.asarray(each) for each in numbers(*single))
    exact = np.asarray(numbers(*rounded(np.float64, *single))[0])
    assert np.all(none == 0) and ratio.dtype == np.float32
    assert np.max(np.abs(ratio - exact)) < 1e-5
    assert np.max(np.abs(first - second - exact)) > 5e-5


@pytest.mark.slow
def test_a_learned_variance_is_the_deviation_of_the_law_and_gets_a_gradient():
    schedule = schedules.cosine(20)
    level, cleaner = (jax.tree.map(jnp.float32, schedule.table[at]) for at in (12, 8))
    x = jax.random.normal(jax.random.key(0), (2, 3))

    def law(share):
        def denoise(x, level):
            prediction = parameterization.velocity().predict(x, jnp.zeros_like(x), level)
            return records.replace(prediction, variance_share=jnp.full_like(x, share))

        return trajectory.step_law(samplers.ddpm("learned"), denoise, x, level, cleaner)

    np.testing.assert_allclose(
        law(0.0).std, trajectory.step_law(samplers.ddpm(), policy(), x, level, cleaner).std, rtol=1e-5
    )
    assert jax.grad(lambda share: jnp.sum(law(share).std))(0.5) > 0


X = np.zeros((2, 3), np.float32)
STATES = np.zeros((5, 2, 3), np.float32)
LAW = trajectory.StepLaw(X, np.ones_like(X))
ONE = (schedules.flow().at(0.6), schedules.flow().at(0.5))
test_what_has_no_law_is_refused = refusals(
    (
        lambda: trajectory.step_law(samplers.ddim(eta=0.0), policy(), X, *ONE),
        "Ddim draws no noise, so that its steps have no density",
    ),
    (
        lambda: trajectory.step_law(samplers.heun(), policy(), X, *ONE),
        "Heun evaluates the denoiser elsewhere",
        TypeError,
    ),
    (
        lambda: trajectory.step_law(samplers.predictor_corrector(), policy(), X, *ONE),
        "draws noise several times",
        TypeError,
    ),
    (
        lambda: trajectory.step_law(samplers.churn(schedules.flow()), policy(), X, *ONE),
        "Churn remembers earlier steps",
        TypeError,
    ),
    (
        lambda: preferences.trajectory_log_prob(ANCESTRAL, policy(), STATES[:4], grid()),
        "4 states for levels of length 5",
    ),
    (lambda: preferences.trajectory_log_prob(ANCESTRAL, policy(), STATES[:1], grid()[:1]), "at least two"),
    (lambda: LAW.log_ratio(LAW, X[:, :2]), "x has shape"),
    (lambda: LAW.log_ratio(jax.tree.map(lambda leaf: leaf[:1], LAW), X), "other.mean has shape"),
)
