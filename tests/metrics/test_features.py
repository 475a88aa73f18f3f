"""What enters a metric: features, their checks, labels, subsets of a pool, and the bootstrap of what comes out."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from gendiff.metrics import bootstrap, features, frechet, precision_recall, subsampling, validation, vendi
from tests.metrics.rows import normal, rng, uniform
from tests.refusals import refusals
from tests.tables import table

POOL, REAL = np.arange(20.0).reshape(10, 2), normal(0, 12, 5)


def images(n=7):
    return uniform(0, n, 4, 3, 2).astype(np.float32)


def subsets(count=2, size=5, seed=0):
    return subsampling.subsets("pool", POOL, count=count, size=size, seed=seed)


def test_pixels_are_the_flattened_image():
    np.testing.assert_array_equal(features.pixels(images()), images().reshape(7, 24))
    assert features.pixels(images()).dtype == np.float64


@table("batch", [1, 3, 7, 500])
def test_the_batch_size_of_extraction_changes_nothing(batch):
    rows = features.extract(lambda x: jnp.asarray(x).mean(axis=(1, 2)), images(), batch=batch)
    assert rows.shape == (7, 2)
    np.testing.assert_allclose(rows, images().mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_any_real_numbers_become_float64():
    for value in (
        *(np.ones((2, 3), dtype) for dtype in (np.uint8, np.int64, np.float32, jnp.bfloat16)),
        jnp.ones((2, 3), jnp.bfloat16),
    ):
        assert validation.as_features("x", value).dtype == np.float64


def test_draws_differ_hold_no_row_twice_and_every_row_equally_often():
    draws = list(subsets(count=5, size=6))
    assert [len(np.unique(rows[:, 0])) for rows in draws] == [6] * 5
    assert len({rows.tobytes() for rows in draws}) == 5
    counts = sum(np.bincount((rows[:, 0] // 2).astype(int), minlength=10) for rows in subsets(count=1000, size=3))
    assert np.abs(counts - 300).max() < 5 * np.sqrt(1000 * 0.3 * 0.7)


def test_jackknifed_means_of_all_subsets_have_the_variance_of_a_mean():
    x = normal(2, 7, 1)[:, 0]
    means = np.array([np.mean(each) for each in itertools.combinations(x, 4)])
    spread = subsampling.jackknifed(means, rows=7, size=4)
    np.testing.assert_allclose([spread.mean(), spread.var() / len(spread)], [x.mean(), x.var(ddof=1) / 7], rtol=1e-12)


def test_jackknifed_distances_scatter_as_those_of_fresh_sets():
    fresh = [frechet.over_subsets(REAL, normal(100 + i, 200, 5), count=20, size=100, seed=0) for i in range(60)]
    error, naive = np.std([each.mean() for each in fresh]), np.mean([each.std() / np.sqrt(20) for each in fresh])
    honest = np.mean([subsampling.jackknifed(each, rows=200, size=100).std() / np.sqrt(20) for each in fresh])
    assert naive < 0.4 * error, (naive, error)
    assert 0.75 < honest / error < 1.33, (honest, error)


@table(
    "measure, over_subsets",
    [
        (lambda x: frechet.frechet_distance(REAL, x), lambda x, **options: frechet.over_subsets(REAL, x, **options)),
        (
            lambda x: precision_recall.measure(REAL, x),
            lambda x, **options: precision_recall.over_subsets(REAL, x, **options),
        ),
        (vendi.score, vendi.over_subsets),
    ],
)
def test_the_whole_as_a_subset_is_the_measure_itself_and_smaller_ones_differ_and_depend_on_the_seed_only(
    measure, over_subsets
):
    x = normal(1, 80, 5)
    np.testing.assert_allclose(
        _numbers(over_subsets(x, count=4, size=80, seed=0)), [_numbers([measure(x)])[0]] * 4, rtol=1e-10
    )
    one, same, other = (_numbers(over_subsets(x, size=30, seed=seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert len(one) == 20 and not np.array_equal(one, other) and len(np.unique(one, axis=0)) > 10


def _numbers(values):
    return np.array(
        [
            (value.precision, value.recall) if isinstance(value, precision_recall.PrecisionRecall) else (value,)
            for value in values
        ]
    )


def difference(a, b):
    return np.mean(b) - np.mean(a)


@table("options", [{}, {"confidence": 0.5}, {"paired": False}])
def test_the_interval_is_scipys(options):
    """Its mean has the width of the normal interval as well; batch=1 draws one resample of all arrays after the other,
    as we do.
    """
    x, y = normal(1, 2, 400)
    confidence, paired = options.get("confidence", 0.95), options.get("paired", True)
    interval = bootstrap.interval(rng(), difference, x, y, resamples=2000, **options)
    ours = {"n_resamples": 2000, "batch": 1, "vectorized": False, "method": "percentile", "rng": rng()}
    expected = scipy.stats.bootstrap(
        (x, y), difference, paired=paired, confidence_level=confidence, **ours
    ).confidence_interval
    assert interval.number == pytest.approx((difference(x, y), expected.low, expected.high), rel=1e-12)
    half = scipy.stats.norm.ppf((1 + confidence) / 2) * np.hypot(x.std(), y.std()) / 20
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.1)


def test_rows_of_any_shape_are_drawn_whole():
    of_rows = bootstrap.interval(
        rng(),
        lambda rows: float(np.array_equal(rows[:, 0] + 1, rows[:, 1])),
        np.arange(30).reshape(10, 3),
        resamples=20,
    )
    assert of_rows == bootstrap.Interval(1.0, 1.0, 1.0)


def test_the_generator_alone_decides_the_interval_and_a_constant_has_an_interval_of_no_width():
    one, same, other = (bootstrap.interval(rng(seed), np.mean, normal(1, 50)) for seed in (3, 3, 4))
    assert one == same != other
    assert bootstrap.interval(rng(), np.mean, np.ones(5)) == bootstrap.Interval(1.0, 1.0, 1.0)


def covered(interval, statistic, truth, *tables):
    """Share of the simulations, along the first axis of the tables, whose interval holds the truth."""
    intervals = [interval(statistic, *rows) for rows in zip(*tables, strict=True)]
    return np.mean([each.low <= truth <= each.high for each in intervals])


@table("count", [3, 10])
def test_t_intervals_of_a_few_rows_hold_the_truth_as_often_as_they_say(count):
    many = (600, count)  # two standard errors are 0.018
    few, more = normal(1, *many), normal(2, *many)
    assert abs(covered(bootstrap.t_interval, np.mean, 0.0, few) - 0.95) < 0.025
    assert covered(bootstrap.t_interval, difference, 0.0, few, 3 * more) > 0.93
    unpaired = functools.partial(bootstrap.t_interval, paired=False)
    assert covered(unpaired, difference, 0.0, few[:, : count - 1], 3 * more) > 0.92
    ratio = covered(bootstrap.t_interval, lambda a, b: np.mean(a) / np.mean(b), 1.0, 1 + 0.1 * few, 1 + 0.1 * more)
    assert abs(ratio - 0.95) < 0.03


def test_percentile_intervals_are_for_many_rows():
    """As their documentation says: of 3 rows they hold the truth in three quarters of cases, and of 30 in 94 %."""
    percentile = functools.partial(bootstrap.interval, rng(), resamples=100)
    assert covered(percentile, np.mean, 0.0, normal(1, 200, 3)) < 0.85
    assert covered(percentile, np.mean, 0.0, normal(1, 200, 30)) > 0.89


def test_t_intervals_of_means_are_scipys():
    x, y = normal(1, 4), 2 * normal(2, 7)
    one = scipy.stats.ttest_1samp(x, 0.0).confidence_interval(0.9)
    assert bootstrap.t_interval(np.mean, x, confidence=0.9).number == pytest.approx(
        (x.mean(), one.low, one.high), rel=1e-12
    )
    welch = scipy.stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.95)
    interval = bootstrap.t_interval(difference, x, y, paired=False)
    assert interval.number == pytest.approx((difference(x, y), welch.low, welch.high), rel=1e-9)
    paired = scipy.stats.ttest_rel(y[:4], x).confidence_interval(0.95)
    assert bootstrap.t_interval(difference, x, y[:4]).number[1:] == pytest.approx((paired.low, paired.high), rel=1e-12)
    assert bootstrap.t_interval(np.mean, np.ones(3)) == bootstrap.Interval(1.0, 1.0, 1.0)


test_what_cannot_be_measured_is_refused_with_counts = refusals(
    (lambda: features.extract(lambda x: x, images(), batch=3), r"must be features \(n, d\)"),
    (lambda: features.extract(lambda x: x.reshape(len(x), -1)[:1], images(), batch=3), "returned 1 rows for 3 images"),
    (lambda: features.extract(lambda x: x.reshape(len(x), -1) * np.nan, images(), batch=3), "3 of 3 rows hold NaN"),
    (lambda: features.extract(features.pixels, images(0)), "n >= 1"),
    (lambda: validation.as_features("x", np.zeros(3)), r"x must be features \(n, d\), got shape \(3,\)"),
    (lambda: validation.as_features("x", np.zeros((3, 2, 2))), "flatten images with gendiff.metrics.features.pixels"),
    (lambda: validation.as_features("x", np.zeros((1, 3))), r"shape \(1, 3\): at least 2 rows"),
    (lambda: validation.as_features("x", np.zeros((3, 0))), r"shape \(3, 0\)"),
    (
        lambda: validation.as_features("x", np.array([[0, 1], [np.nan, 0], [np.inf, 1]])),
        "x: 2 of 3 rows hold NaN or infinity.*row 1",
    ),
    (lambda: validation.as_features("x", np.zeros((3, 2), complex)), "real numbers, got complex128"),
    (lambda: validation.as_features("x", np.zeros((3, 2), bool)), "real numbers, got bool"),
    (lambda: validation.as_features("x", np.array([["a"], ["b"]])), "real numbers"),
    (
        lambda: validation.as_feature_pair("a", np.zeros((2, 3)), "b", np.zeros((2, 4))),
        "a has 3 features per row but b has 4",
    ),
    (lambda: validation.as_labels("labels", np.zeros(3), 3), "whole numbers of an integer dtype, got float64"),
    (lambda: validation.as_labels("labels", np.zeros(2, int), 3), r"shape \(2,\), but 3 rows need \(3,\)"),
    (lambda: validation.as_labels("labels", np.array([0, -1, -1]), 3), "2 negative labels of 3"),
    (lambda: subsets(size=11), "pool has 10 rows, fewer than the 11 asked for"),
    (lambda: subsets(size=1), "size = 1"),
    (lambda: subsets(count=0), "count = 0"),
    (lambda: subsets(seed=-1), "seed = -1"),
    (lambda: subsets(seed=2**32), "seed = 4294967296"),
    (lambda: subsampling.jackknifed(np.ones(3), rows=9, size=9), r"size = 9 is outside \[1, 8\]"),
    (lambda: subsampling.jackknifed(np.array([1.0, np.nan]), rows=9, size=8), "values"),
    (lambda: bootstrap.interval(rng(), np.mean), r"at least 2 rows, got \[\]"),
    (lambda: bootstrap.interval(rng(), np.mean, np.ones(1)), r"at least 2 rows, got \[1\]"),
    (
        lambda: bootstrap.interval(rng(), difference, np.ones(3), np.ones(4)),
        r"equally many rows, got \[3, 4\]; pass paired=False",
    ),
    (lambda: bootstrap.interval(rng(), lambda a: a, np.ones(3)), "one finite number"),
    (lambda: bootstrap.interval(rng(), np.mean, np.array([np.nan, 1.0])), "one finite number"),
    (lambda: bootstrap.interval(rng(), np.mean, np.ones(3), resamples=1), "resamples = 1"),
    (lambda: bootstrap.interval(rng(), np.mean, np.ones(3), confidence=1.0), "confidence = 1 "),
    (lambda: bootstrap.t_interval(np.mean, np.ones(1)), r"a t interval needs arrays of at least 2 rows, got \[1\]"),
    (
        lambda: bootstrap.t_interval(difference, np.ones(3), np.ones(4)),
        r"equally many rows, got \[3, 4\]; pass paired=False",
    ),
    (lambda: bootstrap.t_interval(lambda a: a, np.ones(3)), "one finite number"),
    (lambda: bootstrap.t_interval(np.mean, np.ones(3), confidence=0.0), "confidence = 0 "),
)
test_what_cannot_be_measured_is_refused_with_counts = pytest.mark.fault(
    "likelihood, metrics: fewer than 2 samples",
    "likelihood, metrics: feature sizes differ",
    "likelihood, metrics: NaN features",
    "likelihood, metrics: fewer samples than asked",
)(test_what_cannot_be_measured_is_refused_with_counts)
