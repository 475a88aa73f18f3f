"""Modes that samples reach: exact samples reach all of them, noise reaches none, and the numbers are those of the
counts.
"""

import math

import numpy as np
import pytest
import scipy.stats
from scipy.spatial.distance import jensenshannon

from gendiff.core.types import NO_LABEL
from gendiff.metrics import modes
from tests.metrics.rows import normal, rng
from tests.refusals import refusals
from tests.tables import table

GRID, STD = np.stack(np.meshgrid(np.arange(-4.0, 5, 2), np.arange(-4.0, 5, 2)), axis=-1).reshape(25, 2), 0.05
FOUR = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])


def exact(n=10_000):
    return GRID[rng().integers(25, size=n)] + STD * normal(1, n, 2)


def at(*counts, centres=FOUR):
    """So many samples on each centre."""
    return np.repeat(centres, counts, axis=0)


def test_exact_samples_cover_all_modes_evenly_and_98_9_percent_of_them_are_good():
    report = modes.mode_report(exact(), GRID, STD)
    assert (report.modes, report.known, report.touched) == (25, 25, 25)
    assert scipy.stats.binomtest(int(report.counts.sum()), 10_000, 1 - math.exp(-4.5)).pvalue > 1e-3
    assert report.good == report.counts.sum() / 10_000
    assert scipy.stats.chisquare(report.counts).pvalue > 1e-3
    assert report.kl == pytest.approx(24 / 20_000, rel=0.9)  # the mean of KL is (k - 1) / 2n


def test_uniform_noise_touches_nearly_all_modes_and_reaches_none():
    report = modes.mode_report(rng().uniform(-5, 5, (10_000, 2)), GRID, STD)
    assert report.touched >= 24 and report.modes == 0
    assert report.good == pytest.approx(25 * math.pi * 0.15**2 / 100, abs=0.004)


def test_a_mode_counts_from_the_tenth_part_of_its_fair_share_on_and_a_good_sample_lies_within_three_deviations():
    report = modes.mode_report(at(99, 96, 4, 1), FOUR, STD)  # least: 0.1 · 200 / 4 = 5
    assert report.modes == 2 and modes.mode_report(at(99, 95, 5, 1), FOUR, STD).modes == 3
    assert report.counts.tolist() == [99, 96, 4, 1] and report.touched == 4 and report.good == 1.0
    edge = np.array([[3 * STD, 0.0], [0.0, 3.001 * STD]])
    assert modes.mode_report(edge, FOUR, STD).counts.tolist() == [1, 0, 0, 0]
    assert modes.mode_report(edge, FOUR, STD, good=3.01).counts.tolist() == [2, 0, 0, 0]
    assert modes.mode_report(at(99, 95, 5, 1), FOUR, STD, fair_share=0.02).modes == 4
    assert [
        modes.least_count(10_000, 25),
        modes.least_count(30, 10),
        modes.least_count(31, 10, 1.0),
        modes.least_count(2, 10),
    ] == [
        40,
        1,
        4,
        1,
    ]


def test_samples_that_are_not_good_count_for_no_mode_but_in_the_number_of_samples():
    far = np.full((100, 2), 4.0)
    report = modes.mode_report(np.vstack([at(10, 2, 10, 10), far]), FOUR, STD)  # least: 0.1 · 132 / 4 = 3.3
    assert (
        report.modes == 3
        and report.good == 32 / 132
        and report.entropy == pytest.approx(scipy.stats.entropy([10, 2, 10, 10]))
    )
    none = modes.mode_report(far, FOUR, STD)
    assert (none.modes, none.good, none.touched, none.entropy, none.kl) == (0, 0.0, 0, 0.0, math.log(4))
    assert none.jsd == modes.mode_report(at(7, 0, 0, 0), FOUR, STD).jsd


@table("counts", [(25, 25, 25, 25), (50, 50, 0, 0), (100, 0, 0, 0), (3, 40, 7, 50)])
def test_divergences_are_those_of_the_counts_to_the_uniform_law(counts):
    report, shares, uniform = modes.mode_report(at(*counts), FOUR, STD), np.array(counts) / 100, np.full(4, 0.25)
    assert report.entropy == pytest.approx(scipy.stats.entropy(shares), abs=1e-12)
    assert report.kl == pytest.approx(scipy.stats.entropy(shares, uniform), abs=1e-12)
    assert report.jsd == pytest.approx(jensenshannon(shares, uniform) ** 2, abs=1e-12)


def test_order_place_and_unit_change_nothing():
    samples, turn = exact(500), np.array([[0.0, -1.0], [1.0, 0.0]])
    first = modes.mode_report(samples, GRID, STD)
    for other in (
        modes.mode_report(samples[::-1], GRID, STD),
        modes.mode_report(samples @ turn, GRID @ turn, STD),
        modes.mode_report(4 * samples, 4 * GRID, 4 * STD),
    ):
        np.testing.assert_array_equal(other.counts, first.counts)
        assert (other.modes, other.good, other.kl) == (first.modes, first.good, first.kl)


def test_classes_of_labels_and_of_probabilities_are_counted_alike_and_doubtful_samples_are_not_good():
    labels = np.repeat([0, 1, 3], [50, 49, 1])
    report = modes.classifier_modes(labels, 4)
    assert report.counts.tolist() == [50, 49, 0, 1] and (report.modes, report.touched, report.good) == (2, 3, 1.0)
    sure = 0.6 * np.eye(4)[labels] + 0.1
    sure[50] = [0.1, 0.4, 0.25, 0.25]
    assert modes.classifier_modes(sure, 4).counts.tolist() == [50, 49, 0, 1]
    doubtful, marked = modes.classifier_modes(sure, 4, confident=0.5), labels.copy()
    marked[50] = NO_LABEL
    for other in (doubtful, modes.classifier_modes(marked, 4)):
        assert other.counts.tolist() == [50, 48, 0, 1] and other.good == 0.99


def test_the_expected_number_of_modes_is_that_of_counting_all_outcomes():
    assert modes.expected_modes(2, 2) == pytest.approx(1.5)
    assert modes.expected_modes(1, 5, good=0.5) == pytest.approx(0.5)
    assert modes.expected_modes(10_000, 25) == pytest.approx(25)
    mean = np.mean(
        [modes.classifier_modes(rng(i).integers(30, size=200), 30, fair_share=0.5).modes for i in range(200)]
    )
    assert mean == pytest.approx(modes.expected_modes(200, 30, fair_share=0.5), abs=0.3)


test_what_cannot_be_counted_is_refused = refusals(
    (lambda: modes.mode_report(FOUR, FOUR[:, :1], STD), "samples has 2 features per row but centres has 1"),
    (lambda: modes.mode_report(FOUR * np.nan, FOUR, STD), "samples: 4 of 4 rows hold NaN"),
    (lambda: modes.mode_report(FOUR, FOUR, 0.0), "std = 0"),
    (lambda: modes.mode_report(FOUR, FOUR, STD, good=0.0), "good = 0"),
    (lambda: modes.mode_report(FOUR, FOUR, STD, fair_share=0.0), "fair_share = 0"),
    (lambda: modes.mode_report(FOUR, FOUR, STD, fair_share=1.1), "fair_share = 1.1"),
    (lambda: modes.classifier_modes(np.array([0, 4]), 4), "answers holds 4, which is none of 0 … 3"),
    (lambda: modes.classifier_modes(np.array([0.0, 1.0]), 4), "answers must hold integers", TypeError),
    (lambda: modes.classifier_modes(np.zeros(0, int), 4), "at least one sample"),
    (lambda: modes.classifier_modes(np.array([0, 1]), 4, confident=0.5), "confident = 0.5 needs probabilities"),
    (
        lambda: modes.classifier_modes(np.full((3, 4), 0.25), 5),
        "answers has 4 probabilities per row, but 5 classes need as many",
    ),
    (lambda: modes.classifier_modes(normal(0, 3, 4), 4), "answers must be probabilities"),
    (lambda: modes.expected_modes(10, 0), "k = 0"),
)
