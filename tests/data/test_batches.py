import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from gendiff.data import batches


@hypothesis.given(size=st.integers(1, 60), data=st.data(), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_an_epoch_shows_no_row_twice_and_leaves_out_only_the_remainder(size, data, seed, epoch):
    batch = data.draw(st.integers(1, size))
    turns = size // batch
    seen = np.concatenate([batches.batch_at(size, batch, seed, epoch * turns + turn) for turn in range(turns)])
    assert len(np.unique(seen)) == len(seen) == size - size % batch
    assert seen.min() >= 0 and seen.max() < size
    np.testing.assert_array_equal(seen, batches.epoch_order(size, seed, epoch)[: len(seen)])


def test_a_batch_depends_on_seed_and_step_only():
    first = batches.batch_at(1347, 128, 5, 77)
    batches.batch_at(1347, 128, 5, 3)
    np.testing.assert_array_equal(batches.batch_at(1347, 128, 5, 77), first)
    assert not np.array_equal(batches.batch_at(1347, 128, 6, 77), first)
    assert not np.array_equal(batches.batch_at(1347, 128, 5, 78), first)


def test_epochs_have_orders_of_their_own_and_every_row_is_seen_equally_often_in_the_long_run():
    turns = 10 // 4
    counts = np.bincount(np.concatenate([batches.batch_at(10, 4, 0, step) for step in range(turns * 500)]), minlength=10)
    assert counts.sum() == 4000
    assert np.abs(counts - 400).max() < 5 * np.sqrt(500 * 0.8 * 0.2)


def test_order_is_frozen():
    np.testing.assert_array_equal(batches.batch_at(10, 5, 0, 3), [6, 0, 4, 2, 5])
    np.testing.assert_array_equal(batches.batch_at(1347, 6, 7, 1000), [627, 988, 286, 95, 1161, 137])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 11, 0, 0), "batch = 11 is larger than the 10 rows"),
        ((10, 0, 0, 0), "batch = 0"),
        ((0, 1, 0, 0), "size = 0"),
        ((10, 2, -1, 0), "seed = -1"),
        ((10, 2, 2**32, 0), "seed = 4294967296"),
        ((10, 2, 0, -1), "step = -1"),
    ],
)
def test_what_has_no_batch_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        batches.batch_at(*arguments)
