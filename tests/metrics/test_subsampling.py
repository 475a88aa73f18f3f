import numpy as np
import pytest

from gendiff.metrics import subsampling

POOL = np.arange(20.0).reshape(10, 2)


def test_a_draw_holds_no_row_twice_and_draws_differ():
    drawn = list(subsampling.subsets("pool", POOL, count=5, size=6, seed=0))
    assert [len(np.unique(rows[:, 0])) for rows in drawn] == [6] * 5
    assert len({rows.tobytes() for rows in drawn}) == 5


def test_every_row_is_drawn_equally_often():
    counts = sum(
        np.bincount((rows[:, 0] // 2).astype(int), minlength=10) for rows in subsampling.subsets("pool", POOL, count=1000, size=3, seed=0)
    )
    assert np.abs(counts - 300).max() < 5 * np.sqrt(1000 * 0.3 * 0.7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 11}, "pool has 10 rows, fewer than the 11 asked for"),
        ({"size": 1}, "size = 1"),
        ({"count": 0}, "count = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"seed": 2**32}, "seed = 4294967296"),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        subsampling.subsets("pool", POOL, **{"count": 2, "size": 5, "seed": 0} | options)
