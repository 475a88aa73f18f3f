"""A model of low rank that is trained on facts and asked for unseen pairs.

The truth is a matrix of rank 1: each node has a sign, and the value of a pair is the product of both. The model has a
unit vector of `rank` numbers per node, and predicts the sign of their product. Training maximises the sum of
value · ⟨u, v⟩ over the facts, one side at a time, from random vectors. What a path does not link is not decided by
the facts: there the model is right by chance. What a path links is decided, and vectors of three or more numbers find
it from almost every start (Markdahl, Thunberg and Gonçalves, 2018; from memory); signs alone (rank 1) may stop at a
contradiction.
"""

import dataclasses

import numpy as np
import scipy

from experiments.scaling.percolation.graphs import Graphs

SETTLED = 1e-6
"""Change of every entry in a round below which training ends: predictions are signs."""


@dataclasses.dataclass(frozen=True)
class Known:
    """What trained models know of pairs without a fact; each (graphs,).

    gain: share right less share wrong. right: the share right among those that a path links, NaN where there are none.
    unlinked: the gain among those that no path links, NaN where there are none.
    """

    gain: np.ndarray
    right: np.ndarray
    unlinked: np.ndarray


def known(seed: int, graphs: Graphs, rank: int, rounds: int, *, shuffled: bool = False) -> Known:
    """Trains a model on each graph and asks it for all other pairs. shuffled: each fact has a sign of its own, which
    means nothing.
    """
    rng = np.random.default_rng(seed)
    first, second = (rng.choice((-1.0, 1.0), (graphs.count, nodes)) for nodes in (graphs.n1, graphs.n2))
    values = first[graphs.graph, graphs.first] * second[graphs.graph, graphs.second]
    if shuffled:
        values = rng.choice((-1.0, 1.0), len(values))
    u, v = train(rng, graphs.matrix(values), rank, rounds)
    one, two = graphs.components
    rows = []
    for number in range(graphs.count):
        here = graphs.graph == number
        unseen = np.ones((graphs.n1, graphs.n2), bool)
        unseen[graphs.first[here], graphs.second[here]] = False
        predicted = np.sign(_of(u, number, graphs.n1) @ _of(v, number, graphs.n2).T)
        agreement = predicted * first[number][:, None] * second[number]
        linked = one[number][:, None] == two[number]
        rows.append(
            (_mean(agreement[unseen]), (1 + _mean(agreement[unseen & linked])) / 2, _mean(agreement[unseen & ~linked]))
        )
    return Known(*map(np.array, zip(*rows, strict=True)))


def train(
    rng: np.random.Generator, values: scipy.sparse.csr_array, rank: int, rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (rows, rank) and (columns, rank), each side in turn the best for the other."""
    across = values.T.tocsr()
    u, v = (_unit(rng.normal(size=(nodes, rank))) for nodes in values.shape)
    for _ in range(rounds):
        before = u
        u = _unit(values @ v, u)
        v = _unit(across @ u, v)
        if np.abs(u - before).max() < SETTLED:
            break
    return u, v


def _unit(vectors: np.ndarray, otherwise: np.ndarray | None = None) -> np.ndarray:
    """otherwise: what a node without facts keeps, or one whose facts cancel."""
    size = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors / np.where(size > 0, size, 1.0)
    return scaled if otherwise is None else np.where(size > 0, scaled, otherwise)


def _of(vectors: np.ndarray, number: int, nodes: int) -> np.ndarray:
    return vectors[number * nodes : (number + 1) * nodes]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
