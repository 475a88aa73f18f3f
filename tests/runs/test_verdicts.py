import dataclasses
import math
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gendiff.runs.reporting import verdicts
from tests.tables import table

NUMBERS = st.floats(-1e6, 1e6)


def claim(id="accuracy", *, interval=(0.96, 0.98), relation=">=", threshold=0.95, seed=0, value=0.97, **more):
    return verdicts.claim(id, "The judge names the class asked for", value, interval, relation, threshold, n=5000, seed=seed, **more)


@table(
    ("interval", "relation", "verdict"),
    [
        *(((1.0, 1.7), "<=", "PASS"), ((1.0, 1.75), "<=", "PASS"), ((1.8, 1.9), ">=", "PASS"), ((1.75, 1.9), ">=", "PASS")),
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
        ((PASS, PASS, FAIL), "FAIL"),
        ((OPEN, FAIL, PASS), "FAIL"),
        ((), "INCONCLUSIVE"),
    ],
)
def test_a_claim_passes_in_every_seed_or_not_at_all(intervals, verdict):
    seeds = [claim(interval=interval, seed=seed) for seed, interval in enumerate(intervals)]
    assert [each.verdict for each in verdicts.by_id(seeds).values()] == [verdict][: len(seeds)]
    assert verdicts.overall(seeds) == verdict  # no claims prove nothing


def test_claims_of_one_id_stand_together_in_the_order_of_seeds():
    given = [claim("b", seed=1), claim("a", seed=1), claim("b", seed=0), claim("a", seed=None)]
    groups = verdicts.by_id(given)
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
    found = verdicts.against(limits, 3, "accuracy", "The judge names the class", (0.97, 0.96, 0.98), ">=", "accuracy", n=5000)
    assert found == dataclasses.replace(claim(seed=3), statement="The judge names the class", threshold_name="accuracy")
    exact = verdicts.against(limits, None, "accuracy", "The judge names the class", 0.5, ">=", "accuracy", n=1, kind="control")
    assert (exact.interval, exact.verdict, exact.kind) == ((0.5, 0.5), "FAIL", "control")
    default = verdicts.against(limits, 3, "guided-accuracy", "The judge names the class", 0.97, ">=", n=1)
    assert (default.threshold, default.threshold_name) == (0.9, "guided_accuracy")


def test_a_distance_holds_zero_exactly_where_the_interval_holds_the_target():
    assert verdicts.away((-0.1, -0.3, 0.2)) == (0.1, 0.0, 0.3)
    assert verdicts.away((-0.2, -0.3, -0.1)) == (0.2, 0.1, 0.3)
    assert verdicts.away((1.5, 1.25, 2.0), 1.0) == (0.5, 0.25, 1.0)
