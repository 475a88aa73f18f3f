"""What every data set shares: batches are a function of seed and step, images are arrays with names."""

import hypothesis
import hypothesis.strategies as st
import jax
import numpy as np
import pytest

from gendiff.data import Images, batches
from tests.refusals import refusals


@hypothesis.given(size=st.integers(1, 60), data=st.data(), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_an_epoch_shows_no_row_twice_and_leaves_out_only_the_remainder(size, data, seed, epoch):
    batch = data.draw(st.integers(1, size))
    turns = size // batch
    rows = np.concatenate([batches.batch_at(size, batch, seed, epoch * turns + turn) for turn in range(turns)])
    assert len(np.unique(rows)) == len(rows) == size - size % batch
    assert rows.min() >= 0 and rows.max() < size
    np.testing.assert_array_equal(rows, batches.epoch_order(size, seed, epoch)[: len(rows)])


def test_a_batch_depends_on_seed_and_step_only_and_is_frozen():
    first = batches.batch_at(1347, 128, 5, 77)
    batches.batch_at(1347, 128, 5, 3)
    np.testing.assert_array_equal(batches.batch_at(1347, 128, 5, 77), first)
    assert not np.array_equal(batches.batch_at(1347, 128, 6, 77), first)
    assert not np.array_equal(batches.batch_at(1347, 128, 5, 78), first)
    np.testing.assert_array_equal(batches.batch_at(10, 5, 0, 3), [6, 0, 4, 2, 5])
    np.testing.assert_array_equal(batches.batch_at(1347, 6, 7, 1000), [627, 988, 286, 95, 1161, 137])


def test_epochs_have_orders_of_their_own_and_every_row_is_seen_equally_often_in_the_long_run():
    counts = np.bincount(
        np.concatenate([batches.batch_at(10, 4, 0, step) for step in range(10 // 4 * 500)]), minlength=10
    )
    assert counts.sum() == 4000
    assert np.abs(counts - 400).max() < 5 * np.sqrt(500 * 0.8 * 0.2)


@hypothesis.given(st.integers(1, 50), st.integers(0, 1000))
def test_endless_batches_hold_each_number_once_in_order(batch, step):
    both = np.concatenate([batches.endless_at(batch, step), batches.endless_at(batch, step + 1)])
    np.testing.assert_array_equal(both, batch * step + np.arange(2 * batch))


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_one_byte_count_as_others_do():
    narrow = batches.endless_at(np.uint8(200), np.uint8(200))
    np.testing.assert_array_equal(narrow, 40_000 + np.arange(200))


test_what_has_no_batch_is_refused = refusals(
    (lambda: batches.batch_at(10, 11, 0, 0), "batch = 11 is larger than the 10 rows"),
    (lambda: batches.batch_at(10, 0, 0, 0), "batch = 0"),
    (lambda: batches.batch_at(0, 1, 0, 0), "size = 0"),
    (lambda: batches.batch_at(10, 2, -1, 0), "seed = -1"),
    (lambda: batches.batch_at(10, 2, 2**32, 0), "seed = 4294967296"),
    (lambda: batches.batch_at(10, 2, 0, -1), "step = -1"),
)


def test_arrays_of_images_are_leaves_and_names_are_structure():
    images = Images(
        np.zeros((3, 2, 2, 1), np.float32), np.zeros(3, np.int32), classes=("a",), skipped=("b.png: empty",)
    )
    leaves, structure = jax.tree.flatten(images)
    back = jax.tree.unflatten(structure, leaves)
    assert [leaf.shape for leaf in leaves] == [(3, 2, 2, 1), (3,)]
    assert back.classes == ("a",) and back.levels == 256 and back.skipped == ("b.png: empty",) and len(back) == 3
