"""What every rule of guidance keeps: x, dtype, one trace, samples that do not know their neighbours, finite gradients
at both ends.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from gendiff.core import arrays, records
from gendiff.diffusion import guidance, oracles, parameterization
from gendiff.diffusion.acceleration.stateful_denoiser import StatefulDenoiser
from gendiff.diffusion.guidance.joint_call import JointCall
from tests.quickly import quickly
from tests.refusals import Ends, ends


@records.record
class Leaning:
    """A classifier that sees a label (b,) in x, the better the more of the clean sample is left."""

    label: object

    def __call__(self, x, level):
        offset = arrays.flatten_samples(x) - 0.3 * self.label.astype(x.dtype)[:, None]
        return -arrays.expand(level.alpha, offset[:, 0]) * jnp.sum(offset**2, axis=1)


def of_interval(denoise, free, scale, **how):
    return guidance.classifier_free(denoise, free, guidance.interval(scale, 0.2, 5.0), **how)


# Each is built from a network given a label and without one, at a scale. A new rule is one line.
# RULES ask one network under several conditions, in one call (`batched=True`) or in several.
RULES = {
    "classifier_free": guidance.classifier_free,
    "classifier_free rescale": lambda denoise, free, scale, **how: guidance.classifier_free(
        denoise, free, scale, rescale=0.7, **how
    ),
    "classifier_free interval": of_interval,
    "composed": lambda denoise, free, scale, **how: guidance.composed(
        free, [denoise, denoise.with_condition(2)], [scale, -0.5], **how
    ),
    "cfg_plus_plus": guidance.cfg_plus_plus,
    "adaptive_guidance": lambda *pair, **how: guidance.adaptive_guidance(*pair, threshold=0.9, **how),
    "adaptive_projected": lambda *pair, **how: guidance.adaptive_projected(*pair, eta=0.3, norm_threshold=0.1, **how),
}
EVERY = RULES | {
    "classifier_free batched": lambda *pair: guidance.classifier_free(*pair, batched=True),
    "autoguidance": lambda denoise, free, scale: guidance.autoguidance(
        denoise, records.replace(denoise, params={"gain": 0.3}), scale
    ),
    "dynamic_threshold": lambda *pair: guidance.dynamic_threshold(guidance.classifier_free(*pair), 0.8, bound=0.5),
    "classifier": lambda denoise, free, scale: guidance.classifier(free, Leaning(denoise.condition[0]), scale),
}
every_rule = pytest.mark.parametrize("name", EVERY)

INNER = [(0.6, 0.8), (1.0, 0.5), (0.3, 0.7), (1.0, 20.0), (0.999, 0.01)]
NOISE, CLEAN = (0.0, 1.0), (1.0, 0.0)
LABELS = np.array([0, 1, 2], np.int32)
TRACES = []


def network(params, x, t, label):
    hint = 0.2 * label.astype(x.dtype) + 0.01 * t.astype(x.dtype)
    return jnp.tanh(jnp.asarray(params["gain"], x.dtype) * x + hint.reshape(-1, *[1] * (x.ndim - 1)))


@jax.jit
def ask(denoise, x, level):
    TRACES.append(None)
    return denoise(x, level)


def conditional(label=LABELS, gain=0.7, predict=network, kind=parameterization.velocity):
    return diffusion.from_network(predict, {"gain": gain}, kind(), jnp.asarray(label))


def guided(name, scale, label=LABELS, gain=0.7, dtype=np.float32):
    denoise = conditional(label, jnp.asarray(gain, dtype))
    return EVERY[name](denoise, denoise.with_condition(gd.NO_LABEL), jnp.asarray(scale, dtype))


def noised(seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(3, 2, 3)), dtype)


def levels(pairs, dtype=np.float32):
    return diffusion.Level(
        jnp.full(len(pairs), 7.0, dtype), *(jnp.asarray(field, dtype) for field in zip(*pairs, strict=True))
    )


@pytest.mark.float64
@every_rule
def test_x_is_alpha_clean_plus_sigma_noise_but_for_cfg_plus_plus(name):
    x = noised(dtype=np.float64)
    for pairs in (INNER[:3], [*INNER[3:], NOISE]):
        level = levels(pairs, np.float64)
        prediction = ask(guided(name, np.full(3, 3.0), dtype=np.float64), x, level)
        explained = level.alpha[:, None, None] * prediction.clean + level.sigma[:, None, None] * prediction.noise
        gaps = np.abs(explained - x).max(axis=(1, 2))
        assert prediction.clean.dtype == prediction.noise.dtype == np.float64
        assert np.all(gaps[:2] > 1e-3) if name == "cfg_plus_plus" else np.all(gaps < 1e-12)


@every_rule
def test_a_sample_knows_neither_its_neighbours_to_the_bit_nor_its_place_and_single_precision_stays(name):
    scales = np.array([0.5, 2.0, 3.0])
    here = ask(guided(name, scales), noised(), levels([(0.6, 0.2), (0.6, 0.8), (0.6, 1.0)]))
    strangers = noised(1).at[1].set(noised()[1])
    there = ask(
        guided(name, [9.0, 2.0, 0.0], np.array([2, 1, 0], np.int32)), strangers, levels([CLEAN, (0.6, 0.8), (0.6, 3.0)])
    )
    for one, other in ((here.clean, there.clean), (here.noise, there.noise)):
        assert one.dtype == np.float32 and not np.array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])
    level, rows = levels([(0.6, 0.8)] * 3), jnp.array([2, 0, 0])
    others = guided(name, scales[rows], LABELS[rows])
    np.testing.assert_allclose(
        ask(others, noised()[rows], level).clean, ask(guided(name, scales), noised(), level).clean[rows], atol=1e-6
    )


PAIRS = [NOISE, CLEAN, *INNER]


@functools.cache
def program(name):
    def total(x, scale, gain, level, weights):
        prediction = guided(name, scale, gain=gain)(x, level)
        clean, noise = (
            weight[:, None, None] * part**2
            for weight, part in zip(weights, (prediction.clean, prediction.noise), strict=True)
        )
        return jnp.sum(clean) + jnp.sum(noise), prediction

    return quickly(jax.vmap(jax.grad(total, argnums=(0, 1, 2), has_aux=True), in_axes=(None, 0, None, 0, None)))


def sloped(name, x, weights):
    """Slopes at PAIRS by x, scales (b,) and gain of a sum of squares, of clean and noise with weights (2, b), and the
    predictions.
    """
    scales = np.full((len(PAIRS), 3), 2.0, np.float32)
    return jax.device_get(program(name)(x, scales, 0.7, levels(PAIRS), np.asarray(weights, np.float32)))


@every_rule
def test_no_gradient_reaches_another_sample_or_its_scale_nor_by_a_scale_the_noise_of_cfg_plus_plus(name):
    inner = slice(2, None)
    (x, scale, _), _ = sloped(name, noised(), [[0, 1, 0]] * 2)
    assert not x[:, [0, 2]].any() and not scale[:, [0, 2]].any()
    assert x[inner, 1].any(axis=(1, 2)).all() and scale[inner, 1].any()
    (_, scale, _), _ = sloped(name, noised(), [[0] * 3, [1] * 3])
    assert scale[inner].any() == (name != "cfg_plus_plus")


@every_rule
def test_values_and_gradients_are_finite_from_end_to_end_and_mapped(name):
    for x in (noised(), jnp.zeros((3, 2, 3))):
        slopes, predictions = sloped(name, x, np.ones((2, 3)))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((slopes, predictions)))
    single = ask(guided(name, np.full(3, 2.0)), jnp.zeros((3, 2, 3)), levels([INNER[0]] * 3))
    np.testing.assert_allclose(predictions.clean[2], single.clean, atol=1e-6)


@every_rule
def test_a_rule_asked_again_answers_the_same_or_goes_on_from_the_memory_of_the_first_call(name):
    rule, level = guided(name, np.full(3, 3.0)), levels([(0.6, 0.8)] * 3)
    first = ask(rule, noised(), level)
    jax.tree.map(np.testing.assert_array_equal, first, ask(rule, noised(), level))
    if isinstance(rule, StatefulDenoiser):
        memory = np.array([True, False, True])
        prediction, after = quickly(type(rule).remembered)(rule, noised(), level, memory)
        alone = ask(conditional(), noised(), level)
        np.testing.assert_allclose(
            prediction.clean, np.where(memory[:, None, None], alone.clean, first.clean), atol=1e-6
        )
        assert np.asarray(after)[memory].all() and not np.asarray(rule.init(noised())).any()


@every_rule
def test_numbers_are_data_and_rebuilt_rules_do_not_retrace(name):
    first = ask(guided(name, np.full(3, 0.5)), noised(), levels([(0.6, 0.8)] * 3))
    before = len(TRACES)
    second = ask(guided(name, np.full(3, 3.0), gain=0.9), noised(1), levels([CLEAN] * 3))
    assert len(TRACES) == before and not np.array_equal(first.clean, second.clean)


@pytest.mark.parametrize("name", RULES)
def test_one_pass_answers_what_several_passes_answer_and_calls_the_network_once(name):
    calls = []

    def counting(params, x, t, label):
        calls.append(x.shape[0])
        return network(params, x, t, label)

    denoise, scales = conditional(predict=counting), np.array([0.5, 1.0, 7.0], np.float32)
    rules = (
        RULES[name](denoise, denoise.with_condition(gd.NO_LABEL), scales, batched=batched) for batched in (False, True)
    )
    several, one = (rule(noised(), levels(INNER[:3])) for rule in rules)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one, several)
    assert calls == [3] * (len(calls) - 1) + [3 * (len(calls) - 1)]


def test_labels_of_files_which_are_unsigned_have_a_null_in_one_pass_too():
    denoise = conditional().with_condition(np.array([0, 2, 1], np.uint8))
    answers = [
        guidance.classifier_free(denoise, denoise.with_condition(gd.NO_LABEL), 3.0, batched=batched)
        for batched in (False, True)
    ]
    several, one = (rule(noised(), levels(INNER[:3])).clean for rule in answers)
    np.testing.assert_allclose(one, several, atol=2e-5)


def test_the_first_ones_parameters_serve_all_in_one_pass():
    denoise = conditional()
    other = conditional(gain=9.0).with_condition(gd.NO_LABEL)
    _, free = JointCall.checked(denoise, other, batched=True)(noised(), levels(INNER[:3]))
    np.testing.assert_allclose(
        free.clean, denoise.with_condition(gd.NO_LABEL)(noised(), levels(INNER[:3])).clean, atol=1e-6
    )


@pytest.mark.parametrize(
    ("stranger", "message"),
    [
        (lambda: oracles.gaussian(1.0), "batched=True needs denoisers made by"),
        (lambda: conditional(predict=lambda params, x, t, label: x), "batched=True needs denoisers of one network"),
        (lambda: conditional(kind=parameterization.flow), "batched=True needs denoisers of one network"),
        (lambda: conditional().with_condition(1, 2), "conditions of one structure, got 1 and 2"),
    ],
)
def test_one_pass_of_different_networks_is_refused(stranger, message):
    for denoisers in ((conditional(),), (conditional(), conditional())):
        with pytest.raises(TypeError, match=message):
            JointCall.checked(*denoisers, stranger(), batched=True)


def half(x, level):
    return diffusion.Prediction(0.5 * x, x)


def fifth(x, level):
    return diffusion.Prediction(0.2 * x, 2 * x)


@pytest.mark.parametrize(
    "build",
    [
        lambda scale: guidance.classifier_free(half, fifth, scale),
        lambda scale: guidance.autoguidance(half, fifth, scale),
        lambda scale: guidance.composed(half, [fifth, half], [scale, lambda level: level.sigma]),
        lambda scale: guidance.cfg_plus_plus(half, fifth, scale),
        lambda scale: guidance.adaptive_projected(half, fifth, scale),
        lambda scale: guidance.dynamic_threshold(half, 0.9, bound=scale),
        lambda scale: guidance.classifier(half, lambda x, level: jnp.sum(x**2, axis=(1, 2)), scale),
    ],
)
def test_rules_of_plain_functions_cross_jit(build):
    level = levels([(0.6, 0.8)] * 3)
    np.testing.assert_allclose(ask(build(2.0), noised(), level).clean, build(2.0)(noised(), level).clean, rtol=1e-5)


@pytest.mark.fault("guidance: NaN or negative scale")
@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("scale", [-1.0, float("nan"), np.array([1.0, -0.5, 2.0])])
def test_negative_and_nan_scales_are_refused(scale):
    for name in set(EVERY) - {"composed"}:  # its weights have either sign
        with pytest.raises(ValueError, match="scale = .* is outside"):
            guided(name, scale)


TWO = levels([(0.6, 0.8), CLEAN])
test_numbers_are_taken_up_to_the_ends_of_their_ranges_and_refused_beyond_them = ends(
    *(
        Ends(
            lambda value, name=name: EVERY[name](conditional(), conditional(gd.NO_LABEL), value),
            "scale",
            0.0,
            open_high=True,
        )
        for name in set(EVERY) - {"composed"}
    ),
    Ends(lambda value: guidance.classifier_free(half, fifth, 2.0, rescale=value), "rescale", 0.0, 1.0),
    Ends(lambda value: guidance.composed(half, [fifth], [value]), "weights", -np.inf, open_low=True, open_high=True),
    Ends(lambda value: guidance.adaptive_projected(half, fifth, 2.0, eta=value), "eta", 0.0, 1.0),
    Ends(
        lambda value: guidance.adaptive_projected(half, fifth, 2.0, norm_threshold=value),
        "norm_threshold",
        0.0,
        open_low=True,
    ),
    Ends(lambda value: guidance.adaptive_guidance(half, fifth, 2.0, threshold=value), "threshold", -1.0, 1.0),
    Ends(lambda value: guidance.dynamic_threshold(half, value), "percentile", 0.0, 1.0),
    Ends(lambda value: guidance.dynamic_threshold(half, bound=value), "bound", 0.0, open_low=True, open_high=True),
    Ends(lambda value: guidance.interval(2.0, value, np.inf), "low", 0.0),
    Ends(lambda value: guidance.interval(2.0, 0.0, value), "high", 0.0),
    Ends(lambda value: guidance.at_levels(TWO, np.array([1.0, value])), "scales", 0.0, open_high=True),
)


def test_an_interval_ends_with_its_upper_end_and_begins_behind_its_lower_one():
    within = quickly(jax.vmap(guidance.interval(3.0, 0.5, 2.0)))
    ratios = np.array(
        [0.0, 0.5, np.nextafter(np.float32(0.5), 1), 1.0, 2.0, np.nextafter(np.float32(2), 3)], np.float32
    )
    at = diffusion.Level(ratios, np.ones_like(ratios), ratios)
    np.testing.assert_array_equal(within(at), [1, 1, 3, 3, 3, 1])
    full = quickly(jax.vmap(guidance.interval(3.0, 0.0, np.inf)))
    np.testing.assert_array_equal(full(levels([CLEAN, (0.5, 0.5), NOISE])), [1, 3, 3])


@pytest.mark.float64
def test_with_clean_moves_the_noise_so_that_x_is_still_explained_and_leaves_it_at_sigma_zero():
    x = noised(dtype=np.float64)
    for alpha, sigma in ((0.8, 0.6), CLEAN):
        level = diffusion.Level(0.0, alpha, sigma)
        prediction = oracles.gaussian(0.5, 0.1)(x, level)
        moved = guidance.with_clean(prediction, prediction.clean + 1.5, level)
        if sigma:
            np.testing.assert_allclose(alpha * moved.clean + sigma * moved.noise, x, atol=1e-13)
            moved = guidance.with_clean(prediction, prediction.clean, level)
        np.testing.assert_array_equal(moved.noise, prediction.noise)


def test_every_public_rule_is_in_the_table():
    parts = {"at_levels", "combine", "interval", "with_clean"}  # of which rules are made
    assert set(guidance.__all__) - parts == {name.split()[0] for name in EVERY}
