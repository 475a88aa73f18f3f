import jax
import jax.numpy as jnp
import numpy as np

from gendiff.core.errors import ConfigError
from gendiff.preferences import advantage_rules, advantages, rollouts
from tests.quickly import quickly
from tests.refusals import refusals

LENGTHS = np.array([3, 1, 2, 0])
MASK = (np.arange(3)[None] < LENGTHS[:, None]).astype(np.float32)
NUMBERS = np.where(MASK > 0, np.arange(12, dtype=np.float32).reshape(4, 3) + 1, np.nan)


def test_the_value_at_the_end_of_each_sample_is_read_and_no_padding():
    def total(values):
        read = rollouts.at_last(values, MASK)
        return jnp.sum(read), read

    gradient, read = quickly(jax.grad(total, has_aux=True))(NUMBERS)
    np.testing.assert_array_equal(read, [3, 4, 8, 0])
    np.testing.assert_array_equal(gradient, [[0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])


def test_a_rollout_holds_no_log_probability_where_nothing_was_drawn():
    done = rollouts.rollout(np.arange(12).reshape(4, 3), NUMBERS, MASK.astype(bool), {"prompt": np.arange(4)})
    np.testing.assert_array_equal(done.log_probs, np.nan_to_num(NUMBERS))
    np.testing.assert_array_equal(done.mask, MASK)


def test_every_epoch_has_each_sample_once_in_an_order_of_its_own_and_rows_stay_together():
    tree = {"number": np.arange(12), "twice": 2.0 * np.arange(12)[:, None]}
    parts = quickly(lambda tree: rollouts.minibatches(jax.random.key(0), tree, 3, 4))(tree)
    assert parts["number"].shape == (12, 3) and parts["twice"].shape == (12, 3, 1)
    epochs = np.asarray(parts["number"]).reshape(3, 12)
    np.testing.assert_array_equal(np.sort(epochs, 1), np.tile(np.arange(12), (3, 1)))
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 3
    np.testing.assert_array_equal(parts["twice"][..., 0], 2 * parts["number"])


def rolled(samples=4):
    rng = np.random.default_rng(0)
    one, other, values = (jnp.asarray(rng.normal(size=(samples, 3)), jnp.float32) for _ in range(3))
    mask = np.resize(MASK, (samples, 3))
    return rollouts.rollout(np.zeros((samples, 3)), one, mask), other, values, jnp.arange(samples, dtype=jnp.float32)


def test_the_rule_with_a_critic_is_gae_of_shaped_rewards():
    done, reference, values, scores = rolled()

    def both(scores, done, reference, values):
        rewards = advantages.shaped_rewards(scores, done.log_probs, reference, done.mask, 0.3)
        exact = advantages.gae(rewards, values, done.mask, gamma=0.9, lam=0.7)
        rules = (advantage_rules.gae(gamma=0.9, lam=0.7, whiten=whiten) for whiten in (False, True))
        return (
            exact,
            advantages.whitened(exact.advantages, done.mask),
            [rule(scores, done, reference, values, 0.3) for rule in rules],
        )

    exact, whitened, ((advantage, returns), (of_whitening, again)) = quickly(both)(scores, done, reference, values)
    np.testing.assert_allclose(advantage, exact.advantages, rtol=1e-5)
    np.testing.assert_allclose(of_whitening, whitened, rtol=1e-5)
    np.testing.assert_allclose([returns, again], [exact.returns] * 2, rtol=1e-5)


def test_the_rule_grpo_compares_rewards_less_the_penalty_and_padding_has_no_advantage():
    done, reference, _, scores = rolled()
    total = scores - 0.3 * np.sum(np.where(done.mask > 0, done.log_probs - reference, 0), 1)

    def both(scores, done, reference):
        options = {"scale": False}, {}, {"correction": 1, "epsilon": 0.5}
        return [advantage_rules.grpo(2, **each)(scores, done, reference, None, 0.3) for each in options]

    (advantage, returns), (scaled, _), (of_samples, _) = quickly(both)(scores, done, reference)
    exact = np.repeat(np.array([1, -1, 1, -1]) * np.repeat((total[0::2] - total[1::2]) / 2, 2), 3).reshape(4, 3) * MASK
    np.testing.assert_allclose(advantage, exact, rtol=1e-5, atol=1e-6)
    assert returns is None
    np.testing.assert_allclose(np.abs(scaled), MASK, rtol=1e-4)
    np.testing.assert_allclose(of_samples, exact / (2**0.5 * np.abs(exact) + 0.5), rtol=1e-5, atol=1e-6)


test_what_does_not_fit_is_refused = refusals(
    (lambda: rollouts.rollout(np.zeros((4, 3)), NUMBERS, MASK[:, :2]), "must be equal"),
    (lambda: rollouts.rollout(np.zeros((3, 3)), NUMBERS, MASK), "actions holds an array of shape", ConfigError),
    (
        lambda: rollouts.rollout(np.zeros((4, 3)), NUMBERS, MASK, np.zeros(())),
        "context holds an array of shape",
        ConfigError,
    ),
    (lambda: rollouts.at_last(NUMBERS, MASK[:, :2]), "must be equal"),
    (
        lambda: rollouts.minibatches(jax.random.key(0), np.zeros(4), 1, 3),
        "minibatches = 3 does not divide the 4 samples",
        ConfigError,
    ),
    (lambda: rollouts.minibatches(jax.random.key(0), np.zeros(4), 0, 2), "epochs = 0 is outside"),
    (lambda: advantage_rules.grpo(2, correction=-1), "correction = -1 is outside"),
    (
        lambda: advantage_rules.grpo(2, scale=False, epsilon=1.0),
        "scale = False: correction and epsilon are of the scale",
    ),
    (lambda: advantage_rules.gae(lam=1.1), "lam = 1.1 is outside"),
    (lambda: advantage_rules.gae(gamma=-0.1), "gamma = -0.1 is outside"),
    (lambda: advantage_rules.grpo(1), "size = 1 is outside"),
)
