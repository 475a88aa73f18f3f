import numpy as np
import pytest
import scipy.stats

from gendiff.metrics import bootstrap
from tests.metrics.rows import normal, rng
from tests.refusals import refusals


def difference(a, b):
    return np.mean(b) - np.mean(a)


@pytest.mark.parametrize("options", [{}, {"confidence": 0.5}, {"paired": False}])
def test_the_interval_is_scipys(options):
    """Its mean has the width of the normal interval as well; batch=1 draws one resample of all arrays after the other, as we do."""
    x, y = normal(1, 2, 400)
    confidence, paired = options.get("confidence", 0.95), options.get("paired", True)
    found = bootstrap.interval(rng(), difference, x, y, resamples=2000, **options)
    ours = {"n_resamples": 2000, "batch": 1, "vectorized": False, "method": "percentile", "rng": rng()}
    expected = scipy.stats.bootstrap((x, y), difference, paired=paired, confidence_level=confidence, **ours).confidence_interval
    assert found.number == pytest.approx((difference(x, y), expected.low, expected.high), rel=1e-12)
    half = scipy.stats.norm.ppf((1 + confidence) / 2) * np.hypot(x.std(), y.std()) / 20
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.1)


def test_it_covers_the_truth_about_as_often_as_it_says():
    intervals = [bootstrap.interval(rng(seed), np.mean, x, resamples=100) for seed, x in enumerate(normal(1000, 200, 100))]
    assert 0.88 <= np.mean([found.low <= 0 <= found.high for found in intervals]) <= 0.99


def test_pairs_and_rows_of_any_shape_stay_together_so_that_what_they_share_cancels():
    x = 100 * normal(1, 200)
    y = x + 1 + 0.01 * normal(2, 200)
    together, apart = (bootstrap.interval(rng(), difference, x, y, paired=paired) for paired in (True, False))
    assert together.high - together.low < 0.01 < 10 < apart.high - apart.low
    assert together.low < 1 < together.high
    whole = bootstrap.interval(
        rng(), lambda rows: float(np.array_equal(rows[:, 0] + 1, rows[:, 1])), np.arange(30).reshape(10, 3), resamples=20
    )
    assert whole == bootstrap.Interval(1.0, 1.0, 1.0)


def test_the_generator_alone_decides_and_a_constant_has_an_interval_of_no_width():
    one, same, other = (bootstrap.interval(rng(seed), np.mean, normal(1, 50)) for seed in (3, 3, 4))
    assert one == same != other
    assert bootstrap.interval(rng(), np.mean, np.ones(5)) == bootstrap.Interval(1.0, 1.0, 1.0)


test_what_cannot_be_resampled_is_refused_with_counts = refusals(
    (lambda: bootstrap.interval(rng(), np.mean), r"at least 2 rows, got \[\]"),
    (lambda: bootstrap.interval(rng(), np.mean, np.ones(1)), r"at least 2 rows, got \[1\]"),
    (lambda: bootstrap.interval(rng(), difference, np.ones(3), np.ones(4)), r"equally many rows, got \[3, 4\]; pass paired=False"),
    (lambda: bootstrap.interval(rng(), lambda a: a, np.ones(3)), "one finite number"),
    (lambda: bootstrap.interval(rng(), np.mean, np.array([np.nan, 1.0])), "one finite number"),
    (lambda: bootstrap.interval(rng(), np.mean, np.ones(3), resamples=1), "resamples = 1"),
    (lambda: bootstrap.interval(rng(), np.mean, np.ones(3), confidence=1.0), "confidence = 1 "),
)
