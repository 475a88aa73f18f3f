"""Fading begins exactly at the old picture and ends exactly at the new one, at the steps that the schedule says."""

import jax
import jax.numpy as jnp
import numpy as np

from gendiff.adversarial import growing
from tests.quickly import quickly
from tests.refusals import refusals
from tests.traced import Traced

OLD, NEW = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 1)).astype(np.float32)


def test_weight_0_is_the_old_picture_weight_1_the_new_one_and_between_them_it_is_linear_without_a_second_trace():
    fade = Traced(growing.fade_in, jit=quickly)
    np.testing.assert_array_equal(fade(OLD, NEW, 0.0), OLD)
    np.testing.assert_array_equal(fade(OLD, NEW, 1.0), NEW)
    np.testing.assert_allclose(fade(OLD, NEW, 0.25), 0.75 * OLD + 0.25 * NEW, rtol=1e-5, atol=1e-6)
    assert fade.traces == 1


def test_each_sample_may_have_its_own_weight_and_the_dtype_is_that_of_the_old_picture():
    mixed = growing.fade_in(OLD, NEW, np.array([0.0, 1.0, 0.0], np.float32))
    np.testing.assert_array_equal(mixed, np.stack([OLD[0], NEW[1], OLD[2]]))
    assert growing.fade_in(jnp.asarray(OLD, jnp.bfloat16), NEW, 0.5).dtype == jnp.bfloat16


def test_the_first_stage_has_its_block_and_the_others_fade_it_in_over_their_share():
    growth = growing.growth([2, 4, 8], fading=0.5)
    assert (growth.stages, growth.total) == (3, 14)
    assert [growth.at(step) for step in range(6)] == [(0, 1.0), (0, 1.0), (1, 0.0), (1, 0.5), (1, 1.0), (1, 1.0)]
    assert [growth.at(step) for step in range(6, 14)] == [(2, min(1.0, within / 4)) for within in range(8)]
    assert growth.at(np.int64(1000)) == growth.at(jnp.int32(14)) == (2, 1.0)


def test_a_share_of_0_does_not_fade_and_a_share_of_1_fades_to_the_end():
    assert {growing.growth([2, 4], fading=0.0).at(step) for step in range(2, 6)} == {(1, 1.0)}
    assert growing.growth([2, 4], fading=1.0).at(5) == (1, 0.75)
    assert growing.growth((2, 4)) == growing.growth([2, 4]) != growing.growth([2, 5])


test_mistakes_are_refused = refusals(
    (lambda: growing.growth([]), "steps is empty"),
    (lambda: growing.growth([3, 0]), "steps = 0 is outside"),
    (lambda: growing.growth([2.5]), "steps must be an integer", TypeError),
    (lambda: growing.growth([3], fading=1.5), "fading = 1.5 is outside"),
    (lambda: growing.growth([3]).at(-1), "step = -1 is outside"),
    (lambda: jax.jit(lambda step: growing.growth([3]).at(step))(1), "step is traced", TypeError),
    (lambda: growing.fade_in(OLD, NEW[:, :2], 0.5), "old has shape"),
    (lambda: growing.fade_in(OLD, NEW, 1.5), "weight = 1.5 is outside"),
    (lambda: growing.fade_in(np.ones((2, 2), int), np.ones((2, 2), int), 0.5), "floating", TypeError),
)
