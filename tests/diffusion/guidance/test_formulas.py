"""Each rule of guidance is its formula. On a mixture of two classes every guided score and p(class | x) are closed
form.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff.core.types import NO_LABEL
from gendiff.diffusion import denoiser, grids, guidance, oracles, parameterization, samplers, sampling, schedules
from gendiff.diffusion.types import Level, Prediction
from tests.tables import table

pytestmark = pytest.mark.numbers

SHARES = np.array([0.3, 0.7])
WEIGHTS = np.array([[0.5, 0.5], [0.2, 0.8]])
MEANS = np.random.default_rng(3).normal(size=(2, 2, 3))
STDS = np.array([[0.3, 0.5], [0.4, 0.2]])
LEVEL = Level(0.0, 0.8, 0.6)


def mixture(label=0):
    """The oracle of one class, that of both, and points (5, 3) among the components, float64 where that is on."""
    one = oracles.mixture(WEIGHTS[label], MEANS[label], STDS[label])
    both = oracles.mixture((SHARES[:, None] * WEIGHTS).ravel(), MEANS.reshape(4, 3), STDS.ravel())
    return one, both, jnp.asarray(np.random.default_rng(5).normal(size=(5, 3)))


@jax.jit
def ask(denoise, x, level):
    """The prediction, compiled."""
    return denoise(x, level)


def check_same(prediction, other):
    jax.tree.map(np.testing.assert_array_equal, prediction, other)


# Linear guidance: u + scale (c - u) and its relatives.


@pytest.mark.float64
def test_combine_is_u_plus_scale_times_the_difference_and_each_end_to_the_last_bit():
    u, c = np.random.default_rng(0).normal(size=(2, 3, 4)) * [[[1e6]], [[1e-3]]]
    for scale in (2.5, np.array([0.2, 1.5, 3.0])):
        expected = u + np.reshape(scale, (-1, 1)) * (c - u)
        np.testing.assert_allclose(guidance.combine(u, c, scale), expected, rtol=1e-13, atol=1e-9)
    np.testing.assert_array_equal(guidance.combine(u, c, 0.0), u)
    np.testing.assert_array_equal(guidance.combine(u, c, np.ones(3)), c)
    np.testing.assert_allclose(jax.grad(lambda s: jnp.sum(guidance.combine(u, c, s)))(1.0), np.sum(c - u), rtol=1e-12)


@pytest.mark.parametrize("batched", [False, True])
def test_a_learned_variance_is_that_of_the_conditional_network(batched):
    def wide(params, x, t, label):
        share = jnp.broadcast_to(0.1 * label.astype(x.dtype)[:, None], x.shape)
        return jnp.concatenate([x, share], axis=-1)

    conditional = denoiser.from_network(wide, {}, parameterization.velocity(), jnp.array([3, 5]), learned_variance=True)
    guided = guidance.classifier_free(conditional, conditional.with_condition(NO_LABEL), 2.0, batched=batched)(
        jnp.ones((2, 4)), LEVEL
    )
    np.testing.assert_allclose(guided.variance_share, [[0.3] * 4, [0.5] * 4], rtol=1e-6)


@jax.jit
def slope_of_tilted(free, parts, weights, x, level):
    """The gradient of the log-density free · prod (part / free)^weight."""

    def tilted(x):
        full = free.log_density(x, level)
        return jnp.sum(
            full + sum(w * (part.log_density(x, level) - full) for w, part in zip(weights, parts, strict=True))
        )

    return jax.grad(tilted)(x)


@pytest.mark.float64
@table("level", [LEVEL, Level(0.0, 1.0, 3.0)])
@table("rule", [guidance.classifier_free, guidance.autoguidance])
def test_the_guided_score_is_that_of_the_tilted_density(rule, level):
    conditional, free, x = mixture(1)
    for scale in (0.0, 1.0, 3.5):
        guided = ask(rule(conditional, free, np.full(5, scale)), x, level)
        np.testing.assert_allclose(
            guided.noise, -level.sigma * slope_of_tilted(free, [conditional], [np.full(5, scale)], x, level), atol=1e-9
        )
        np.testing.assert_allclose(level.alpha * guided.clean + level.sigma * guided.noise, x, atol=1e-12)


@pytest.mark.float64
def test_composed_conditions_have_the_score_of_the_product_and_a_negative_weight_divides():
    (first, free, x), (second, _, _) = mixture(0), mixture(1)
    for weights in ([1.0, 1.0], [2.0, -0.5], [np.array([0.0, 1.0, 2.0, 0.5, -1.0]), 0.3]):
        weights = [np.broadcast_to(weight, 5) for weight in weights]
        guided = ask(guidance.composed(free, [first, second], weights), x, LEVEL)
        np.testing.assert_allclose(
            guided.noise, -0.6 * slope_of_tilted(free, [first, second], weights, x, LEVEL), atol=1e-9
        )


@pytest.mark.float64
def test_rescale_zero_changes_nothing_one_restores_the_deviation_of_the_conditional_and_half_lies_between():
    denoise, free, x = mixture()
    plain, conditional = guidance.classifier_free(denoise, free, 6.0)(x, LEVEL), denoise(x, LEVEL)
    none, half, full = (guidance.classifier_free(denoise, free, 6.0, rescale=phi)(x, LEVEL) for phi in (0.0, 0.5, 1.0))
    check_same(none, plain)
    np.testing.assert_allclose(np.std(full.clean, axis=1), np.std(conditional.clean, axis=1), rtol=1e-13)
    np.testing.assert_allclose(half.clean, (plain.clean + full.clean) / 2, atol=1e-14)
    assert np.all(np.abs(np.std(plain.clean, axis=1) - np.std(conditional.clean, axis=1)) > 1e-4)
    each = guidance.classifier_free(denoise, free, 6.0, rescale=np.array([0.0, 0.5, 1.0, 0.0, 0.0]))(x, LEVEL)
    np.testing.assert_allclose(each.clean[:3], np.stack([none.clean[0], half.clean[1], full.clean[2]]), atol=1e-15)


# Scales that depend on the noise level.


def test_an_intervals_scale_holds_above_low_up_to_high_and_is_one_elsewhere():
    level = Level(np.zeros(5), np.full(5, 0.5), 0.5 * np.array([0.1, 0.2, 1.0, 5.0, 6.0]))
    np.testing.assert_array_equal(guidance.interval(3.0, 0.2, 5.0)(level), [1, 1, 3, 3, 1])
    np.testing.assert_array_equal(guidance.interval(np.arange(5.0), 0.0, 2.0)(level), [0, 1, 2, 1, 1])
    noise, clean = Level(0.0, 0.0, 1.0), Level(0.0, 1.0, 0.0)  # belong to an interval only if it reaches them
    assert guidance.interval(3.0, 0.2, np.inf)(noise) == 3
    assert guidance.interval(3.0, 0.2, 1e6)(noise) == guidance.interval(3.0, 0.0, np.inf)(clean) == 1


@pytest.mark.float64
@pytest.mark.parametrize("rule", [guidance.classifier_free, guidance.autoguidance, guidance.adaptive_projected])
def test_outside_the_interval_every_rule_is_the_conditional_prediction_and_any_function_of_the_level_is_a_scale(rule):
    conditional, free, x = mixture()
    guided, outside, inside = (
        rule(conditional, free, guidance.interval(3.0, 0.5, 2.0)),
        Level(0.0, 1.0, 4.0),
        Level(0.0, 1.0, 1.0),
    )
    check_same(guided(x, outside), conditional(x, outside))
    check_same(guided(x, inside), rule(conditional, free, 3.0)(x, inside))
    squared = rule(conditional, free, lambda level: jnp.asarray(level.sigma) ** 2)
    check_same(squared(x, LEVEL), rule(conditional, free, LEVEL.sigma**2)(x, LEVEL))


def test_scales_of_levels_hold_at_their_levels_lie_between_in_between_and_go_on_beyond():
    levels = grids.trailing(schedules.flow(), 3)  # from pure noise to clean
    scale = guidance.at_levels(levels, np.array([1.0, 4.0, 2.0]))
    np.testing.assert_allclose(scale(levels), [1.0, 4.0, 2.0, 2.0], rtol=1e-6)
    between = scale(schedules.flow().at(np.array([0.9, 0.5])))
    assert 1.0 < between[0] < 4.0 and 2.0 < between[1] < 4.0
    for scales in (np.ones(5), np.array([1.0, -1.0]), np.array(1.0)):
        with pytest.raises(ValueError, match="scale"):
            guidance.at_levels(levels, scales)


# A classifier.


def posterior(part, full, share):
    """log p(class | x), by Bayes' rule."""
    return lambda x, level: jnp.log(share) + part.log_density(x, level) - full.log_density(x, level)


@pytest.mark.float64
@table("label", [0, 1])
@table("level", [LEVEL, Level(0.0, 1.0, 0.1), Level(0.0, 1.0, 3.0), Level(0.0, 0.02, 0.98)])
def test_classifier_guidance_is_classifier_free_guidance_and_at_scale_one_the_conditional(label, level):
    part, full, x = mixture(label)
    log_probability = posterior(part, full, SHARES[label])
    for scale in (np.zeros(5), np.ones(5), np.array([0.0, 0.5, 1.0, 2.0, 7.5])):
        guided = ask(guidance.classifier(full, log_probability, scale), x, level)
        expected = ask(guidance.classifier_free(part, full, scale), x, level)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), guided, expected)
        if np.all(scale == 1):
            np.testing.assert_allclose(guided.noise, ask(part, x, level).noise, atol=1e-9)


@pytest.mark.float64
@pytest.mark.parametrize("level", [Level(0.0, 0.0, 1.0), Level(0.0, 1.0, 0.0)])
def test_a_classifier_leaves_the_prediction_at_alpha_zero_and_x_itself_at_sigma_zero(level):
    part, full, x = mixture()
    guided = ask(guidance.classifier(full, posterior(part, full, SHARES[0]), np.full(5, 5.0)), x, level)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-12), guided, ask(full, x, level))


# CFG++.

CLEANER = Level(0.0, 0.95, 0.25)
NOISY, LESS = Level(0.0, 0.3, 0.9), Level(0.0, 0.5, 0.8)


@jax.jit
def step(sampler, denoise, x, level, cleaner):
    noise = sampling.KeyNoise(jax.random.split(jax.random.key(0), len(x)))
    return sampler.step(noise, denoise, sampler.init(x), level, cleaner, 1).x


@pytest.mark.float64
@pytest.mark.parametrize(("level", "cleaner"), [(LEVEL, CLEANER), (NOISY, LESS)])
def test_cfg_plus_plus_guides_the_clean_sample_alone_and_its_ddim_step_has_a_scale_that_grows_as_the_step_shrinks(
    level, cleaner
):
    conditional, free, x = mixture()
    guided, plain = guidance.cfg_plus_plus(conditional, free, 0.6), guidance.classifier_free(conditional, free, 0.6)
    check_same(guided(x, level), Prediction(plain(x, level).clean, free(x, level).noise))
    np.testing.assert_array_equal(guidance.cfg_plus_plus(conditional, free, 0.0)(x, level).clean, free(x, level).clean)
    q = cleaner.sigma * level.alpha / (level.sigma * cleaner.alpha)
    for sampler in (samplers.ddim(), samplers.dpm_solver_multistep(1)):
        expected = step(sampler, guidance.classifier_free(conditional, free, 0.6 / (1 - q)), x, level, cleaner)
        np.testing.assert_allclose(step(sampler, guided, x, level, cleaner), expected, atol=1e-12)


@pytest.mark.float64
def test_samplers_that_rebuild_one_form_from_x_lose_cfg_plus_plus_as_the_docstring_says():
    conditional, free, x = mixture()
    odd, plain = guidance.cfg_plus_plus(conditional, free, 0.6), guidance.classifier_free(conditional, free, 0.6)
    for sampler in (samplers.euler(), samplers.euler_ancestral()):
        np.testing.assert_allclose(
            step(sampler, odd, x, LEVEL, CLEANER), step(sampler, free, x, LEVEL, CLEANER), atol=1e-12
        )
        np.testing.assert_allclose(step(sampler, odd, x, NOISY, LESS), step(sampler, plain, x, NOISY, LESS), atol=1e-12)
    np.testing.assert_allclose(
        step(samplers.ddpm(), odd, x, LEVEL, CLEANER), step(samplers.ddpm(), plain, x, LEVEL, CLEANER), atol=1e-12
    )
    ddim, euler = (step(sampler, odd, x, LEVEL, CLEANER) for sampler in (samplers.ddim(), samplers.euler()))
    assert np.abs(ddim - euler).max() > 1e-3


# Adaptive projected guidance: what is parallel to the conditional prediction counts less.


def projected(scale, **options):
    """The clean prediction under guidance, the conditional one, and the change that guidance makes to it at scale 2."""
    denoise, free, x = mixture()
    conditional, change = denoise(x, LEVEL).clean, denoise(x, LEVEL).clean - free(x, LEVEL).clean
    guided = guidance.adaptive_projected(denoise, free, scale, **options)(x, LEVEL)
    return np.asarray(guided.clean), np.asarray(conditional), np.asarray(change)


@pytest.mark.float64
def test_eta_scales_the_parallel_part_alone_and_at_eta_or_scale_one_the_known_rule_is_met_to_the_last_bit():
    for eta in (0.0, 0.4):
        guided, conditional, change = projected(3.0, eta=eta)
        along = (
            np.sum(change * conditional, axis=1, keepdims=True)
            / np.sum(conditional**2, axis=1, keepdims=True)
            * conditional
        )
        np.testing.assert_allclose(guided, conditional + 2 * (change - along + eta * along), atol=1e-13)
        np.testing.assert_allclose(
            np.sum((guided - conditional - 2 * eta * along) * conditional, axis=1), 0, atol=1e-12
        )
    np.testing.assert_array_equal(projected(1.0, eta=0.2, norm_threshold=0.01)[0], conditional)
    denoise, free, x = mixture()
    check_same(
        guidance.adaptive_projected(denoise, free, 4.0, eta=1.0)(x, LEVEL),
        guidance.classifier_free(denoise, free, 4.0)(x, LEVEL),
    )


@pytest.mark.float64
def test_a_change_longer_than_the_threshold_is_shortened_to_it_and_a_shorter_one_is_not():
    norms = np.linalg.norm(projected(2.0)[2], axis=1)
    guided, conditional, change = projected(2.0, eta=1.0, norm_threshold=float(np.median(norms)))
    np.testing.assert_allclose(
        np.linalg.norm(guided - conditional, axis=1), np.minimum(norms, np.median(norms)), atol=1e-12
    )
    each = projected(2.0, eta=1.0, norm_threshold=norms / 2)[0] - conditional
    np.testing.assert_allclose(each, change / 2, atol=1e-12)


def test_a_prediction_of_zero_has_no_parallel_part():
    guided = guidance.adaptive_projected(oracles.gaussian(0.0, 0.0), oracles.gaussian(0.0, 1.0), 3.0)(
        jnp.ones((2, 4)), LEVEL
    )
    np.testing.assert_allclose(guided.clean, -2.0, atol=1e-6)


# Dynamic thresholding brings a clean prediction back into the data's range, each sample by itself.


def constant(clean):
    """A denoiser that always answers one clean sample."""
    return lambda x, level: Prediction(clean, (x - level.alpha * clean) / level.sigma)


def sample_of(seed):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(4, 3, 5)))


@pytest.mark.float64
@pytest.mark.parametrize("bound", [1.0, 2.0])
def test_what_lies_within_the_bound_passes_bit_for_bit(bound):
    denoise = constant(bound * jnp.clip(sample_of(0), -1, 1))
    check_same(guidance.dynamic_threshold(denoise, bound=bound)(sample_of(1), LEVEL), denoise(sample_of(1), LEVEL))


@pytest.mark.float64
@table("share", [0.0, 0.5, 0.9, 1.0])
def test_dynamic_threshold_is_the_formula_of_each_sample_and_its_noise_explains_x(share):
    clean = 3 * np.asarray(sample_of(0))
    guided = guidance.dynamic_threshold(constant(jnp.asarray(clean)), share)(sample_of(1), LEVEL)
    limits = np.maximum(1.0, np.percentile(np.abs(clean), 100 * share, axis=(1, 2), keepdims=True))
    np.testing.assert_allclose(guided.clean, np.clip(clean, -limits, limits) / limits, atol=1e-14)
    np.testing.assert_allclose(guided.noise, (sample_of(1) - 0.8 * guided.clean) / 0.6, atol=1e-13)
    assert np.abs(guided.clean).max() <= 1


def test_at_sigma_zero_the_clean_prediction_is_bounded_and_the_noise_stays():
    guided = guidance.dynamic_threshold(oracles.gaussian(5.0))(4 * sample_of(1), Level(0.0, 1.0, 0.0))
    assert np.abs(guided.clean).max() <= 1 and np.all(guided.noise == 0)
