"""Linear guidance: u + scale (c - u), by one batched pass or two, and its relatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import denoiser, guidance, oracles, parameterization
from gendiff.diffusion.types import Level
from tests.diffusion.guidance import classes

LEVEL = Level(7.0, 0.6, 0.8)
LABELS = jnp.array([0, 1, 2], jnp.int32)


def network(params, x, t, label):
    return jnp.tanh(params["gain"] * x) + 0.1 * label.astype(x.dtype)[:, None] + 0.01 * t.astype(x.dtype)[:, None]


def pair(predict=network):
    given = denoiser.from_network(predict, {"gain": jnp.asarray(0.5)}, parameterization.velocity(), LABELS)
    return given, given.with_condition(NO_LABEL)


def x():
    return jnp.asarray(np.random.default_rng(0).normal(size=(3, 4)))


@pytest.mark.float64
def test_combine_is_u_plus_scale_times_the_difference_and_each_end_to_the_last_bit():
    u, c = np.random.default_rng(0).normal(size=(2, 3, 4)) * [[[1e6]], [[1e-3]]]
    for scale in (2.5, np.array([0.2, 1.5, 3.0])):
        expected = u + np.reshape(scale, (-1, 1)) * (c - u)
        np.testing.assert_allclose(guidance.combine(u, c, scale), expected, rtol=1e-13, atol=1e-9)
    np.testing.assert_array_equal(guidance.combine(u, c, 0.0), u)
    np.testing.assert_array_equal(guidance.combine(u, c, np.ones(3)), c)
    np.testing.assert_allclose(jax.grad(lambda s: jnp.sum(guidance.combine(u, c, s)))(1.0), np.sum(c - u), rtol=1e-12)


@pytest.mark.float64
@pytest.mark.parametrize("batched", [False, True])
def test_scale_one_is_conditional_and_zero_unconditional(batched):
    given, free = pair()
    for scale, alone in ((1.0, given), (0.0, free)):
        found, expected = guidance.classifier_free(given, free, scale, batched=batched)(x(), LEVEL), alone(x(), LEVEL)
        np.testing.assert_allclose(found.clean, expected.clean, atol=1e-14)
        np.testing.assert_allclose(found.noise, expected.noise, atol=1e-14)


@pytest.mark.usefixtures("unchecked")
def test_predictions_of_other_shapes_do_not_combine():
    with pytest.raises(ValueError, match=r"\(2, 3\).*\(2, 1\)|\(2, 1\).*\(2, 3\)"):
        guidance.combine(jnp.ones((2, 3)), jnp.ones((2, 1)), 2.0)
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        guidance.combine(jnp.ones((2, 3)), jnp.ones((2, 3)), jnp.ones(3))


@pytest.mark.parametrize("batched", [False, True])
def test_a_learned_variance_is_that_of_the_conditional_network(batched):
    def wide(params, x, t, label):
        share = jnp.broadcast_to(0.1 * label.astype(x.dtype)[:, None], x.shape)
        return jnp.concatenate([x, share], axis=-1)

    given = denoiser.from_network(wide, {}, parameterization.velocity(), jnp.array([3, 5]), learned_variance=True)
    level = Level(jnp.array(10.0), jnp.array(0.8), jnp.array(0.6))
    guided = guidance.classifier_free(given, given.with_condition(NO_LABEL), 2.0, batched=batched)(jnp.ones((2, 4)), level)
    np.testing.assert_allclose(guided.variance_share, [[0.3] * 4, [0.5] * 4], rtol=1e-6)


# On a mixture of classes every guided score is closed form.


def score_of(log_density, x, level):
    return jax.jit(jax.grad(lambda x: jnp.sum(log_density(x, level))))(x)


@pytest.mark.float64
@pytest.mark.parametrize("level", [Level(0.0, 0.8, 0.6), Level(0.0, 1.0, 3.0)])
def test_the_guided_score_is_that_of_the_tilted_density(level):
    given, free, x = classes.of_class(1), classes.whole(), classes.noised()
    for scale in (0.0, 1.0, 3.5):
        found = classes.ask(guidance.classifier_free(given, free, np.full(5, scale)), x, level)

        def tilted(x, level, scale=scale):
            return (1 - scale) * free.log_density(x, level) + scale * given.log_density(x, level)

        np.testing.assert_allclose(found.noise, -level.sigma * score_of(tilted, x, level), atol=1e-9)


@pytest.mark.float64
def test_composed_conditions_have_the_score_of_the_product_and_a_negative_weight_divides():
    level, x = Level(0.0, 0.8, 0.6), classes.noised()
    free, parts = classes.whole(), [classes.of_class(0), classes.of_class(1)]
    for weights in ([1.0, 1.0], [2.0, -0.5], [np.array([0.0, 1.0, 2.0, 0.5, -1.0]), 0.3]):

        def product(x, level, weights=weights):
            whole = free.log_density(x, level)
            return whole + sum(w * (part.log_density(x, level) - whole) for w, part in zip(weights, parts, strict=True))

        found = classes.ask(guidance.composed(free, parts, weights), x, level)
        np.testing.assert_allclose(found.noise, -0.6 * score_of(product, x, level), atol=1e-9)
        np.testing.assert_allclose(0.8 * found.clean + 0.6 * found.noise, x, atol=1e-12)


@pytest.mark.float64
def test_one_composed_condition_is_classifier_free_guidance_and_weights_zero_none():
    given, free = pair()
    one, plain = guidance.composed(free, [given], [2.5])(x(), LEVEL), guidance.classifier_free(given, free, 2.5)(x(), LEVEL)
    np.testing.assert_allclose(one.clean, plain.clean, atol=1e-14)
    none = guidance.composed(free, [given, given], [0.0, 0.0], batched=True)(x(), LEVEL)
    np.testing.assert_array_equal(none.clean, free(x(), LEVEL).clean)


@pytest.mark.float64
def test_a_negative_condition_stands_where_the_unconditional_prediction_does():
    given, _ = pair()
    negative = given.with_condition(jnp.array([5, 5, 5], jnp.int32))
    found = guidance.classifier_free(given, negative, 2.0, batched=True)(x(), LEVEL)
    np.testing.assert_allclose(found.clean, 2 * given(x(), LEVEL).clean - negative(x(), LEVEL).clean, atol=1e-13)


@pytest.mark.float64
def test_autoguidance_moves_away_from_the_weaker_network():
    strong, weak = oracles.gaussian(0.5), oracles.gaussian(0.7)
    found = guidance.autoguidance(strong, weak, 2.0)(x(), LEVEL)
    np.testing.assert_allclose(found.clean, 2 * strong(x(), LEVEL).clean - weak(x(), LEVEL).clean, atol=1e-14)
    np.testing.assert_array_equal(guidance.autoguidance(strong, weak, 1.0)(x(), LEVEL).clean, strong(x(), LEVEL).clean)


def bent(params, x, t, label):
    return jnp.tanh(params["gain"] * x + 0.1 * label.astype(x.dtype)[:, None])


def test_rescale_leaves_a_sample_without_deviation():
    given, free = pair(bent)
    same = jnp.ones((3, 4), jnp.float32) / 3
    found, plain = (guidance.classifier_free(given, free, 6.0, rescale=phi)(same, LEVEL) for phi in (1.0, None))
    np.testing.assert_array_equal(found.clean, plain.clean)


@pytest.mark.float64
def test_rescale_zero_changes_nothing_one_restores_the_deviation_of_the_conditional_and_half_lies_between():
    given, free = pair(bent)
    plain, conditional = guidance.classifier_free(given, free, 6.0)(x(), LEVEL), given(x(), LEVEL)
    none, half, full = (guidance.classifier_free(given, free, 6.0, rescale=phi)(x(), LEVEL) for phi in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none.clean, plain.clean)
    np.testing.assert_array_equal(none.noise, plain.noise)
    np.testing.assert_allclose(np.std(full.clean, axis=1), np.std(conditional.clean, axis=1), rtol=1e-13)
    np.testing.assert_allclose(half.clean, (plain.clean + full.clean) / 2, atol=1e-14)
    assert np.all(np.abs(np.std(plain.clean, axis=1) - np.std(conditional.clean, axis=1)) > 1e-4)
    each = guidance.classifier_free(given, free, 6.0, rescale=np.array([0.0, 0.5, 1.0]))(x(), LEVEL)
    np.testing.assert_allclose(each.clean, np.stack([none.clean[0], half.clean[1], full.clean[2]]), atol=1e-15)


@pytest.mark.usefixtures("unchecked")
def test_weights_and_rescale_that_make_no_sense_are_refused():
    given, free = pair()
    with pytest.raises(ValueError, match="2 conditions and 1 weights"):
        guidance.composed(free, [given, given], [1.0])
    with pytest.raises(ValueError, match="0 conditions"):
        guidance.composed(free, [], [])
    with pytest.raises(ValueError, match=r"weights\[1\] = inf is outside"):
        guidance.composed(free, [given, given], [1.0, float("inf")])
    with pytest.raises(ValueError, match=r"rescale = 1.5 is outside \[0, 1\]"):
        guidance.classifier_free(given, free, 2.0, rescale=1.5)
