"""A ControlNet tells its U-Net what to add: nothing when it is fresh, its scale per sample, and only what its own hint
says.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gendiff import diffusion, networks
from gendiff.core import arrays, records
from gendiff.core.condition_records import Hint
from gendiff.core.types import NO_LABEL
from gendiff.diffusion import parameterization
from gendiff.diffusion.types import Level
from gendiff.networks import controlnet
from gendiff.networks.inputs.control import Residuals
from tests.networks.rig import LABEL, T, X, dit, random_params, unet
from tests.quickly import quickly
from tests.refusals import refusals

FIELDS = {"channels": (4, 8), "blocks": 1, "attention": (4,), "head_size": 4, "groups": 2, "num_classes": 10}
IMAGE = np.random.default_rng(2).uniform(size=(3, 16, 8, 2)).astype(np.float32)
HINT = Hint(IMAGE)
SCALES = np.array([0.0, 0.5, 2.0], np.float32)


def control(**changes):
    return networks.ControlNet(**FIELDS | {"hint_channels": (2, 3)} | changes)


@functools.cache
def fresh_control():
    """What starts at 0 as it starts, and all else away from it."""
    answer = random_params(control(), X, T, LABEL, HINT)
    names = [name for name in answer if name.startswith("control_")]

    @quickly
    def begin(key):
        params = networks.init(control(), key, X, T, LABEL, HINT)
        return {name: params[name] for name in names}, params["hint"]["output"]

    answer_of, read = begin(jax.random.key(1))
    return answer | answer_of | {"hint": answer["hint"] | {"output": read}}


def joined(network, teller):
    return controlnet.controlled(networks.pure(network), networks.pure(teller))


@functools.cache
def both():
    """Parameters of a U-Net and of its ControlNet away from 0."""
    return {"unet": random_params(unet(), X, T, LABEL), "control": random_params(control(), X, T, LABEL, HINT)}


@functools.cache
def tell(**changes):
    return quickly(networks.pure(control(**changes)))


@functools.cache
def answer():
    return quickly(joined(unet(), control()))


def answer_of(params=None, image=IMAGE, scale=(1, 1, 1), **changes):
    """What the ControlNet says, by one program for all hints and scales."""
    result = tell(**changes)(
        both()["control"] if params is None else params, X, T, LABEL, Hint(image, np.float32(scale))
    )
    return jax.tree.map(np.asarray, result)


def joint_answer(scale, **changes):
    return np.asarray(answer()(both() | changes, X, T, LABEL, Hint(IMAGE, np.float32(scale))))


def test_a_fresh_one_tells_zero_so_that_the_unet_answers_as_at_a_scale_of_zero():
    assert not any(np.any(part) for part in jax.tree.leaves(answer_of(fresh_control())))
    np.testing.assert_array_equal(joint_answer(SCALES, control=fresh_control()), joint_answer((0, 0, 0)))


def test_residuals_have_the_shapes_of_what_the_unet_keeps_and_its_middle():
    result = answer_of()
    assert [part.shape for part in result.skips] == [(3, 8, 4, 4), (3, 8, 4, 4), (3, 4, 2, 4), (3, 4, 2, 8)]
    assert result.middle.shape == (3, 4, 2, 8) and all(part.std() > 0.01 for part in jax.tree.leaves(result))


def test_each_sample_has_its_own_scale_and_its_own_hint():
    other = np.concatenate([IMAGE[:2], np.full_like(IMAGE[2:], 0.5)])
    for scaled, plain in zip(jax.tree.leaves(answer_of(scale=SCALES)), jax.tree.leaves(answer_of()), strict=True):
        np.testing.assert_allclose(scaled, SCALES[:, None, None, None] * plain, rtol=1e-5, atol=1e-6)
    for fresh, plain in zip(jax.tree.leaves(answer_of(image=other)), jax.tree.leaves(answer_of()), strict=True):
        np.testing.assert_allclose(fresh[:2], plain[:2], rtol=1e-5, atol=1e-6)
        assert np.abs(fresh[2] - plain[2]).max() > 1e-3


@pytest.mark.slow
def test_pooled_residuals_are_the_means_of_those_that_are_not():
    for pooled, plain in zip(jax.tree.leaves(answer_of(pool=True)), jax.tree.leaves(answer_of()), strict=True):
        np.testing.assert_allclose(
            pooled, np.broadcast_to(plain.mean((1, 2), keepdims=True), plain.shape), rtol=1e-4, atol=1e-6
        )


def test_each_sample_is_led_by_its_own_scale():
    result, alone = joint_answer(SCALES), joint_answer((0, 0, 0))
    np.testing.assert_allclose(result[0], alone[0], rtol=1e-6, atol=1e-6)
    assert np.abs(result[1:] - alone[1:]).max() > 1e-2


@pytest.mark.slow
def test_joined_they_are_one_network_and_a_scale_of_zero_is_the_unet_alone():
    plain = quickly(networks.pure(unet()))
    for scale, residuals in ((SCALES, (answer_of(scale=SCALES),)), ((0, 0, 0), ())):
        by_hand = plain(both()["unet"], X, T, LABEL, *residuals)
        np.testing.assert_allclose(joint_answer(scale), by_hand, rtol=1e-5, atol=1e-5)


def test_guidance_in_one_call_gives_each_sample_its_own_hint_and_scale():
    def predict(params, x, t, label, hint):
        scale, label = (arrays.expand(value, x) for value in (hint.scale, label))
        return params * x * scale + jnp.mean(hint.image, (1, 2, 3), keepdims=True) + label

    @quickly
    def run(x, image):
        params = diffusion.from_network(
            predict, jnp.ones(()), parameterization.velocity(), jnp.asarray(LABEL), Hint(image, SCALES)
        )
        away = params.with_condition(NO_LABEL, Hint(1 - image, jnp.float32(0.0)))
        level = Level(jnp.float32(500.0), jnp.float32(0.6), jnp.float32(0.8))
        return [
            diffusion.guidance.classifier_free(params, away, 3.0, batched=batched)(x, level).clean
            for batched in (True, False)
        ]

    together, separate = run(jnp.asarray(X), jnp.asarray(IMAGE))
    np.testing.assert_allclose(together, separate, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_joined_network_is_guided_in_one_call_and_has_a_gradient_by_its_hint():
    network, params, hint = joined(unet(), control()), both(), Hint(IMAGE, SCALES)
    assert not network.stochastic and network == joined(unet(), control())
    level = Level(jnp.float32(500.0), jnp.float32(0.6), jnp.float32(0.8))

    @quickly
    def run(params, image):
        def guided(image):
            answer = diffusion.from_network(network, params, parameterization.velocity(), LABEL, Hint(image, SCALES))
            away = answer.with_condition(NO_LABEL, Hint(image, jnp.zeros(3)))
            clean = diffusion.guidance.classifier_free(answer, away, 3.0, batched=True)(jnp.asarray(X), level).clean
            return jnp.sum(clean), clean

        return jax.grad(guided, has_aux=True)(image)

    slope, clean = map(np.asarray, run(params, IMAGE))
    at, no_label = np.full(3, 500, np.float32), np.full_like(LABEL, NO_LABEL)
    conditional = np.asarray(answer()(params, X, at, LABEL, hint))
    away = np.asarray(answer()(params, X, at, no_label, records.replace(hint, scale=np.zeros(3, np.float32))))
    np.testing.assert_allclose(clean, 0.6 * X - 0.8 * (away + 3 * (conditional - away)), rtol=1e-4, atol=1e-4)
    assert not slope[0].any() and np.abs(slope[1:]).max() > 1e-4


def test_a_training_begins_with_the_way_down_of_the_unet():
    params, fresh = both()["unet"], fresh_control()
    started = controlnet.from_unet(fresh, params)
    shared = {"input", "embedding", "middle_0", "middle_attention", "middle_1"}
    shared |= {"down_0_0", "down_0_resize", "down_1_0", "down_1_0_attention"}
    assert {name for name in started if name in params} == shared and set(started) == set(fresh)
    assert all(started[name] is params[name] for name in shared) and all(
        started[name] is fresh[name] for name in set(fresh) - shared
    )


def call(network, *condition):
    """Called with values, which are refused before anything is computed."""
    return lambda: networks.pure(network)(fresh_control(), X, T, LABEL, *condition)


def traced(network, *condition):
    """Called with shapes."""

    def run():
        params = jax.eval_shape(lambda: networks.init(network, jax.random.key(0), X, T, LABEL))
        return jax.eval_shape(networks.pure(network), params, X, T, LABEL, *condition)

    return run


def residuals(**changes):
    skips = tuple(np.zeros(shape, np.float32) for shape in ((3, 8, 4, 4), (3, 8, 4, 4), (3, 4, 2, 4), (3, 4, 2, 8)))
    return records.replace(Residuals(skips, np.zeros((3, 4, 2, 8), np.float32)), **changes)


test_hints_and_residuals_that_do_not_fit_are_refused = pytest.mark.fault(
    "conditions: one that does not fit the network"
)(
    refusals(
        (call(control()), "a ControlNet needs a hint"),
        (call(control(), Hint(IMAGE[:, :8])), r"hint.image has shape \(3, 8, 8, 2\): \(3, 16, 8, channels\) is needed"),
        (call(control(), Hint(IMAGE[0])), "hint.image has shape"),
        (call(control(), Hint((255 * IMAGE).astype(np.uint8))), "divide bytes by 255", TypeError),
        (call(control(), Hint(2 * IMAGE)), "hint.image"),
        (call(control(), Hint(IMAGE, SCALES[:2])), r"hint.scale has shape \(2,\)"),
        (call(control(), Hint(IMAGE, -1.0)), "hint.scale"),
        (call(control(), HINT, residuals()), "residuals were given to a network that adds none"),
        (call(control(), HINT, HINT), "two conditions are each a hint"),
        (call(control(out_channels=2), HINT), "a ControlNet answers what a U-Net adds"),
        (call(control(hint_channels=()), HINT), "hint_channels = \\(\\)"),
        (call(control(hint_channels=(2, 0)), HINT), "hint_channels = 0"),
        (traced(unet(), HINT), "a hint was given to a network that reads none"),
        (traced(dit(), residuals()), "residuals were given to a network that adds none"),
        (traced(unet(), residuals(skips=residuals().skips[:3])), "3 residuals were given to a U-Net that keeps 4"),
        (traced(unet(), residuals(middle=np.zeros((3, 1, 1, 8), np.float32))), "the residual of the middle has shape"),
        (lambda: joined(unet(), unet()), "control must be networks.pure of a ControlNet", TypeError),
        (lambda: joined(control(), control()), "unet must be networks.pure of a UNet", TypeError),
        (lambda: joined(unet(blocks=2), control()), "blocks = 2 of the U-Net and 1"),
        (
            lambda: joined(unet(), control())({"unet": {}}, X, T, LABEL, HINT),
            "params has the parts unet: unet and control are needed",
        ),
        (lambda: controlnet.from_unet(fresh_control(), {}), "have no input"),
        (
            lambda: controlnet.from_unet(fresh_control(), both()["unet"] | {"input": both()["unet"]["output"]}),
            "input has the shapes",
        ),
    )
)
