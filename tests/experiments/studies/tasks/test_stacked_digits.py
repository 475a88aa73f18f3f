"""Three digits in one picture: channels, modes and their exact law."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from experiments.tasks import stacked_digits
from tests.quickly import quickly
from tests.refusals import refusals

LABELS = np.array([3, 1, 4, 1, 5, 9], np.int32)
IMAGES = np.random.default_rng(0).normal(size=(6, 4, 4, 1)).astype(np.float32)
ROWS = np.array([[0, 2, 5], [1, 1, 3]], np.int32)


def test_each_channel_shows_its_digit_and_the_mode_has_its_class_as_a_decimal_place():
    pictures = stacked_digits.stack(IMAGES, ROWS)
    assert pictures.shape == (2, 4, 4, 3) and pictures.dtype == np.float32
    for i, c in itertools.product(range(2), range(3)):
        np.testing.assert_array_equal(pictures[i, :, :, c], IMAGES[ROWS[i, c], :, :, 0])
    assert stacked_digits.mode_of(LABELS[ROWS]).tolist() == [349, 111]


def test_channels_takes_apart_what_stack_made():
    np.testing.assert_array_equal(stacked_digits.channels(stacked_digits.stack(IMAGES, ROWS)), IMAGES[ROWS.ravel()])


def test_a_compiled_program_stacks_counts_and_takes_apart_alike():
    @quickly
    def traced(rows):
        pictures = stacked_digits.stack(IMAGES, rows)
        return pictures, stacked_digits.mode_of(jnp.asarray(LABELS)[rows]), stacked_digits.channels(pictures)

    pictures, modes, channels = traced(ROWS)
    np.testing.assert_array_equal(pictures, stacked_digits.stack(IMAGES, ROWS))
    assert modes.tolist() == [349, 111] and isinstance(channels, jax.Array)
    np.testing.assert_array_equal(channels, IMAGES[ROWS.ravel()])


def test_a_batch_is_a_function_of_seed_and_step():
    first = stacked_digits.batch_at(IMAGES, LABELS, 5, 7, 1000)
    again, rows = stacked_digits.batch_at(IMAGES, LABELS, 5, 7, 1000), stacked_digits.rows_at(6, 5, 7, 1000)
    np.testing.assert_array_equal(first.clean, again.clean)
    np.testing.assert_array_equal(first.clean, stacked_digits.stack(IMAGES, rows))
    np.testing.assert_array_equal(first.labels, stacked_digits.mode_of(LABELS[rows]))
    assert first.labels.dtype == np.int32 and len(first) == 5
    for seed, step in ((8, 1000), (7, 1001)):
        assert not np.array_equal(rows, stacked_digits.rows_at(6, 5, seed, step))
    assert stacked_digits.rows_at(1347, 2, 0, 3).tolist() == [[678, 1205, 1285], [1158, 939, 432]]  # frozen


def test_the_law_is_that_of_counting_all_triples_and_draws_follow_it():
    counted = (
        np.bincount([100 * a + 10 * b + c for a, b, c in itertools.product(LABELS, repeat=3)], minlength=1000) / 6**3
    )
    law = stacked_digits.law(LABELS)
    np.testing.assert_allclose(law, counted, atol=1e-15)
    modes = np.concatenate(
        [stacked_digits.mode_of(LABELS[stacked_digits.rows_at(6, 1000, 0, step)]) for step in range(10)]
    )
    counts = np.bincount(modes, minlength=1000)
    assert scipy.stats.chisquare(counts[law > 0], len(modes) * law[law > 0]).pvalue > 1e-3
    np.testing.assert_allclose(stacked_digits.law(np.arange(10)), 1e-3)


test_what_does_not_stack_is_refused = refusals(
    (lambda: stacked_digits.stack(IMAGES[..., 0], ROWS), r"images must be \(n, h, w, 1\)"),
    (lambda: stacked_digits.stack(IMAGES, ROWS[:, :2]), r"rows must be \(b, 3\)"),
    (lambda: stacked_digits.channels(IMAGES), r"images must be \(b, h, w, 3\)"),
    (lambda: stacked_digits.mode_of(np.array([[1, 2, 10]])), "labels holds 10"),
    (lambda: stacked_digits.mode_of(np.array([[1.0, 2.0, 3.0]])), "labels must hold integers", TypeError),
    (lambda: stacked_digits.batch_at(IMAGES, LABELS[:5], 2, 0, 0), "labels has 5 entries, but there are 6 images"),
    (lambda: stacked_digits.batch_at(IMAGES, LABELS, 0, 0, 0), "batch = 0"),
    (lambda: stacked_digits.rows_at(0, 1, 0, 0), "size = 0"),
    (lambda: stacked_digits.rows_at(6, 1, -1, 0), "seed = -1"),
    (lambda: stacked_digits.rows_at(6, 1, 0, -1), "step = -1"),
    (lambda: stacked_digits.law(LABELS[:0]), "labels is empty"),
)
