"""Whole values and the unit range, and the digits, which lie on 17 levels."""

import hashlib
import itertools
import math

import hypothesis
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from gendiff.core.errors import NonFiniteError
from gendiff.data import digits, scaling
from tests.refusals import refusals
from tests.tables import table

LEVELS = st.integers(2, scaling.MOST_LEVELS)


@table("levels", [2, 17, 256, 65536])
def test_all_levels_survive_the_round_trip_and_have_the_smallest_fitting_type(levels):
    pixels = np.arange(levels)
    x = scaling.to_unit(pixels, levels)
    back = scaling.from_unit(x, levels)
    assert x.dtype == np.float32 and x[0] == -1 and x[-1] == 1 and np.abs(x).max() <= 1
    np.testing.assert_array_equal(back, pixels)
    assert back.dtype == (np.uint8 if levels <= 256 else np.uint16)
    assert scaling.from_unit(scaling.to_unit(np.zeros((0, 8, 8, 1), np.uint8), levels), levels).shape == (0, 8, 8, 1)


@hypothesis.given(levels=LEVELS, seed=st.integers(0, 2**32 - 1))
def test_rounding_is_to_the_nearest_level_and_idempotent(levels, seed):
    x = np.random.default_rng(seed).uniform(-1, 1, 200)
    rounded = scaling.round_to_levels(x, levels)
    assert rounded.dtype == np.float64
    assert np.abs(rounded - x).max() <= (1 + 1e-9) / (levels - 1)
    np.testing.assert_array_equal(scaling.round_to_levels(rounded, levels), rounded)


def test_rounding_is_there_and_back_halves_go_up_values_outside_are_clipped_and_nan_stays():
    many = np.random.default_rng(0).uniform(-1.5, 1.5, 1000).astype(np.float32)
    np.testing.assert_array_equal(scaling.round_to_levels(many, 17), scaling.to_unit(scaling.from_unit(many, 17), 17))
    x = np.array([-7.0, -0.75, -0.25, 0.25, 0.75, 7.0])  # halves between the levels -1, -1/2, 0, 1/2, 1
    np.testing.assert_array_equal(scaling.from_unit(x, 5), [0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(scaling.round_to_levels(x, 5), [-1, -0.5, 0, 0.5, 1, 1])
    assert np.isnan(scaling.round_to_levels(np.array([np.nan, 0.0]), 17)).tolist() == [True, False]


def test_numpy_stays_numpy_and_jax_stays_jax_with_equal_values_under_jit():
    pixels = np.arange(17, dtype=np.uint8)
    x = scaling.to_unit(pixels, 17)
    assert isinstance(x, np.ndarray)
    traced = jax.jit(lambda p: scaling.to_unit(p, 17))(jnp.asarray(pixels))
    assert isinstance(traced, jax.Array) and traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, x, rtol=1e-6)
    np.testing.assert_array_equal(jax.jit(lambda v: scaling.from_unit(v, 17))(jnp.asarray(x)), pixels)
    np.testing.assert_allclose(jax.jit(lambda v: scaling.round_to_levels(v, 17))(jnp.asarray(x) + 0.01), x, rtol=1e-6)


def test_sixteen_bit_floats_reach_the_nearest_of_256_levels():
    x = jnp.linspace(-1, 1, 1001).astype(jnp.bfloat16)
    np.testing.assert_array_equal(scaling.from_unit(x, 256), scaling.from_unit(x.astype(jnp.float32), 256))
    assert scaling.round_to_levels(x, 256).dtype == jnp.bfloat16


def holding(bad, xp):
    return xp.asarray(np.array([0.0, bad, 0.5], np.float32))


BAD = list(itertools.product((np.nan, np.inf, -np.inf), (np, jnp)))
test_what_cannot_be_scaled_is_refused_with_its_range = refusals(
    (lambda: scaling.to_unit(np.array([0.0, 16.0]), 17), "whole values.*float64", TypeError),
    (lambda: scaling.from_unit(np.array([0, 255], np.uint8), 256), "must be a floating array", TypeError),
    (lambda: scaling.round_to_levels(np.array([0, 255], np.uint8), 256), "must be a floating array", TypeError),
    (lambda: scaling.to_unit(np.array([0, 17]), 17), "pixels lie in 0…17, but 17 levels are 0…16"),
    (lambda: scaling.to_unit(np.array([-1, 3]), 17), "pixels lie in -1…3, but 17 levels are 0…16"),
    *((lambda n=n: scaling.to_unit(np.array([0]), n), "levels") for n in (1, 0, 2**16 + 1)),
    *((lambda bad=bad: scaling.from_unit(holding(*bad), 256), "1 of 3 values", NonFiniteError) for bad in BAD),
)


def test_bits_offset_is_7_for_bytes_and_log2_of_8_and_a_half_for_digits():
    assert scaling.bits_offset(256) == 7
    assert scaling.bits_offset(17) == math.log2(17 / 2)
    assert round(scaling.bits_offset(17), 2) == 3.09


# Digits.


@pytest.fixture(scope="module")
def split():
    return digits.load()


def test_sizes_and_types_are_stated_and_every_image_lies_on_the_17_levels_and_uses_them_all(split):
    assert split.train_images.shape == (1347, 8, 8, 1) and split.held_out_images.shape == (450, 8, 8, 1)
    for images, labels in ((split.train_images, split.train_labels), (split.held_out_images, split.held_out_labels)):
        assert images.dtype == np.float32 and labels.dtype == np.int32 and len(images) == len(labels)
        assert images.min() == -1 and images.max() == 1
        np.testing.assert_array_equal(scaling.round_to_levels(images, digits.LEVELS), images)
        np.testing.assert_array_equal(np.unique(scaling.from_unit(images, digits.LEVELS)), np.arange(17))


def test_each_class_is_held_out_in_its_share_and_no_image_is_on_both_sides_of_the_frozen_split(split):
    train, held_out = np.bincount(split.train_labels), np.bincount(split.held_out_labels)
    assert len(train) == len(held_out) == digits.CLASSES
    assert np.abs(held_out - (train + held_out) * 450 / 1797).max() < 1
    real = ((load_digits().data - 8) / 8).astype(np.float32)
    train, held_out, real = (
        {row.tobytes() for row in rows} for rows in (split.train_images, split.held_out_images, real)
    )
    assert not train & held_out and train | held_out == real
    digest = hashlib.sha256(split.held_out_images.tobytes() + split.held_out_labels.tobytes()).hexdigest()
    assert digest == "5a6439520585c821b33c3e58b76362738c9eccc1ae414c9ac9f15eacdb47aa2b"
