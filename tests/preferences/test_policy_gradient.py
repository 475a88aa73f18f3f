"""The clipped policy gradient beside REINFORCE, beside its formula, and beside the exact gradient of E[R] − β KL."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np

from gendiff import preferences
from gendiff.preferences import policy_gradient
from tests.quickly import quickly
from tests.refusals import refusals
from tests.tables import table

B, S, V = 5, 4, 3
RNG = np.random.default_rng(0)
MASK = np.array([[0, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]])  # no sample acts at every step
LOGITS = RNG.normal(size=(B, S, V)).astype(np.float32)
ACTIONS = RNG.integers(0, V, (B, S))
ADVANTAGES, OLD, VALUES, RETURNS = RNG.normal(size=(4, B, S)).astype(np.float32)
NEW = OLD + RNG.normal(size=(B, S)).astype(np.float32)
clipped = quickly(jax.value_and_grad(preferences.clipped_policy_gradient, has_aux=True), static_argnames="average")
valued = quickly(jax.value_and_grad(preferences.value_loss, has_aux=True))


def log_probs(logits, actions):
    return jnp.take_along_axis(jax.nn.log_softmax(logits, -1), actions[..., None], -1)[..., 0]


def test_on_the_first_pass_the_ratio_is_1_nothing_is_clipped_and_the_gradient_is_that_of_reinforce():
    @quickly
    def both(logits):
        old = log_probs(logits, ACTIONS)

        def ppo(logits):
            return preferences.clipped_policy_gradient(log_probs(logits, ACTIONS), old, ADVANTAGES, MASK, 0.2)

        def reinforce(logits):
            return -jnp.sum(log_probs(logits, ACTIONS) * ADVANTAGES * MASK) / MASK.sum()

        return jax.grad(ppo, has_aux=True)(logits), jax.grad(reinforce)(logits)

    (gradient, metrics), expected = both(LOGITS)
    assert (metrics["ratio"], metrics["clip_fraction"], metrics["kl"]) == (1, 0, 0)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(expected).max() > 0.01


AVERAGES = {
    "steps": lambda terms: terms.sum() / MASK.sum(),
    "samples": lambda terms: (terms.sum(1)[:4] / MASK.sum(1)[:4]).mean(),  # the last sample has no step
    "length": lambda terms: terms.sum() / (B * S),
}


@table("average", AVERAGES)
def test_it_is_its_formula(average):
    ratio = np.exp(NEW.astype(np.float64) - OLD)
    terms = np.minimum(ratio * ADVANTAGES, np.clip(ratio, 0.8, 1.2) * ADVANTAGES) * MASK
    (loss, metrics), _ = clipped(NEW, OLD, ADVANTAGES, MASK, 0.2, average=average)
    np.testing.assert_allclose(loss, -AVERAGES[average](terms), rtol=1e-5)
    acted = MASK != 0
    expected = {"ratio": ratio[acted].mean(), "kl": (ratio - 1 - np.log(ratio))[acted].mean()}
    expected["clip_fraction"] = np.where(ADVANTAGES > 0, ratio > 1.2, ratio < 0.8)[acted].mean()
    assert metrics.keys() == expected.keys() and 0 < expected["clip_fraction"] < 1
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5)


def test_the_clip_takes_the_gradient_of_steps_that_went_too_far_the_right_way_and_of_no_others():
    moved, advantages = np.log(np.array([[1.5, 1.5, 0.5, 0.5]], np.float32)), np.array([[1, -1, 1, -1]], np.float32)
    (_, metrics), gradient = clipped(moved, 0 * moved, advantages, np.ones((1, 4), int), 0.2, average="steps")
    np.testing.assert_allclose(gradient, [[0, 1.5 / 4, -0.5 / 4, 0]], rtol=1e-5)
    assert metrics["clip_fraction"] == 0.5


def test_ratios_of_any_size_have_finite_losses_and_gradients():
    far = np.array([[1e4, -1e4, 1e4, -1e4]], np.float32)
    (loss, metrics), gradient = clipped(
        far, 0 * far, np.array([[1, 1, -1, -1]], np.float32), np.ones((1, 4), int), 0.2, average="steps"
    )
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((loss, metrics, gradient)))


def test_one_advantage_per_sample_is_that_of_each_of_its_steps():
    column = ADVANTAGES[:, :1]
    one, same = (
        clipped(NEW, OLD, advantages, MASK, 0.2, average="steps") for advantages in (column, np.repeat(column, S, 1))
    )
    np.testing.assert_allclose(one[0][0], same[0][0], rtol=1e-6)
    np.testing.assert_allclose(one[1], same[1], rtol=1e-6)


# All texts of two steps over three symbols, so that every mean is an exact sum: logits of the first symbol, and of the
# second after each.

TEXTS = np.array(list(itertools.product(range(3), repeat=2)))
REWARDS = RNG.normal(size=9).astype(np.float32)


def of_texts(params):
    """Log-probabilities of each step of all texts (9, 2)."""
    first, second = (jax.nn.log_softmax(logits, -1) for logits in params)
    return jnp.stack([first[TEXTS[:, 0]], second[TEXTS[:, 0], TEXTS[:, 1]]], 1)


@functools.cache
def parameters(seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=3).astype(np.float32), rng.normal(size=(3, 3)).astype(np.float32)


def test_rewards_advantages_and_loss_together_give_the_gradient_of_reward_less_beta_times_kl():
    reference, beta, ones = of_texts(parameters(1)), 0.7, np.ones((9, 2), int)

    def objective(params):
        log_p = of_texts(params).sum(1)
        return jnp.sum(jnp.exp(log_p) * (REWARDS - beta * (log_p - reference.sum(1))))

    def ppo(params):
        steps = of_texts(params)
        old = jax.lax.stop_gradient(steps)
        rewards = preferences.shaped_rewards(REWARDS, old, reference, ones, beta)
        advantages = preferences.gae(rewards, jnp.full((9, 2), 0.3), ones, gamma=1.0, lam=1.0).advantages
        share = 9 * jnp.exp(old.sum(1, keepdims=True))  # each text as often as the policy draws it
        return preferences.clipped_policy_gradient(steps, old, share * advantages, ones, 0.2, average="length")[0]

    expected, gradient = quickly(lambda params: (jax.grad(objective)(params), jax.grad(ppo)(params)))(parameters(2))
    for one, other in zip(jax.tree.leaves(expected), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(-2 * other, one, rtol=1e-4, atol=1e-6)  # the loss is a mean over two steps
        assert np.abs(one).max() > 0.01


@table("clip", [0.2, None])
def test_the_loss_of_the_critic_is_its_formula(clip):
    acted, value = MASK != 0, NEW.astype(np.float64)
    error = (value - RETURNS) ** 2
    held = error if clip is None else (VALUES + np.clip(value - VALUES, -clip, clip) - RETURNS) ** 2
    (loss, metrics), gradient = valued(NEW, VALUES, RETURNS, MASK, clip)
    np.testing.assert_allclose(loss, np.maximum(error, held)[acted].mean() / 2, rtol=1e-5)
    np.testing.assert_allclose(metrics["value_clip_fraction"], (held > error)[acted].mean())
    np.testing.assert_allclose(
        metrics["explained_variance"], 1 - np.var((RETURNS - value)[acted]) / np.var(RETURNS[acted]), rtol=1e-4
    )
    np.testing.assert_allclose(
        gradient, np.where(acted & (held <= error), value - RETURNS, 0) / acted.sum(), rtol=1e-4, atol=1e-7
    )
    assert clip is None or 0 < metrics["value_clip_fraction"] < 1


def test_an_exact_critic_explains_all_variance_and_a_constant_one_none():
    for values, explained in ((RETURNS, 1), (np.full_like(RETURNS, 0.5), 0)):
        np.testing.assert_allclose(
            valued(values, VALUES, RETURNS, MASK, 0.5)[0][1]["explained_variance"], explained, atol=1e-6
        )


def test_entropy_of_equal_chances_is_their_logarithm_and_impossible_actions_add_none():
    logits = np.zeros((B, S, V), np.float32)
    some = np.where(np.arange(V) < 2, logits, -np.inf).astype(np.float32)
    program = quickly(jax.value_and_grad(policy_gradient.entropy))
    for values, options in ((logits, 3), (some, 2)):
        value, gradient = program(values, MASK)
        np.testing.assert_allclose(value, np.log(options), rtol=1e-6)
        np.testing.assert_allclose(gradient, 0, atol=1e-6)


test_what_does_not_fit_is_refused = refusals(
    (lambda: preferences.clipped_policy_gradient(NEW, OLD[:, :1], ADVANTAGES, MASK, 0.2), r"old has shape \(5, 1\)"),
    (
        lambda: preferences.clipped_policy_gradient(NEW, OLD, ADVANTAGES[:, 0], MASK, 0.2),
        r"advantages has shape \(5,\)",
    ),
    (lambda: preferences.clipped_policy_gradient(NEW, OLD, ADVANTAGES, MASK, 0.0), "clip = 0 is outside"),
    (lambda: preferences.clipped_policy_gradient(NEW, OLD, ADVANTAGES, MASK[0], 0.2), r"mask has shape \(4,\)"),
    (
        lambda: preferences.clipped_policy_gradient(NEW, OLD, ADVANTAGES, MASK, 0.2, average="tokens"),
        "average = 'tokens' is none of",
    ),
    (lambda: preferences.value_loss(VALUES, OLD, RETURNS[:1], MASK, 0.2), r"returns has shape \(1, 4\)"),
    (lambda: preferences.value_loss(VALUES, OLD, RETURNS, MASK, -1.0), "clip = -1 is outside"),
    (lambda: policy_gradient.entropy(LOGITS[:1], MASK), r"logits has shape \(1, 4, 3\)"),
)
