"""Claims and what the numbers say of them: PASS, FAIL or INCONCLUSIVE."""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Relation = Literal["<=", ">="]
Kind = Literal["claim", "control"]
Interval = tuple[float, float]
Number = tuple[float, float, float]
"""A value and its 95 % interval: (value, low, high)."""


@dataclass(frozen=True)
class Claim:
    """One measured number held against one threshold, in one seed.

    interval: the 95 % interval (low, high) of `value`; it may exclude `value`, as the bootstrap of a biased statistic does.
    n: the samples behind the number. seed: None where the number has none.
    kind: a "control" states that something bad misses a named threshold, so PASS means that it misses as it must.
    threshold_name: the field of the configuration's `thresholds` that holds the threshold.
    figure: the file of the figure or explorer that shows the number, to which the report links; empty where none does.
    Raises ValueError for a relation, interval, threshold, n or verdict that cannot be.
    """

    id: str
    statement: str
    value: float
    interval: Interval
    relation: Relation
    threshold: float
    n: int
    seed: int | None
    verdict: Verdict
    kind: Kind = "claim"
    threshold_name: str = ""
    figure: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id is empty: a claim needs a name")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind = {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if self.n < 1:
            raise ValueError(f"n = {self.n} samples cannot support claim {self.id!r}: at least 1 is needed")
        right = _judge_number(self.value, self.interval, self.relation, self.threshold)
        if self.verdict != right:
            contradicted = f"verdict = {self.verdict!r} of claim {self.id!r} contradicts its numbers, which say {right}"
            raise ValueError(f"{contradicted}; build it with verdicts.claim")


@dataclass(frozen=True)
class Summary:
    """One claim over its seeds. `claims` holds the number of each seed, in the order of the seeds."""

    id: str
    claims: tuple[Claim, ...]
    verdict: Verdict

    @property
    def first(self) -> Claim:
        """The claim whose statement, relation, threshold and kind all seeds share."""
        return self.claims[0]


def judge(interval: Interval, relation: Relation, threshold: float) -> Verdict:
    """PASS if the unfavourable end of the interval clears the threshold, FAIL if the favourable end misses it, else INCONCLUSIVE.

    An end equal to the threshold clears it. A NaN end is FAIL, in a control as well: the number could not be measured, and unlike a wide
    interval it would not be settled by more samples. Raises ValueError for a NaN threshold, an unknown relation or low > high.
    """
    if relation not in get_args(Relation):
        raise ValueError(f"relation = {relation!r} is none of {', '.join(get_args(Relation))}")
    if math.isnan(threshold):
        raise ValueError("threshold is NaN: nothing can be held against it")
    low, high = interval
    if math.isnan(low) or math.isnan(high):
        return "FAIL"
    if low > high:
        raise ValueError(f"interval = ({low:g}, {high:g}) is upside down: it is (low, high)")
    clears, misses = (high <= threshold, low > threshold) if relation == "<=" else (low >= threshold, high < threshold)
    return "PASS" if clears else "FAIL" if misses else "INCONCLUSIVE"


def claim(
    id: str,
    statement: str,
    value: float,
    interval: Interval,
    relation: Relation,
    threshold: float,
    *,
    n: int,
    seed: int | None,
    **more: Any,
) -> Claim:
    """A Claim with the verdict that follows from its numbers; a NaN value is FAIL, whatever its interval. more: other fields of Claim."""
    number, ends, bound = float(value), (float(interval[0]), float(interval[1])), float(threshold)
    verdict = _judge_number(number, ends, relation, bound)
    return Claim(id, statement, number, ends, relation, bound, int(n), None if seed is None else int(seed), verdict, **more)


def against(
    limits: Any, seed: int | None, id: str, statement: str, number: Number | float, relation: Relation, threshold: str = "", **more: Any
) -> Claim:
    """`claim` against the field called `threshold` of a configuration's `limits`; by default the field that is named like the claim.

    A plain number is exact: an interval without width. more: n, and other fields of Claim.
    """
    value, low, high = number if isinstance(number, tuple) else (number, number, number)
    name = threshold or id.replace("-", "_")
    return claim(id, statement, value, (low, high), relation, getattr(limits, name), seed=seed, threshold_name=name, **more)


def away(number: Number, target: float = 0.0) -> Number:
    """|value - target| and its interval, which begins at 0 where the given one holds the target."""
    value, low, high = (end - target for end in number)
    ends = sorted((abs(low), abs(high)))
    return abs(value), 0.0 if low <= 0 <= high else ends[0], ends[1]


def overall(claims: Iterable[Claim]) -> Verdict:
    """PASS if every claim passes, FAIL if any fails, else INCONCLUSIVE (no claims at all included)."""
    verdicts = {each.verdict for each in claims}
    return "FAIL" if "FAIL" in verdicts else "PASS" if verdicts == {"PASS"} else "INCONCLUSIVE"


def by_id(claims: Iterable[Claim]) -> dict[str, Summary]:
    """Claims of one id together, in order of first appearance; the verdict is PASS only if every seed passes, FAIL if any fails.

    Raises ValueError where a seed is given twice, or where the seeds of one id differ in anything but what was measured.
    """
    groups: dict[str, list[Claim]] = {}
    for each in claims:
        groups.setdefault(each.id, []).append(each)
    for id, group in groups.items():
        group.sort(key=lambda each: (each.seed is not None, each.seed or 0))
        if twice := [first.seed for first, second in itertools.pairwise(group) if first.seed == second.seed]:
            raise ValueError(f"claim {id!r} is given twice for seed {twice[0]}: one number per seed")
        for name in ("statement", "relation", "threshold", "kind", "threshold_name", "figure"):
            values = {getattr(each, name) for each in group}
            if len(values) > 1:
                raise ValueError(f"claim {id!r} has different values of {name} in its seeds: {', '.join(sorted(map(repr, values)))}")
    return {id: Summary(id, tuple(group), overall(group)) for id, group in groups.items()}


def _judge_number(value: float, interval: Interval, relation: Relation, threshold: float) -> Verdict:
    verdict = judge(interval, relation, threshold)
    return "FAIL" if math.isnan(value) else verdict
