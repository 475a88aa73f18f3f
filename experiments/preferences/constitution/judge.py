"""How the constitution experiment judges: claims of every seed, the controls, and what the page shows."""

import functools
from collections.abc import Iterator

import numpy as np

from experiments.preferences.constitution import findings, grammar
from experiments.preferences.constitution.config import Config
from experiments.preferences.constitution.findings import Found
from experiments.preferences.constitution.train import BASE, NETWORKS, PREFERENCE, SHUFFLED, SUPERVISED, UNREVISED
from gendiff.metrics import proportions
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.formatting import Cell
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder

NAMES = {
    BASE: "base",
    SUPERVISED: "tuned on its revisions",
    PREFERENCE: "and on its own labels",
    UNREVISED: "control: tuned on its drafts",
    SHUFFLED: "control: and on labels of a coin",
}


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Every claim, from the networks that training left."""
    found = findings.of_all(config, folder, progress)
    made = tuple(claim for seed, of in zip(config.seeds, found, strict=True) for claim in claims(config, seed, of))
    return Outcome(made, _figures(folder, found), tables(config, found))


def claims(config: Config, seed: int, found: Found) -> Iterator[Claim]:
    """Of one seed."""
    claim = functools.partial(verdicts.against, config.thresholds, seed)
    of = functools.partial(claim, n=len(found.marks[BASE].solved), figure="violations.png")
    broken = {name: marks.any for name, marks in found.marks.items()}

    def over(name: str) -> Number | float:
        """Violations over those of the base network."""
        if not broken[BASE].any():
            return float("nan")
        rows = (broken[each].astype(np.float64) for each in (name, BASE))
        return intervals.interval(intervals.ratio_of_means, *rows, paired=True, resamples=config.resamples)

    def p(before: str, after: str) -> float:
        return proportions.mcnemar(broken[before], broken[after]).p_value

    yield of("halved", "answers that break a principle after tuning on revisions, over those before", over(SUPERVISED), "<=")
    fewer = "McNemar's one-sided p that fewer answers break a principle after"
    yield of("fell-supervised", f"{fewer} tuning on revisions", p(BASE, SUPERVISED), "<=", "p_value")
    yield of("fell-preference", f"{fewer} tuning on its own labels than before it", p(SUPERVISED, PREFERENCE), "<=", "p_value")
    rows = (found.marks[name].solved.astype(np.float64) for name in (BASE, PREFERENCE))
    lost = intervals.interval(intervals.difference_of_means, *rows, paired=True, resamples=config.resamples)
    yield of("success", "share of right answers before less that after both stages", lost, "<=")
    right = found.agreement.both
    agreed = intervals.share(right) if len(right) else float("nan")
    yield claim("agreement", "share of the network's own labels that agree with the rules", agreed, ">=", n=max(len(right), 1))
    control = functools.partial(of, kind="control")
    yield control("unrevised", "answers that break a principle after tuning on drafts, over those before", over(UNREVISED), ">=")
    yield control("shuffled", f"{fewer} tuning on labels of a coin than before it", p(SUPERVISED, SHUFFLED), ">=")


def tables(config: Config, found: list[Found]) -> tuple[Table, ...]:
    """All tables."""
    return _networks(config, found), _labels(config, found), _skills(config, found), _revisions(config, found)


def _figures(folder: RunFolder, found: list[Found]) -> tuple[Figure, ...]:
    broken = {NAMES[name]: intervals.share(np.concatenate([of.marks[name].any for of in found])) for name in NETWORKS}
    solved = {NAMES[name]: intervals.share(np.concatenate([of.marks[name].solved for of in found])) for name in NETWORKS}
    return (
        figures.bars(broken, folder.figure("violations"), "Share of answers that break a principle, all seeds.", x_label="share"),
        figures.bars(solved, folder.figure("success"), "Share of answers whose letters are right, all seeds.", x_label="share"),
    )


def _networks(config: Config, found: list[Found]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name in NETWORKS:
        marks = [of.marks[name] for of in found]
        by_principle = np.mean([each.violated.mean(0) for each in marks], 0)
        shares = (float(np.mean([each.any.mean() for each in marks])), *map(float, by_principle))
        rows.append((NAMES[name], *shares, float(np.mean([each.solved.mean() for each in marks]))))
    columns = ("network", "breaks a principle", *(f"breaks: {principle}" for principle in grammar.PRINCIPLES), "right letters")
    return Table(f"Answers to {config.judged} held-out requests, means over seeds.", columns, tuple(rows), main=True)


def _labels(config: Config, found: list[Found]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for seed, of in zip(config.seeds, found, strict=True):
        agreed = of.agreement
        shares = (_mean(each) for each in (agreed.both, agreed.one))
        rows.append((seed, config.pairs, agreed.labelled, len(agreed.both), *shares, agreed.orders))
    columns = (
        "seed",
        "pairs",
        "labelled",
        "of these told apart by the rules",
        "agree with the rules",
        "asked in one order",
        "orders agree",
    )
    note = (
        "A label is the mean over the four principles of the probability that the first answer is better, both orders averaged. "
        "Orders agree: the share of questions about labelled pairs in which both orders prefer the same answer. "
        "Most questions are about a principle that both answers keep."
    )
    return Table("The labels of the network's own judgement.", columns, tuple(rows), note, main=True)


def _skills(config: Config, found: list[Found]) -> Table:
    names = ("verdict", "place", "revision")
    rows: list[tuple[Cell, ...]] = []
    for seed, of in zip(config.seeds, found, strict=True):
        rows.append((seed, *(_mean(getattr(of.skilled, name)) for name in names)))
    columns = ("seed", "verdict is right", "and the place", "revision is right")
    note = (
        "The critic's competence is trained, not emergent: the base network learned to criticise, to revise and to judge from "
        "examples that the rules wrote. The run asks whether such a network can then improve its own answers without further examples."
    )
    return Table("The base network as critic and reviser of its own drafts, against the rules.", columns, tuple(rows), note, main=True)


def _revisions(config: Config, found: list[Found]) -> Table:
    columns = ("request", "draft", *(f"round {number}" for number in range(1, config.rounds + 1)), "principles")
    return Table("Revisions by the network itself, first seed.", columns, found[0].shown)


def _mean(hits: np.ndarray) -> Cell:
    return float(hits.mean()) if len(hits) else None
