"""Claims and what the numbers say of them: PASS, FAIL or INCONCLUSIVE; of the essay's statements in words."""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

Verdict = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Word = Literal["holds", "holds in part", "does not hold here", "open"]
"""What is answered of a statement of the essay."""
Relation = Literal["<=", ">="]
Kind = Literal["claim", "control"]
Role = Literal["essay", "promise", "aim", "check"]
"""essay: tests a numbered statement of the essay. promise: of this library. aim: speed or size. check: an identity or a
sanity test.
"""
WORDS: Mapping[Verdict, Word] = {"PASS": "holds", "FAIL": "does not hold here", "INCONCLUSIVE": "open"}
Interval = tuple[float, float]
Number = tuple[float, float, float]
"""A value and its interval, (value, low, high): of 95 % where the statement names no other level."""


@dataclass(frozen=True)
class Claim:
    """One measured number held against one threshold, in one seed.

    interval: (low, high) of `value`, of 95 % where the statement names no other level; it may exclude `value`, as the
        bootstrap of a biased statistic does.
    n: the samples behind the number. seed: None where the number has none.
    kind: a "control" states that something bad misses a named threshold, so PASS means that it misses as it must.
    threshold_name: the field of the configuration's `thresholds` that holds the threshold.
    reason: why the threshold is what it is; empty where the configuration says it.
    figure: the file of the figure or explorer that shows the number, to which the report links; empty where none does.
    against: the id of the treatment that a control is compared with: `value` is then the control's number less the
    treatment's, and `alone` the control's number by itself.
    role: what the claim is for; empty where the study does not say. essay: the statement that a claim of role "essay"
        tests, such as "E5".
    Raises ValueError for a relation, interval, threshold, n, verdict or role that cannot be.
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
    role: Role | Literal[""] = ""
    essay: str = ""
    reason: str = ""
    against: str = ""
    alone: Number | None = None

    def __post_init__(self) -> None:
        if not self.id:
            raise ValueError("id is empty: a claim needs a name")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind = {self.kind!r} is none of {', '.join(get_args(Kind))}")
        if (self.role == "essay") != bool(self.essay):
            raise ValueError(
                f"claim {self.id!r} has role {self.role!r} and statement {self.essay!r}: an essay claim, and no other, "
                "names one"
            )
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

    @property
    def number(self) -> Number:
        """The mean over the seeds with its 95 % interval."""
        return mean_over_seeds((claim.value, *claim.interval) for claim in self.claims)

    @property
    def mean(self) -> Claim:
        """The claim of the mean over the seeds."""
        value, low, high = self.number
        verdict = _judge_number(value, (low, high), self.first.relation, self.first.threshold)
        return dataclasses.replace(self.first, value=value, interval=(low, high), seed=None, verdict=verdict)

    @property
    def verdict(self) -> Verdict:
        """Of the mean over the seeds."""
        return self.mean.verdict

    @property
    def word(self) -> Verdict | Word:
        """The verdict; in words where a statement of the essay is tested."""
        return WORDS[self.verdict] if self.first.role == "essay" else self.verdict

    @property
    def first(self) -> Claim:
        """The claim whose statement, relation, threshold and kind all seeds share."""
        return self.claims[0]


def judge(interval: Interval, relation: Relation, threshold: float) -> Verdict:
    """PASS if the unfavourable end of the interval clears the threshold, FAIL if the favourable end misses it, else
    INCONCLUSIVE.

    An end equal to the threshold clears it. A NaN end is FAIL, in a control as well: the number could not be measured,
    and unlike a wide interval it would not be settled by more samples. Raises ValueError for a NaN threshold, an
    unknown relation or low > high.
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
    **more: Any,  # each field of Claim has its own type
) -> Claim:
    """A Claim with the verdict that follows from its numbers; a NaN value is FAIL, whatever its interval. more: other
    fields of Claim.
    """
    number, ends, bound = float(value), (float(interval[0]), float(interval[1])), float(threshold)
    verdict = _judge_number(number, ends, relation, bound)
    return Claim(
        id, statement, number, ends, relation, bound, int(n), None if seed is None else int(seed), verdict, **more
    )


def against(
    limits: object,
    seed: int | None,
    id: str,
    statement: str,
    number: Number | float,
    relation: Relation,
    threshold: str = "",
    **more: Any,  # each field of Claim has its own type
) -> Claim:
    """`claim` against the field called `threshold` of a configuration's `limits`; by default the field that is named
    like the claim.

    A plain number is exact: an interval without width. more: n, and other fields of Claim.
    """
    value, low, high = number if isinstance(number, tuple) else (number, number, number)
    name = threshold or id.replace("-", "_")
    return claim(
        id, statement, value, (low, high), relation, getattr(limits, name), seed=seed, threshold_name=name, **more
    )


def away(number: Number, target: float = 0.0) -> Number:
    """|value - target| and its interval, which begins at 0 where the given one holds the target."""
    value, low, high = (end - target for end in number)
    ends = sorted((abs(low), abs(high)))
    return abs(value), 0.0 if low <= 0 <= high else ends[0], ends[1]


def mean_over_seeds(numbers: Iterable[Number]) -> Number:
    """The mean of one measure over seeds and its 95 % interval; that of a single seed is the seed's.

    Its variance on either side is that within seeds, from their intervals, plus what the seeds scatter beyond it
    (DerSimonian and Laird, 1986, with equal weights; from memory). The interval is Student's t with the degrees of
    freedom of Welch and Satterthwaite: those of the seeds where seeds scatter, many where they do not. It is the same
    rule for any number of seeds, and too narrow for few that scatter much: where their spread is twice that within
    them, 84 % of pairs of seeds, 88 % of threes and 93 % of eights cover the truth. The ends are read as those of 95 %:
    from those of 90 % comes a level of 90 % where seeds do not scatter, and of up to 95 % where they do. Where an end
    is not finite, the interval holds those of all seeds.
    """
    rows = tuple(numbers)
    count = len(rows)
    if count == 1:
        return rows[0]
    value = sum(row[0] for row in rows) / count
    if any(math.isnan(end) for row in rows for end in row):
        return math.nan, math.nan, math.nan
    if not all(math.isfinite(end) for row in rows for end in row):
        return value, min(low for _, low, _ in rows), max(high for _, _, high in rows)
    import scipy.stats  # takes half a second

    normal = float(scipy.stats.norm.ppf(0.975))
    sides = [number - low for number, low, _ in rows], [high - number for number, _, high in rows]
    below, above = (sum((max(0.0, end) / normal) ** 2 for end in ends) / count for ends in sides)
    within, scatter = (below + above) / 2, sum((row[0] - value) ** 2 for row in rows) / (count - 1)
    between = max(0.0, scatter - within)
    freedom = (count - 1) * ((within + between) / between) ** 2 if between > 0 else math.inf
    times = normal if math.isinf(freedom) else float(scipy.stats.t.ppf(0.975, freedom))
    low, high = (times * math.sqrt((side + between) / count) for side in (below, above))
    return value, value - low, value + high


def less(first: Number, second: Number) -> Number:
    """The difference of two independent numbers, with its interval."""
    (value, low, high), (other, other_low, other_high) = first, second
    below, above = math.hypot(value - low, other_high - other), math.hypot(high - value, other - other_low)
    return value - other, value - other - below, value - other + above


def control(
    id: str,
    statement: str,
    alone: Number,
    treatment: Number,
    relation: Relation,
    margin: float,
    *,
    against: str,
    **more: Any,  # each field of Claim has its own type
) -> Claim:
    """A control that is compared with a treatment: its number `alone` less the treatment's must clear the margin. more:
    n, seed, figure.
    """
    value, low, high = less(alone, treatment)
    return claim(
        id, statement, value, (low, high), relation, margin, kind="control", against=against, alone=alone, **more
    )


def overall(judged: Iterable[Claim | Summary]) -> Verdict:
    """PASS if every claim passes, FAIL if any fails, else INCONCLUSIVE (no claims at all included)."""
    verdicts = {each.verdict for each in judged}
    return "FAIL" if "FAIL" in verdicts else "PASS" if verdicts == {"PASS"} else "INCONCLUSIVE"


def tone(verdict: str) -> Verdict:
    """The verdict whose colour a word has."""
    return (
        "PASS"
        if verdict in ("PASS", "holds")
        else "FAIL"
        if verdict in ("FAIL", "does not hold here")
        else "INCONCLUSIVE"
    )


def in_words(summaries: Iterable[Summary]) -> Word:
    """What claims on the essay say together; a control beside them must pass for "holds"."""
    groups = tuple(summaries)
    verdicts = [each.verdict for each in groups if each.first.kind == "claim"]
    if "PASS" in verdicts:
        return "holds" if overall(groups) == "PASS" else "holds in part"
    return "does not hold here" if "FAIL" in verdicts else "open"


def verdict(claims: Iterable[Claim]) -> Verdict | Word:
    """What all claims of a study say: those of its essay and promise claims with the controls, else those of its aims,
    else of its checks.

    In words where a statement of the essay is among them.
    """
    groups = list(by_id(claims).values())
    controls = [each for each in groups if each.first.kind == "control"]
    for roles in (("essay", "promise"), ("aim",), ("check", "")):
        heads = [each for each in groups if each.first.kind == "claim" and each.first.role in roles]
        if heads:
            essay = any(each.first.role == "essay" for each in heads)
            return in_words(heads + controls) if essay else overall(heads + controls)
    return overall(controls)


def by_id(claims: Iterable[Claim]) -> dict[str, Summary]:
    """Claims of one id together, in order of first appearance.

    Raises ValueError where a seed is given twice, or where the seeds of one id differ in anything but what was
    measured.
    """
    groups: dict[str, list[Claim]] = {}
    for each in claims:
        groups.setdefault(each.id, []).append(each)
    for id, group in groups.items():
        group.sort(key=lambda each: (each.seed is not None, each.seed or 0))
        if twice := [first.seed for first, second in itertools.pairwise(group) if first.seed == second.seed]:
            raise ValueError(f"claim {id!r} is given twice for seed {twice[0]}: one number per seed")
        for name in (
            "statement",
            "relation",
            "threshold",
            "kind",
            "threshold_name",
            "figure",
            "role",
            "essay",
            "against",
        ):
            values = {getattr(each, name) for each in group}
            if len(values) > 1:
                raise ValueError(
                    f"claim {id!r} has different values of {name} in its seeds: {', '.join(sorted(map(repr, values)))}"
                )
    return {id: Summary(id, tuple(group)) for id, group in groups.items()}


def _judge_number(value: float, interval: Interval, relation: Relation, threshold: float) -> Verdict:
    verdict = judge(interval, relation, threshold)
    return "FAIL" if math.isnan(value) else verdict
