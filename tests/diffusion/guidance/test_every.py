"""What every rule of guidance keeps: x, dtype, one trace, samples that do not know their neighbours, finite gradients at both ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gendiff as gd
from gendiff import diffusion
from tests.diffusion.guidance.every import EVERY, RULES

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


def guided(name, scale, label=LABELS, gain=0.7, dtype=np.float32):
    params = {"gain": jnp.asarray(gain, dtype)}
    given = diffusion.denoiser.from_network(network, params, diffusion.parameterization.velocity(), jnp.asarray(label))
    return EVERY[name](given, given.with_condition(gd.NO_LABEL), jnp.asarray(scale, dtype))


def noised(seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(3, 2, 3)), dtype)


def levels(pairs, dtype=np.float32):
    return diffusion.Level(jnp.full(len(pairs), 7.0, dtype), *(jnp.asarray(field, dtype) for field in zip(*pairs, strict=True)))


@pytest.mark.float64
@pytest.mark.parametrize("name", EVERY)
def test_x_is_alpha_clean_plus_sigma_noise_but_for_cfg_plus_plus(name):
    x = noised(dtype=np.float64)
    for pairs in (INNER[:3], [*INNER[3:], NOISE]):
        at = levels(pairs, np.float64)
        told = ask(guided(name, np.full(3, 3.0), dtype=np.float64), x, at)
        gaps = np.abs(at.alpha[:, None, None] * told.clean + at.sigma[:, None, None] * told.noise - x).max(axis=(1, 2))
        assert told.clean.dtype == told.noise.dtype == np.float64
        assert np.all(gaps[:2] > 1e-3) if name == "cfg_plus_plus" else np.all(gaps < 1e-12)


@pytest.mark.parametrize("name", EVERY)
def test_neighbours_change_no_bit_of_a_sample_and_single_precision_stays(name):
    here = ask(guided(name, [0.5, 2.0, 3.0]), noised(), levels([(0.6, 0.2), (0.6, 0.8), (0.6, 1.0)]))
    strangers = noised(1).at[1].set(noised()[1])
    there = ask(guided(name, [9.0, 2.0, 0.0], np.array([2, 1, 0], np.int32)), strangers, levels([CLEAN, (0.6, 0.8), (0.6, 3.0)]))
    for field in ("clean", "noise"):
        one, other = getattr(here, field), getattr(there, field)
        assert one.dtype == np.float32
        np.testing.assert_array_equal(one[1], other[1])
        assert not np.array_equal(one[0], other[0])


@pytest.mark.parametrize("name", EVERY)
def test_scales_labels_and_weights_follow_their_samples(name):
    denoise, at, rows = guided(name, [0.5, 2.0, 3.0]), levels([(0.6, 0.8)] * 3), jnp.array([2, 0, 0])
    others = guided(name, np.array([0.5, 2.0, 3.0])[rows], LABELS[rows])
    np.testing.assert_allclose(ask(others, noised()[rows], at).clean, ask(denoise, noised(), at).clean[rows], atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_values_and_gradients_are_finite_from_end_to_end_and_mapped(name):
    def total(x, scale, gain, at):
        told = guided(name, scale, gain=gain)(x, at)
        return jnp.sum(told.clean**2) + jnp.sum(told.noise**2), told

    run = jax.jit(jax.vmap(jax.grad(total, argnums=(0, 1, 2), has_aux=True), in_axes=(None, 0, None, 0)))
    pairs = [NOISE, CLEAN, *INNER]
    scales = np.full(len(pairs), 2.0, np.float32)
    for x in (noised(), jnp.zeros((3, 2, 3))):
        slopes, told = run(x, scales, 0.7, levels(pairs))
        assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves((slopes, told)))
    single = ask(guided(name, np.full(3, 2.0)), jnp.zeros((3, 2, 3)), levels([INNER[0]] * 3))
    np.testing.assert_allclose(told.clean[2], single.clean, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_numbers_are_data_and_rebuilt_rules_do_not_retrace(name):
    at = levels([(0.6, 0.8)] * 3)
    first = ask(guided(name, np.full(3, 0.5)), noised(), at)
    before = len(TRACES)
    second = ask(guided(name, np.full(3, 3.0), gain=0.9), noised(1), levels([CLEAN] * 3))
    assert len(TRACES) == before and not np.array_equal(first.clean, second.clean)


@pytest.mark.parametrize("name", RULES)
def test_one_pass_answers_what_several_passes_answer_and_calls_the_network_once(name):
    seen = []

    def counting(params, x, t, label):
        seen.append(x.shape[0])
        return network(params, x, t, label)

    given = diffusion.from_network(counting, {"gain": 0.7}, diffusion.parameterization.velocity(), jnp.asarray(LABELS))
    free, scales = given.with_condition(gd.NO_LABEL), np.array([0.5, 1.0, 7.0], np.float32)
    several, one = (RULES[name](given, free, scales, batched=batched)(noised(), levels(INNER[:3])) for batched in (False, True))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one, several)
    assert seen == [3] * (len(seen) - 1) + [3 * (len(seen) - 1)]


def plain(x, level):
    return diffusion.Prediction(0.5 * x, x)


def plain_other(x, level):
    return diffusion.Prediction(0.2 * x, 2 * x)


def plain_logits(x, level):
    return jnp.sum(x**2, axis=(1, 2))


@pytest.mark.parametrize(
    "build",
    [
        lambda scale: diffusion.guidance.classifier_free(plain, plain_other, scale),
        lambda scale: diffusion.guidance.autoguidance(plain, plain_other, scale),
        lambda scale: diffusion.guidance.composed(plain, [plain_other, plain], [scale, lambda level: level.sigma]),
        lambda scale: diffusion.guidance.cfg_plus_plus(plain, plain_other, scale),
        lambda scale: diffusion.guidance.adaptive_projected(plain, plain_other, scale),
        lambda scale: diffusion.guidance.dynamic_threshold(plain, 0.9, bound=scale),
        lambda scale: diffusion.guidance.classifier(plain, plain_logits, scale),
    ],
)
def test_rules_of_plain_functions_cross_jit(build):
    at = levels([(0.6, 0.8)] * 3)
    np.testing.assert_allclose(ask(build(2.0), noised(), at).clean, build(2.0)(noised(), at).clean, rtol=1e-5)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("scale", [-1.0, float("nan"), np.array([1.0, -0.5, 2.0])])
def test_negative_and_nan_scales_are_refused(scale):
    for name in set(EVERY) - {"composed"}:  # its weights have either sign
        with pytest.raises(ValueError, match="scale = .* is outside"):
            guided(name, scale)


@pytest.mark.float64
def test_with_clean_moves_the_noise_so_that_x_is_still_explained_and_leaves_it_at_sigma_zero():
    x = noised(dtype=np.float64)
    for alpha, sigma in ((0.8, 0.6), CLEAN):
        at = diffusion.Level(0.0, alpha, sigma)
        prediction = diffusion.oracles.gaussian(0.5, 0.1)(x, at)
        moved = diffusion.guidance.with_clean(prediction, prediction.clean + 1.5, at)
        if sigma:
            np.testing.assert_allclose(alpha * moved.clean + sigma * moved.noise, x, atol=1e-13)
            moved = diffusion.guidance.with_clean(prediction, prediction.clean, at)
        np.testing.assert_array_equal(moved.noise, prediction.noise)


def test_every_public_rule_is_in_the_table():
    parts = {"combine", "interval", "with_clean"}  # of which rules are made
    assert set(diffusion.guidance.__all__) - parts == {name.split()[0] for name in EVERY}
