"""True positive rates and AUC: equal to counting by hand, fair at ties, and silent where the data say nothing."""

import numpy as np
import pytest
import scipy.stats

from gendiff.provenance import attack_rates
from tests.refusals import refusals
from tests.tables import table


def scores(count, shift=0.0, seed=0):
    return np.random.default_rng(seed).normal(shift, 1.0, count)


def test_auc_is_the_share_of_pairs_in_order():
    members, others = np.round(scores(40, 0.5), 1), np.round(scores(60, seed=1), 1)  # rounding makes ties
    pairs = members[:, None] - others[None, :]
    assert attack_rates.auc(members, others) == pytest.approx(np.mean(pairs > 0) + np.mean(pairs == 0) / 2, abs=1e-12)


def test_auc_of_identical_scores_is_one_half():
    assert attack_rates.auc(scores(50), scores(50)) == 0.5
    assert attack_rates.auc(np.zeros(3), np.zeros(7)) == 0.5


@table("fpr", [0.01, 0.034, 0.25])
def test_the_rate_is_that_of_the_best_threshold_that_is_allowed(fpr):
    members, others = np.round(scores(300, 1.0), 1), np.round(scores(200, seed=1), 1)
    allowed = [level for level in np.concatenate([others, [-np.inf]]) if np.mean(others > level) <= fpr]
    result = attack_rates.tpr_at_fpr(members, others, fpr)
    assert result.value == max(np.mean(members > level) for level in allowed)
    assert result.reached == np.mean(others > result.threshold) <= fpr and result.resolution == 1 / 200


def test_rates_that_are_whole_alarms_are_not_rounded_down_to_one_less():
    """0.29 · 100 is 28.999999999999996 in floating point, and (1 / 49) · 49 is below 1."""
    result = attack_rates.tpr_at_fpr(np.arange(100.0), np.arange(100.0), 0.29)
    assert (result.value, result.reached, result.threshold) == (0.29, 0.29, 70.0)
    assert attack_rates.tpr_at_fpr(np.arange(49.0), np.arange(49.0), 1 / 49).reached == 1 / 49
    assert attack_rates.tpr_at_fpr(np.arange(100.0), np.arange(100.0), 0.0299).reached == 0.02


@table("shift", [-99.0, 1.0, 99.0])
def test_the_interval_is_that_of_clopper_and_pearson(shift):
    result = attack_rates.tpr_at_fpr(scores(120, shift), scores(100, seed=1), 0.05)
    ends = scipy.stats.binomtest(round(result.value * 120), 120).proportion_ci(method="exact")
    assert result.number == (result.value, pytest.approx(ends.low, abs=1e-9), pytest.approx(ends.high, abs=1e-9))


def test_without_a_signal_the_rate_is_that_of_chance():
    rng = np.random.default_rng(2)
    rates = [attack_rates.tpr_at_fpr(rng.normal(size=200), rng.normal(size=199), 0.05).value for _ in range(400)]
    assert np.mean(rates) == pytest.approx(10 / 200, abs=4 * np.std(rates) / 20)  # ⌊0.05 · 199⌋ = 9 alarms


def test_ties_help_no_attack():
    assert attack_rates.tpr_at_fpr(np.ones(50), np.ones(200), 0.01).value == 0.0


test_a_rate_that_is_finer_than_the_data_is_refused = pytest.mark.fault(
    "membership: a false positive rate that is finer than the data"
)(refusals((lambda: attack_rates.tpr_at_fpr(scores(9), scores(500), 0.001), "finer than the 1 / 500.*at least 1000")))
test_what_cannot_be_measured_is_refused = refusals(
    (lambda: attack_rates.tpr_at_fpr(scores(9), scores(48), 1 / 49), "finer than the 1 / 48.*at least 49 of"),
    (lambda: attack_rates.tpr_at_fpr(scores(9), scores(500), 1.0), "fpr = 1 is outside"),
    (lambda: attack_rates.tpr_at_fpr(scores(9), scores(500), 0.0), "fpr = 0 is outside"),
    (lambda: attack_rates.tpr_at_fpr(scores(9), scores(500), 0.1, confidence=1.0), "confidence = 1"),
    (lambda: attack_rates.tpr_at_fpr(np.zeros(0), scores(500), 0.1), r"members must be \(n,\)"),
    (lambda: attack_rates.auc(scores(9), np.array([0.0, np.nan])), "none of them NaN"),
)
