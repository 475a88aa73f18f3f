import numpy as np
import pytest

from gendiff.metrics import bootstrap


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_interval_of_a_mean_has_the_width_of_the_normal_one():
    x = rng(1).standard_normal(400)
    found = bootstrap.interval(rng(), np.mean, x, resamples=4000)
    half = 1.96 * x.std() / 20
    assert found.value == x.mean()
    assert found.low == pytest.approx(x.mean() - half, abs=0.1 * half) and found.high == pytest.approx(x.mean() + half, abs=0.1 * half)


def test_it_covers_the_truth_about_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        found = bootstrap.interval(rng(seed), np.mean, rng(1000 + seed).standard_normal(100), resamples=200)
        covered += found.low <= 0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_more_confidence_is_a_wider_interval():
    x = rng(1).standard_normal(50)
    narrow, wide = (bootstrap.interval(rng(), np.mean, x, confidence=confidence) for confidence in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_pairs_stay_together_so_that_what_they_share_cancels():
    x = 100 * rng(1).standard_normal(200)
    y = x + 1 + 0.01 * rng(2).standard_normal(200)

    def gain(a, b):
        return np.mean(b) - np.mean(a)

    together = bootstrap.interval(rng(), gain, x, y)
    apart = bootstrap.interval(rng(), gain, x, y, paired=False)
    assert together.high - together.low < 0.01 < 10 < apart.high - apart.low
    assert together.low < 1 < together.high


def test_rows_of_any_shape_are_drawn_whole():
    table = np.arange(30).reshape(10, 3)

    def rows_are_whole(drawn):
        assert np.array_equal(drawn[:, 0] + 1, drawn[:, 1])
        return drawn.mean()

    bootstrap.interval(rng(), rows_are_whole, table, resamples=20)


def test_the_generator_alone_decides():
    x = rng(1).standard_normal(50)
    assert bootstrap.interval(rng(3), np.mean, x) == bootstrap.interval(rng(3), np.mean, x) != bootstrap.interval(rng(4), np.mean, x)


def test_a_constant_has_an_interval_of_no_width():
    assert bootstrap.interval(rng(), np.mean, np.ones(5)) == bootstrap.Interval(1.0, 1.0, 1.0)


def test_what_cannot_be_resampled_is_refused_with_counts():
    with pytest.raises(ValueError, match=r"at least 2 rows, got \[\]"):
        bootstrap.interval(rng(), np.mean)
    with pytest.raises(ValueError, match=r"at least 2 rows, got \[1\]"):
        bootstrap.interval(rng(), np.mean, np.ones(1))
    with pytest.raises(ValueError, match=r"equally many rows, got \[3, 4\]; pass paired=False"):
        bootstrap.interval(rng(), lambda a, b: 0.0, np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="one finite number"):
        bootstrap.interval(rng(), lambda a: a, np.ones(3))
    with pytest.raises(ValueError, match="one finite number"):
        bootstrap.interval(rng(), np.mean, np.array([np.nan, 1.0]))
    for options, message in (({"resamples": 1}, "resamples = 1"), ({"confidence": 1.0}, "confidence = 1 ")):
        with pytest.raises(ValueError, match=message):
            bootstrap.interval(rng(), np.mean, np.ones(3), **options)
