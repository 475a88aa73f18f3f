"""The numbers of the percolation experiment."""

import dataclasses
import math

from gendiff.core.errors import ConfigError
from gendiff.runs import ranges
from gendiff.runs.ranges import Count, Distinct, Positive, Seed, Several


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """Written down before the run."""

    theory: Positive = 0.02
    """Largest difference of the mean share of the largest component from its fixed point, from `above` on."""
    place: Positive = 0.2
    """Largest distance from 1 of p · √(n₁ n₂) where the second-largest component is largest."""
    dark: Positive = 0.01
    """Share of unseen pairs that a path links at `below`, at most."""
    lit: Positive = 0.25
    """The same at `above`, at least; theory says 0.34 of endless sides. Of a trained model: what it knows of unseen pairs beyond chance."""
    jump: Positive = 20.0
    """From `below` to `above`, skills grow by at least this many times the growth of facts."""
    band: Positive = 0.6
    """Decades of p between 10 and 90 % of the skills, at most. Those of the facts, which grow in proportion to p, must miss it."""
    right: Positive = 0.95
    """Share of the linked unseen pairs that the trained model has right at `above`, at least."""
    chance: Positive = 0.05
    """Largest |share right − share wrong| of the trained model on pairs that no path links, at `above`."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Every number of the experiment."""

    seeds: Distinct[Seed] = (0, 1, 2)
    """Seeds of the graphs, of the signs and of the model."""
    degrees: Distinct[Positive] = (
        *(0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5),
        4.0,
    )
    """Values of p · √(n₁ n₂), rising; of equal sides, facts per node."""
    below: Positive = 0.8
    """Of the degrees, the one before the jump."""
    above: Positive = 1.5
    """Of the degrees, the one after it."""
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
    detours: Distinct[Count] = (1, 2, 4)
    """Lengths of paths that are shown: a path of d detours has 2 d + 1 facts."""
    block: Several = 20
    """Nodes of each side of a block of the control; a divisor of `side`."""
    resamples: Several = 1000
    """Bootstrap draws of the graphs behind each interval."""
    thresholds: Thresholds = Thresholds()


def check(config: Config) -> None:
    """ConfigError where numbers of the configuration do not fit each other."""
    for option, values in (("degrees", config.degrees), ("sides", config.sides), ("ranks", config.ranks), ("detours", config.detours)):
        ranges.rising(option, values)
    ranges.among("below", config.below, "degrees", config.degrees)
    ranges.among("above", config.above, "degrees", config.degrees)
    if config.below >= config.above:
        raise ConfigError(f"--below {config.below} must be below --above {config.above}")
    if config.few >= config.many:
        raise ConfigError(f"--few {config.few} must be below --many {config.many}: the sides are unequal")
    densest = config.degrees[-1]
    for option, nodes in (("sides", float(config.sides[0])), ("side", float(config.side)), ("few", math.sqrt(config.few * config.many))):
        if densest > nodes:
            raise ConfigError(f"--degrees {densest:g} is above {nodes:g}, the facts per node that --{option} {nodes:g} could have")
    if config.side % config.block:
        raise ConfigError(f"--block {config.block} must divide --side {config.side}")
    if densest > config.block / 2:
        raise ConfigError(f"--block {config.block} is too small: it must be at least twice the last of --degrees, {densest:g}")
