import numpy as np
import pytest
import scipy.stats

from gendiff.metrics import bootstrap


def rng(seed=0):
    return np.random.default_rng(seed)


def difference(a, b):
    return np.mean(b) - np.mean(a)


@pytest.mark.parametrize("options", [{}, {"confidence": 0.5}, {"paired": False}])
def test_the_interval_is_scipys(options):
    """Its mean has the width of the normal interval as well; batch=1 draws one resample of all arrays after the other, as we do."""
    x, y = rng(1).standard_normal((2, 400))
    confidence, paired = options.get("confidence", 0.95), options.get("paired", True)
    found = bootstrap.interval(rng(), difference, x, y, resamples=2000, **options)
    expected = scipy.stats.bootstrap(
        (x, y),
        difference,
        n_resamples=2000,
        batch=1,
        vectorized=False,
        paired=paired,
        confidence_level=confidence,
        method="percentile",
        rng=rng(),
    ).confidence_interval
    assert found.number == pytest.approx((difference(x, y), expected.low, expected.high), rel=1e-12)
    half = scipy.stats.norm.ppf((1 + confidence) / 2) * np.hypot(x.std(), y.std()) / 20
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_it_covers_the_truth_about_as_often_as_it_says():
    samples = rng(1000).standard_normal((200, 100))
    intervals = [bootstrap.interval(rng(seed), np.mean, x, resamples=100) for seed, x in enumerate(samples)]
    assert 0.88 <= np.mean([found.low <= 0 <= found.high for found in intervals]) <= 0.99


def test_pairs_stay_together_so_that_what_they_share_cancels():
    x = 100 * rng(1).standard_normal(200)
    y = x + 1 + 0.01 * rng(2).standard_normal(200)
    together, apart = (bootstrap.interval(rng(), difference, x, y, paired=paired) for paired in (True, False))
    assert together.high - together.low < 0.01 < 10 < apart.high - apart.low
    assert together.low < 1 < together.high


def test_rows_of_any_shape_are_drawn_whole():
    table = np.arange(30).reshape(10, 3)

    def rows_are_whole(drawn):
        assert np.array_equal(drawn[:, 0] + 1, drawn[:, 1])
        return drawn.mean()

    bootstrap.interval(rng(), rows_are_whole, table, resamples=20)


def test_the_generator_alone_decides_and_a_constant_has_an_interval_of_no_width():
    x = rng(1).standard_normal(50)
    assert bootstrap.interval(rng(3), np.mean, x) == bootstrap.interval(rng(3), np.mean, x) != bootstrap.interval(rng(4), np.mean, x)
    assert bootstrap.interval(rng(), np.mean, np.ones(5)) == bootstrap.Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("statistic", "rows", "options", "message"),
    [
        (np.mean, [], {}, r"at least 2 rows, got \[\]"),
        (np.mean, [np.ones(1)], {}, r"at least 2 rows, got \[1\]"),
        (difference, [np.ones(3), np.ones(4)], {}, r"equally many rows, got \[3, 4\]; pass paired=False"),
        (lambda a: a, [np.ones(3)], {}, "one finite number"),
        (np.mean, [np.array([np.nan, 1.0])], {}, "one finite number"),
        (np.mean, [np.ones(3)], {"resamples": 1}, "resamples = 1"),
        (np.mean, [np.ones(3)], {"confidence": 1.0}, "confidence = 1 "),
    ],
)
def test_what_cannot_be_resampled_is_refused_with_counts(statistic, rows, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap.interval(rng(), statistic, *rows, **options)
