import dataclasses
import math
import types

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from gendiff.runs.reporting import answers, verdicts
from tests.tables import table

NUMBERS = st.floats(-1e6, 1e6)


def claim(id="accuracy", *, interval=(0.96, 0.98), relation=">=", threshold=0.95, seed=0, value=0.97, **more):
    return verdicts.claim(
        id, "The judge names the class asked for", value, interval, relation, threshold, n=5000, seed=seed, **more
    )


@table(
    ("interval", "relation", "verdict"),
    [
        *(
            ((1.0, 1.7), "<=", "PASS"),
            ((1.0, 1.75), "<=", "PASS"),
            ((1.8, 1.9), ">=", "PASS"),
            ((1.75, 1.9), ">=", "PASS"),
        ),
        *(((1.7, 1.8), relation, "INCONCLUSIVE") for relation in ("<=", ">=")),
        *(((1.75, 1.8), "<=", "INCONCLUSIVE"), ((1.7, 1.75), ">=", "INCONCLUSIVE")),
        *(((1.8, 1.9), "<=", "FAIL"), ((1.0, 1.7), ">=", "FAIL")),
        *(((5.0, math.inf), ">=", "PASS"), ((1.0, math.inf), "<=", "INCONCLUSIVE")),  # the end that counts decides
    ],
)
def test_the_unfavourable_end_decides_a_pass_and_the_favourable_end_a_fail(interval, relation, verdict):
    assert verdicts.judge(interval, relation, 1.75) == verdict


@given(NUMBERS, NUMBERS, NUMBERS)
def test_turning_every_sign_turns_the_relation_and_keeps_the_verdict(first, second, threshold):
    low, high = sorted((first, second))
    assert verdicts.judge((low, high), "<=", threshold) == verdicts.judge((-high, -low), ">=", -threshold)


@given(NUMBERS, NUMBERS, st.floats(0, 1e3), st.floats(0, 1e3))
def test_a_wider_interval_only_ever_becomes_inconclusive(value, threshold, narrow, more):
    inside = verdicts.judge((value - narrow, value + narrow), ">=", threshold)
    assert verdicts.judge((value - narrow - more, value + narrow + more), ">=", threshold) in {inside, "INCONCLUSIVE"}


@table("interval", [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.nan)])
@table("relation", ["<=", ">="])
def test_nan_fails_in_claims_and_controls(interval, relation):
    assert verdicts.judge(interval, relation, 1.0) == "FAIL"
    assert claim(interval=interval, relation=relation, kind="control").verdict == "FAIL"
    assert claim(value=math.nan).verdict == "FAIL"


def test_a_control_passes_when_it_misses_as_it_must():
    for interval, verdict in (((190.0, 210.0), "PASS"), ((8.0, 9.0), "FAIL")):
        assert claim(interval=interval, relation=">=", threshold=10.0, kind="control").verdict == verdict


@table(
    ("change", "message"),
    [
        ({"verdict": "FAIL"}, "contradicts its numbers, which say PASS"),
        ({"relation": "<"}, "relation = '<' is none of <=, >="),
        ({"threshold": math.nan}, "threshold is NaN"),
        ({"interval": (2.0, 1.0)}, "upside down"),
        ({"kind": "null"}, "kind = 'null'"),
        ({"id": ""}, "id is empty"),
        ({"n": 0}, "n = 0 samples"),
        ({"role": "essay"}, "an essay claim, and no other, names one"),
        ({"role": "aim", "essay": "E5"}, "an essay claim, and no other, names one"),
    ],
)
def test_a_claim_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(claim(), **change)


PASS, OPEN, FAIL = (0.96, 0.98), (0.94, 0.96), (0.90, 0.94)


@table(
    ("intervals", "verdict"),
    [
        ((PASS,) * 3, "PASS"),
        ((PASS, OPEN, PASS), "INCONCLUSIVE"),
        ((PASS, PASS, FAIL), "INCONCLUSIVE"),  # the seeds scatter
        ((FAIL,) * 3, "FAIL"),
        ((PASS,) * 30 + (OPEN,), "PASS"),  # one seed of many decides nothing
    ],
)
def test_a_claim_is_judged_by_the_mean_over_its_seeds(intervals, verdict):
    seeds = [claim(interval=interval, seed=seed, value=sum(interval) / 2) for seed, interval in enumerate(intervals)]
    (summary,) = verdicts.by_id(seeds).values()
    assert summary.verdict == summary.mean.verdict == verdict


def test_no_claims_prove_nothing():
    assert verdicts.overall(()) == verdicts.verdict(()) == "INCONCLUSIVE"


def test_the_mean_of_seeds_that_scatter_has_students_interval():
    values = (0.93, 0.97, 0.98, 0.91)
    value, low, high = verdicts.mean_over_seeds((each, each, each) for each in values)
    expected = scipy.stats.t.interval(0.95, 3, loc=np.mean(values), scale=scipy.stats.sem(values))
    np.testing.assert_allclose((value, low, high), (np.mean(values), *expected), rtol=1e-12)


def test_the_mean_of_seeds_that_agree_has_the_interval_of_all_their_samples():
    value, low, high = verdicts.mean_over_seeds([(0.5, 0.4, 0.6)] * 4)
    np.testing.assert_allclose((value, low, high), (0.5, 0.45, 0.55), rtol=1e-12)


@table(("seeds", "spread", "least"), [(2, 0.0, 0.94), (2, 1.0, 0.82), (3, 1.0, 0.86), (8, 1.0, 0.92)])
def test_the_interval_over_seeds_covers_the_truth_as_often_as_it_says(seeds, spread, least):
    rng, draws, covered = np.random.default_rng(0), 2000, 0
    for values in spread * rng.normal(size=(draws, seeds)) + 0.5 * rng.normal(size=(draws, seeds)):
        _, low, high = verdicts.mean_over_seeds((each, each - 0.98, each + 0.98) for each in values)
        covered += low <= 0 <= high
    assert least < covered / draws < 0.99


def test_seeds_whose_numbers_are_not_finite_fail_or_have_the_widest_interval():
    assert all(map(math.isnan, verdicts.mean_over_seeds([(0.5, 0.4, 0.6), (math.nan, 0.4, 0.6)])))
    assert verdicts.mean_over_seeds([(1.0, 0.5, math.inf), (2.0, 1.5, 3.0)]) == (1.5, 0.5, math.inf)


@table(
    ("roles", "judged", "verdict"),
    [
        (("E5", "E5"), (PASS, PASS), "holds"),
        (("E5", "E7"), (PASS, FAIL), "holds in part"),
        (("E5", "E7"), (OPEN, FAIL), "does not hold here"),
        (("E5", "E7"), (OPEN, OPEN), "open"),
        (("E5", "aim"), (PASS, FAIL), "holds"),  # an aim that is missed is no answer
        (("promise", "check"), (PASS, FAIL), "PASS"),
        (("aim", "check"), (FAIL, PASS), "FAIL"),
        (("check", "check"), (PASS, OPEN), "INCONCLUSIVE"),
        (("E5", "control"), (PASS, FAIL), "holds in part"),
    ],
)
def test_a_study_answers_its_essay_or_promise_claims(roles, judged, verdict):
    kinds = ["control" if role == "control" else "claim" for role in roles]
    claims = [
        claim(f"c{number}", interval=each, kind=kind)
        for number, (each, kind) in enumerate(zip(judged, kinds, strict=True))
    ]
    named = {f"c{number}": "check" if role == "control" else role for number, role in enumerate(roles)}
    assert verdicts.verdict(answers.give_roles(claims, named)) == verdict


def test_claims_of_one_id_stand_together_in_the_order_of_seeds():
    claims = [claim("b", seed=1), claim("a", seed=1), claim("b", seed=0), claim("a", seed=None)]
    groups = verdicts.by_id(claims)
    assert list(groups) == ["b", "a"]
    assert [each.seed for each in groups["b"].claims] == [0, 1]
    assert [each.seed for each in groups["a"].claims] == [None, 1]


def test_a_seed_given_twice_and_a_threshold_that_moves_between_seeds_are_refused():
    with pytest.raises(ValueError, match="'accuracy' is given twice for seed 0"):
        verdicts.by_id([claim(), claim()])
    with pytest.raises(ValueError, match="different values of threshold in its seeds: 0.9, 0.95"):
        verdicts.by_id([claim(), claim(seed=1, threshold=0.9)])
    with pytest.raises(ValueError, match="different values of kind in its seeds"):
        verdicts.by_id([claim(), claim(seed=1, kind="control")])


def test_a_claim_against_a_named_threshold_takes_its_value_and_keeps_its_name():
    limits = types.SimpleNamespace(accuracy=0.95, guided_accuracy=0.9)
    claims = verdicts.against(
        limits, 3, "accuracy", "The judge names the class", (0.97, 0.96, 0.98), ">=", "accuracy", n=5000
    )
    assert claims == dataclasses.replace(
        claim(seed=3), statement="The judge names the class", threshold_name="accuracy"
    )
    exact = verdicts.against(
        limits, None, "accuracy", "The judge names the class", 0.5, ">=", "accuracy", n=1, kind="control"
    )
    assert (exact.interval, exact.verdict, exact.kind) == ((0.5, 0.5), "FAIL", "control")
    default = verdicts.against(limits, 3, "guided-accuracy", "The judge names the class", 0.97, ">=", n=1)
    assert (default.threshold, default.threshold_name) == (0.9, "guided_accuracy")


def test_a_distance_holds_zero_exactly_where_the_interval_holds_the_target():
    assert verdicts.away((-0.1, -0.3, 0.2)) == (0.1, 0.0, 0.3)
    assert verdicts.away((-0.2, -0.3, -0.1)) == (0.2, 0.1, 0.3)
    assert verdicts.away((1.5, 1.25, 2.0), 1.0) == (0.5, 0.25, 1.0)
