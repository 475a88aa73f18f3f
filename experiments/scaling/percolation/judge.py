"""The percolation experiment: claims, plots and tables."""

import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from experiments.scaling.percolation import graphs
from experiments.scaling.percolation.config import Config
from experiments.scaling.percolation.measures import Components, Models, measure_components, measure_models
from gendiff.runs.progress import Progress
from gendiff.runs.registry import Outcome
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.results import Figure, Table
from gendiff.runs.reporting.verdicts import Claim, Number
from gendiff.runs.run_folder import RunFolder
from gendiff.scaling import emergence

FACTS_BAND = math.log10(0.9 / 0.1)
"""Decades of p between 10 and 90 % of all facts."""


def evaluate(config: Config, folder: RunFolder, progress: Progress) -> Outcome:
    """Graphs of every size, and trained models, seed by seed."""
    claims, grown, trained = list[Claim](), list[dict[str, Components]](), list[Models]()
    for seed in config.seeds:
        with progress.phase("graphs", seed=seed):
            grown.append(measure_components(config, seed))
        with progress.phase("models", seed=seed):
            trained.append(measure_models(config, seed))
        claims += _graph_claims(config, seed, grown[-1])
        claims += _model_claims(config, seed, trained[-1])
    shown = (_component_plot(config, grown, folder), _skill_plot(config, grown, trained, folder), _path_plot(config, trained, folder))
    return Outcome(tuple(claims), shown, (_jump_table(config, grown), _rank_table(config, trained)))


def _graph_claims(config: Config, seed: int, grown: dict[str, Components]) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.graphs)
    degrees, judged = np.array(config.degrees), grown[_equal(config.sides[-1])]
    late = degrees >= config.above
    for id, name, nodes in (
        ("giant", _equal(config.sides[-1]), (config.sides[-1],) * 2),
        ("giant-unequal", _unequal(config), (config.few, config.many)),
    ):
        expected = np.array([graphs.giant_share(each, *nodes) for each in degrees[late]])
        gap = _over_graphs(
            config, lambda rows, expected=expected: float(np.abs(rows.mean(0) - expected).max()), grown[name].largest[:, late]
        )
        statement = f"share of the largest component ({name}) against its fixed point: largest difference"
        yield claim(id, statement, gap, "<=", "theory", figure="components.png")
        place = _over_graphs(config, lambda rows: float(degrees[rows.mean(0).argmax()]), grown[name].second)
        statement = f"p · √(n₁ n₂) where the second-largest component is largest ({name}): distance from 1"
        yield claim(id.replace("giant", "threshold"), statement, verdicts.away(place, 1.0), "<=", "place")
        if id == "giant-unequal":
            factor = (config.few + config.many) / 2 / math.sqrt(config.few * config.many)
            by_mean = (place[0] * factor, place[1] * factor, place[2] * factor)
            statement = "the same with the arithmetic mean of both sides in the place of √(n₁ n₂)"
            yield claim("threshold-mean", statement, verdicts.away(by_mean, 1.0), ">=", "place", kind="control")
    below, above = (judged.linked[:, config.degrees.index(each)] for each in (config.below, config.above))
    yield claim("dark", f"share of unseen pairs that a path links at {config.below:g}", _mean(config, below), "<=")
    yield claim("lit", f"share of unseen pairs that a path links at {config.above:g}", _mean(config, above), ">=", figure="skills.png")
    growth = _over_graphs(config, lambda low, high: _growth(config, low, high), below, above)
    statement = f"growth of skills from {config.below:g} to {config.above:g}, over that of facts"
    yield claim("jump", statement, growth, ">=", figure="skills.png")
    band = _over_graphs(config, lambda rows: _band(degrees, rows.mean(0)), judged.linked)
    yield claim("band", "decades of p between 10 and 90 % of the skills", band, "<=", figure="skills.png")
    yield claim("band-facts", "decades of p between 10 and 90 % of the facts", FACTS_BAND, ">=", "band", kind="control")


def _model_claims(config: Config, seed: int, models: Models) -> Iterator[Claim]:
    claim = functools.partial(verdicts.against, config.thresholds, seed, n=config.trained)
    at = config.degrees.index(config.above)
    where = f"at {config.above:g}"
    right, unlinked = (np.nan_to_num(of[:, at]) for of in (models.grown.right, models.grown.unlinked))
    yield claim("right", f"share of the linked unseen pairs that the model has right {where}", _mean(config, right), ">=")
    by_chance = verdicts.away(_mean(config, unlinked))
    yield claim("chance", f"share right less share wrong of the pairs that no path links {where}: its size", by_chance, "<=")
    gain = "share right less share wrong of all unseen pairs"
    yield claim("learned", f"{gain} {where}", _mean(config, models.grown.gain[:, at]), ">=", "lit", figure="skills.png")
    for id, name, of in (
        ("learned-blocks", "as many facts within blocks", models.blocks.gain[:, at]),
        ("learned-shuffled", "shuffled values", models.shuffled.gain),
    ):
        yield claim(id, f"{name}: {gain} {where}", _mean(config, of), "<=", "lit", kind="control", figure="skills.png")


def _component_plot(config: Config, grown: list[dict[str, Components]], folder: RunFolder) -> Figure:
    panels = []
    unequal = [(_unequal(config), (config.few, config.many))]
    for title, sizes in (("equal sides", [(_equal(side), (side, side)) for side in config.sides]), ("unequal sides", unequal)):
        series = [figures.Curve(name, config.degrees, *_band_of(grown, name, "largest")) for name, _ in sizes]
        theory = [graphs.giant_share(each, *sizes[-1][1]) for each in config.degrees]
        panels.append(figures.Panel(title, [*series, figures.Curve("endless graph", config.degrees, theory)]))
    caption = "Share of all nodes in the largest component; bands hold 95 % of the graphs. One formula places both thresholds at 1."
    return figures.small_multiples(panels, folder.figure("components"), caption, x_label="p · √(n₁ n₂)")


def _skill_plot(config: Config, grown: list[dict[str, Components]], trained: list[Models], folder: RunFolder) -> Figure:
    curve = functools.partial(figures.Curve, x=config.degrees)
    judged = _equal(config.sides[-1])
    facts = curve("facts, of the last", y=np.array(config.degrees) / config.degrees[-1])
    skills = [curve("pairs that a path links", **_named(_band_of(grown, judged, "linked")))]
    models = [
        curve(name, y=np.mean([getattr(each, part).gain.mean(0) for each in trained], axis=0))
        for name, part in (("trained model", "grown"), ("facts in blocks", "blocks"))
    ]
    panels = [
        figures.Panel("facts: read one by one", [facts]),
        figures.Panel("skills: unseen pairs", skills),
        figures.Panel("a trained model on unseen pairs: right less wrong", models),
    ]
    caption = "Facts grow evenly. Pairs that they link, and what a trained model knows of unseen pairs, stay near 0 and then rise at 1."
    return figures.small_multiples(panels, folder.figure("skills"), caption, x_label="p · √(n₁ n₂)")


def _path_plot(config: Config, trained: list[Models], folder: RunFolder) -> Figure:
    series = [
        figures.Curve(
            f"at most {2 * detours + 1} facts", config.degrees, np.mean([each.within[number].mean(0) for each in trained], axis=0)
        )
        for number, detours in enumerate(config.detours)
    ]
    any_length = figures.Curve("any length", config.degrees, np.mean([each.linked.mean(0) for each in trained], axis=0))
    caption = "Share of unseen pairs that a path links, by its length. Only long paths make a sharp threshold."
    options: Any = {"x_label": "p · √(n₁ n₂)", "y_label": "linked pairs"}
    return figures.curves([*series, any_length], folder.figure("paths"), caption, **options)


def _jump_table(config: Config, grown: list[dict[str, Components]]) -> Table:
    below, above = map(config.degrees.index, (config.below, config.above))
    rows = list[tuple[Any, ...]]()
    for name in grown[0]:
        linked = np.concatenate([each[name].linked for each in grown])
        largest = np.concatenate([each[name].largest for each in grown])
        low, high = linked[:, below], linked[:, above]
        jump, band = _growth(config, low, high), emergence.sharpness_decades(np.array(config.degrees), linked.mean(0))
        means = (float(each.mean()) for each in (largest[:, below], largest[:, above], low, high))
        rows.append((name, *means, jump, None if math.isnan(band) else band))
    ends = (f"at {config.below:g}", f"at {config.above:g}")
    columns = ("nodes", *(f"largest component {end}" for end in ends), *(f"skills {end}" for end in ends), "growth over facts", "decades")
    note = (
        f"Decades of p between 10 and 90 % of the skills; facts take {FACTS_BAND:.2f}. No number: the last degree has less than 90 %. "
        "The larger the graph, the fewer skills there are before the threshold."
    )
    return Table("What jumps at the threshold", columns, tuple(rows), note=note, main=True)


def _rank_table(config: Config, trained: list[Models]) -> Table:
    rows: list[tuple[Any, ...]] = [
        (rank, *(_mean(config, np.concatenate([each.by_rank[rank][part] for each in trained])) for part in ("right", "gain")))
        for rank in config.ranks
    ]
    note = "The facts decide every linked pair. Signs alone stop at contradictions that vectors turn out of."
    return Table(f"Models of several ranks at {config.above:g}", ("rank", "linked pairs right", "right less wrong"), tuple(rows), note=note)


def _over_graphs(config: Config, statistic: Any, *rows: np.ndarray) -> Number:
    return intervals.interval(statistic, *rows, paired=True, resamples=config.resamples)


def _mean(config: Config, values: np.ndarray) -> Number:
    return _over_graphs(config, np.mean, values)


def _growth(config: Config, low: np.ndarray, high: np.ndarray) -> float:
    return float(high.mean() / max(low.mean(), 1e-12) / (config.above / config.below))


def _band(degrees: np.ndarray, skills: np.ndarray) -> float:
    """Endless where the skills do not reach 90 %: NaN has no place in a bootstrap."""
    decades = emergence.sharpness_decades(degrees, skills)
    return float(np.nan_to_num(decades, nan=1e6))


def _band_of(grown: list[dict[str, Components]], name: str, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over graphs and seeds, and the middle 95 %."""
    rows = np.concatenate([getattr(each[name], part) for each in grown])
    return rows.mean(0), *np.quantile(rows, (0.025, 0.975), axis=0)


def _named(band: tuple[np.ndarray, np.ndarray, np.ndarray]) -> dict[str, Any]:
    return dict(zip(("y", "low", "high"), band, strict=True))


def _equal(side: int) -> str:
    return f"{side} and {side}"


def _unequal(config: Config) -> str:
    return f"{config.few} and {config.many}"
