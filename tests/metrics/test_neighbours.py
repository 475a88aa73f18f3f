import numpy as np
import pytest

from gendiff.metrics import neighbours

LINE = np.array([[0.0], [1.0], [3.0], [7.0], [7.0]])


def test_nearest_first_ties_by_index_and_only_others_within_one_set():
    lengths, index = neighbours.nearest(np.array([[2.0], [6.0]]), LINE, 3)
    np.testing.assert_array_equal(lengths, [[1, 1, 2], [1, 1, 3]])
    np.testing.assert_array_equal(index, [[1, 2, 0], [3, 4, 2]])
    lengths, index = neighbours.nearest(LINE, LINE, 2, others=True)  # a duplicate is another one
    np.testing.assert_array_equal(lengths, [[1, 3], [1, 2], [2, 3], [0, 4], [0, 4]])
    np.testing.assert_array_equal(index[3:], [[4, 2], [3, 2]])


def test_equal_rows_are_exactly_zero_apart_and_tiny_differences_are_seen():
    x = np.random.default_rng(0).uniform(1e6, 2e6, (50, 64))
    lengths, index = neighbours.nearest(x, x, 1)
    assert not lengths.any() and index[:, 0].tolist() == list(range(50))
    assert neighbours.nearest(x + 1e-6, x, 1)[0].max() == pytest.approx(8e-6, rel=1e-2)


@pytest.mark.parametrize("others", [False, True])
def test_chunks_change_nothing_and_too_many_neighbours_are_refused(monkeypatch, others):
    x = np.random.default_rng(0).standard_normal((40, 3))
    whole = neighbours.nearest(x, x, 4, others=others)
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    for part, expected in zip(neighbours.nearest(x, x, 4, others=others), whole, strict=True):
        np.testing.assert_array_equal(part, expected)
    with pytest.raises(ValueError, match=f"6 neighbours are asked for, but there are only {5 - others} points"):
        neighbours.nearest(LINE, LINE, 6, others=others)
