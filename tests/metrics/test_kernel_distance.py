import itertools

import numpy as np
import pytest

from gendiff.metrics import kernel_distance
from tests.metrics.rows import normal, rng
from tests.refusals import refusals


def by_hand(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    within = [np.mean([k(a, b) for a, b in itertools.permutations(z, 2)]) for z in (x, y)]
    return sum(within) - 2 * np.mean([k(a, b) for a in x for b in y])


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 7), (8, 3)])
def test_it_is_the_mean_over_all_pairs_written_out(n, m):
    x, y = normal(0, n, 4), normal(1, m, 4) + 0.5
    assert kernel_distance.squared_mmd(x, y) == pytest.approx(by_hand(x, y), rel=1e-12)


def test_chunks_change_nothing(monkeypatch):
    x, y = normal(0, 25, 4), normal(1, 31, 4)
    whole = kernel_distance.squared_mmd(x, y)
    monkeypatch.setattr(kernel_distance, "CHUNK", 7)
    assert kernel_distance.squared_mmd(x, y) == pytest.approx(whole, rel=1e-10, abs=1e-12)


def test_it_is_unbiased_where_the_distributions_are_equal_whatever_the_sizes_and_where_they_differ():
    """In one dimension, N(0, 1) against the constant 1: E k(x, x') = E (xx' + 1)³ = 1 + 3, k(1, 1) = 8, E (x + 1)³ = 1 + 3."""
    one = rng()
    equal = np.array([kernel_distance.squared_mmd(normal(2 * i, 12, 4), normal(2 * i + 1, 7, 4)) for i in range(2000)])
    differ = np.array([kernel_distance.squared_mmd(one.standard_normal((6, 1)), np.ones((3, 1))) for _ in range(4000)])
    for values, truth in ((equal, 0), (differ, 4 + 8 - 2 * 4)):
        assert abs(values.mean() - truth) < 4 * values.std(ddof=1) / np.sqrt(len(values))
    assert (equal < 0).any()


def test_block_means_are_unbiased_and_their_standard_error_is_right():
    estimates = [kernel_distance.over_blocks(normal(2 * i, 100, 4), normal(2 * i + 1, 100, 4), blocks=5, seed=i) for i in range(400)]
    values, claimed = np.array([(estimate.value, estimate.standard_error**2) for estimate in estimates]).T
    spread = values.std(ddof=1)
    assert abs(values.mean()) < 4 * spread / np.sqrt(len(values)) and 0.85 < np.sqrt(np.mean(claimed)) / spread < 1.15


def test_a_shift_is_many_standard_errors_away_from_zero_and_blocks_depend_on_the_seed_only():
    one, same, other = (kernel_distance.over_blocks(normal(0, 500, 4), normal(1, 500, 4) + 0.5, seed=seed) for seed in (0, 0, 3))
    assert one.value > 5 * one.standard_error > 0 and one == same != other


X = normal(0, 50, 4)
test_too_few_rows_for_the_blocks_and_bad_features_are_refused_with_counts = refusals(
    (lambda: kernel_distance.over_blocks(X, X[:19], blocks=10, seed=0), "other has 19 rows, fewer than the 20 asked for"),
    (lambda: kernel_distance.over_blocks(X, X, blocks=1, seed=0), "blocks = 1 is outside"),
    (lambda: kernel_distance.squared_mmd(X[:1], X), "at least 2 rows"),
    (lambda: kernel_distance.squared_mmd(X, X[:, :3]), "features has 4 features per row but other has 3"),
    (lambda: kernel_distance.squared_mmd(np.vstack([X, np.full((1, 4), np.nan)]), X), "features: 1 of 51 rows hold NaN"),
)
