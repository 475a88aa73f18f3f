"""Linear guidance: u + scale (c - u) and its relatives. On a mixture of classes every guided score is closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import denoiser, guidance, oracles, parameterization
from gendiff.diffusion.types import Level
from tests.diffusion.guidance import classes

LEVEL = Level(0.0, 0.8, 0.6)


@pytest.mark.float64
def test_combine_is_u_plus_scale_times_the_difference_and_each_end_to_the_last_bit():
    u, c = np.random.default_rng(0).normal(size=(2, 3, 4)) * [[[1e6]], [[1e-3]]]
    for scale in (2.5, np.array([0.2, 1.5, 3.0])):
        expected = u + np.reshape(scale, (-1, 1)) * (c - u)
        np.testing.assert_allclose(guidance.combine(u, c, scale), expected, rtol=1e-13, atol=1e-9)
    np.testing.assert_array_equal(guidance.combine(u, c, 0.0), u)
    np.testing.assert_array_equal(guidance.combine(u, c, np.ones(3)), c)
    np.testing.assert_allclose(jax.grad(lambda s: jnp.sum(guidance.combine(u, c, s)))(1.0), np.sum(c - u), rtol=1e-12)


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
    guided = guidance.classifier_free(given, given.with_condition(NO_LABEL), 2.0, batched=batched)(jnp.ones((2, 4)), LEVEL)
    np.testing.assert_allclose(guided.variance_share, [[0.3] * 4, [0.5] * 4], rtol=1e-6)


@jax.jit
def slope_of_tilted(free, parts, weights, x, level):
    """The gradient of the log-density free · prod (part / free)^weight."""

    def tilted(x):
        whole = free.log_density(x, level)
        return jnp.sum(whole + sum(w * (part.log_density(x, level) - whole) for w, part in zip(weights, parts, strict=True)))

    return jax.grad(tilted)(x)


@pytest.mark.float64
@pytest.mark.parametrize("level", [LEVEL, Level(0.0, 1.0, 3.0)])
@pytest.mark.parametrize("rule", [guidance.classifier_free, guidance.autoguidance])
def test_the_guided_score_is_that_of_the_tilted_density(rule, level):
    given, free, x = classes.of_class(1), classes.whole(), classes.noised()
    for scale in (0.0, 1.0, 3.5):
        guided = classes.ask(rule(given, free, np.full(5, scale)), x, level)
        expected = slope_of_tilted(free, [given], [np.full(5, scale)], x, level)
        np.testing.assert_allclose(guided.noise, -level.sigma * expected, atol=1e-9)
        np.testing.assert_allclose(level.alpha * guided.clean + level.sigma * guided.noise, x, atol=1e-12)


@pytest.mark.float64
def test_composed_conditions_have_the_score_of_the_product_and_a_negative_weight_divides():
    free, parts, x = classes.whole(), [classes.of_class(0), classes.of_class(1)], classes.noised()
    for weights in ([1.0, 1.0], [2.0, -0.5], [np.array([0.0, 1.0, 2.0, 0.5, -1.0]), 0.3]):
        weights = [np.broadcast_to(weight, 5) for weight in weights]
        guided = classes.ask(guidance.composed(free, parts, weights), x, LEVEL)
        np.testing.assert_allclose(guided.noise, -0.6 * slope_of_tilted(free, parts, weights, x, LEVEL), atol=1e-9)
        np.testing.assert_allclose(0.8 * guided.clean + 0.6 * guided.noise, x, atol=1e-12)
    none = guidance.composed(free, parts, [0.0, 0.0])(x, LEVEL)
    np.testing.assert_array_equal(none.clean, free(x, LEVEL).clean)


def test_rescale_leaves_a_sample_without_deviation():
    given, free, same = oracles.gaussian(0.5), oracles.gaussian(0.7), jnp.ones((3, 4), jnp.float32) / 3
    rescaled, plain = (guidance.classifier_free(given, free, 6.0, rescale=phi)(same, LEVEL) for phi in (1.0, None))
    np.testing.assert_array_equal(rescaled.clean, plain.clean)


@pytest.mark.float64
def test_rescale_zero_changes_nothing_one_restores_the_deviation_of_the_conditional_and_half_lies_between():
    given, free, x = classes.of_class(0), classes.whole(), classes.noised()
    plain, conditional = guidance.classifier_free(given, free, 6.0)(x, LEVEL), given(x, LEVEL)
    none, half, full = (guidance.classifier_free(given, free, 6.0, rescale=phi)(x, LEVEL) for phi in (0.0, 0.5, 1.0))
    np.testing.assert_array_equal(none.clean, plain.clean)
    np.testing.assert_array_equal(none.noise, plain.noise)
    np.testing.assert_allclose(np.std(full.clean, axis=1), np.std(conditional.clean, axis=1), rtol=1e-13)
    np.testing.assert_allclose(half.clean, (plain.clean + full.clean) / 2, atol=1e-14)
    assert np.all(np.abs(np.std(plain.clean, axis=1) - np.std(conditional.clean, axis=1)) > 1e-4)
    each = guidance.classifier_free(given, free, 6.0, rescale=np.array([0.0, 0.5, 1.0, 0.0, 0.0]))(x, LEVEL)
    np.testing.assert_allclose(each.clean[:3], np.stack([none.clean[0], half.clean[1], full.clean[2]]), atol=1e-15)


@pytest.mark.usefixtures("unchecked")
def test_weights_and_rescale_that_make_no_sense_are_refused():
    given, free = classes.of_class(0), classes.whole()
    with pytest.raises(ValueError, match="2 conditions and 1 weights"):
        guidance.composed(free, [given, given], [1.0])
    with pytest.raises(ValueError, match="0 conditions"):
        guidance.composed(free, [], [])
    with pytest.raises(ValueError, match=r"weights\[1\] = inf is outside"):
        guidance.composed(free, [given, given], [1.0, float("inf")])
    with pytest.raises(ValueError, match=r"rescale = 1.5 is outside \[0, 1\]"):
        guidance.classifier_free(given, free, 2.0, rescale=1.5)
