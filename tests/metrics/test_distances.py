"""Measures of a set of features, alone or against another set: Fréchet and kernel distances, Vendi score."""

import functools
import itertools
import math

import numpy as np
import pytest
import scipy.linalg

from gendiff.metrics import frechet, kernel_distance, vendi
from tests.metrics.rows import normal, rng
from tests.refusals import refusals
from tests.tables import table

pytestmark = pytest.mark.numbers

FIFTY, ROWS, ORDERS = normal(0, 50, 4), normal(0, 12, 5), [0, 0.5, 1, 2, 5.0, 2000.0, float("inf")]


def covariance(size, rank, seed):
    factor = normal(seed, rank, size)
    return factor.T @ factor / rank


def gaussian(mean, matrix):
    return frechet.from_moments(np.array(mean), np.array(matrix))


@table("size", [2, 3, 20])
def test_full_rank_covariances_that_do_not_commute_agree_with_the_matrix_square_root(size):
    one, other, shift = covariance(size, 2 * size, 0), covariance(size, 2 * size, 1), np.arange(size)
    expected = shift @ shift + np.trace(one + other - 2 * scipy.linalg.sqrtm(one @ other).real)
    assert frechet.frechet_distance(gaussian(np.zeros(size), one), gaussian(shift, other)) == pytest.approx(
        expected, rel=1e-10
    )


def test_singular_covariances_are_exact_on_crossing_lines_and_at_distance_zero_from_themselves():
    along = gaussian([0.0, 0.0], [[1.0, 0.0], [0.0, 0.0]])
    for angle in (0.0, 0.3, math.pi / 2):
        direction = np.array([math.cos(angle), math.sin(angle)])
        turned = gaussian([0.0, 0.0], 4 * np.outer(direction, direction))
        assert frechet.frechet_distance(along, turned) == pytest.approx(1 + 4 - 4 * abs(math.cos(angle)), abs=1e-13)
    for rank in (1, 5, 40):
        one = gaussian(np.zeros(50), covariance(50, rank, 0))
        assert frechet.frechet_distance(one, one) < 1e-11


def test_the_frechet_distance_of_rows_is_that_of_mean_and_unbiased_covariance():
    x, y = np.hstack([normal(0, 10, 30), np.full((10, 4), 0.1)]), 2 * normal(1, 60, 34) + 1
    one, other = (gaussian(rows.mean(axis=0), np.cov(rows.T)) for rows in (x, y))
    assert frechet.frechet_distance(x, y) == pytest.approx(frechet.frechet_distance(one, other), rel=1e-9)
    assert frechet.frechet_distance(x, x) < 1e-12
    assert frechet.frechet_distance(x, x + 2.0) == pytest.approx(4 * 34, rel=1e-12)
    assert frechet.frechet_distance(x, 3 * x) == pytest.approx(
        4 * (np.sum(x.mean(axis=0) ** 2) + x.var(axis=0, ddof=1).sum()), rel=1e-12
    )


def test_the_frechet_distance_is_symmetric_and_unchanged_by_rotation_order_and_a_large_offset():
    x, y, turn = normal(0, 60, 5), 2 * normal(1, 80, 5) + 1, np.linalg.qr(normal(2, 5, 5))[0]
    value = frechet.frechet_distance(x, y)
    for same in ((y, x), (x @ turn, y @ turn), (x[::-1], rng().permutation(y))):
        assert frechet.frechet_distance(*same) == pytest.approx(value, rel=1e-12)
    assert frechet.frechet_distance(x + 1e6, y + 1e6) == pytest.approx(value, rel=1e-6)


def streamed(*batches):
    return functools.reduce(frechet.update, batches, None)


@table("rows, size", [(200, 6), (9, 20)])
def test_rows_in_batches_of_any_size_order_and_grouping_amount_to_the_whole_set_in_memory_of_one_covariance(rows, size):
    x, y = 3 * normal(0, rows, size) + np.arange(size), normal(1, 50, size)
    batches = np.split(x, [1, 2, 4, rows - 3])
    shards = [streamed(*batches[:2]), streamed(batches[2]), streamed(*batches[3:])]
    orders = [functools.reduce(frechet.merge, order) for order in itertools.permutations(shards)]
    grouped = frechet.merge(shards[0], frechet.merge(shards[1], shards[2]))
    full = frechet.fit(x)
    for state in (streamed(*batches), streamed(*batches[::-1]), *orders, grouped):
        assert state.count == rows and len(state.factor) <= 2 * size
        fitted = frechet.finish(state)
        np.testing.assert_allclose(fitted.mean, x.mean(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(fitted.factor.T @ fitted.factor, np.cov(x.T), rtol=1e-10, atol=1e-10)
        assert frechet.frechet_distance(fitted, frechet.fit(y)) == pytest.approx(
            frechet.frechet_distance(full, frechet.fit(y)), rel=1e-10
        )
        assert frechet.frechet_distance(fitted, full) < 1e-12


def test_ten_thousand_rows_far_from_zero_stream_without_losing_digits():
    x = normal(0, 10000, 4) + 1e6
    fitted = frechet.finish(streamed(*np.split(x, 20)))
    np.testing.assert_allclose(fitted.factor.T @ fitted.factor, np.cov((x - 1e6).T), rtol=1e-9, atol=1e-11)


def test_few_held_out_rows_with_many_features_are_measured_beside_a_floor_that_has_the_same_bias():
    real, train = normal(0, 30, 100), normal(1, 300, 100)
    floor, shifted = (frechet.over_subsets(real, rows, count=5, size=30, seed=0) for rows in (train, train + 1))
    assert floor.mean() > 50  # nearly all bias: two samples of one law
    np.testing.assert_allclose(shifted - floor, 100 + 2 * np.sum(train.mean(axis=0) - real.mean(axis=0)), atol=40)
    # as some programs store them
    rounded = frechet.from_moments(np.zeros(50, np.float32), covariance(50, 20, 0).astype(np.float32))
    exact = gaussian(np.zeros(50), covariance(50, 20, 0))
    assert frechet.frechet_distance(rounded, exact) < 1e-3 * np.sum(exact.factor**2)


def by_hand(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    within = [np.mean([k(a, b) for a, b in itertools.permutations(z, 2)]) for z in (x, y)]
    return sum(within) - 2 * np.mean([k(a, b) for a in x for b in y])


@table("n, m", [(2, 2), (5, 7), (8, 3)])
def test_the_kernel_distance_is_the_mean_over_all_pairs_written_out(n, m):
    x, y = normal(0, n, 4), normal(1, m, 4) + 0.5
    assert kernel_distance.squared_mmd(x, y) == pytest.approx(by_hand(x, y), rel=1e-12)


def test_chunks_of_the_kernel_change_nothing(monkeypatch):
    x, y = normal(0, 25, 4), normal(1, 31, 4)
    full = kernel_distance.squared_mmd(x, y)
    monkeypatch.setattr(kernel_distance, "CHUNK", 7)
    assert kernel_distance.squared_mmd(x, y) == pytest.approx(full, rel=1e-10, abs=1e-12)


def test_block_means_are_unbiased_and_their_standard_error_is_right():
    estimates = [
        kernel_distance.over_blocks(normal(2 * i, 100, 4), normal(2 * i + 1, 100, 4), blocks=5, seed=i)
        for i in range(400)
    ]
    values, claimed = np.array([(estimate.value, estimate.standard_error**2) for estimate in estimates]).T
    spread = values.std(ddof=1)
    assert abs(values.mean()) < 4 * spread / np.sqrt(len(values)) and 0.85 < np.sqrt(np.mean(claimed)) / spread < 1.15


@table("blocks, n, m", [(2, 4, 5), (5, 10, 14)])
def test_blocks_are_disjoint_and_their_standard_error_is_that_of_a_mean_of_so_many(blocks, n, m):
    """All rows of a side are equal but for one, so that one block differs from the others."""
    x, y = np.ones((n, 1)), np.full((m, 1), 2.0)
    x[0] = 3.0
    special, usual = by_hand(x[: n // blocks], y[: m // blocks]), by_hand(x[-(n // blocks) :], y[: m // blocks])
    result = kernel_distance.over_blocks(x, y, blocks=blocks, seed=0)
    assert result.value == pytest.approx(usual + (special - usual) / blocks, rel=1e-12)
    assert result.standard_error == pytest.approx(abs(special - usual) / blocks, rel=1e-12) and special != usual


def test_a_shift_is_many_standard_errors_away_from_zero_and_blocks_depend_on_the_seed_only():
    one, same, other = (
        kernel_distance.over_blocks(normal(0, 500, 4), normal(1, 500, 4) + 0.5, seed=seed) for seed in (0, 0, 3)
    )
    assert one.value > 5 * one.standard_error > 0 and one == same != other


@pytest.mark.fault("likelihood, metrics: Vendi score of an order above 1,000")
@table("order", ORDERS)
def test_equal_rows_are_one_item_orthogonal_rows_n_and_two_groups_two(order):
    assert vendi.score(np.tile([1.0, 2.0, 3.0], (7, 1)), order=order) == pytest.approx(1, abs=1e-12)
    assert vendi.score(np.eye(6)[:, ::-1] * 3, order=order) == pytest.approx(6, rel=1e-12)
    assert vendi.score(np.repeat(np.eye(2), 4, axis=0), order=order) == pytest.approx(2, rel=1e-12)


def test_two_groups_of_shares_p_and_q_are_their_renyi_entropies():
    rows, shares = np.array([[1.0, 0.0]] * 3 + [[0.0, 1.0]]), np.array([0.75, 0.25])
    for order, expected in ((1, np.exp(-shares @ np.log(shares))), (2, 1 / (shares @ shares)), (float("inf"), 4 / 3)):
        assert vendi.score(rows, order=order) == pytest.approx(expected, rel=1e-12)


@table("shape", [(12, 5), (4, 9)])
def test_the_score_is_the_entropy_of_the_kernel_matrix_written_out(shape):
    rows = normal(0, *shape)
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a in rows] for b in rows])
    shares = np.linalg.eigvalsh(cosines / len(rows))
    shares = shares[shares > 1e-12]
    assert vendi.score(rows) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))), rel=1e-10)


def test_length_order_and_rotation_of_the_rows_do_not_enter():
    turned = ROWS @ np.linalg.qr(normal(1, 5, 5))[0]
    for other in (ROWS * np.geomspace(1e-200, 1e200, 12)[:, None], ROWS[::-1], turned):
        assert vendi.score(other) == pytest.approx(vendi.score(ROWS), rel=1e-10)


def test_orders_decrease_and_orders_near_one_reach_shannons():
    values = [vendi.score(ROWS, order=order) for order in ORDERS]
    assert all(a >= b for a, b in zip(values, values[1:], strict=False))
    assert vendi.score(ROWS, order=1 + 1e-6) == pytest.approx(vendi.score(ROWS), rel=1e-5)


test_bad_features_and_options_are_refused_with_counts = refusals(
    (lambda: frechet.frechet_distance(normal(0, 5, 3), normal(0, 1, 3)), r"other has shape \(1, 3\): at least 2 rows"),
    (
        lambda: frechet.frechet_distance(normal(0, 5, 3), normal(0, 5, 2)),
        "features has 3 features per row but other has 2",
    ),
    (lambda: frechet.frechet_distance(normal(0, 5, 3), np.full((5, 3), np.nan)), "other: 5 of 5 rows hold NaN"),
    (
        lambda: frechet.over_subsets(normal(0, 5, 3), normal(0, 5, 3), seed=0),
        "other has 5 rows, fewer than the 1000 asked for",
    ),
    (lambda: frechet.over_subsets(FIFTY[:1], FIFTY, size=20, seed=0), r"real has shape \(1, 4\): at least 2 rows"),
    (lambda: frechet.finish(streamed(FIFTY[:1])), "at least 2 rows, and 1 were seen"),
    (lambda: streamed(FIFTY, FIFTY[:, :3]), "rows of 4 features cannot be joined with rows of 3"),
    (lambda: streamed(FIFTY, FIFTY[:0]), r"features has shape \(0, 4\): at least 1 rows"),
    (lambda: gaussian([0.0, 0.0], [[1.0, 0.0], [0.5, 1.0]]), "symmetric with no negative eigenvalue"),
    (lambda: gaussian([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]]), "symmetric with no negative eigenvalue"),
    (
        lambda: kernel_distance.over_blocks(FIFTY, FIFTY[:19], blocks=10, seed=0),
        "other has 19 rows, fewer than the 20 asked for",
    ),
    (lambda: kernel_distance.over_blocks(FIFTY, FIFTY, blocks=1, seed=0), "blocks = 1 is outside"),
    (lambda: kernel_distance.squared_mmd(FIFTY[:1], FIFTY), "at least 2 rows"),
    (lambda: kernel_distance.squared_mmd(FIFTY, FIFTY[:, :3]), "features has 4 features per row but other has 3"),
    (
        lambda: kernel_distance.squared_mmd(np.vstack([FIFTY, np.full((1, 4), np.nan)]), FIFTY),
        "features: 1 of 51 rows hold NaN",
    ),
    (lambda: vendi.score(np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])), "features: 1 of 3 rows are all zeros"),
    (lambda: vendi.score(ROWS, order=-1), "order = -1 is outside"),
    (lambda: vendi.over_subsets(ROWS, size=13, seed=0), "features has 12 rows, fewer than the 13 asked for"),
)
test_bad_features_and_options_are_refused_with_counts = pytest.mark.fault(
    "likelihood, metrics: fewer than 2 samples",
    "likelihood, metrics: feature sizes differ",
    "likelihood, metrics: NaN features",
    "likelihood, metrics: fewer samples than asked",
)(test_bad_features_and_options_are_refused_with_counts)
