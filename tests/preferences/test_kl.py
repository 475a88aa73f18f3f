"""Estimates of KL beside sums over all actions, and the weight that follows a target."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from gendiff import preferences
from tests.quickly import quickly
from tests.refusals import refusals

V = 8
POLICY, REFERENCE = scipy.special.log_softmax(np.random.default_rng(0).normal(size=(2, V)), axis=1)
KL = float(np.sum(np.exp(POLICY) * (POLICY - REFERENCE)))
estimates = quickly(preferences.kl_estimates)


def of_actions(actions):
    """The three estimates of actions (n,), a step each, in NumPy."""
    log_probs = (log_p[actions][:, None].astype(np.float32) for log_p in (POLICY, REFERENCE))
    return [np.asarray(each)[:, 0] for each in estimates(*log_probs, np.ones((len(actions), 1)))]


def test_k1_and_k3_are_unbiased_k2_is_not_and_k2_and_k3_are_never_negative():
    k1, k2, k3 = of_actions(np.arange(V))
    np.testing.assert_allclose([np.exp(POLICY) @ k1, np.exp(POLICY) @ k3], KL, rtol=1e-5)
    assert abs(np.exp(POLICY) @ k2 / KL - 1) > 0.01
    assert k1.min() < 0 <= min(k2.min(), k3.min())


def test_means_over_samples_are_within_three_standard_errors_and_k3_varies_less():
    actions = np.random.default_rng(1).choice(V, 20_000, p=np.exp(POLICY))
    k1, _, k3 = of_actions(actions)
    for each in (k1, k3):
        assert abs(each.mean() - KL) < 3 * each.std() / np.sqrt(len(actions))
    assert k3.std() < k1.std()


def test_as_losses_k2_descends_the_kl_of_the_policy_k3_that_of_the_reference_and_k1_nothing():
    reference = jnp.asarray(REFERENCE, jnp.float32)

    def gradients(logits):
        chances = jax.lax.stop_gradient(jax.nn.softmax(logits))

        def mean(number, logits):
            each = preferences.kl_estimates(jax.nn.log_softmax(logits)[:, None], reference[:, None], jnp.ones((V, 1)))
            return jnp.sum(chances * each[number][:, 0])

        def forward(logits):
            return jnp.sum(jax.nn.softmax(logits) * (jax.nn.log_softmax(logits) - reference))

        def backward(logits):
            return jnp.sum(jnp.exp(reference) * (reference - jax.nn.log_softmax(logits)))

        return (
            [jax.grad(mean, 1)(number, logits) for number in range(3)],
            jax.grad(forward)(logits),
            jax.grad(backward)(logits),
        )

    (k1, k2, k3), forward, backward = quickly(gradients)(jnp.asarray(POLICY, jnp.float32))
    np.testing.assert_allclose(k1, 0, atol=1e-6)
    np.testing.assert_allclose(k2, forward, atol=1e-6)
    np.testing.assert_allclose(k3, backward, atol=1e-6)
    assert np.abs(forward - backward).max() > 1e-3


def test_beta_rises_above_the_target_falls_below_it_at_most_by_a_fiftieth_and_ignores_nan():
    start = preferences.adaptive_beta(0.5, target=4.0)
    update = quickly(lambda controller, kl: controller.update(kl).value)
    for kl, factor in (
        (4.0, 1),
        (4.4, 1.01),
        (3.8, 0.995),
        (100.0, 1.02),
        (0.0, 0.98),
        (-3.0, 0.98),
        (np.nan, 1),
        (np.inf, 1),
    ):
        np.testing.assert_allclose(update(start, kl), 0.5 * factor, rtol=1e-6)


def test_beta_finds_the_weight_at_which_kl_is_the_target():
    """A policy that is at its optimum after each batch: KL falls as β rises."""

    def batch(controller, _):
        return controller.update(6.0 / controller.value), None

    controller, _ = quickly(lambda start: jax.lax.scan(batch, start, None, 500))(
        preferences.adaptive_beta(0.1, target=3.0)
    )
    np.testing.assert_allclose(controller.value, 2.0, rtol=1e-3)


ONES = np.ones((2, 3), np.float32)
test_what_does_not_fit_is_refused = refusals(
    (lambda: preferences.kl_estimates(ONES, ONES[:, :1], ONES), r"reference has shape \(2, 1\)"),
    (lambda: preferences.adaptive_beta(0.0, target=1.0), "value = 0 is outside"),
    (lambda: preferences.adaptive_beta(0.1, target=-1.0), "target = -1 is outside"),
    (lambda: preferences.adaptive_beta(0.1, target=1.0, limit=1.0), "limit = 1 is outside"),
    (lambda: preferences.adaptive_beta(0.1, target=1.0, rate=5.0), "rate = 5 times limit = 0.2 must be below 1"),
)
