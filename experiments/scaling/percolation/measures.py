"""What is measured of growing graphs and of models that are trained on them, at every degree."""

import dataclasses

import numpy as np

from experiments.scaling.percolation import completion, graphs
from experiments.scaling.percolation.completion import Known
from experiments.scaling.percolation.config import Config
from experiments.scaling.percolation.graphs import Graphs


@dataclasses.dataclass(frozen=True)
class Components:
    """Each (graphs, degrees): shares of nodes in the largest component and the second-largest, and of unseen pairs that a path links."""

    largest: np.ndarray
    second: np.ndarray
    linked: np.ndarray


@dataclasses.dataclass(frozen=True)
class Models:
    """Of trained models, and of the graphs that they are trained on.

    grown: facts anywhere. blocks: as many facts within blocks. Every array of both is (graphs, degrees).
    shuffled: facts with values that mean nothing, at the degree `above`; its arrays are (graphs,).
    linked: (graphs, degrees). within: (detours, graphs, degrees) share of unseen pairs that short paths link.
    by_rank: of each rank, at the degree `above`, the arrays (graphs,) "right" and "gain".
    """

    grown: Known
    blocks: Known
    shuffled: Known
    linked: np.ndarray
    within: np.ndarray
    by_rank: dict[int, dict[str, np.ndarray]]


def measure_components(config: Config, seed: int) -> dict[str, Components]:
    """By the sizes of both sides, in words."""
    rng = np.random.default_rng(seed)
    sizes = [(side, side) for side in config.sides] + [(config.few, config.many)]
    found = {}
    for n1, n2 in sizes:
        whole = graphs.draw(rng, config.graphs, n1, n2, config.degrees[-1] / np.sqrt(n1 * n2))
        columns = [(*each.largest(), each.linked()) for each in _growing(config, whole)]
        found[f"{n1} and {n2}"] = Components(*(np.stack(part, axis=1) for part in zip(*columns, strict=True)))
    return found


def measure_models(config: Config, seed: int) -> Models:
    """Models of the last rank at every degree, and of all ranks at `above`."""
    rng = np.random.default_rng(seed)
    whole = graphs.draw(rng, config.trained, config.side, config.side, config.degrees[-1] / config.side)
    blocks = graphs.in_blocks(rng, whole, config.block)
    rank = config.ranks[-1]
    grown = list(_growing(config, whole))
    at = grown[config.degrees.index(config.above)]
    of_ranks = {each: completion.known(seed, at, each, config.rounds) for each in config.ranks}
    return Models(
        grown=_joined([completion.known(seed, each, rank, config.rounds) for each in grown]),
        blocks=_joined([completion.known(seed, each, rank, config.rounds) for each in _growing(config, blocks)]),
        shuffled=completion.known(seed, at, rank, config.rounds, shuffled=True),
        linked=np.stack([each.linked() for each in grown], axis=1),
        within=np.stack([each.within(config.detours) for each in grown], axis=2),
        by_rank={each: {"right": np.nan_to_num(of.right), "gain": of.gain} for each, of in of_ranks.items()},
    )


def _growing(config: Config, whole: Graphs) -> list[Graphs]:
    """The graphs at every degree."""
    return [whole.until(degree / config.degrees[-1]) for degree in config.degrees]


def _joined(parts: list[Known]) -> Known:
    return Known(*(np.stack([getattr(each, field.name) for each in parts], axis=1) for field in dataclasses.fields(Known)))
