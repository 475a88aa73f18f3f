"""Do skills appear at once when facts are read one by one? Paths through a random graph of facts, and a model that is
trained on it.

    python -m experiments run percolation

A fact links one node of each of two sides, and a skill is an unseen pair that some path of facts links. Facts come one
by one. The largest component is held against its fixed point, and the place of the threshold against p · √(n₁ n₂) = 1,
for equal and for unequal sides. A model of low rank is trained on a growing share of the facts, whose values are the
product of a sign on each side: it can know an unseen pair where a path leads to it, and nowhere else. The same number
of facts within small blocks, and facts with shuffled values, are the controls. About 75 seconds on 2 cores.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from experiments.scaling.percolation import completion, graphs
from experiments.scaling.percolation.completion import Known
from experiments.scaling.percolation.graphs import Graphs
from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.progress import Progress
from gendiff.runs.ranges import Count, Distinct, Seed, Several
from gendiff.runs.reporting import figures, intervals, verdicts
from gendiff.runs.reporting.answers import Answer, Change
from gendiff.runs.reporting.results import Figure
from gendiff.runs.reporting.verdicts import Number
from gendiff.runs.run_folder import RunFolder
from gendiff.runs.study import Measured, Measurements, Study, claim, control
from gendiff.scaling import emergence

DEGREES = np.array(
    [0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0]
)
"""Values of p · √(n₁ n₂); of equal sides, facts per node."""
BELOW, ABOVE = 0.8, 1.5
"""Of the degrees, the one before the jump and the one after it."""
AT_BELOW, AT_ABOVE = DEGREES.tolist().index(BELOW), DEGREES.tolist().index(ABOVE)
DETOURS = (1, 2, 4)
"""Lengths of paths that are shown: a path of d detours has 2 d + 1 facts."""
LARGE, UNEQUAL, MODEL, BLOCKS, SHUFFLED = (
    "equal sides",
    "unequal sides",
    "trained model",
    "facts in blocks",
    "shuffled values",
)
X = "p · √(n₁ n₂)"


@dataclasses.dataclass(frozen=True)
class Config:
    """The numbers that are turned."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the graphs, of the signs and of the model."""
    sides: Distinct[Several] = (100, 400, 1600)
    """Nodes of each side of the graphs with equal sides, rising. The last is judged."""
    few: Several = 1600
    """Nodes of the smaller side of unequal ones."""
    many: Several = 25600
    """Nodes of the larger one."""
    graphs: Several = 30
    """Graphs of each size and seed."""
    side: Several = 400
    """Nodes of each side where a model is trained."""
    trained: Several = 24
    """Graphs per seed where a model is trained."""
    ranks: Distinct[Count] = (1, 2, 4)
    """Numbers per node in the model, rising. The last is judged."""
    rounds: Count = 300
    """Rounds of training at most; each takes the best vectors of one side, then those of the other."""
    block: Several = 20
    """Nodes of each side of a block of the control; a divisor of `side`."""
    resamples: Several = 1000
    """Bootstrap draws of the graphs behind each interval."""


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for option, values in (("sides", config.sides), ("ranks", config.ranks)):
        ranges.rising(option, values)
    if config.few >= config.many:
        raise ConfigError(f"--few {config.few} must be below --many {config.many}: the sides are unequal")
    densest = DEGREES[-1]
    for option, nodes in (
        ("sides", float(config.sides[0])),
        ("side", float(config.side)),
        ("few", math.sqrt(config.few * config.many)),
    ):
        if densest > nodes:
            raise ConfigError(f"--{option} {nodes:g} is below {densest:g}, the most facts per node")
    if config.side % config.block:
        raise ConfigError(f"--block {config.block} must divide --side {config.side}")
    if densest > config.block / 2:
        raise ConfigError(
            f"--block {config.block} is too small: it must be at least twice {densest:g}, the most facts per node"
        )


def measure(config: Config, folder: RunFolder, progress: Progress) -> Iterator[Measured]:
    """Graphs of every size, and trained models, seed by seed."""
    for seed in config.seeds:
        with progress.phase("graphs", seed=seed):
            yield from _graphs(config, seed)
        with progress.phase("models", seed=seed):
            yield from _models(config, seed)


def _graphs(config: Config, seed: int) -> Iterator[Measured]:
    """Components and linked pairs of growing graphs, by the sizes of both sides."""
    rng, over = np.random.default_rng(seed), _intervals(config)
    for n1, n2 in [*((side, side) for side in config.sides), (config.few, config.many)]:
        full = graphs.draw(rng, config.graphs, n1, n2, DEGREES[-1] / np.sqrt(n1 * n2))
        columns = [(*each.largest(), each.linked()) for each in _growing(full)]
        # each (graphs, degrees)
        largest, second, linked = (np.stack(part, axis=1) for part in zip(*columns, strict=True))
        name = LARGE if n1 == n2 == config.sides[-1] else UNEQUAL if n1 != n2 else f"{n1} and {n2}"
        expected = np.array([graphs.giant_share(each, n1, n2) for each in DEGREES])
        late, below, above = DEGREES >= ABOVE, linked[:, AT_BELOW], linked[:, AT_ABOVE]
        gap = over(lambda rows, e=expected[late]: float(np.abs(rows.mean(0) - e).max()), largest[:, late])
        peak = over(lambda rows: float(DEGREES[rows.mean(0).argmax()]), second)
        measures = {
            "theory": gap,
            "place": verdicts.away(peak, 1.0),
            "dark": over(np.mean, below),
            "lit": over(np.mean, above),
            "jump": over(lambda low, high: float(high.mean() / max(low.mean(), 1e-12) / (ABOVE / BELOW)), below, above),
            "band": over(lambda rows: _band(rows.mean(0)), linked),
            "component below": over(np.mean, largest[:, AT_BELOW]),
            "component above": over(np.mean, largest[:, AT_ABOVE]),
        }
        arrays = {"largest": largest, "linked": linked, "theory": expected, "nodes": f"{n1} and {n2}"}
        yield Measured(name, measures, seed, config.graphs, "graphs", arrays)


def _models(config: Config, seed: int) -> Iterator[Measured]:
    """Models of the last rank at every degree, and of all ranks after the threshold."""
    rng, over = np.random.default_rng(seed), _intervals(config)
    full = graphs.draw(rng, config.trained, config.side, config.side, DEGREES[-1] / config.side)
    blocks, grown = graphs.in_blocks(rng, full, config.block), list(_growing(full))
    rank, after = config.ranks[-1], grown[AT_ABOVE]
    known = _joined([completion.known(seed, each, rank, config.rounds) for each in grown])
    right, unlinked = (np.nan_to_num(part[:, AT_ABOVE]) for part in (known.right, known.unlinked))
    learned = {
        "gain": over(np.mean, known.gain[:, AT_ABOVE]),
        "right": over(np.mean, right),
        "chance": verdicts.away(over(np.mean, unlinked)),
    }
    within = np.stack([each.within(DETOURS) for each in grown], axis=2)  # (detours, graphs, degrees)
    arrays = {"gain": known.gain, "linked": np.stack([each.linked() for each in grown], axis=1), "within": within}
    yield Measured(MODEL, learned, seed, config.trained, "models", arrays)
    in_blocks = _joined([completion.known(seed, each, rank, config.rounds) for each in _growing(blocks)])
    gain = {"gain": over(np.mean, in_blocks.gain[:, AT_ABOVE])}
    yield Measured(BLOCKS, gain, seed, config.trained, "models", {"gain": in_blocks.gain})
    shuffled = completion.known(seed, after, rank, config.rounds, shuffled=True)
    yield Measured(SHUFFLED, {"gain": over(np.mean, shuffled.gain)}, seed, config.trained, "models")
    for each in config.ranks[:-1]:
        other = completion.known(seed, after, each, config.rounds)
        measures = {"gain": over(np.mean, other.gain), "right": over(np.mean, np.nan_to_num(other.right))}
        yield Measured(f"rank {each}", measures, seed, config.trained, "models")


def _components(measured: Measurements, folder: RunFolder) -> Figure:
    def panel(title: str, names: list[str]) -> figures.Panel:
        series = [
            figures.Curve(_joined_array(measured, name, "nodes")[0], DEGREES, *_bands(measured, name, "largest"))
            for name in names
        ]
        theory = next(each.arrays["theory"] for each in measured if each.name == names[-1])
        return figures.Panel(title, [*series, figures.Curve("endless graph", DEGREES, theory)])

    equal = [name for name in measured.names("graphs") if name != UNEQUAL]
    caption = (
        "Share of all nodes in the largest component; bands hold 95 % of the graphs. One formula places both "
        "thresholds at 1."
    )
    panels = [panel(LARGE, equal), panel(UNEQUAL, [UNEQUAL])]
    return figures.small_multiples(panels, folder.figure("components"), caption, x_label=X)


def _skills(measured: Measurements, folder: RunFolder) -> Figure:
    curve = functools.partial(figures.Curve, x=DEGREES)
    mean, low, high = _bands(measured, LARGE, "linked")
    models = [curve(name, y=_bands(measured, name, "gain")[0]) for name in (MODEL, BLOCKS)]
    panels = [
        figures.Panel("facts: read one by one", [curve("facts, of the last", y=DEGREES / DEGREES[-1])]),
        figures.Panel("skills: unseen pairs", [curve("pairs that a path links", y=mean, low=low, high=high)]),
        figures.Panel("a trained model on unseen pairs: right less wrong", models),
    ]
    caption = (
        "Facts grow evenly. Pairs that they link, and what a trained model knows of unseen pairs, stay near 0 "
        "and then rise at 1."
    )
    return figures.small_multiples(panels, folder.figure("skills"), caption, x_label=X)


def _paths(measured: Measurements, folder: RunFolder) -> Figure:
    trained = [each.arrays for each in measured if each.name == MODEL]
    within = np.mean([each["within"].mean(1) for each in trained], axis=0)
    series = [
        figures.Curve(f"at most {2 * detours + 1} facts", DEGREES, row)
        for detours, row in zip(DETOURS, within, strict=True)
    ]
    any_length = figures.Curve("any length", DEGREES, np.mean([each["linked"].mean(0) for each in trained], axis=0))
    caption = "Share of unseen pairs that a path links, by its length. Only long paths make a sharp threshold."
    options: Any = {"x_label": X, "y_label": "linked pairs"}
    return figures.curves([*series, any_length], folder.figure("paths"), caption, **options)


def _growing(full: Graphs) -> list[Graphs]:
    """The graphs at every degree."""
    return [full.until(degree / DEGREES[-1]) for degree in DEGREES]


def _joined(parts: list[Known]) -> Known:
    return Known(
        *(np.stack([getattr(each, field.name) for each in parts], axis=1) for field in dataclasses.fields(Known))
    )


def _intervals(config: Config) -> Callable[..., Number]:
    """(statistic, *rows (graphs, …)) -> number, over draws of the graphs."""
    return functools.partial(intervals.interval, paired=True, resamples=config.resamples)


def _band(skills: np.ndarray) -> float:
    """Decades of p between 10 and 90 % of the skills; endless where they do not reach 90 %: NaN has no place in a
    bootstrap.
    """
    return float(np.nan_to_num(emergence.sharpness_decades(DEGREES, skills), nan=1e6))


def _joined_array(measured: Measurements, name: str, part: str) -> list[Any]:
    """Of every seed."""
    return [each.arrays[part] for each in measured if each.name == name]


def _bands(measured: Measurements, name: str, part: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over graphs and seeds, and the middle 95 %."""
    rows = np.concatenate(_joined_array(measured, name, part))
    return rows.mean(0), *np.quantile(rows, (0.025, 0.975), axis=0)


ANSWER = Answer(
    text="yes, in a graph of facts: near the threshold linked pairs grow {jump:.0f} times as fast as facts, and a "
    "model knows them",
    statements={
        "E13": "Around the threshold, linked pairs grow {jump:.0f interval} times as much as facts; a model knows "
        "{learned:.2f} of all unseen pairs"
    },
    picture="skills.png",
    before=(
        Change(
            "2026-11-30",
            "9fdd4e3",
            "Claims are judged by the mean over seeds: guesses at pairs without a path were open before and pass now.",
            "A rule that does not depend on the number of seeds.",
        ),
        Change(
            "2026-11-30",
            "9ba46e671",
            "Blocks and shuffled values are compared with the model itself. Two controls left: log₁₀ 9, and a factor "
            "of two means.",
            "A control is compared with its treatment, and one that is arithmetic cannot fail.",
        ),
    ),
)
STUDY = Study(
    name="percolation",
    config=Config,
    presets={"full": Config()},
    smoke=Config(
        seeds=(0,), sides=(20, 40), graphs=3, few=20, many=80, side=40, block=10, trained=2, rounds=20, resamples=20
    ),
    train=None,
    measure=measure,
    words={
        "theory": "share of the largest component against its fixed point, largest difference",
        "place": "p · √(n₁ n₂) where the second-largest component is largest, distance from 1",
        "dark": f"share of unseen pairs that a path links at {BELOW:g}",
        "lit": f"share of unseen pairs that a path links at {ABOVE:g}",
        "jump": f"growth of linked pairs from {BELOW:g} to {ABOVE:g}, over that of facts",
        "band": "decades of p between 10 and 90 % of the linked pairs",
        "component below": f"share of nodes in the largest component at {BELOW:g}",
        "component above": f"the same at {ABOVE:g}",
        "gain": f"share right less share wrong of all unseen pairs at {ABOVE:g}",
        "right": f"share of the linked unseen pairs that are right at {ABOVE:g}",
        "chance": f"share right less share wrong of the pairs that no path links at {ABOVE:g}, its size",
    },
    claims=(
        claim(
            LARGE,
            "theory",
            "<=",
            0.02,
            role="check",
            reason="what 30 graphs leave open",
            id="giant",
            figure="components.png",
        ),
        claim(
            LARGE,
            "place",
            "<=",
            0.2,
            role="check",
            reason="the fixed point has it at 1 in an endless graph",
            id="threshold",
        ),
        claim(
            UNEQUAL,
            "theory",
            "<=",
            0.02,
            role="check",
            reason="what 30 graphs leave open",
            id="giant-unequal",
            figure="components.png",
        ),
        claim(
            UNEQUAL,
            "place",
            "<=",
            0.2,
            role="check",
            reason="the fixed point has it at 1 in an endless graph",
            id="threshold-unequal",
        ),
        claim(LARGE, "dark", "<=", 0.01, role="E13", reason="theory says 0 of endless sides", id="dark"),
        claim(
            LARGE,
            "lit",
            ">=",
            0.25,
            role="E13",
            reason="theory says 0.34 of endless sides",
            id="lit",
            figure="skills.png",
        ),
        claim(LARGE, "jump", ">=", 20.0, role="E13", reason="even growth would be 1", id="jump", figure="skills.png"),
        claim(
            LARGE,
            "band",
            "<=",
            0.6,
            role="E13",
            reason="facts, which grow in proportion to p, take 0.95",
            id="band",
            figure="skills.png",
        ),
        claim(MODEL, "right", ">=", 0.95, role="E13", reason="the facts decide every linked pair", id="right"),
        claim(MODEL, "chance", "<=", 0.05, role="E13", reason="no fact says anything of them: 0", id="chance"),
        claim(
            MODEL, "gain", ">=", 0.25, role="E13", reason="as of the linked pairs", id="learned", figure="skills.png"
        ),
    ),
    controls=(
        control(BLOCKS, "gain", against=MODEL, by="<=", margin=-0.1, id="learned-blocks", figure="skills.png"),
        control(SHUFFLED, "gain", against=MODEL, by="<=", margin=-0.1, id="learned-shuffled", figure="skills.png"),
    ),
    figures=(_components, _skills, _paths),
    tables={
        "graphs": (
            "What jumps at the threshold",
            "Where linked pairs stay below 90 %, decades are shown as a million. The larger the graph, "
            "the fewer linked pairs there are before the threshold.",
        ),
        "models": (
            "Trained models",
            "The facts decide every linked pair. Signs alone (rank 1) stop at contradictions that vectors turn out of.",
        ),
    },
    answer=ANSWER,
    more={"check": check},
)
EXPERIMENT = STUDY.experiment()
