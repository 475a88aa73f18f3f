"""The watch for collapse: silent on exact samples, and not on those of a generator that lost most of its modes."""

import numpy as np
import pytest

from experiments.tasks import mixtures
from gendiff.adversarial import watch
from tests.refusals import refusals
from tests.tables import table

RING = mixtures.ring(8, radius=2.0, std=0.02)
CENTRES, STD = RING.centres, RING.std


def on(*chosen, n=400, seed=0):
    """Samples on some of the modes."""
    rng = np.random.default_rng(seed)
    return CENTRES[rng.choice(chosen, n)] + STD * rng.standard_normal((n, 2))


REAL = on(*range(8), seed=1)


def test_exact_samples_are_spread_whatever_is_known():
    samples = on(*range(8))
    for known in (
        {"reference": REAL},
        {"centres": CENTRES, "std": STD},
        {"reference": REAL, "centres": CENTRES, "std": STD},
    ):
        result = watch.report(samples, **known)
        assert result.verdict == "spread" and not result.collapsed and not result.reasons
        assert (result.ratio is None) == ("reference" not in known) and (result.modes is None) == (
            "centres" not in known
        )
    assert result.ratio == pytest.approx(1.0, abs=0.05) and result.modes.modes == 8


def test_one_mode_of_eight_is_a_collapse_by_both_measures():
    result = watch.report(on(5), REAL, CENTRES, STD)
    assert result.collapsed and result.ratio < 0.03 and result.modes.modes == 1
    assert len(result.reasons) == 2 and "as far apart" in result.reasons[0] and "1 of 8 modes" in result.reasons[1]


def test_two_opposite_modes_keep_their_distance_and_are_a_collapse_by_the_modes_alone():
    samples = on(0, 4)
    assert watch.report(samples, REAL).verdict == "spread"
    result = watch.report(samples, REAL, CENTRES, STD)
    assert result.collapsed and len(result.reasons) == 1 and "samples reach 2 of 8 modes" in result.reasons[0]


@table("reached, collapsed", [(3, True), (4, False)])
def test_a_collapse_is_less_than_the_share_of_modes_and_not_the_share_itself(reached, collapsed):
    assert watch.report(on(*range(reached)), centres=CENTRES, std=STD).collapsed == collapsed
    assert watch.report(on(*range(reached)), centres=CENTRES, std=STD, least_modes=3 / 8).collapsed is False


def test_a_share_of_modes_that_rounding_lifts_above_a_whole_number_is_that_number():
    """0.28 · 25 is 7.000000000000001 in floating point."""
    rows, labels = np.arange(1400.0)[:, None], np.arange(1400) % 7
    result = watch.report(rows, labels=labels, classes=25, least_modes=0.28)
    assert result.modes.modes == 7 and not result.collapsed
    assert watch.report(rows, labels=labels, classes=25, least_modes=0.281).collapsed


def test_equal_pictures_are_a_collapse_and_those_of_real_data_are_not():
    pictures = np.random.default_rng(0).uniform(-1, 1, (40, 4, 4, 3))
    result = watch.report(np.repeat(pictures[:1], 20, axis=0), pictures)
    assert result.collapsed and result.ratio == result.pairwise_distance == 0.0
    assert not watch.report(pictures[:20], pictures).collapsed
    for unit in (1.0, 3.0):
        assert watch.report(unit * pictures[:20], pictures).ratio == pytest.approx(unit, rel=0.05)


def test_classes_that_a_classifier_sees_are_modes_too():
    pictures, labels = np.random.default_rng(0).normal(size=(100, 2, 2, 1)), np.arange(100) % 10
    assert watch.report(pictures, labels=labels, classes=10).modes.modes == 10
    assert watch.report(pictures, labels=labels % 4, classes=10).collapsed


def test_few_exact_samples_of_many_modes_are_no_collapse():
    labels = np.random.default_rng(0).integers(0, 1000, 500)
    pictures = np.random.default_rng(1).normal(size=(500, 2, 2, 1))
    assert watch.report(pictures, labels=labels, classes=1000).modes.modes < 500
    assert not watch.report(pictures, labels=labels, classes=1000).collapsed
    assert watch.report(pictures, labels=labels % 150, classes=1000).collapsed


def test_samples_that_are_not_finite_are_a_verdict_and_not_an_error():
    samples = on(0)
    samples[7, 1] = np.nan
    result = watch.report(samples, REAL, CENTRES, STD)
    assert (
        result.verdict == "not finite"
        and not result.collapsed
        and result.ratio is result.modes is result.pairwise_distance is None
    )


def test_the_mean_distance_is_over_all_pairs_of_different_rows():
    halves = np.repeat([[0.0, 0.0], [3.0, 4.0]], 5, axis=0)
    assert watch.pairwise_distance(halves) == pytest.approx(5 * 25 / 45, rel=1e-12)


test_what_cannot_be_judged_is_refused = refusals(
    (lambda: watch.report(REAL), "samples alone do not show a collapse"),
    (lambda: watch.report(REAL, centres=CENTRES), "centres and std belong together"),
    (lambda: watch.report(REAL, classes=10), "labels and classes belong together"),
    (lambda: watch.report(REAL, None, CENTRES, STD, labels=np.zeros(400, int), classes=8), "by centres or by labels"),
    (lambda: watch.report(REAL, labels=np.zeros(3, int), classes=8), r"labels has shape \(3,\), but 400 samples"),
    (
        lambda: watch.report(REAL, REAL[:, :1]),
        r"samples of shape \(2,\) do not compare with a reference of shape \(1,\)",
    ),
    (lambda: watch.report(REAL, np.zeros((5, 2))), "reference holds equal rows only"),
    (lambda: watch.report(REAL, REAL * np.nan), "reference: 400 of 400 rows hold NaN"),
    (lambda: watch.report(REAL, REAL, least_ratio=0.0), "least_ratio = 0"),
    (lambda: watch.report(REAL, REAL, least_modes=2.0), "least_modes = 2"),
)
