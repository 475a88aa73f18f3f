"""Texts and several conditions at once: in guidance, in the loss, and in place of one another."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import networks
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import conditions, denoiser, guidance, objectives, parameterization, schedules
from gendiff.diffusion.types import Batch, Level
from tests.networks.rig import random_params
from tests.quickly import quickly
from tests.refusals import refusals

VELOCITY, TEN, LEVEL = parameterization.velocity(), schedules.linear(10), Level(7.0, 0.6, 0.8)
NETWORK = networks.DiT(patch=4, width=16, depth=1, heads=2, num_classes=3, text_channels=6, pooled_channels=5)
DRAW = np.random.default_rng(0)
X, LABEL = jnp.asarray(DRAW.normal(size=(3, 8, 4, 1)), jnp.float32), np.array([0, 2, 1], np.int32)
MASK = np.array([[True] * 4, [True, True, False, False], [True, False, False, False]])


def text_of(count=3, length=4, seed=1):
    draw = np.random.default_rng(seed)
    tokens, pooled = (draw.normal(size=shape).astype(np.float32) for shape in ((count, length, 6), (count, 5)))
    return networks.Text(tokens, MASK[:count, :length], pooled)


TEXT = text_of()
EMPTY = jax.tree.map(lambda leaf: leaf[0], text_of(1, seed=2))
"""The encoding of an empty caption, of one sample."""


@pytest.fixture(scope="module")
def params():
    return random_params(NETWORK, X, np.zeros(3, np.float32), LABEL, TEXT)


@pytest.mark.parametrize("null", [networks.NO_TEXT, EMPTY], ids=["none", "empty"])
def test_guidance_by_label_and_text_is_u_plus_scale_times_c_minus_u_in_one_call_and_in_two(params, null):
    def parts(params, x):
        predict = networks.pure(NETWORK)
        denoise = denoiser.from_network(predict, params, VELOCITY, LABEL, TEXT)
        free = denoise.with_condition(NO_LABEL, null)
        guided = [
            guidance.classifier_free(denoise, free, 2.5, batched=batched)(x, LEVEL).clean for batched in (True, False)
        ]
        nulls = np.full(3, NO_LABEL), conditions.for_each(conditions.in_place_of(TEXT, null), 3)
        alone = VELOCITY.predict(x, predict(params, x, jnp.full(3, 7.0), *nulls), LEVEL).clean
        return denoise(x, LEVEL).clean, alone, guided

    c, u, guided = quickly(parts)(params, X)
    assert np.abs(c - u).max() > 1e-3
    for result in guided:
        np.testing.assert_allclose(result, u + 2.5 * (c - u), rtol=1e-4, atol=1e-5)


def test_one_text_holds_for_all_samples(params):
    one = jax.tree.map(lambda leaf: leaf[:1], TEXT)
    repeated = jax.tree.map(lambda leaf: np.repeat(leaf[:1], 3, 0), TEXT)

    def answers(params):
        return [
            denoiser.from_network(networks.pure(NETWORK), params, VELOCITY, 1, text)(X, LEVEL).noise
            for text in (one, repeated)
        ]

    np.testing.assert_array_equal(*quickly(answers)(params))


# What the loss shows the network.

MANY = 4000
CAPTIONS = networks.Text(np.arange(1.0, MANY * 6 + 1, dtype=np.float32).reshape(MANY, 3, 2), np.ones((MANY, 3), bool))
CLASSES, SIDES = np.arange(MANY, dtype=np.int32), np.ones((MANY, 2), np.float32)


def inputs_of(*condition, **options):
    """The conditions that a network is shown in training."""
    calls = []

    def look(params, x, t, *rest):
        calls.append(rest)
        return x

    objectives.denoising(look, TEN, VELOCITY, **options)((), jax.random.key(3), Batch(jnp.ones((MANY, 2)), condition))
    return calls[0]


def test_a_dropped_text_is_that_of_the_null_whole_sample_by_sample_together_with_the_label_and_none_is_kept():
    null = networks.Text(np.full((3, 2), -5.0, np.float32), np.array([True, False, False]))
    for one, tokens, mask in ((null, -5.0, [True, False, False]), (networks.NO_TEXT, 0.0, [False] * 3)):
        label, text, sides = inputs_of(CLASSES, CAPTIONS, SIDES, drop_condition=0.3, null=(NO_LABEL, one, None))
        dropped = np.asarray(label) == NO_LABEL
        assert 0.25 < dropped.mean() < 0.35
        np.testing.assert_array_equal(text.tokens, np.where(dropped[:, None, None], tokens, CAPTIONS.tokens))
        np.testing.assert_array_equal(text.mask, np.where(dropped[:, None], mask, True))
        np.testing.assert_array_equal(sides, SIDES)


def test_one_share_per_condition_drops_each_on_its_own():
    shares = (0.5, 0.2, 0.0)
    label, text, sides = inputs_of(
        CLASSES, CAPTIONS, SIDES, drop_condition=shares, null=(NO_LABEL, networks.NO_TEXT, 0.0)
    )
    first, second = np.asarray(label) == NO_LABEL, ~np.asarray(text.mask).any(-1)
    rates = [first.mean(), second.mean(), (first & second).mean()]
    np.testing.assert_allclose(rates, [0.5, 0.2, 0.1], atol=0.04)
    np.testing.assert_array_equal(sides, SIDES)
    assert objectives.denoising(inputs_of, TEN, VELOCITY, drop_condition=shares) != objectives.denoising(
        inputs_of, TEN, VELOCITY
    )


def guided(null):
    denoise = denoiser.from_network(lambda params, x, t, text: x, {}, VELOCITY, TEXT)
    return guidance.classifier_free(denoise, denoise.with_condition(null), 2.0, batched=True)(X, LEVEL)


test_a_null_that_does_not_fit_a_text_is_refused = pytest.mark.fault("conditions: a null that does not fit a text")(
    refusals(
        (
            lambda: inputs_of(CAPTIONS),
            r"-1 cannot stand for booleans of shape \(4000, 3\), such as the mask of a text.*networks.NO_TEXT",
        ),
        (lambda: guided(NO_LABEL), "cannot stand for booleans"),
        (
            lambda: inputs_of(CAPTIONS, null=networks.Text(np.ones((2, 2)), np.ones(2, bool))),
            r"shape \(2, 2\) cannot stand for .* \(4000, 3, 2\)",
        ),
        (
            lambda: inputs_of(CAPTIONS, null=networks.Text(np.ones((1, 2, 2)), np.ones((1, 3), bool))),
            r"null of shape \(1, 2, 2\)",
        ),
        (lambda: inputs_of(CAPTIONS, null=EMPTY), "cannot take the place"),
        (lambda: guided(text_of(length=3)), r"one shape, got \(3, 4, 6\) and \(3, 3, 6\): pad texts"),
        (lambda: inputs_of(CLASSES, drop_condition=(0.1, 0.1)), "2 shares for 1 conditions"),
        (lambda: inputs_of(CLASSES, drop_condition=(1.5,)), r"outside \[0, 1\]"),
        (lambda: inputs_of(CLASSES, null=None), "null = None"),
    )
)
