import numpy as np
import pytest

from gendiff.metrics import neighbours

LINE = np.array([[0.0], [1.0], [3.0], [7.0], [7.0]])


def test_nearest_first_and_ties_by_index():
    found, index = neighbours.nearest(np.array([[2.0], [6.0]]), LINE, 3)
    np.testing.assert_array_equal(found, [[1, 1, 2], [1, 1, 3]])
    np.testing.assert_array_equal(index, [[1, 2, 0], [3, 4, 2]])


def test_no_point_is_its_own_neighbour_but_its_duplicate_is():
    found, index = neighbours.nearest_others(LINE, 2)
    np.testing.assert_array_equal(found, [[1, 3], [1, 2], [2, 3], [0, 4], [0, 4]])
    np.testing.assert_array_equal(index[3:], [[4, 2], [3, 2]])


def test_equal_rows_are_exactly_zero_apart_and_tiny_differences_are_seen():
    x = np.random.default_rng(0).uniform(1e6, 2e6, (50, 64))
    found, index = neighbours.nearest(x, x, 1)
    assert not found.any() and index[:, 0].tolist() == list(range(50))
    assert neighbours.nearest(x + 1e-6, x, 1)[0].max() == pytest.approx(8e-6, rel=1e-2)


def test_chunks_change_nothing(monkeypatch):
    x, y = np.random.default_rng(0).standard_normal((2, 40, 3))
    whole = neighbours.nearest(x, y, 4), neighbours.nearest_others(x, 4)
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    np.testing.assert_array_equal(neighbours.nearest(x, y, 4), whole[0])
    np.testing.assert_array_equal(neighbours.nearest_others(x, 4), whole[1])


def test_more_neighbours_than_points_are_refused_with_both_counts():
    with pytest.raises(ValueError, match="6 neighbours are asked for, but there are only 5 points"):
        neighbours.nearest(LINE, LINE, 6)
    with pytest.raises(ValueError, match="5 neighbours are asked for, but there are only 4 points"):
        neighbours.nearest_others(LINE, 5)
