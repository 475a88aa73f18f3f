import itertools

import numpy as np
import pytest

from gendiff.metrics import kernel_distance


def sample(n, seed, shift=0.0):
    return np.random.default_rng(seed).standard_normal((n, 4)) + shift


def by_hand(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    within = [np.mean([k(a, b) for a, b in itertools.permutations(z, 2)]) for z in (x, y)]
    return sum(within) - 2 * np.mean([k(a, b) for a in x for b in y])


@pytest.mark.parametrize(("n", "m"), [(2, 2), (5, 7), (8, 3)])
def test_it_is_the_mean_over_all_pairs_written_out(n, m):
    x, y = sample(n, 0), sample(m, 1, 0.5)
    assert kernel_distance.squared_mmd(x, y) == pytest.approx(by_hand(x, y), rel=1e-12)


def test_chunks_change_nothing(monkeypatch):
    x, y = sample(25, 0), sample(31, 1)
    whole = kernel_distance.squared_mmd(x, y)
    monkeypatch.setattr(kernel_distance, "CHUNK", 7)
    assert kernel_distance.squared_mmd(x, y) == pytest.approx(whole, rel=1e-10, abs=1e-12)


def test_it_is_unbiased_where_the_distributions_are_equal_whatever_the_sizes():
    values = np.array([kernel_distance.squared_mmd(sample(12, 2 * i), sample(7, 2 * i + 1)) for i in range(2000)])
    assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(len(values))
    assert (values < 0).any()


def test_it_is_unbiased_where_they_differ():
    """One dimension, N(0, 1) against the constant 1: E k(x, x') = E (xx' + 1)³ = 1 + 3, k(1, 1) = 8, E (x + 1)³ = 1 + 3."""
    rng = np.random.default_rng(0)
    values = np.array([kernel_distance.squared_mmd(rng.standard_normal((6, 1)), np.ones((3, 1))) for _ in range(4000)])
    assert abs(values.mean() - (4 + 8 - 2 * 4)) < 4 * values.std(ddof=1) / np.sqrt(len(values))


def test_block_means_are_unbiased_and_their_standard_error_is_right():
    estimates = [kernel_distance.over_blocks(sample(100, 2 * i), sample(100, 2 * i + 1), blocks=5, seed=i) for i in range(400)]
    values = np.array([estimate.value for estimate in estimates])
    spread = values.std(ddof=1)
    assert abs(values.mean()) < 4 * spread / np.sqrt(len(values))
    claimed = np.sqrt(np.mean([estimate.standard_error**2 for estimate in estimates]))
    assert 0.85 < claimed / spread < 1.15


def test_a_shift_is_many_standard_errors_away_from_zero_and_blocks_depend_on_the_seed_only():
    one, same, other = (kernel_distance.over_blocks(sample(500, 0), sample(500, 1, 0.5), seed=seed) for seed in (0, 0, 3))
    assert one.value > 5 * one.standard_error > 0 and one == same != other


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda x: kernel_distance.over_blocks(x, x[:19], blocks=10, seed=0), "other has 19 rows, fewer than the 20 asked for"),
        (lambda x: kernel_distance.over_blocks(x, x, blocks=1, seed=0), "blocks = 1 is outside"),
        (lambda x: kernel_distance.squared_mmd(x[:1], x), "at least 2 rows"),
        (lambda x: kernel_distance.squared_mmd(x, x[:, :3]), "features has 4 features per row but other has 3"),
        (lambda x: kernel_distance.squared_mmd(np.vstack([x, np.full((1, 4), np.nan)]), x), "features: 1 of 51 rows hold NaN"),
    ],
)
def test_too_few_rows_for_the_blocks_and_bad_features_are_refused_with_counts(mistake, message):
    with pytest.raises(ValueError, match=message):
        mistake(sample(50, 0))
