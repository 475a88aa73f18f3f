"""The memorisation report: copies, the pictures they copy, and what held-out pictures show."""

import tracemalloc

import numpy as np
import pytest
import scipy.stats

from gendiff import provenance
from gendiff.metrics import features, near_copies, neighbours
from gendiff.provenance import memorisation
from tests.metrics.rows import normal, uniform
from tests.refusals import refusals
from tests.tables import table

X = normal(0, 9, 8)


def pictures(seed, n):
    return uniform(seed, n, 4, 4, 1).astype(np.float32)


# 40 and 41 equal 1 and 2, and 42 is nearly 0
TRAIN = np.concatenate([pictures(0, 40), pictures(0, 3)[1:], pictures(0, 1) + 1e-3])
COPIED = np.concatenate([TRAIN[[7, 1]] + 1e-4 * pictures(3, 2), pictures(4, 10)]).astype(np.float32)


@table("function", [features.pixels, features.random_convolutions(0, widths=(4, 4))])
def test_the_report_shows_copies_their_pictures_and_what_the_training_set_repeats(function):
    report = provenance.memorisation_report(COPIED, TRAIN, pictures(5, 200), features=function, k=3)
    assert set(report.copies) >= {0, 1} and (np.diff(report.ratios[report.copies]) >= 0).all()
    assert report.nearest[:2, 0].tolist() == [7, 1] and report.nearest.shape == report.distances.shape == (12, 3)
    assert report.duplicates.tolist() == [[40, 1], [41, 2]]
    assert {(0, 42), (42, 0)} <= set(map(tuple, report.near_duplicates.tolist()))
    assert (
        report.n == 12
        and report.rate.value == np.mean(report.ratios < near_copies.THRESHOLD) > report.held_out_rate.value
    )
    known, rows = np.asarray(function(TRAIN)), np.asarray(function(COPIED))
    np.testing.assert_array_equal(report.ratios, near_copies.ratios(rows, known))
    np.testing.assert_allclose(
        report.distances, np.linalg.norm(rows[:, None] - known[report.nearest], axis=2), rtol=1e-6
    )
    assert report.held_out_rate.value == near_copies.rate(function(pictures(5, 200)), known)


def test_rates_without_a_copy_have_intervals_of_some_width_and_the_excess_is_wilsons_of_both():
    report = memorisation.memorisation_report(pictures(4, 10), TRAIN, pictures(5, 30), threshold=0.01)
    low, high = scipy.stats.binomtest(0, 10).proportion_ci(0.95, method="wilson")
    assert report.rate.number == (0.0, low, high) and report.copies.size == 0
    limit = scipy.stats.binomtest(0, 30).proportion_ci(0.95, method="wilson").high
    assert report.excess.number == pytest.approx((0.0, -limit, high))


def test_pairs_are_as_many_as_asked_for_and_those_that_stand_out_most_come_first():
    samples = np.concatenate([pictures(4, 3), TRAIN[[5]], TRAIN[[9]] + np.float32(1e-4), TRAIN[[6]]])
    report = memorisation.memorisation_report(samples, TRAIN, None, copies=4)
    assert report.pairs[:3].tolist() == [[3, 5], [5, 6], [4, 9]] and report.pairs.shape == (4, 2)
    assert (np.diff(report.ratios[report.pairs[:, 0]]) >= 0).all()
    assert memorisation.memorisation_report(samples, TRAIN, None, copies=0).pairs.shape == (0, 2)


def test_a_ratio_that_equals_the_threshold_is_no_copy_and_no_near_duplicate():
    # 0 and 2 are half as far from 1 as from each other
    train, samples = np.array([[0.0], [1.0], [2.0], [10.0]]), np.array([[3.0], [2.1]])
    report = memorisation.memorisation_report(samples, train, samples[:1], threshold=0.5)
    assert report.ratios[0] == 0.5 and report.copies.tolist() == [1]
    assert (report.rate.value, report.held_out_rate.value, report.near_duplicates.size) == (0.5, 0.0, 0)


def test_without_held_out_pictures_nothing_is_said_of_an_excess():
    report = memorisation.memorisation_report(COPIED, TRAIN, None, labels=np.arange(12) % 2)
    assert report.held_out_rate is None and report.excess is None and report.rate.value > 0
    assert [each.excess for each in report.classes.values()] == [None, None]


def test_each_class_has_the_rates_of_its_own_pictures():
    labels, others = np.array([3, 3] + [0] * 10), np.arange(200) % 2
    report = memorisation.memorisation_report(COPIED, TRAIN, pictures(5, 200), labels=labels, held_out_labels=others)
    assert list(report.classes) == [0, 3] and (report.classes[3].n, report.classes[3].rate.value) == (2, 1.0)
    assert report.classes[3].held_out_rate is None and report.classes[3].excess is None, (
        "no held-out picture is of class 3"
    )
    alone = memorisation.memorisation_report(COPIED[2:], TRAIN, pictures(5, 200)[::2])
    of_class = report.classes[0]
    assert (of_class.n, of_class.rate, of_class.held_out_rate, of_class.excess) == (
        10,
        alone.rate,
        alone.held_out_rate,
        alone.excess,
    )


def test_the_order_of_the_training_pictures_changes_nothing_but_their_numbers():
    order = np.random.default_rng(1).permutation(40)
    one, other = (
        memorisation.memorisation_report(COPIED, TRAIN[rows], pictures(5, 50)) for rows in (np.arange(40), order)
    )
    assert (one.rate, one.held_out_rate, one.excess) == (other.rate, other.held_out_rate, other.excess)
    np.testing.assert_array_equal(one.ratios, other.ratios)
    np.testing.assert_array_equal(one.nearest, order[other.nearest])


def test_memory_stays_within_what_is_stated_and_far_below_a_matrix_of_all_distances(monkeypatch):
    n, m, h, d = 200, 1500, 50, 4
    # the statement is of 500, and the block has 17 bytes for each of its entries
    monkeypatch.setattr(neighbours, "CHUNK", 50)
    sets = normal(0, n, d), normal(1, m, d), normal(2, h, d)
    tracemalloc.start()
    memorisation.memorisation_report(*sets, copies=0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stated = 24 * (n + m + h) * d + 17 * 50 * m
    assert peak < 1.15 * stated < 8 * m * m / 10


test_too_few_pictures_and_labels_that_do_not_fit_are_refused_with_counts = refusals(
    (
        lambda: memorisation.memorisation_report(X, np.ones((4, 8)), X),
        "train has 1 different pictures of 4: at least 3 are needed",
    ),
    (
        lambda: memorisation.memorisation_report(X, X[:4], X, k=5),
        "train has 4 different pictures of 4: at least 5 are needed",
    ),
    (lambda: memorisation.memorisation_report(X, X, X[:, :7]), "held_out has 7 features per row but train has 8"),
    (lambda: memorisation.memorisation_report(X[:0], X, X), r"n >= 1, got shape \(0, 8\)"),
    (lambda: memorisation.memorisation_report(X, X, X, k=1), "k = 1"),
    (lambda: memorisation.memorisation_report(X, X, X, copies=-1), "copies = -1"),
    (lambda: memorisation.memorisation_report(X, X, X, threshold=0), "threshold = 0"),
    (lambda: memorisation.memorisation_report(X, X, X, confidence=1), "confidence = 1"),
    (lambda: memorisation.memorisation_report(X, X, X, labels=np.zeros(9, int)), "need held_out_labels"),
    (
        lambda: memorisation.memorisation_report(X, X, X, held_out_labels=np.zeros(9, int)),
        "held_out_labels needs labels",
    ),
    (
        lambda: memorisation.memorisation_report(X, X, None, labels=np.zeros(8, int)),
        r"labels has shape \(8,\), but 9 rows",
    ),
)
test_too_few_pictures_and_labels_that_do_not_fit_are_refused_with_counts = pytest.mark.fault(
    "likelihood, metrics: feature sizes differ", "likelihood, metrics: fewer samples than asked"
)(test_too_few_pictures_and_labels_that_do_not_fit_are_refused_with_counts)
